//! The steps of a workflow as operators see them: attempts, outputs, compensations, and what they wait for.

use engine::Timestamp;
use engine::definition::{Phase as StepPhase, StepIndex, StepKind};
use engine::workflow::{Progress, StepState, Undo, WorkflowState};
use serde::Serialize;
use serde_json::Value;

use super::shown::{Why, without_secrets};
use crate::clock::rfc3339;

/// One step.
#[derive(Serialize)]
pub struct Step {
    name: String,
    phase: &'static str,
    kind: &'static str,
    state: &'static str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    /// The outside that it depends on has no room for it before this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<&'static str>,
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

/// What a step waits for.
#[derive(Serialize)]
pub struct Wait {
    step: String,
    /// `timer`, or `signal` for one of the step's name.
    r#for: &'static str,
    /// When it fires, or when the signal is no longer awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// The steps that wait for an instant or a signal.
pub fn waits(state: &WorkflowState) -> Vec<Wait> {
    let steps = state.steps.iter().zip(state.definition().steps());
    steps
        .filter_map(|(progress, node)| match &progress.action {
            StepState::Waiting { until } => Some(Wait {
                step: node.name.to_string(),
                r#for: kind(node.kind),
                until: until.map(rfc3339),
            }),
            _ => None,
        })
        .collect()
}

/// All steps. `wake_at` is when the workflow comes back into memory, if it is not there.
pub fn steps(state: &WorkflowState, wake_at: Option<Timestamp>) -> Vec<Step> {
    let indexes = (0..).map(StepIndex);
    indexes
        .zip(&state.steps)
        .map(|(index, progress)| step(state, index, progress, wake_at))
        .collect()
}

fn step(
    state: &WorkflowState,
    index: StepIndex,
    progress: &Progress,
    wake_at: Option<Timestamp>,
) -> Step {
    let node = state.definition().step(index);
    let action = Action::of(&progress.action);
    let port = node.policy.port;
    // A workflow wakes for the first thing that is to be done: what was due before that waits for its port.
    let held_back_until = wake_at
        .filter(|until| port.is_some() && next_due(progress).is_some_and(|due| due < *until));
    Step {
        name: node.name.to_string(),
        phase: match node.phase {
            StepPhase::Compensable => "compensable",
            StepPhase::Pivot => "pivot",
            StepPhase::Retriable => "retriable",
        },
        kind: kind(node.kind),
        state: action.state,
        attempts: action.attempts,
        next_attempt_at: action.next_attempt_at,
        held_back_until: held_back_until.map(rfc3339),
        port,
        output: action.output,
        compensation: Compensation::of(&progress.undo, node.undoable),
        last_error: progress.last_error.as_ref().map(Why::from),
        since: rfc3339(progress.since),
    }
}

/// When its next attempt is due by itself.
const fn next_due(progress: &Progress) -> Option<Timestamp> {
    match (&progress.undo, &progress.action) {
        (Undo::Attempting { not_before, .. }, _)
        | (Undo::No, StepState::Attempting { not_before, .. }) => Some(*not_before),
        _ => None,
    }
}

const fn kind(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Action => "action",
        StepKind::Timer => "timer",
        StepKind::Signal => "signal",
    }
}

struct Action {
    state: &'static str,
    attempts: u32,
    next_attempt_at: Option<String>,
    output: Option<Value>,
}

impl Action {
    fn of(action: &StepState) -> Self {
        let plain = |state, attempts| Self {
            state,
            attempts,
            next_attempt_at: None,
            output: None,
        };
        match action {
            StepState::Untouched => plain("untouched", 0),
            StepState::Waiting { .. } => plain("waiting", 0),
            StepState::Attempting {
                attempt,
                not_before,
                ..
            } => Self {
                next_attempt_at: Some(rfc3339(*not_before)),
                ..plain("attempting", *attempt)
            },
            StepState::Done { attempt, output } => Self {
                output: Some(without_secrets(output.as_str())),
                ..plain("done", *attempt)
            },
            StepState::Failed {
                attempt,
                effect_may_exist: true,
            } => plain("effect-unknown", *attempt),
            StepState::Failed {
                attempt,
                effect_may_exist: false,
            } => plain("refused", *attempt),
        }
    }
}

impl Compensation {
    fn of(undo: &Undo, undoable: bool) -> Self {
        let plain = |state, attempts| Self {
            state,
            attempts,
            next_attempt_at: None,
        };
        match undo {
            _ if !undoable => plain("none", 0),
            Undo::No => plain("untouched", 0),
            Undo::Attempting {
                attempt,
                not_before,
            } => Self {
                next_attempt_at: Some(rfc3339(*not_before)),
                ..plain("attempting", *attempt)
            },
            Undo::Done { attempt } => plain("done", *attempt),
        }
    }
}
