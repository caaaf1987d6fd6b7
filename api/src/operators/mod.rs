//! The operators' listener: seeding, looking and operating, each for who has the role. It is not meant for the public all the
//! same.

mod filter;
mod headers;
mod pages;
mod routes;

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

mod catalogue;
mod sales;

mod counters;
mod definitions;
mod health;
mod nodes;
mod orphans;
mod reconcile;
mod verify;

use std::time::Duration;

use axum::Router;

use crate::auth::Role;
use crate::http::{Bounds, bounded};
use crate::openapi;
use crate::wiring::Shared;
pub use order::VerbName;
use routes::Routes;
pub use verify::Verifier;

/// A sale with its products is larger than anything that a buyer sends.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// An order holds at most one payload, of 64 KiB; read as any JSON, it is many times as large in memory.
const ORDER_BYTES_MAX: usize = 128 * 1024;
const BOUNDS: Bounds = Bounds {
    in_flight_max: 256,
    request_max: Duration::from_mins(2),
};

/// Everything that operators may ask for. A route that changes something names its role here.
pub fn router(services: Shared) -> Router {
    let routes = about_workflows(Routes::new(services.tokens.clone()));
    let routes = catalogue::add(routes)
        .get("/v1/commands", commands::list)
        .get("/v1/commands/{id}", commands::show)
        .get("/v1/audit", commands::list)
        .get("/v1/batches", batches::list)
        .post(Role::Operator, "/v1/batches", batches::start)
        .get("/v1/batches/{id}", batches::show)
        .get("/v1/batches/{id}/commands", batches::commands)
        .post(Role::Operator, "/v1/batches/{id}/stop", batches::stop)
        .get("/v1/errors", errors::list)
        .post(Role::Admin, "/v1/sales", sales::seed)
        .get("/v1/definitions", definitions::list)
        .get("/v1/definitions/{name}/diagram", diagram::of_definition)
        .get("/v1/nodes", nodes::list)
        .get("/v1/orphans", orphans::show)
        .get("/v1/counters", counters::show)
        .get("/v1/verify", verify::show)
        .post(Role::Operator, "/v1/verify", verify::run)
        .get("/v1/reconcile", reconcile::show)
        .post(Role::Operator, "/v1/reconcile", reconcile::run)
        .get_open("/openapi.json", openapi::operators)
        .get_open("/livez", health::live)
        .get_open("/readyz", health::ready);
    bounded(routes.into_router().with_state(services), BOUNDS)
}

fn about_workflows(routes: Routes) -> Routes {
    let routes = routes
        .get("/v1/workflows", workflows::list)
        .get("/v1/workflows/{id}", workflow::show)
        .get("/v1/workflows/{id}/events", events::list)
        .get("/v1/workflows/{id}/diagram", diagram::of_workflow);
    VerbName::ALL.into_iter().fold(routes, |routes, verb| {
        let carry_out = move |operator, services, id, how, conditions, order| {
            operate::carry_out(verb, operator, services, id, how, conditions, order)
        };
        let path = format!("/v1/workflows/{{id}}/{}", verb.as_str());
        routes.post(Role::Operator, &path, carry_out)
    })
}
