//! `GET /v1/purchases/{id}?wait=10s`: what became of a purchase, now or once it is settled (or, with `for=payment`, once its
//! buyer can pay for it).

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use engine::{View, WorkflowId};
use serde::Deserialize;
use workflows::domain::ids::BuyerId;

use super::WAIT_MAX;
use super::shown::{Purchase, is_payable, purchase_of};
use crate::auth::Buyer;
use crate::config::parse_duration;
use crate::http::{Path, Query, stopped};
use crate::problem::Problem;
use crate::wiring::{Services, Shared};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    wait: Option<String>,
    r#for: Option<String>,
}

/// What is waited for, and how long.
struct Waiting {
    limit: Duration,
    for_payment: bool,
}

impl Wait {
    fn checked(self) -> Result<Waiting, Problem> {
        let for_payment = match self.r#for.as_deref() {
            None | Some("end") => false,
            Some("payment") => true,
            Some(_) => {
                return Err(Problem::parameter("for", "must be \"payment\" or \"end\""));
            }
        };
        let limit = match self.wait {
            None => Duration::ZERO,
            Some(text) => {
                parse_duration(&text).map_err(|reason| Problem::parameter("wait", reason))?
            }
        };
        if limit > WAIT_MAX {
            return Err(Problem::parameter(
                "wait",
                format!("must be at most {}s", WAIT_MAX.as_secs()),
            ));
        }
        Ok(Waiting { limit, for_payment })
    }
}

pub async fn show(
    State(services): State<Shared>,
    Buyer(buyer): Buyer,
    Path(id): Path,
    Query(wait): Query<Wait>,
) -> Result<Json<Purchase>, Problem> {
    let Waiting { limit, for_payment } = wait.checked()?;
    let not_found = || Problem::not_found("purchase", &id);
    let (view, purchase) = of_buyer(&services, &buyer, &id).await?;
    let enough = |view: &View| for_payment && is_payable(view);
    if limit.is_zero() || view.is_settled() || enough(&view) {
        return Ok(Json(purchase));
    }
    let deadline = services.runtime.now().after(limit);
    let mut stopping = services.stopping.clone();
    let view = tokio::select! {
        view = services.engine.wait_for(view.id, deadline, enough) => view?.ok_or_else(not_found)?,
        () = stopped(&mut stopping) => view,
    };
    purchase_of(&buyer, &view)?.map(Json).ok_or_else(not_found)
}

/// The purchase of this id, if there is one and it is this buyer's: another's is not there.
pub async fn of_buyer(
    services: &Services,
    buyer: &BuyerId,
    id: &str,
) -> Result<(View, Purchase), Problem> {
    let not_found = || Problem::not_found("purchase", id);
    let workflow = WorkflowId::parse(id).ok_or_else(not_found)?;
    let view = services.engine.view(workflow).await?;
    let view = view.ok_or_else(not_found)?;
    let purchase = purchase_of(buyer, &view)?.ok_or_else(not_found)?;
    Ok((view, purchase))
}
