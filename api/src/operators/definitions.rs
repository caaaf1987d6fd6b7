//! `GET /v1/definitions`: the sagas that this program can run.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::wiring::Shared;

#[derive(Serialize)]
pub struct Listed {
    definitions: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    version: u32,
    hash: String,
    steps: Vec<String>,
}

pub async fn list(State(services): State<Shared>) -> Json<Listed> {
    let shown = |definition: &std::sync::Arc<engine::definition::Definition>| Shown {
        name: definition.pinned().name.clone(),
        version: definition.pinned().version,
        // A JSON number would lose bits in many readers.
        hash: format!("{:016x}", definition.pinned().hash),
        steps: definition
            .steps()
            .iter()
            .map(|step| step.name.to_string())
            .collect(),
    };
    Json(Listed {
        definitions: services.engine.definitions().iter().map(shown).collect(),
    })
}
