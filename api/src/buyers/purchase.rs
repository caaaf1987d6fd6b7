//! `GET /v1/purchases/{id}?wait=10s`: what became of a purchase, now or once it is settled.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use engine::WorkflowId;
use serde::Deserialize;

use super::WAIT_MAX;
use super::shown::{Purchase, purchase_of};
use crate::auth::Buyer;
use crate::config::parse_duration;
use crate::http::{Path, Query, stopped};
use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    wait: Option<String>,
}

impl Wait {
    fn checked(self) -> Result<Duration, Problem> {
        let Some(text) = self.wait else {
            return Ok(Duration::ZERO);
        };
        let wait = parse_duration(&text).map_err(|reason| Problem::parameter("wait", reason))?;
        if wait > WAIT_MAX {
            return Err(Problem::parameter(
                "wait",
                format!("must be at most {}s", WAIT_MAX.as_secs()),
            ));
        }
        Ok(wait)
    }
}

pub async fn show(
    State(services): State<Shared>,
    Buyer(buyer): Buyer,
    Path(id): Path,
    Query(wait): Query<Wait>,
) -> Result<Json<Purchase>, Problem> {
    let wait = wait.checked()?;
    let not_found = || Problem::not_found("purchase", &id);
    let workflow = WorkflowId::parse(&id).ok_or_else(not_found)?;
    let view = services
        .engine
        .view(workflow)
        .await?
        .ok_or_else(not_found)?;
    // Whose it is comes before how long to wait for it.
    let purchase = purchase_of(&buyer, &view)?.ok_or_else(not_found)?;
    if view.is_settled() || wait.is_zero() {
        return Ok(Json(purchase));
    }
    let deadline = services.runtime.now().after(wait);
    let mut stopping = services.stopping.clone();
    let view = tokio::select! {
        view = services.engine.wait(workflow, deadline) => view?.ok_or_else(not_found)?,
        () = stopped(&mut stopping) => view,
    };
    purchase_of(&buyer, &view)?.map(Json).ok_or_else(not_found)
}
