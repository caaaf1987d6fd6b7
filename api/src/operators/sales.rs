//! `POST /v1/sales`: a sale with its products and campaigns, in one document, all or nothing.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use serde_json::json;
use workflows::domain::seed::SaleSeed;
use workflows::ports::catalogue::Seeded;

use super::BODY_BYTES_MAX;
use crate::http;
use crate::problem::Problem;
use crate::wiring::Shared;

pub async fn seed(
    State(services): State<Shared>,
    http::Json(seed): http::Json<SaleSeed, BODY_BYTES_MAX>,
) -> Result<impl IntoResponse, Problem> {
    let (status, result) = match services.seed(&seed).await? {
        Seeded::Created => (StatusCode::CREATED, "created"),
        Seeded::Unchanged => (StatusCode::OK, "unchanged"),
    };
    let location = format!("/v1/sales/{}", seed.sale);
    Ok((
        status,
        [(LOCATION, location)],
        Json(json!({ "sale": seed.sale, "result": result })),
    ))
}
