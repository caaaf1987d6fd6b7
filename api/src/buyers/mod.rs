//! The buyers' listener: get a token, follow a sale, claim a coupon, buy, pay, and see what became of it.

mod front;
mod pages;
mod recent;

mod anonymous;
mod refresh;

mod sale;
mod sales;

mod events;

mod order;
mod purchase;
mod purchases;
mod refused;
mod shown;

mod authorisation;
mod webhook;

mod coupons;
mod history;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};

use crate::http::{Bounds, bounded};
use crate::openapi;
use crate::wiring::Shared;
use front::Front;

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
        .route("/v1/auth/refresh", post(refresh::refresh))
        .route("/v1/sales", get(sales::list))
        .route("/v1/sales/{sale}", get(sale::show))
        .route("/v1/sales/{sale}/events", get(events::follow))
        .route("/v1/campaigns/{campaign}/claims", post(coupons::claim))
        .route("/v1/me/coupons", get(coupons::list))
        .route("/v1/me/purchases", get(history::list))
        .route("/v1/purchases", post(purchases::start))
        .route("/v1/purchases/{id}", get(purchase::show))
        .route("/v1/purchases/{id}/confirm", post(authorisation::confirm))
        .route("/v1/purchases/{id}/cancel", post(authorisation::cancel))
        .route("/v1/payments/webhook", post(webhook::receive))
        .route("/openapi.json", get(openapi::buyers))
        .with_state(Front::new(services));
    bounded(router, BOUNDS)
}
