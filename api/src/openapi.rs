//! `GET /openapi.json`: what can be asked of each listener, as `OpenAPI` 3.1. `make test-api` holds the routes to it.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

const JSON: &str = "application/json";

/// Of the buyers' listener.
pub async fn buyers() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, JSON)],
        include_str!("../openapi/buyers.json"),
    )
}

/// Of the operators' listener.
pub async fn operators() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, JSON)],
        include_str!("../openapi/operators.json"),
    )
}
