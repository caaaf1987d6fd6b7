//! `POST /v1/auth/refresh`: the next tokens of a buyer, for a refresh token that was not used before.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::BODY_BYTES_MAX;
use super::anonymous::granted;
use crate::http;
use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Refresh {
    refresh_token: String,
}

pub async fn refresh(
    State(services): State<Shared>,
    http::Json(body): http::Json<Refresh, BODY_BYTES_MAX>,
) -> Result<impl IntoResponse, Problem> {
    let grant = services.families.refresh(&body.refresh_token).await?;
    Ok(granted(StatusCode::OK, grant))
}
