//! `GET /livez`: the process answers. `GET /readyz`: it can do its work, or what is missing.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use workflows::reconcile::gate::GateState;

use crate::problem::{Kind, Problem};
use crate::wiring::{Services, Shared};

const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

pub async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

pub async fn ready(State(services): State<Shared>) -> Result<Json<Value>, Problem> {
    let missing = missing(&services).await;
    if missing.is_empty() {
        return Ok(Json(json!({ "status": "ready" })));
    }
    Err(Problem::new(Kind::NOT_READY, missing.join("; ")))
}

async fn missing(services: &Services) -> Vec<String> {
    let mut missing = Vec::new();
    match services
        .runtime
        .within(CHECK_TIMEOUT, services.store.ping())
        .await
    {
        Some(Ok(())) => {}
        Some(Err(error)) => missing.push(format!("the database: {error}")),
        None => missing.push("the database does not answer".to_owned()),
    }
    match services
        .runtime
        .within(CHECK_TIMEOUT, services.reservations.incarnation())
        .await
    {
        Some(Ok(_)) => {}
        Some(Err(error)) => missing.push(format!(
            "the reservations: {}",
            crate::exit::with_causes(&error)
        )),
        None => missing.push("the reservations do not answer".to_owned()),
    }
    if let GateState::Closed(why) = services.keeper.state() {
        missing.push(format!("the gate is closed: {why}"));
    }
    if !services.engine.is_serving() {
        missing.push("the engine holds no partition, or is stopping".to_owned());
    }
    missing
}
