//! `POST /v1/auth/anonymous`: a token for a buyer that nobody has seen before.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;
use workflows::domain::ids::BuyerId;

use crate::clock::rfc3339;
use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Serialize)]
struct Issued {
    token: String,
    token_type: &'static str,
    expires_at: String,
    buyer: BuyerId,
}

pub async fn issue(State(services): State<Shared>) -> Result<impl IntoResponse, Problem> {
    let issued = services.tokens.issue_anonymous()?;
    let body = Issued {
        token: issued.token,
        token_type: "Bearer",
        expires_at: rfc3339(issued.expires_at),
        buyer: issued.buyer,
    };
    // RFC 6750, section 5.3: a token is not for caches.
    Ok((
        StatusCode::CREATED,
        [(CACHE_CONTROL, "no-store")],
        Json(body),
    ))
}
