//! `GET /v1/workflows`: which workflows there are, newest first.

use axum::Json;
use axum::extract::State;
use engine::store::ListFilter;
use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::pages::{cursor, cursor_text, page_size};
use super::shown::Summary;
use crate::http::Query;
use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    state: Option<String>,
    definition: Option<String>,
    #[serde(alias = "error")]
    reason: Option<String>,
    #[serde(alias = "sale")]
    label: Option<String>,
    step: Option<String>,
    #[serde(alias = "created_from")]
    from: Option<String>,
    #[serde(alias = "created_before")]
    before: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub struct Listed {
    workflows: Vec<Summary>,
    /// More may follow, even after a page that is short: no call reads more than a bounded part of an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub async fn list(
    State(services): State<Shared>,
    Query(asked): Query<Asked>,
) -> Result<Json<Listed>, Problem> {
    let page = services.engine.list(&asked.checked()?).await?;
    Ok(Json(Listed {
        workflows: page.items.into_iter().map(Summary::from).collect(),
        next_cursor: page.next.as_ref().map(cursor_text),
    }))
}

impl Asked {
    fn checked(self) -> Result<ListFilter, Problem> {
        let after = match self.cursor {
            Some(text) => Some(cursor(&text).ok_or_else(|| {
                Problem::parameter("cursor", "must be the `next_cursor` of an earlier page")
            })?),
            None => None,
        };
        let limit = page_size(self.limit.as_deref())?;
        let filter = Filter {
            state: self.state,
            definition: self.definition,
            reason: self.reason,
            label: self.label,
            step: self.step,
            created_from: self.from,
            created_before: self.before,
        };
        let filter = filter.checked(|name, why| {
            Problem::parameter(name.strip_prefix("created_").unwrap_or(name), why)
        })?;
        Ok(ListFilter {
            after,
            limit,
            ..filter
        })
    }
}
