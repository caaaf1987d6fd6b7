//! Workflows as operators see them.

use engine::definition::{Phase as StepPhase, StepIndex};
use engine::store::{Head, Status};
use engine::workflow::{Phase, Progress, StepState, Undo, WorkflowState};
use engine::{View, WorkflowId};
use serde::Serialize;
use serde_json::Value;

use crate::clock::rfc3339;
use crate::problem::Problem;

/// A workflow in a list.
#[derive(Serialize)]
pub struct Summary {
    id: String,
    definition: String,
    version: u32,
    state: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    created_at: String,
    updated_at: String,
}

impl From<Head> for Summary {
    fn from(head: Head) -> Self {
        Self {
            id: head.id.to_string(),
            definition: head.definition.name,
            version: head.definition.version,
            state: head.status,
            reason: head.reason,
            label: head.label,
            created_at: rfc3339(head.created_at),
            updated_at: rfc3339(head.updated_at),
        }
    }
}

/// One workflow with its steps.
#[derive(Serialize)]
pub struct Detail {
    #[serde(flatten)]
    summary: Summary,
    /// This program does not have its definition: it is left alone.
    quarantined: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for_operator: Option<Parked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turned_back_because: Option<Why>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    events: u32,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Parked {
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    error: Why,
}

#[derive(Serialize)]
struct Why {
    code: String,
    message: String,
}

#[derive(Serialize)]
struct Step {
    name: String,
    phase: &'static str,
    state: &'static str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    compensation: Compensation,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<Why>,
    since: String,
}

#[derive(Serialize)]
struct Compensation {
    state: &'static str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
}

impl From<View> for Detail {
    fn from(view: View) -> Self {
        let state = view.state.as_deref();
        let output = state.and_then(|state| match &state.phase {
            Phase::Completed { output } => Some(without_secrets(output.as_str())),
            _ => None,
        });
        Self {
            summary: view.head.into(),
            quarantined: state.is_none(),
            waiting_for_operator: state.and_then(parked),
            turned_back_because: state.and_then(engine::workflow::turned_back_because).map(
                |refusal| Why {
                    code: refusal.code.clone(),
                    message: refusal.message.clone(),
                },
            ),
            input: state.map(|state| without_secrets(state.input.as_str())),
            output,
            events: state.map_or(0, |state| state.seq),
            steps: state.map(steps).unwrap_or_default(),
        }
    }
}

fn parked(state: &WorkflowState) -> Option<Parked> {
    let Phase::Parked { step, error, .. } = &state.phase else {
        return None;
    };
    Some(Parked {
        step: step.map(|index| state.definition().step(index).name.to_string()),
        error: Why {
            code: error.class.clone(),
            message: error.message.clone(),
        },
    })
}

fn steps(state: &WorkflowState) -> Vec<Step> {
    state
        .steps
        .iter()
        .enumerate()
        .map(|(index, progress)| step(state, StepIndex(index), progress))
        .collect()
}

fn step(state: &WorkflowState, index: StepIndex, progress: &Progress) -> Step {
    let node = state.definition().step(index);
    let (action, attempts, next_attempt_at, output) = match &progress.action {
        StepState::Untouched => ("untouched", 0, None, None),
        StepState::Attempting {
            attempt,
            not_before,
            ..
        } => ("attempting", *attempt, Some(rfc3339(*not_before)), None),
        StepState::Done { attempt, output } => (
            "done",
            *attempt,
            None,
            Some(without_secrets(output.as_str())),
        ),
        StepState::Failed {
            attempt,
            effect_may_exist: true,
        } => ("effect-unknown", *attempt, None, None),
        StepState::Failed {
            attempt,
            effect_may_exist: false,
        } => ("refused", *attempt, None, None),
    };
    let compensation = match &progress.undo {
        _ if !node.undoable => Compensation {
            state: "none",
            attempts: 0,
            next_attempt_at: None,
        },
        Undo::No => Compensation {
            state: "untouched",
            attempts: 0,
            next_attempt_at: None,
        },
        Undo::Attempting {
            attempt,
            not_before,
        } => Compensation {
            state: "attempting",
            attempts: *attempt,
            next_attempt_at: Some(rfc3339(*not_before)),
        },
        Undo::Done { attempt } => Compensation {
            state: "done",
            attempts: *attempt,
            next_attempt_at: None,
        },
    };
    Step {
        name: node.name.to_string(),
        phase: match node.phase {
            StepPhase::Compensable => "compensable",
            StepPhase::Pivot => "pivot",
            StepPhase::Retriable => "retriable",
        },
        state: action,
        attempts,
        next_attempt_at,
        output,
        compensation,
        last_error: progress.last_error.as_ref().map(|error| Why {
            code: error.class.clone(),
            message: error.message.clone(),
        }),
        since: rfc3339(progress.since),
    }
}

/// Stored JSON with what must not be shown taken out: whoever has a payment token can charge.
pub fn without_secrets(json: &str) -> Value {
    let mut value = serde_json::from_str(json).unwrap_or(Value::Null);
    hide(&mut value);
    value
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "token" || name.ends_with("_token") {
                    *value = Value::from("(hidden)");
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        _ => {}
    }
}

/// The id in a URL.
pub fn workflow_id(text: &str) -> Result<WorkflowId, Problem> {
    WorkflowId::parse(text).ok_or_else(|| Problem::not_found("workflow", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payment_tokens_are_not_shown() {
        let shown = without_secrets(
            r#"{"payment":{"method":"stored","token":"tok-1"},"a":[{"card_token":"tok-2"}]}"#,
        );
        assert_eq!(shown.to_string().matches("(hidden)").count(), 2);
        assert!(!shown.to_string().contains("tok-"));
    }
}
