//! The operators' listener: seeding, looking and operating. It has no login and must never be public.

mod counters;
mod definitions;
mod diagram;
mod events;
mod health;
mod operate;
mod sales;
mod shown;
mod verify;
mod workflow;
mod workflows;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};

use crate::http::{Bounds, bounded};
use crate::wiring::Shared;

/// A sale with its products is larger than anything that a buyer sends.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const BOUNDS: Bounds = Bounds {
    in_flight_max: 256,
    request_max: Duration::from_mins(2),
};
/// The most that a page holds.
const PAGE_MAX: u16 = 500;
const PAGE_DEFAULT: u16 = 50;

/// Everything that operators may ask for.
pub fn router(services: Shared) -> Router {
    let router = Router::new()
        .route("/v1/sales", post(sales::seed))
        .route("/v1/workflows", get(workflows::list))
        .route("/v1/workflows/{id}", get(workflow::show))
        .route("/v1/workflows/{id}/events", get(events::list))
        .route("/v1/workflows/{id}/diagram", get(diagram::of_workflow))
        .route("/v1/workflows/{id}/retry", post(operate::retry))
        .route("/v1/workflows/{id}/compensate", post(operate::compensate))
        .route("/v1/definitions", get(definitions::list))
        .route(
            "/v1/definitions/{name}/diagram",
            get(diagram::of_definition),
        )
        .route("/v1/counters", get(counters::show))
        .route("/v1/verify", get(verify::run))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(services);
    bounded(router, BOUNDS)
}
