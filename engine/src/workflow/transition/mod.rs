//! Every legal transition of a workflow, and the error that everything else is. The table is `WorkflowState::transition`; what the
//! events do is in three files by who causes them: attempts, waits, operators.

mod attempts;
mod operators;
mod waits;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::{Direction, End, Event, Intent, Record, Refusal, StepError};
use super::state::{Phase, Progress, StepState, Undo, WorkflowState};
use crate::definition::{Definition, Phase as StepPhase, StepIndex, StepKind};
use crate::payload::Payload;

/// Signals that one workflow takes at most.
pub const SIGNALS_MAX: usize = 1_000;
/// The class of the error that a paused workflow is parked with.
pub const PAUSED: &str = "paused-by-operator";

/// The reason of a workflow that the engine itself turned back: its node lost the partition while it was being started.
pub const START_LOST: &str = "start-lost";
/// The reason of a workflow that an operator turned back.
pub const TURNED_BACK: &str = "compensated-by-operator";

/// A record that does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} ({kind}) does not fit: {why}")]
pub struct IllegalTransition {
    /// The record's number.
    pub seq: u32,
    /// The event's type.
    pub kind: &'static str,
    /// What does not fit.
    pub why: String,
}

impl WorkflowState {
    /// The state after the first record, which must be [`Event::Started`] for this definition.
    pub fn start(definition: &Arc<Definition>, record: &Record) -> Result<Self, IllegalTransition> {
        let Event::Started {
            definition: pinned,
            input,
            deadline,
        } = &record.event
        else {
            return Err(illegal(record, "the first record must be `started`"));
        };
        if record.seq != 1 {
            return Err(illegal(record, "the first record must have number 1"));
        }
        if pinned != definition.pinned() {
            return Err(illegal(record, "it belongs to another definition"));
        }
        let untouched = Progress {
            action: StepState::Untouched,
            undo: Undo::No,
            undone_before: false,
            given_by_operator: false,
            last_error: None,
            attempting_since: None,
            since: record.at,
        };
        let mut state = Self {
            definition: Arc::clone(definition),
            input: input.clone(),
            phase: Phase::Running,
            steps: vec![untouched; definition.steps().len()],
            seq: 1,
            at: record.at,
            deadline: *deadline,
            kept: Vec::new(),
            signal_ids: BTreeSet::new(),
        };
        state.begin(record)?;
        state.end(record)?;
        Ok(state)
    }

    /// The state that these records fold to; `None` when there is none.
    pub fn fold<'a>(
        definition: &Arc<Definition>,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<Option<Self>, IllegalTransition> {
        let mut records = records.into_iter();
        let Some(first) = records.next() else {
            return Ok(None);
        };
        let mut state = Self::start(definition, first)?;
        for record in records {
            state = state.apply(record)?;
        }
        Ok(Some(state))
    }

    /// The state after one more record. A record that does not fit is an error, and the state is gone: the caller keeps a
    /// copy where it must go on.
    pub fn apply(mut self, record: &Record) -> Result<Self, IllegalTransition> {
        if record.seq != self.seq + 1 {
            return Err(illegal(
                record,
                &format!("number {} comes next", self.seq + 1),
            ));
        }
        self.transition(record)?;
        self.seq = record.seq;
        self.at = record.at;
        self.begin(record)?;
        self.end(record)?;
        Ok(self)
    }

    fn transition(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        match &record.event {
            Event::Started { .. } => Err(illegal(record, "it is started already")),
            Event::StepDone {
                step,
                attempt,
                output,
            } => {
                let index = self.under_way(record, Direction::Forward, step, *attempt)?;
                self.settle(
                    record,
                    index,
                    StepState::Done {
                        attempt: *attempt,
                        output: output.clone(),
                    },
                );
                Ok(())
            }
            Event::StepRefused {
                step,
                attempt,
                refusal,
                effect_may_exist,
            } => {
                let index = self.under_way(record, Direction::Forward, step, *attempt)?;
                let may_exist = *effect_may_exist;
                let error = StepError::new(&refusal.code, &refusal.message);
                self.steps[index.0].last_error = Some(error);
                self.settle(
                    record,
                    index,
                    StepState::Failed {
                        attempt: *attempt,
                        effect_may_exist: may_exist,
                    },
                );
                self.turn_back_or_park(index, refusal.clone());
                Ok(())
            }
            Event::AttemptFailed {
                step,
                attempt,
                failure,
                error,
                then,
            } => {
                let index = self.under_way(record, Direction::Forward, step, *attempt)?;
                self.steps[index.0].last_error = Some(error.clone());
                self.attempt_failed(record, index, *attempt, *failure, error, *then)
            }
            Event::CompensationDone { step, attempt } => {
                let index = self.under_way(record, Direction::Backward, step, *attempt)?;
                self.undone(record, index, *attempt);
                Ok(())
            }
            Event::CompensationFailed {
                step,
                attempt,
                error,
                then,
            } => {
                let index = self.under_way(record, Direction::Backward, step, *attempt)?;
                self.steps[index.0].last_error = Some(error.clone());
                self.steps[index.0].since = record.at;
                self.compensation_failed(record, index, *attempt, error, *then)
            }
            Event::EffectFoundLate { step } => self.effect_found_late(record, step),
            Event::TimerFired { step } => self.timer_fired(record, step),
            Event::SignalReceived(signal) => self.signal_received(record, signal),
            Event::DeadlinePassed => self.deadline_passed(record),
            Event::Poisoned { error } => {
                self.open(record)?;
                self.park(None, error.clone());
                Ok(())
            }
            Event::Continued { .. } => self.open(record),
            Event::CompensationRequested { by } => self.turn_back(record, by),
            Event::RetryRequested { .. } => self.retry(record),
            Event::Resolved {
                step, resolution, ..
            } => self.resolve(record, step, resolution),
            Event::Skipped { step, output, .. } => self.skip(record, step, output),
            Event::Paused { by } => self.pause(record, &by.to_string()),
            Event::Unpaused { .. } => self.unpause(record),
            Event::Abandoned { by, left } => self.abandon(record, &by.to_string(), left),
        }
    }

    /// Ends the workflow if the record says so.
    pub(super) fn end(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        match record.ends {
            None => Ok(()),
            Some(End::Completed) => self.complete(record),
            Some(End::Compensated) => self.end_compensated(record),
        }
    }

    fn complete(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        let all_done = (0..self.steps.len()).all(|index| self.is_done(StepIndex(index)));
        if self.phase != Phase::Running || !all_done {
            return Err(illegal(record, "not every step is done"));
        }
        let output = self.value_of(self.definition.output()).cloned();
        self.phase = Phase::Completed {
            output: output.unwrap_or_else(Payload::null),
        };
        Ok(())
    }

    fn end_compensated(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        let clean = (0..self.steps.len()).all(|index| !self.needs_undo(StepIndex(index)));
        match &self.phase {
            Phase::Compensating { reason } if clean => {
                self.phase = Phase::Compensated {
                    reason: reason.clone(),
                };
                Ok(())
            }
            _ => Err(illegal(
                record,
                "it is not going back, or something is not undone",
            )),
        }
    }

    /// Records that the attempts named in the record may begin.
    fn begin(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        for intent in &record.starts {
            self.begin_one(record, intent)?;
        }
        Ok(())
    }

    pub(super) fn begin_one(
        &mut self,
        record: &Record,
        intent: &Intent,
    ) -> Result<(), IllegalTransition> {
        let index = self.index_of(record, &intent.step)?;
        let legal = match intent.direction {
            Direction::Forward => self.may_start(index) && intent.attempt == 1,
            Direction::Backward => self.may_undo(index) && intent.attempt == 1,
        };
        if !legal {
            return Err(illegal(record, &format!("`{}` may not start", intent.step)));
        }
        let (attempt, not_before) = (1, record.at);
        match (intent.direction, self.definition.step(index).kind) {
            (Direction::Forward, StepKind::Action) => {
                self.steps[index.0].action = StepState::Attempting {
                    attempt,
                    not_before,
                    effect_may_exist: false,
                };
            }
            (Direction::Forward, StepKind::Timer | StepKind::Signal) => {
                self.steps[index.0].action = self.wait(index, intent.until);
            }
            (Direction::Backward, _) => {
                self.steps[index.0].undo = Undo::Attempting {
                    attempt,
                    not_before,
                };
            }
        }
        let progress = &mut self.steps[index.0];
        progress.since = record.at;
        progress.attempting_since = Some(record.at);
        Ok(())
    }

    /// The step, if this very attempt at it is under way.
    fn under_way(
        &self,
        record: &Record,
        direction: Direction,
        step: &str,
        attempt: u32,
    ) -> Result<StepIndex, IllegalTransition> {
        self.open(record)?;
        let index = self.index_of(record, step)?;
        if self.steps[index.0].attempting(direction) == Some(attempt) {
            return Ok(index);
        }
        let undoing = match direction {
            Direction::Forward => "",
            Direction::Backward => "undoing ",
        };
        let why = format!("attempt {attempt} at {undoing}`{step}` is not under way");
        Err(illegal(record, &why))
    }

    fn open(&self, record: &Record) -> Result<(), IllegalTransition> {
        if self.status().is_terminal() {
            return Err(illegal(record, "the workflow has ended"));
        }
        Ok(())
    }

    fn settle(&mut self, record: &Record, index: StepIndex, action: StepState) {
        self.steps[index.0].action = action;
        self.steps[index.0].since = record.at;
    }

    /// What follows a refusal. A step that has an alternative is over, and everything else goes on as it was: the alternative
    /// is due.
    fn turn_back_or_park(&mut self, index: StepIndex, reason: Refusal) {
        if self.is_diverted(index) {
            return;
        }
        let effect_may_exist = matches!(
            self.steps[index.0].action,
            StepState::Failed {
                effect_may_exist: true,
                ..
            }
        );
        let no_way_back = match self.definition.step(index).phase {
            StepPhase::Compensable => false,
            // It answered, but the store refused the rows that go with the answer.
            StepPhase::Pivot => effect_may_exist,
            StepPhase::Retriable => true,
        };
        if no_way_back {
            return self.park(Some(index), StepError::new(reason.code, reason.message));
        }
        match &mut self.phase {
            Phase::Running => self.go_back(reason),
            // It keeps its first reason; a parked workflow goes back when it is retried.
            Phase::Parked { turning_back, .. } => {
                turning_back.get_or_insert(reason);
            }
            Phase::Compensating { .. }
            | Phase::Completed { .. }
            | Phase::Compensated { .. }
            | Phase::Abandoned { .. } => {}
        }
    }

    /// From now on nothing new starts.
    fn go_back(&mut self, reason: Refusal) {
        self.phase = Phase::Compensating { reason };
    }

    fn park(&mut self, step: Option<StepIndex>, error: StepError) {
        let (turning_back, paused) = match &self.phase {
            Phase::Compensating { reason } => (Some(reason.clone()), false),
            Phase::Parked {
                turning_back,
                paused,
                ..
            } => (turning_back.clone(), *paused),
            Phase::Running
            | Phase::Completed { .. }
            | Phase::Compensated { .. }
            | Phase::Abandoned { .. } => (None, false),
        };
        self.phase = Phase::Parked {
            step,
            error,
            turning_back,
            paused,
        };
    }

    fn index_of(&self, record: &Record, step: &str) -> Result<StepIndex, IllegalTransition> {
        self.definition
            .index_of(step)
            .ok_or_else(|| illegal(record, &format!("there is no step `{step}`")))
    }
}

fn illegal(record: &Record, why: &str) -> IllegalTransition {
    IllegalTransition {
        seq: record.seq,
        kind: record.event.kind(),
        why: why.to_owned(),
    }
}
