//! Pages of the buyers' lists: how much a page holds, and where the next one begins.

use serde::Deserialize;

use crate::problem::Problem;

const PAGE_MAX: u16 = 100;
const PAGE_DEFAULT: u16 = 20;

/// The parameters of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    cursor: Option<String>,
    limit: Option<String>,
}

impl Paging {
    /// The size of a page.
    pub fn limit(&self) -> Result<u16, Problem> {
        let Some(text) = &self.limit else {
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

    /// The place after which the page begins, if it is one.
    pub fn cursor<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        let wrong = || Problem::parameter("cursor", "must be the `next_cursor` of an earlier page");
        let parse = |text: &String| parse(text).ok_or_else(wrong);
        self.cursor.as_ref().map(parse).transpose()
    }
}

/// Where the next page begins; `None` when this one is the last.
pub fn next<T>(rows: &[T], limit: u16, text: impl Fn(&T) -> String) -> Option<String> {
    let is_full = rows.len() >= usize::from(limit);
    rows.last().filter(|_| is_full).map(text)
}
