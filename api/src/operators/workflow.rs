//! `GET /v1/workflows/{id}`: one workflow with its steps, attempts and last errors.

use axum::Json;
use axum::extract::State;

use super::shown::{Detail, workflow_id};
use crate::http::Path;
use crate::problem::Problem;
use crate::wiring::Shared;

pub async fn show(State(services): State<Shared>, Path(id): Path) -> Result<Json<Detail>, Problem> {
    match services.engine.view(workflow_id(&id)?).await? {
        Some(view) => Ok(Json(view.into())),
        None => Err(Problem::not_found("workflow", &id)),
    }
}
