//! The buyers' listener: get a token, buy, and see what became of it.

mod anonymous;
mod order;
mod purchase;
mod purchases;
mod sale;
mod shown;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};

use crate::http::{Bounds, bounded};
use crate::wiring::Shared;

const BODY_BYTES_MAX: usize = 16 * 1024;
/// The longest that a buyer may ask to wait for.
const WAIT_MAX: Duration = Duration::from_secs(30);
const BOUNDS: Bounds = Bounds {
    in_flight_max: 8_192,
    request_max: Duration::from_secs(45),
};

/// Everything that buyers may ask for.
pub fn router(services: Shared) -> Router {
    let router = Router::new()
        .route("/v1/auth/anonymous", post(anonymous::issue))
        .route("/v1/purchases", post(purchases::start))
        .route("/v1/purchases/{id}", get(purchase::show))
        .route("/v1/sales/{sale}", get(sale::show))
        .with_state(services);
    bounded(router, BOUNDS)
}
