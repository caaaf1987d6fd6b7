//! Which workflows are meant: the same words in a list's URL, in a batch's body, and in what the error groups answer.

use std::fmt::Display;

use engine::Timestamp;
use engine::store::{ListFilter, Status};
use serde::{Deserialize, Serialize};

use crate::clock::rfc3339;
use crate::problem::Problem;

/// The longest text that a part of a filter has, in characters: longer ones are in no column.
const TEXT_CHARS_MAX: usize = 255;

/// What is asked for; all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object")]
pub struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// A refusal's code or an error's class.
    #[serde(alias = "error", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For purchases: the sale.
    #[serde(alias = "sale", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The step that it is parked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(alias = "from", skip_serializing_if = "Option::is_none")]
    pub created_from: Option<String>,
    #[serde(alias = "before", skip_serializing_if = "Option::is_none")]
    pub created_before: Option<String>,
}

impl Filter {
    /// The filter as the store takes it. `wrong` makes a problem of a part's name and of what is wrong with it.
    pub fn checked(self, wrong: impl Fn(&str, String) -> Problem) -> Result<ListFilter, Problem> {
        let status = self
            .state
            .map(|text| Status::parse(&text).ok_or_else(|| wrong("state", known_states())))
            .transpose()?;
        let text = |name: &str, text: Option<String>| match text {
            Some(text) if !(1..=TEXT_CHARS_MAX).contains(&text.chars().count()) => {
                let why = format!("must be 1 to {TEXT_CHARS_MAX} characters");
                Err(wrong(name, why))
            }
            text => Ok(text),
        };
        let instant = |name: &str, text: Option<String>| {
            text.map(|text| parse_instant(&text).map_err(|why| wrong(name, why)))
                .transpose()
        };
        Ok(ListFilter {
            status,
            definition: text("definition", self.definition)?,
            reason: text("reason", self.reason)?,
            label: text("label", self.label)?,
            step: text("step", self.step)?,
            created_from: instant("created_from", self.created_from)?,
            created_before: instant("created_before", self.created_before)?,
            ..ListFilter::default()
        })
    }
}

impl From<&ListFilter> for Filter {
    fn from(filter: &ListFilter) -> Self {
        Self {
            state: filter.status.map(|status| status.as_str().to_owned()),
            definition: filter.definition.clone(),
            reason: filter.reason.clone(),
            label: filter.label.clone(),
            step: filter.step.clone(),
            created_from: filter.created_from.map(rfc3339),
            created_before: filter.created_before.map(rfc3339),
        }
    }
}

fn known_states() -> String {
    let known: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    format!("must be one of {}", known.join(", "))
}

fn parse_instant(text: &str) -> Result<Timestamp, String> {
    match text.parse::<jiff::Timestamp>() {
        Ok(instant) => Ok(Timestamp(instant.as_microsecond())),
        Err(_) => Err("must be a time in RFC 3339, such as 2026-01-02T03:04:05Z".to_owned()),
    }
}

/// A part of a filter in a body.
pub fn in_body(name: &str, why: impl Display) -> Problem {
    Problem::invalid(format!("filter.{name}"), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_survives_the_way_to_the_store_and_back() {
        let filter = Filter {
            state: Some("PARKED".into()),
            reason: Some("gateway-busy".into()),
            step: Some("payment".into()),
            created_before: Some("2026-01-02T03:04:05.000006Z".into()),
            ..Filter::default()
        };
        let stored = filter.clone().checked(in_body).expect("a good filter");
        assert_eq!(
            stored.created_before,
            Some(Timestamp(1_767_323_045_000_006))
        );
        assert_eq!(Filter::from(&stored), filter);
    }

    #[test]
    fn the_words_of_the_shop_and_of_the_store_mean_the_same() {
        let shop: Filter =
            serde_json::from_str(r#"{"error":"e","sale":"s","from":"a","before":"b"}"#).unwrap();
        let store: Filter = serde_json::from_str(
            r#"{"reason":"e","label":"s","created_from":"a","created_before":"b"}"#,
        )
        .unwrap();
        assert_eq!(shop, store);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            format!("{:?}", filter.checked(in_body).expect_err("a bad filter"))
        };
        assert!(with(|filter| filter.state = Some("LOST".into())).contains("filter.state"));
        assert!(with(|filter| filter.step = Some(String::new())).contains("filter.step"));
        assert!(
            with(|filter| filter.created_from = Some("yesterday".into()))
                .contains("filter.created_from")
        );
    }
}
