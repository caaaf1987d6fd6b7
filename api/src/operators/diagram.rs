//! `GET /v1/workflows/{id}/diagram` and `GET /v1/definitions/{name}/diagram`: Mermaid, to be pasted into any page.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::shown::workflow_id;
use crate::http::Path;
use crate::problem::{Kind, Problem};
use crate::wiring::Shared;

const MERMAID: &str = "text/vnd.mermaid; charset=utf-8";

pub async fn of_workflow(
    State(services): State<Shared>,
    Path(id): Path,
) -> Result<impl IntoResponse, Problem> {
    let not_found = || Problem::not_found("workflow", &id);
    let view = services
        .engine
        .view(workflow_id(&id)?)
        .await?
        .ok_or_else(not_found)?;
    let state = view.state.ok_or_else(|| {
        let why = format!(
            "this program does not have {}, which the workflow runs",
            view.head.definition
        );
        Problem::new(Kind::CONFLICT, why)
    })?;
    Ok(([(CONTENT_TYPE, MERMAID)], with_progress(&state)))
}

/// The definition's diagram, each step coloured by where it stands.
fn with_progress(state: &engine::workflow::WorkflowState) -> String {
    use std::fmt::Write as _;

    use engine::workflow::{StepState, Undo};
    let mut text = state.definition().to_mermaid();
    text.push_str("    classDef done fill:#c8e6c9\n    classDef attempting fill:#fff9c4\n");
    text.push_str("    classDef refused fill:#ffcdd2\n    classDef undone fill:#e0e0e0\n");
    text.push_str("    classDef waiting fill:#bbdefb\n");
    for (index, progress) in state.steps.iter().enumerate() {
        let class = match (&progress.undo, &progress.action) {
            (Undo::Done { .. }, _) => "undone",
            (Undo::Attempting { .. }, _) | (_, StepState::Attempting { .. }) => "attempting",
            (_, StepState::Done { .. }) => "done",
            (_, StepState::Failed { .. }) => "refused",
            (_, StepState::Waiting { .. }) => "waiting",
            (_, StepState::Untouched) => continue,
        };
        writeln!(text, "    class s{index} {class}").expect("a String takes all");
    }
    text
}

pub async fn of_definition(
    State(services): State<Shared>,
    Path(name): Path,
) -> Result<impl IntoResponse, Problem> {
    let newest = services
        .engine
        .definitions()
        .iter()
        .filter(|definition| definition.pinned().name == name)
        .max_by_key(|definition| definition.pinned().version);
    match newest {
        Some(definition) => Ok(([(CONTENT_TYPE, MERMAID)], definition.to_mermaid())),
        None => Err(Problem::not_found("definition", &name)),
    }
}
