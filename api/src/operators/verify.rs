//! `POST /v1/verify`: the invariants, checked now over everything that is stored, while people buy. `GET /v1/verify`: what the last
//! check on this node saw. One check runs at a time; it reads only.

mod runs;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::http;
use crate::problem::{Kind, Problem};
use crate::wiring::Shared;
pub use runs::Verifier;
use runs::{Checked, Failed};

const BODY_BYTES_MAX: usize = 1024;
/// A check that takes longer goes on, and is seen by `GET`.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Nothing may be under way: whatever is, is a violation.
    #[serde(default)]
    at_rest: bool,
}

#[derive(Serialize)]
pub struct Shown {
    /// Absent before the first check on this node has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Arc<Checked>>,
    /// The last check that came to no result, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Arc<Failed>>,
    /// The numbers of the checks that run or wait.
    running: Vec<u64>,
}

/// The last check.
pub async fn show(State(services): State<Shared>) -> Json<Shown> {
    Json(services.verifier.shown())
}

/// A check now. 200 with what it saw, or 202 with its number when it takes long.
pub async fn run(
    State(services): State<Shared>,
    http::Json(asked): http::Json<Asked, BODY_BYTES_MAX>,
) -> Result<Response, Problem> {
    let runtime = services.runtime.clone();
    let busy = || {
        Problem::new(
            Kind::UNAVAILABLE,
            "several checks wait already: look at them with GET in a while",
        )
    };
    let verifier = services.verifier.clone();
    let (number, ended) = verifier.begin(services, asked.at_rest).ok_or_else(busy)?;
    match runtime.within(WAIT_MAX, ended).await {
        Some(Ok(Ok(checked))) => Ok(Json(checked).into_response()),
        Some(Ok(Err(failed))) => Err(Problem::new(
            Kind::UNAVAILABLE,
            format!(
                "something that is compared can't be reached at the moment; try again ({})",
                failed.why
            ),
        )),
        Some(Err(_)) | None => {
            let pending = Json(json!({ "number": number }));
            Ok((StatusCode::ACCEPTED, pending).into_response())
        }
    }
}
