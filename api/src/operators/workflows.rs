//! `GET /v1/workflows`: which workflows there are, newest first.

use axum::Json;
use axum::extract::State;
use engine::Timestamp;
use engine::store::{ListCursor, ListFilter, Status};
use serde::{Deserialize, Serialize};

use super::shown::Summary;
use super::{PAGE_DEFAULT, PAGE_MAX};
use crate::http::Query;
use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    state: Option<String>,
    definition: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub struct Listed {
    workflows: Vec<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub async fn list(
    State(services): State<Shared>,
    Query(filter): Query<Filter>,
) -> Result<Json<Listed>, Problem> {
    let page = services.engine.list(&filter.checked()?).await?;
    Ok(Json(Listed {
        workflows: page.items.into_iter().map(Summary::from).collect(),
        next_cursor: page.next.as_ref().map(cursor_text),
    }))
}

impl Filter {
    fn checked(self) -> Result<ListFilter, Problem> {
        let status = match self.state {
            Some(text) => Some(Status::parse(&text).ok_or_else(|| {
                let known: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
                Problem::parameter("state", format!("must be one of {}", known.join(", ")))
            })?),
            None => None,
        };
        let after = match self.cursor {
            Some(text) => Some(cursor(&text).ok_or_else(|| {
                Problem::parameter("cursor", "must be the `next_cursor` of an earlier page")
            })?),
            None => None,
        };
        Ok(ListFilter {
            status,
            definition: self.definition,
            after,
            limit: page_size(self.limit.as_deref())?,
        })
    }
}

/// The size of a page, as the URL asks for it.
pub fn page_size(text: Option<&str>) -> Result<u16, Problem> {
    let Some(text) = text else {
        return Ok(PAGE_DEFAULT);
    };
    match text.parse() {
        Ok(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        _ => Err(Problem::parameter(
            "limit",
            format!("must be a whole number from 1 to {PAGE_MAX}"),
        )),
    }
}

const CURSOR_BYTES: usize = 8 + 12;

/// Opaque to those who hand it back: the last item's start and ident, in hexadecimal.
fn cursor_text(cursor: &ListCursor) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * CURSOR_BYTES);
    for byte in cursor
        .created_at
        .0
        .to_be_bytes()
        .iter()
        .chain(&cursor.ident)
    {
        write!(text, "{byte:02x}").expect("a String takes all");
    }
    text
}

fn cursor(text: &str) -> Option<ListCursor> {
    if text.len() != 2 * CURSOR_BYTES || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; CURSOR_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    let (created_at, ident) = bytes.split_at(8);
    Some(ListCursor {
        created_at: Timestamp(i64::from_be_bytes(created_at.try_into().ok()?)),
        ident: ident.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_nothing_else_is_one() {
        let there = ListCursor {
            created_at: Timestamp(1_700_000_000_000_000),
            ident: *b"twelve bytes",
        };
        assert_eq!(cursor(&cursor_text(&there)), Some(there));
        for wrong in [
            "",
            "00",
            "zz".repeat(20).as_str(),
            "ä".repeat(20).as_str(),
            "0".repeat(41).as_str(),
        ] {
            assert_eq!(cursor(wrong), None, "{wrong}");
        }
    }
}
