//! What to do next: a pure function of the state and of the attempts that are being made right now.

use super::event::{Direction, Event, Intent, Refusal};
use super::state::{Phase, StepState, Undo, WorkflowState};
use crate::definition::StepIndex;
use crate::payload::Payload;
use crate::runtime::Timestamp;

/// An attempt that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAttempt {
    /// Which step.
    pub step: StepIndex,
    /// Action or compensation.
    pub direction: Direction,
    /// Its number.
    pub number: u32,
    /// It does not begin before this instant.
    pub not_before: Timestamp,
    /// An earlier attempt may have had its effect: ask before acting.
    pub effect_may_exist: bool,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// First attempts, whose intent is still to be recorded.
    pub starts: Vec<PlannedAttempt>,
    /// Attempts whose intent is recorded and that nobody is making.
    pub resumes: Vec<PlannedAttempt>,
    /// The event that ends the workflow, when nothing is left to do.
    pub end: Option<Event>,
}

impl Plan {
    /// The intents of the first attempts, for the record that lets them begin.
    #[must_use]
    pub fn intents(&self, state: &WorkflowState) -> Vec<Intent> {
        let intent = |attempt: &PlannedAttempt| Intent {
            step: state.definition().step(attempt.step).name.to_string(),
            direction: attempt.direction,
            attempt: attempt.number,
        };
        self.starts.iter().map(intent).collect()
    }
}

/// The plan for `state`, where `acting(step)` says that an attempt at this step is being made right now.
pub fn plan(state: &WorkflowState, acting: &impl Fn(StepIndex) -> bool) -> Plan {
    match &state.phase {
        Phase::Running => forward(state, acting),
        Phase::Compensating { .. } => backward(state, acting),
        Phase::Parked { .. } | Phase::Completed { .. } | Phase::Compensated { .. } => {
            Plan::default()
        }
    }
}

fn forward(state: &WorkflowState, acting: &impl Fn(StepIndex) -> bool) -> Plan {
    let mut plan = Plan::default();
    let mut all_done = true;
    for index in indexes(state) {
        match state.steps[index.0].action {
            StepState::Untouched if state.may_start(index) => {
                plan.starts.push(first(state, index, Direction::Forward));
            }
            StepState::Attempting {
                attempt,
                not_before,
                effect_may_exist,
            } if !acting(index) => {
                plan.resumes.push(PlannedAttempt {
                    step: index,
                    direction: Direction::Forward,
                    number: attempt,
                    not_before,
                    effect_may_exist,
                });
            }
            _ => {}
        }
        all_done &= matches!(state.steps[index.0].action, StepState::Done { .. });
    }
    if all_done {
        let output = state.value_of(state.definition().output()).cloned();
        plan.end = Some(Event::Completed {
            output: output.unwrap_or_else(Payload::null),
        });
    }
    plan
}

fn backward(state: &WorkflowState, acting: &impl Fn(StepIndex) -> bool) -> Plan {
    let mut plan = Plan::default();
    let mut clean = true;
    for index in indexes(state) {
        clean &= !acting(index) && !state.needs_undo(index);
        if acting(index) || !state.needs_undo(index) {
            continue;
        }
        match state.steps[index.0].undo {
            Undo::No
                if state.may_undo(index) && state.all_after(index, &|later| !acting(later)) =>
            {
                plan.starts.push(first(state, index, Direction::Backward));
            }
            Undo::Attempting {
                attempt,
                not_before,
            } => plan.resumes.push(PlannedAttempt {
                step: index,
                direction: Direction::Backward,
                number: attempt,
                not_before,
                effect_may_exist: true,
            }),
            Undo::No | Undo::Done { .. } => {}
        }
    }
    if clean {
        plan.end = Some(Event::Compensated);
    }
    plan
}

fn first(state: &WorkflowState, step: StepIndex, direction: Direction) -> PlannedAttempt {
    PlannedAttempt {
        step,
        direction,
        number: 1,
        not_before: state.at,
        effect_may_exist: false,
    }
}

fn indexes(state: &WorkflowState) -> impl Iterator<Item = StepIndex> + use<> {
    (0..state.steps.len()).map(StepIndex)
}

/// Why a workflow turned back, if it did.
#[must_use]
pub fn turned_back_because(state: &WorkflowState) -> Option<&Refusal> {
    match &state.phase {
        Phase::Compensating { reason } | Phase::Compensated { reason } => Some(reason),
        Phase::Parked { turning_back, .. } => turning_back.as_ref(),
        Phase::Running | Phase::Completed { .. } => None,
    }
}
