//! What a workflow's journal folds to. [`WorkflowState::apply`] lists every legal transition; everything else is an error.

use std::sync::Arc;

use super::event::{AfterFailure, Direction, Event, Failure, Intent, Record, Refusal, StepError};
use crate::definition::{Definition, Phase as StepPhase, Source, StepIndex};
use crate::payload::Payload;
use crate::runtime::Timestamp;
use crate::store::Status;

/// Where a workflow is going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Forward.
    Running,
    /// Back: what may have taken effect is undone.
    Compensating {
        /// Why it turned back.
        reason: Refusal,
    },
    /// Nowhere, until an operator says so.
    Parked {
        /// Which step, if it is about one.
        step: Option<StepIndex>,
        /// What is the matter.
        error: StepError,
        /// The reason for which it was going back, if it was.
        turning_back: Option<Refusal>,
    },
    /// Every step is done (terminal).
    Completed {
        /// The saga's output.
        output: Payload,
    },
    /// Everything is undone (terminal).
    Compensated {
        /// Why it turned back.
        reason: Refusal,
    },
}

/// Where a step's action stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    /// No attempt has begun.
    Untouched,
    /// An attempt may have begun, or will at `not_before`.
    Attempting {
        /// Its number.
        attempt: u32,
        /// It does not begin before this instant.
        not_before: Timestamp,
        /// An earlier attempt may have had its effect.
        effect_may_exist: bool,
    },
    /// It took effect.
    Done {
        /// After so many attempts.
        attempt: u32,
        /// What it gave.
        output: Payload,
    },
    /// It will not take effect any more.
    Failed {
        /// After so many attempts.
        attempt: u32,
        /// It may have taken effect: it is to be compensated.
        effect_may_exist: bool,
    },
}

/// Where a step's compensation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Not begun.
    No,
    /// An attempt may have begun, or will at `not_before`.
    Attempting {
        /// Its number.
        attempt: u32,
        /// It does not begin before this instant.
        not_before: Timestamp,
    },
    /// It took effect.
    Done {
        /// After so many attempts.
        attempt: u32,
    },
}

/// A step of a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its action.
    pub action: StepState,
    /// Its compensation.
    pub undo: Undo,
    /// The last error, for those who look.
    pub last_error: Option<StepError>,
    /// When something last happened to it.
    pub since: Timestamp,
}

/// The fold of a workflow's records.
#[derive(Clone, Debug)]
pub struct WorkflowState {
    definition: Arc<Definition>,
    /// What it was started with.
    pub input: Payload,
    /// Where it is going.
    pub phase: Phase,
    /// Its steps, by [`StepIndex`].
    pub steps: Vec<Progress>,
    /// The number of the last record.
    pub seq: u32,
    /// When the last record was made.
    pub at: Timestamp,
}

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
            last_error: None,
            since: record.at,
        };
        let mut state = Self {
            definition: Arc::clone(definition),
            input: input.clone(),
            phase: Phase::Running,
            steps: vec![untouched; definition.steps().len()],
            seq: 1,
            at: record.at,
        };
        state.begin(record)?;
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
        Ok(self)
    }

    /// The definition that this workflow runs.
    #[must_use]
    pub const fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// The status that lists show.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self.phase {
            Phase::Running => Status::Running,
            Phase::Compensating { .. } => Status::Compensating,
            Phase::Parked { .. } => Status::Parked,
            Phase::Completed { .. } => Status::Completed,
            Phase::Compensated { .. } => Status::Compensated,
        }
    }

    /// Why it turned back or was parked: the refusal's code or the error's class.
    #[must_use]
    pub fn reason_code(&self) -> Option<&str> {
        match &self.phase {
            Phase::Compensating { reason } | Phase::Compensated { reason } => Some(&reason.code),
            Phase::Parked { error, .. } => Some(&error.class),
            Phase::Running | Phase::Completed { .. } => None,
        }
    }

    /// The pivot is done or may be: there is no way back.
    #[must_use]
    pub fn past_pivot(&self) -> bool {
        self.definition
            .steps()
            .iter()
            .zip(&self.steps)
            .any(|(node, progress)| {
                node.phase == StepPhase::Pivot
                    && match progress.action {
                        StepState::Untouched
                        | StepState::Failed {
                            effect_may_exist: false,
                            ..
                        } => false,
                        StepState::Attempting { .. }
                        | StepState::Done { .. }
                        | StepState::Failed { .. } => true,
                    }
            })
    }

    /// The output of a step that is done.
    #[must_use]
    pub fn output_of(&self, step: &str) -> Option<&Payload> {
        self.value_of(Source::Step(self.definition.index_of(step)?))
    }

    /// The value of a source; `None` when that step is not done.
    #[must_use]
    pub fn value_of(&self, source: Source) -> Option<&Payload> {
        match source {
            Source::Input => Some(&self.input),
            Source::Step(index) => match &self.steps[index.0].action {
                StepState::Done { output, .. } => Some(output),
                _ => None,
            },
        }
    }

    /// The step has, or may have, an effect that is not undone yet.
    #[must_use]
    pub fn needs_undo(&self, index: StepIndex) -> bool {
        let progress = &self.steps[index.0];
        let has_effect = match progress.action {
            StepState::Untouched => false,
            StepState::Attempting { .. } | StepState::Done { .. } => true,
            StepState::Failed {
                effect_may_exist, ..
            } => effect_may_exist,
        };
        has_effect
            && self.definition.step(index).undoable
            && !matches!(progress.undo, Undo::Done { .. })
    }

    // ---- the transitions ----

    fn transition(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        match &record.event {
            Event::Started { .. } => Err(illegal(record, "it is started already")),
            Event::StepDone {
                step,
                attempt,
                output,
            } => {
                let index = self.attempting(record, step, *attempt)?;
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
                let index = self.attempting(record, step, *attempt)?;
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
                let index = self.attempting(record, step, *attempt)?;
                self.steps[index.0].last_error = Some(error.clone());
                self.attempt_failed(record, index, *attempt, *failure, error, *then)
            }
            Event::CompensationDone { step, attempt } => {
                let index = self.undoing(record, step, *attempt)?;
                self.steps[index.0].undo = Undo::Done { attempt: *attempt };
                self.steps[index.0].since = record.at;
                Ok(())
            }
            Event::CompensationFailed {
                step,
                attempt,
                error,
                then,
            } => {
                let index = self.undoing(record, step, *attempt)?;
                self.steps[index.0].last_error = Some(error.clone());
                self.steps[index.0].since = record.at;
                self.compensation_failed(record, index, *attempt, error, *then)
            }
            Event::Poisoned { error } => {
                self.open(record)?;
                self.park(None, error.clone());
                Ok(())
            }
            Event::Resumed { .. } => self.open(record),
            Event::CompensationRequested { actor, reason } => self.turn_back(record, actor, reason),
            Event::RetryRequested { .. } => self.unpark(record),
            Event::Completed { output } => self.complete(record, output),
            Event::Compensated => self.end_compensated(record),
        }
    }

    fn complete(&mut self, record: &Record, output: &Payload) -> Result<(), IllegalTransition> {
        let done = |progress: &Progress| matches!(progress.action, StepState::Done { .. });
        if self.phase != Phase::Running || !self.steps.iter().all(done) {
            return Err(illegal(record, "not every step is done"));
        }
        self.phase = Phase::Completed {
            output: output.clone(),
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

    fn attempt_failed(
        &mut self,
        record: &Record,
        index: StepIndex,
        attempt: u32,
        failure: Failure,
        error: &StepError,
        then: AfterFailure,
    ) -> Result<(), IllegalTransition> {
        let effect_may_exist = failure == Failure::Unknown || self.earlier_effect_may_exist(index);
        let failed = StepState::Failed {
            attempt,
            effect_may_exist,
        };
        let phase = self.definition.step(index).phase;
        match then {
            // Going back, an attempt that failed is not repeated: its compensation takes care of what it may have done.
            AfterFailure::RetryAt(_) if matches!(self.phase, Phase::Compensating { .. }) => {
                self.settle(record, index, failed);
            }
            AfterFailure::RetryAt(not_before) => {
                let attempt = attempt + 1;
                self.settle(
                    record,
                    index,
                    StepState::Attempting {
                        attempt,
                        not_before,
                        effect_may_exist,
                    },
                );
            }
            AfterFailure::TurnBack if phase == StepPhase::Retriable => {
                return Err(illegal(record, "a retriable step never turns back"));
            }
            AfterFailure::TurnBack if phase == StepPhase::Pivot && effect_may_exist => {
                return Err(illegal(
                    record,
                    "the pivot may have taken effect: there is no way back",
                ));
            }
            AfterFailure::TurnBack => {
                self.settle(record, index, failed);
                self.turn_back_or_park(index, Refusal::new(&error.class, &error.message));
            }
            AfterFailure::Park => {
                // The attempt stays open: an operator's retry makes the next one.
                let attempt = attempt + 1;
                let not_before = record.at;
                self.settle(
                    record,
                    index,
                    StepState::Attempting {
                        attempt,
                        not_before,
                        effect_may_exist,
                    },
                );
                self.park(Some(index), error.clone());
            }
        }
        Ok(())
    }

    fn compensation_failed(
        &mut self,
        record: &Record,
        index: StepIndex,
        attempt: u32,
        error: &StepError,
        then: AfterFailure,
    ) -> Result<(), IllegalTransition> {
        let attempt = attempt + 1;
        match then {
            AfterFailure::RetryAt(not_before) => {
                self.steps[index.0].undo = Undo::Attempting {
                    attempt,
                    not_before,
                };
            }
            AfterFailure::Park => {
                self.steps[index.0].undo = Undo::Attempting {
                    attempt,
                    not_before: record.at,
                };
                self.park(Some(index), error.clone());
            }
            AfterFailure::TurnBack => {
                return Err(illegal(record, "a compensation is never given up"));
            }
        }
        Ok(())
    }

    fn turn_back(
        &mut self,
        record: &Record,
        actor: &str,
        reason: &str,
    ) -> Result<(), IllegalTransition> {
        self.open(record)?;
        if self.past_pivot() {
            return Err(illegal(
                record,
                "it is past the pivot: the saga only goes forward",
            ));
        }
        if matches!(
            self.phase,
            Phase::Compensating { .. }
                | Phase::Parked {
                    turning_back: Some(_),
                    ..
                }
        ) {
            return Err(illegal(record, "it is going back already"));
        }
        let refusal = Refusal::new("compensated-by-operator", format!("{actor}: {reason}"));
        self.go_back(refusal);
        Ok(())
    }

    fn unpark(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        let Phase::Parked {
            turning_back, step, ..
        } = self.phase.clone()
        else {
            return Err(illegal(record, "only a parked workflow can be retried"));
        };
        if let Some(index) = step {
            let progress = &mut self.steps[index.0];
            if let StepState::Attempting { not_before, .. } = &mut progress.action {
                *not_before = record.at;
            }
            if let Undo::Attempting { not_before, .. } = &mut progress.undo {
                *not_before = record.at;
            }
        }
        if turning_back.is_none() {
            self.reopen_refused(record);
        }
        match turning_back {
            Some(reason) => self.go_back(reason),
            None => self.phase = Phase::Running,
        }
        Ok(())
    }

    /// Steps from which there is no way back and that were refused, be it one or several: the operator has seen to it that
    /// they may be tried again.
    fn reopen_refused(&mut self, record: &Record) {
        for progress in &mut self.steps {
            if let StepState::Failed {
                attempt,
                effect_may_exist,
            } = progress.action
            {
                let attempt = attempt + 1;
                progress.action = StepState::Attempting {
                    attempt,
                    not_before: record.at,
                    effect_may_exist,
                };
            }
        }
    }

    /// Records that the attempts named in the record may begin.
    pub(crate) fn begin(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        for intent in &record.starts {
            self.begin_one(record, intent)?;
        }
        Ok(())
    }

    fn begin_one(&mut self, record: &Record, intent: &Intent) -> Result<(), IllegalTransition> {
        let index = self.index_of(record, &intent.step)?;
        let legal = match intent.direction {
            Direction::Forward => self.may_start(index) && intent.attempt == 1,
            Direction::Backward => self.may_undo(index) && intent.attempt == 1,
        };
        if !legal {
            return Err(illegal(record, &format!("`{}` may not start", intent.step)));
        }
        let progress = &mut self.steps[index.0];
        let (attempt, not_before) = (1, record.at);
        match intent.direction {
            Direction::Forward => {
                progress.action = StepState::Attempting {
                    attempt,
                    not_before,
                    effect_may_exist: false,
                };
            }
            Direction::Backward => {
                progress.undo = Undo::Attempting {
                    attempt,
                    not_before,
                }
            }
        }
        progress.since = record.at;
        Ok(())
    }

    /// An untouched step whose needs are met, in a workflow that goes forward.
    #[must_use]
    pub fn may_start(&self, index: StepIndex) -> bool {
        let done = |need: &StepIndex| matches!(self.steps[need.0].action, StepState::Done { .. });
        self.phase == Phase::Running
            && self.steps[index.0].action == StepState::Untouched
            && self.definition.step(index).needs.iter().all(done)
    }

    /// A step to be undone, in a workflow that goes back, with nothing left to undo after it. Its action may have been left
    /// in the middle of an attempt (a crash, a retry that was waiting): then nobody knows whether it took effect, and its
    /// compensation must make sure that it has none, now or later.
    #[must_use]
    pub fn may_undo(&self, index: StepIndex) -> bool {
        matches!(self.phase, Phase::Compensating { .. })
            && self.steps[index.0].undo == Undo::No
            && self.needs_undo(index)
            && self.all_after(index, &|later| !self.needs_undo(later))
    }

    /// `holds` for every step that comes after this one, however far.
    pub(crate) fn all_after(&self, index: StepIndex, holds: &impl Fn(StepIndex) -> bool) -> bool {
        self.definition
            .step(index)
            .followers
            .iter()
            .all(|later| holds(*later))
    }

    fn attempting(
        &self,
        record: &Record,
        step: &str,
        number: u32,
    ) -> Result<StepIndex, IllegalTransition> {
        self.open(record)?;
        let index = self.index_of(record, step)?;
        match self.steps[index.0].action {
            StepState::Attempting { attempt, .. } if attempt == number => Ok(index),
            _ => Err(illegal(
                record,
                &format!("attempt {number} at `{step}` is not under way"),
            )),
        }
    }

    fn undoing(
        &self,
        record: &Record,
        step: &str,
        number: u32,
    ) -> Result<StepIndex, IllegalTransition> {
        self.open(record)?;
        let index = self.index_of(record, step)?;
        match self.steps[index.0].undo {
            Undo::Attempting { attempt, .. } if attempt == number => Ok(index),
            _ => Err(illegal(
                record,
                &format!("attempt {number} at undoing `{step}` is not under way"),
            )),
        }
    }

    fn open(&self, record: &Record) -> Result<(), IllegalTransition> {
        if self.status().is_terminal() {
            return Err(illegal(record, "the workflow has ended"));
        }
        Ok(())
    }

    fn earlier_effect_may_exist(&self, index: StepIndex) -> bool {
        matches!(
            self.steps[index.0].action,
            StepState::Attempting {
                effect_may_exist: true,
                ..
            }
        )
    }

    fn settle(&mut self, record: &Record, index: StepIndex, action: StepState) {
        self.steps[index.0].action = action;
        self.steps[index.0].since = record.at;
    }

    fn turn_back_or_park(&mut self, index: StepIndex, reason: Refusal) {
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
            Phase::Compensating { .. } | Phase::Completed { .. } | Phase::Compensated { .. } => {}
        }
    }

    /// From now on nothing new starts.
    fn go_back(&mut self, reason: Refusal) {
        self.phase = Phase::Compensating { reason };
    }

    fn park(&mut self, step: Option<StepIndex>, error: StepError) {
        let turning_back = match &self.phase {
            Phase::Compensating { reason } => Some(reason.clone()),
            Phase::Parked { turning_back, .. } => turning_back.clone(),
            Phase::Running | Phase::Completed { .. } | Phase::Compensated { .. } => None,
        };
        self.phase = Phase::Parked {
            step,
            error,
            turning_back,
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
