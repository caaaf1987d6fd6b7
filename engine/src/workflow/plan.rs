//! What to do next: a pure function of the state and of the attempts that are being made right now.

use super::event::{Direction, End, Intent, Record, Refusal};
use super::state::{Phase, StepState, Undo, WorkflowState};
use crate::definition::{StepIndex, StepKind};
use crate::payload::{Payload, PayloadError};
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
    /// Steps that wait for their instant, or for a signal until then.
    pub waits: Vec<(StepIndex, Timestamp)>,
    /// The workflow turns back at this instant, by its deadline.
    pub deadline: Option<Timestamp>,
    /// How the workflow ends, when nothing is left to do.
    pub end: Option<End>,
}

impl Plan {
    /// The intents of the first attempts, for the record that lets them begin. Fails where a wait can't read its input.
    pub fn intents(&self, state: &WorkflowState) -> Result<Vec<Intent>, PayloadError> {
        let intent = |attempt: &PlannedAttempt| {
            let node = state.definition().step(attempt.step);
            let until = match (attempt.direction, node.kind) {
                (Direction::Forward, StepKind::Timer | StepKind::Signal) => node
                    .step
                    .wait_until(&inputs(state, attempt.step), state.at)?,
                _ => None,
            };
            Ok(Intent {
                step: node.name.to_string(),
                direction: attempt.direction,
                attempt: attempt.number,
                until,
            })
        };
        self.starts.iter().map(intent).collect()
    }

    /// The next instant at which something is to be done though nothing happens before.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let resumes = self.resumes.iter().map(|planned| planned.not_before);
        let waits = self.waits.iter().map(|(_, until)| *until);
        resumes.chain(waits).chain(self.deadline).min()
    }
}

/// The record with all that follows from its event: the attempts that it lets begin, and whether it ends the workflow.
/// `state` is the state after the event alone. `held`: this end does not come yet, since an attempt that was given up may still
/// turn out to have had its effect. Fails where a wait can't read its input.
pub fn follow(
    state: WorkflowState,
    record: Record,
    acting: &impl Fn(StepIndex) -> bool,
    held: Option<End>,
) -> Result<(WorkflowState, Record), PayloadError> {
    let (state, record, unreadable) = follow_as_far(state, record, acting, held);
    unreadable.map_or(Ok((state, record)), Err)
}

/// Like [`follow`], but as far as it goes where a wait can't read its input.
pub(crate) fn follow_as_far(
    mut state: WorkflowState,
    mut record: Record,
    acting: &impl Fn(StepIndex) -> bool,
    held: Option<End>,
) -> (WorkflowState, Record, Option<PayloadError>) {
    loop {
        let planned = plan(&state, acting);
        if planned.starts.is_empty() {
            record.ends = planned.end.filter(|end| held != Some(*end));
            let ended = state.end(&record);
            debug_assert!(ended.is_ok(), "the plan names only an end that is legal");
            return (state, record, None);
        }
        let intents = match planned.intents(&state) {
            Ok(intents) => intents,
            Err(unreadable) => return (state, record, Some(unreadable)),
        };
        for intent in intents {
            let begun = state.begin_one(&record, &intent);
            debug_assert!(begun.is_ok(), "the plan names only attempts that may begin");
            record.starts.push(intent);
        }
    }
}

/// The inputs of a step whose needs are met.
#[must_use]
pub fn inputs(state: &WorkflowState, step: StepIndex) -> Vec<Payload> {
    let sources = &state.definition().step(step).inputs;
    sources
        .iter()
        .filter_map(|source| state.value_of(*source).cloned())
        .collect()
}

/// The plan for `state`, where `acting(step)` says that an attempt at this step is being made right now.
pub fn plan(state: &WorkflowState, acting: &impl Fn(StepIndex) -> bool) -> Plan {
    match &state.phase {
        Phase::Running => forward(state, acting),
        Phase::Compensating { .. } => backward(state, acting),
        Phase::Parked { .. }
        | Phase::Completed { .. }
        | Phase::Compensated { .. }
        | Phase::Abandoned { .. } => Plan::default(),
    }
}

fn forward(state: &WorkflowState, acting: &impl Fn(StepIndex) -> bool) -> Plan {
    let mut plan = Plan {
        deadline: state.deadline.filter(|_| !state.past_pivot()),
        ..Plan::default()
    };
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
            StepState::Waiting { until: Some(until) } => plan.waits.push((index, until)),
            _ => {}
        }
        all_done &= state.is_done(index);
    }
    if all_done {
        plan.end = Some(End::Completed);
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
        // An effect that is found late after an earlier step's compensation was due is undone before that all the same.
        let is_last = state.all_after(index, &|later| !acting(later) && !state.needs_undo(later));
        if !is_last {
            continue;
        }
        match state.steps[index.0].undo {
            Undo::No if state.may_undo(index) => {
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
        plan.end = Some(End::Compensated);
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
        Phase::Compensating { reason }
        | Phase::Compensated { reason }
        | Phase::Abandoned { reason, .. } => Some(reason),
        Phase::Parked { turning_back, .. } => turning_back.as_ref(),
        Phase::Running | Phase::Completed { .. } => None,
    }
}
