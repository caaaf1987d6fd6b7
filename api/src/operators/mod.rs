//! The operators' listener: seeding, looking and operating. It has no login and must never be public.

mod filter;
mod headers;
mod pages;

mod workflows;

mod shown;
mod steps;
mod workflow;

mod diagram;
mod events;

mod order;
mod preview;

mod commands;
mod operate;

mod batches;
mod errors;

mod counters;
mod definitions;
mod health;
mod nodes;
mod orphans;
mod sales;
mod verify;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};

use crate::http::{Bounds, bounded};
use crate::wiring::Shared;
pub use order::VerbName;

/// A sale with its products is larger than anything that a buyer sends.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const BOUNDS: Bounds = Bounds {
    in_flight_max: 256,
    request_max: Duration::from_mins(2),
};

/// Everything that operators may ask for.
pub fn router(services: Shared) -> Router {
    let router = Router::new()
        .merge(about_workflows())
        .route("/v1/commands", get(commands::list))
        .route("/v1/commands/{id}", get(commands::show))
        .route("/v1/audit", get(commands::list))
        .route("/v1/batches", get(batches::list).post(batches::start))
        .route("/v1/batches/{id}", get(batches::show))
        .route("/v1/batches/{id}/commands", get(batches::commands))
        .route("/v1/batches/{id}/stop", post(batches::stop))
        .route("/v1/errors", get(errors::list))
        .route("/v1/sales", post(sales::seed))
        .route("/v1/definitions", get(definitions::list))
        .route(
            "/v1/definitions/{name}/diagram",
            get(diagram::of_definition),
        )
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/orphans", get(orphans::show))
        .route("/v1/counters", get(counters::show))
        .route("/v1/verify", get(verify::run))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(services);
    bounded(router, BOUNDS)
}

fn about_workflows() -> Router<Shared> {
    let router = Router::new()
        .route("/v1/workflows", get(workflows::list))
        .route("/v1/workflows/{id}", get(workflow::show))
        .route("/v1/workflows/{id}/events", get(events::list))
        .route("/v1/workflows/{id}/diagram", get(diagram::of_workflow));
    VerbName::ALL.into_iter().fold(router, |router, verb| {
        let carry_out = move |services, id, how, conditions, order| {
            operate::carry_out(verb, services, id, how, conditions, order)
        };
        let path = format!("/v1/workflows/{{id}}/{}", verb.as_str());
        router.route(&path, post(carry_out))
    })
}
