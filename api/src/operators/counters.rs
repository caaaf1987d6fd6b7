//! `GET /v1/counters`: what this node has done since it started.

use axum::Json;
use axum::extract::State;
use engine::Counters;

use crate::wiring::Shared;

pub async fn show(State(services): State<Shared>) -> Json<Counters> {
    Json(services.engine.counters())
}
