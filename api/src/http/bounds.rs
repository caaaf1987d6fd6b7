//! The bounds of every request: how many at the same time, how long each, and that nothing escapes without an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::problem::{Kind, Problem};

/// How much a listener takes on.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests at the same time; those beyond are turned away with 503.
    pub in_flight_max: usize,
    /// A request that takes longer is answered with 503; longer than any wait that it may ask for.
    pub request_max: Duration,
}

struct Gate {
    in_flight: Semaphore,
    request_max: Duration,
}

/// The router with its bounds, and with a problem where axum would answer with a bare status.
pub fn bounded(router: Router, bounds: Bounds) -> Router {
    let gate = Gate {
        in_flight: Semaphore::new(bounds.in_flight_max),
        request_max: bounds.request_max,
    };
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable()) // `read::json` has its own, which names itself
        .layer(middleware::from_fn_with_state(Arc::new(gate), pass))
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let Ok(_permit) = gate.in_flight.try_acquire() else {
        return Problem::new(
            Kind::BUSY,
            "too many requests are in flight; nothing was done, try again",
        )
        .into_response();
    };
    match timeout(gate.request_max, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            Kind::UNAVAILABLE,
            "the request took too long; try again with the same key",
        )
        .into_response(),
    }
}

async fn unknown_path(request: Request) -> Problem {
    Problem::new(
        Kind::UNKNOWN_PATH,
        format!("there is nothing at {}", request.uri().path()),
    )
}

async fn method_not_allowed(method: Method, request: Request) -> Problem {
    Problem::new(
        Kind::METHOD_NOT_ALLOWED,
        format!("{} has no method {method}", request.uri().path()),
    )
}
