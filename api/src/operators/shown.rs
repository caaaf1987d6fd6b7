//! Workflows as operators see them.

use engine::store::{Head, Status};
use engine::workflow::{Phase, Refusal, StepError, WorkflowState};
use engine::{View, WorkflowId};
use serde::Serialize;
use serde_json::Value;

use super::steps::{Step, Wait, steps, waits};
use crate::clock::rfc3339;
use crate::problem::Problem;

/// A workflow in a list.
#[derive(Serialize)]
pub struct Summary {
    id: String,
    definition: String,
    definition_version: u32,
    state: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Nothing is done before this instant, unless a signal or an order comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    wakes_at: Option<String>,
    created_at: String,
    updated_at: String,
}

impl From<Head> for Summary {
    fn from(head: Head) -> Self {
        Self {
            id: head.id.to_string(),
            definition: head.definition.name,
            definition_version: head.definition.version,
            state: head.status,
            reason: head.reason,
            label: head.label,
            wakes_at: head.wake_at.map(rfc3339),
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
    /// The number of its last event: what `If-Match` compares. 0 when it is quarantined.
    version: u32,
    /// This program does not have its definition: it is left alone.
    quarantined: bool,
    /// An operator stopped it: it goes on when it is resumed.
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for_operator: Option<Parked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turned_back_because: Option<Why>,
    #[serde(skip_serializing_if = "Option::is_none")]
    abandoned: Option<Abandoned>,
    /// It turns back if it is not past its pivot by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    past_pivot: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    /// What steps wait for.
    waits: Vec<Wait>,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Parked {
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    error: Why,
}

/// An operator gave it up.
#[derive(Serialize)]
struct Abandoned {
    because: Why,
    /// The steps that have, or may have, an effect that nobody will undo or complete.
    left: Vec<String>,
}

/// A code for machines and a sentence for people.
#[derive(Serialize)]
pub struct Why {
    code: String,
    message: String,
}

impl From<&StepError> for Why {
    fn from(error: &StepError) -> Self {
        Self {
            code: error.class.clone(),
            message: error.message.clone(),
        }
    }
}

impl From<&Refusal> for Why {
    fn from(refusal: &Refusal) -> Self {
        Self {
            code: refusal.code.clone(),
            message: refusal.message.clone(),
        }
    }
}

impl From<View> for Detail {
    fn from(view: View) -> Self {
        let state = view.state.as_deref();
        let wake_at = view.head.wake_at;
        Self {
            version: state.map_or(0, |state| state.seq),
            quarantined: state.is_none(),
            paused: state
                .is_some_and(|state| matches!(state.phase, Phase::Parked { paused: true, .. })),
            waiting_for_operator: state.and_then(parked),
            turned_back_because: state
                .and_then(engine::workflow::turned_back_because)
                .map(Why::from),
            abandoned: state.and_then(abandoned),
            deadline: state.and_then(|state| state.deadline).map(rfc3339),
            past_pivot: state.is_some_and(WorkflowState::past_pivot),
            input: state.map(|state| without_secrets(state.input.as_str())),
            output: state.and_then(output),
            waits: state.map(waits).unwrap_or_default(),
            steps: state.map(|state| steps(state, wake_at)).unwrap_or_default(),
            summary: view.head.into(),
        }
    }
}

fn output(state: &WorkflowState) -> Option<Value> {
    match &state.phase {
        Phase::Completed { output } => Some(without_secrets(output.as_str())),
        _ => None,
    }
}

fn parked(state: &WorkflowState) -> Option<Parked> {
    let Phase::Parked { step, error, .. } = &state.phase else {
        return None;
    };
    Some(Parked {
        step: step.map(|index| state.definition().step(index).name.to_string()),
        error: error.into(),
    })
}

fn abandoned(state: &WorkflowState) -> Option<Abandoned> {
    match &state.phase {
        Phase::Abandoned { reason, left } => Some(Abandoned {
            because: reason.into(),
            left: left.clone(),
        }),
        _ => None,
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
