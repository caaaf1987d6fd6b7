//! `POST /v1/workflows/{id}/retry` and `.../compensate`: who does it, and why, goes into the journal.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::BODY_BYTES_MAX;
use super::shown::{Detail, workflow_id};
use crate::http::{self, Path};
use crate::problem::Problem;
use crate::wiring::Shared;

const WORDS_BYTES_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Order {
    actor: String,
    reason: String,
}

impl Order {
    fn check(&self) -> Result<(), Problem> {
        for (field, text) in [("actor", &self.actor), ("reason", &self.reason)] {
            if text.trim().is_empty() || text.len() > WORDS_BYTES_MAX {
                return Err(Problem::invalid(
                    field,
                    format!("must be 1 to {WORDS_BYTES_MAX} bytes of text"),
                ));
            }
        }
        Ok(())
    }
}

pub async fn retry(
    State(services): State<Shared>,
    Path(id): Path,
    http::Json(order): http::Json<Order, BODY_BYTES_MAX>,
) -> Result<Json<Detail>, Problem> {
    order.check()?;
    let view = services
        .engine
        .retry(workflow_id(&id)?, &order.actor, &order.reason)
        .await?;
    Ok(Json(view.into()))
}

pub async fn compensate(
    State(services): State<Shared>,
    Path(id): Path,
    http::Json(order): http::Json<Order, BODY_BYTES_MAX>,
) -> Result<Json<Detail>, Problem> {
    order.check()?;
    let view = services
        .engine
        .compensate(workflow_id(&id)?, &order.actor, &order.reason)
        .await?;
    Ok(Json(view.into()))
}
