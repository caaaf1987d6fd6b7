//! `POST /v1/auth/anonymous`: the tokens of a buyer that nobody has seen before.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;
use workflows::domain::ids::BuyerId;

use crate::auth::Grant;
use crate::clock::rfc3339;
use crate::problem::Problem;
use crate::wiring::Shared;

/// What a sign-in and a refresh give.
#[derive(Serialize)]
pub struct Granted {
    buyer: BuyerId,
    /// The access token, under the name that it had when there was no other.
    token: String,
    access_token: String,
    token_type: &'static str,
    expires_at: String,
    refresh_token: String,
    refresh_expires_at: String,
}

impl From<Grant> for Granted {
    fn from(grant: Grant) -> Self {
        Self {
            buyer: grant.buyer,
            token: grant.access_token.clone(),
            access_token: grant.access_token,
            token_type: "Bearer",
            expires_at: rfc3339(grant.expires_at),
            refresh_token: grant.refresh_token,
            refresh_expires_at: rfc3339(grant.refresh_expires_at),
        }
    }
}

pub async fn issue(State(services): State<Shared>) -> Result<impl IntoResponse, Problem> {
    let grant = services.tokens.sign_in_anonymously()?;
    Ok(granted(StatusCode::CREATED, grant))
}

/// The answer with a grant. RFC 6750, section 5.3: a token is not for caches.
pub fn granted(status: StatusCode, grant: Grant) -> impl IntoResponse {
    let body = Json(Granted::from(grant));
    (status, [(CACHE_CONTROL, "no-store")], body)
}
