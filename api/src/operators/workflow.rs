//! `GET /v1/workflows/{id}`: one workflow with its steps, attempts and last errors. Its `ETag` is its version, which an order
//! may name as the one that it is meant for.

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use engine::View;

use super::headers::entity_tag;
use super::shown::{Detail, workflow_id};
use crate::http::Path;
use crate::problem::Problem;
use crate::wiring::Shared;

pub async fn show(State(services): State<Shared>, Path(id): Path) -> Result<Response, Problem> {
    match services.engine.view(workflow_id(&id)?).await? {
        Some(view) => Ok(answer(view)),
        None => Err(Problem::not_found("workflow", &id)),
    }
}

/// The workflow with its version.
pub fn answer(view: View) -> Response {
    let version = view.state.as_ref().map(|state| state.seq);
    let detail = Json(Detail::from(view));
    match version {
        Some(version) => ([(ETAG, entity_tag(version))], detail).into_response(),
        // This program can't read it, so nobody can tell it anything.
        None => detail.into_response(),
    }
}
