//! `GET /v1/errors`: why workflows are parked, in groups, each with the filter that finds its workflows: sent as a batch's
//! filter, it wakes all of them.

use axum::Json;
use axum::extract::State;
use engine::store::{ErrorGroup, Status};
use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::pages::page_size;
use crate::clock::rfc3339;
use crate::http::Query;
use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    limit: Option<String>,
}

#[derive(Serialize)]
pub struct Listed {
    errors: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    definition: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    error: String,
    /// What the errors say, without what differs from one to the next.
    message: String,
    count: u64,
    first_since: String,
    last_since: String,
    /// Finds its workflows, and those that are parked on the same step by an error of the same class that says something else.
    filter: Filter,
}

impl From<ErrorGroup> for Shown {
    fn from(group: ErrorGroup) -> Self {
        let filter = Filter {
            state: Some(Status::Parked.as_str().to_owned()),
            definition: Some(group.definition.clone()),
            reason: Some(group.class.clone()),
            step: group.step.clone(),
            ..Filter::default()
        };
        Self {
            definition: group.definition,
            step: group.step,
            error: group.class,
            message: group.message,
            count: group.count,
            first_since: rfc3339(group.first_since),
            last_since: rfc3339(group.last_since),
            filter,
        }
    }
}

pub async fn list(
    State(services): State<Shared>,
    Query(asked): Query<Asked>,
) -> Result<Json<Listed>, Problem> {
    let limit = page_size(asked.limit.as_deref())?;
    let groups = services.engine.error_groups(limit).await?;
    Ok(Json(Listed {
        errors: groups.into_iter().map(Shown::from).collect(),
    }))
}
