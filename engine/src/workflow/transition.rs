//! Every legal transition of a workflow, and the error that everything else is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::{
    AfterFailure, Direction, End, Event, Failure, Intent, Record, Refusal, Resolution, Signal,
    StepError,
};
use super::state::{Phase, Progress, StepState, Undo, WorkflowState};
use crate::definition::{Definition, Phase as StepPhase, StepIndex, StepKind};
use crate::payload::Payload;
use crate::runtime::Timestamp;

/// Signals that one workflow takes at most.
pub const SIGNALS_MAX: usize = 1_000;
/// The class of the error that a paused workflow is parked with.
pub const PAUSED: &str = "paused-by-operator";

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
                self.undone(record, index, *attempt);
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
            Event::CompensationRequested { by } => self.turn_back(record, &by.to_string()),
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
        let done = |progress: &Progress| matches!(progress.action, StepState::Done { .. });
        if self.phase != Phase::Running || !self.steps.iter().all(done) {
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
            AfterFailure::RetryAt(_) if self.is_going_back() => {
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

    fn turn_back(&mut self, record: &Record, by: &str) -> Result<(), IllegalTransition> {
        self.open(record)?;
        if self.past_pivot() {
            return Err(illegal(
                record,
                "it is past the pivot: the saga only goes forward",
            ));
        }
        if self.is_going_back() {
            return Err(illegal(record, "it is going back already"));
        }
        self.check_not_paused(record)?;
        self.go_back(Refusal::new("compensated-by-operator", by));
        Ok(())
    }

    fn deadline_passed(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        let due = self.deadline.is_some_and(|deadline| deadline <= record.at);
        if !due || self.phase != Phase::Running || self.past_pivot() {
            return Err(illegal(
                record,
                "its deadline has not come, or does not count any more",
            ));
        }
        self.go_back(Refusal::new(
            "deadline-passed",
            "the workflow was not past its pivot at its deadline",
        ));
        Ok(())
    }

    /// An attempt that was given up, of a step that is undone or about to be, took effect after all.
    fn effect_found_late(&mut self, record: &Record, step: &str) -> Result<(), IllegalTransition> {
        self.open(record)?;
        let index = self.index_of(record, step)?;
        if !self.is_going_back() || !self.definition.step(index).undoable {
            return Err(illegal(
                record,
                &format!("`{step}` is not being undone: a late effect changes nothing"),
            ));
        }
        let progress = &mut self.steps[index.0];
        match &mut progress.action {
            StepState::Failed {
                effect_may_exist, ..
            }
            | StepState::Attempting {
                effect_may_exist, ..
            } => *effect_may_exist = true,
            StepState::Done { attempt: 1.., .. } => {}
            StepState::Untouched
            | StepState::Waiting { .. }
            | StepState::Done { attempt: 0, .. } => {
                return Err(illegal(record, &format!("`{step}` was never attempted")));
            }
        }
        progress.undone_before |= matches!(progress.undo, Undo::Done { .. });
        // A compensation that ran, or runs, before the effect was there may have found nothing to undo.
        progress.undo = match progress.undo {
            Undo::No => Undo::No,
            Undo::Attempting { attempt, .. } | Undo::Done { attempt } => Undo::Attempting {
                attempt: attempt + 1,
                not_before: record.at,
            },
        };
        progress.since = record.at;
        Ok(())
    }

    fn timer_fired(&mut self, record: &Record, step: &str) -> Result<(), IllegalTransition> {
        let (index, until) = self.waiting(record, step)?;
        if until.is_none_or(|until| until > record.at) {
            return Err(illegal(
                record,
                &format!("the time of `{step}` has not come"),
            ));
        }
        let output = match self.definition.step(index).kind {
            StepKind::Signal => awaited::timed_out(),
            StepKind::Timer | StepKind::Action => awaited::instant(record.at),
        };
        self.settle(record, index, StepState::Done { attempt: 1, output });
        Ok(())
    }

    fn signal_received(
        &mut self,
        record: &Record,
        signal: &Signal,
    ) -> Result<(), IllegalTransition> {
        self.open(record)?;
        let index = self.index_of(record, &signal.name)?;
        if self.definition.step(index).kind != StepKind::Signal {
            return Err(illegal(
                record,
                &format!("`{}` awaits no signal", signal.name),
            ));
        }
        if self.signal_ids.len() >= SIGNALS_MAX {
            return Err(illegal(
                record,
                &format!("it has taken {SIGNALS_MAX} signals, which is the limit"),
            ));
        }
        if !self.signal_ids.insert(signal.id.clone()) {
            return Err(illegal(
                record,
                &format!("signal `{}` was received already", signal.id),
            ));
        }
        let first_of_its_name = !self.kept.iter().any(|kept| kept.name == signal.name);
        match self.steps[index.0].action {
            StepState::Waiting { .. } => {
                let output = awaited::arrived(&signal.payload);
                self.settle(record, index, StepState::Done { attempt: 1, output });
            }
            // Its step takes one signal: a second one that came early would be kept for nothing.
            StepState::Untouched if first_of_its_name => self.kept.push(signal.clone()),
            _ => {}
        }
        Ok(())
    }

    /// Lets a parked workflow go on, or brings forward what waits to be tried again.
    fn retry(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        self.open(record)?;
        self.check_not_paused(record)?;
        if matches!(self.phase, Phase::Parked { .. }) {
            self.unpark(record);
            return Ok(());
        }
        let mut brought_forward = false;
        for progress in &mut self.steps {
            brought_forward |= try_now(progress, record.at);
        }
        if brought_forward {
            return Ok(());
        }
        Err(illegal(
            record,
            "it is not parked, and nothing in it waits to be tried again",
        ))
    }

    fn unpark(&mut self, record: &Record) {
        let Phase::Parked {
            turning_back, step, ..
        } = self.phase.clone()
        else {
            return;
        };
        if let Some(index) = step {
            let progress = &mut self.steps[index.0];
            let _brought_forward = try_now(progress, record.at);
        }
        self.allow_time_again(record);
        if let Some(reason) = turning_back {
            self.go_back(reason);
        } else {
            self.reopen_refused(record);
            self.phase = Phase::Running;
        }
    }

    fn resolve(
        &mut self,
        record: &Record,
        step: &str,
        resolution: &Resolution,
    ) -> Result<(), IllegalTransition> {
        self.open(record)?;
        self.check_not_paused(record)?;
        let index = self.index_of(record, step)?;
        let progress = &self.steps[index.0];
        if matches!(resolution, Resolution::Undone) {
            let Undo::Attempting { attempt, .. } = progress.undo else {
                return Err(illegal(record, &format!("`{step}` is not being undone")));
            };
            self.undone(record, index, attempt);
            self.unpark_if_about(record, index);
            return Ok(());
        }
        let (StepState::Attempting {
            attempt,
            effect_may_exist: true,
            ..
        }
        | StepState::Failed {
            attempt,
            effect_may_exist: true,
        }) = progress.action
        else {
            return Err(illegal(
                record,
                &format!("it is known what became of `{step}`"),
            ));
        };
        if progress.undo != Undo::No {
            return Err(illegal(
                record,
                &format!("`{step}` is being undone already: resolve that"),
            ));
        }
        match resolution {
            Resolution::Done(output) => {
                let output = output.clone();
                self.steps[index.0].given_by_operator = true;
                self.settle(record, index, StepState::Done { attempt, output });
                self.unpark_if_about(record, index);
            }
            Resolution::Refused(refusal) => {
                let refused = StepState::Failed {
                    attempt,
                    effect_may_exist: false,
                };
                self.steps[index.0].last_error =
                    Some(StepError::new(&refusal.code, &refusal.message));
                self.settle(record, index, refused);
                if self.is_parked_on(index) {
                    self.lift_parking();
                }
                self.turn_back_or_park(index, refusal.clone());
            }
            Resolution::Undone => {}
        }
        Ok(())
    }

    fn skip(
        &mut self,
        record: &Record,
        step: &str,
        output: &Payload,
    ) -> Result<(), IllegalTransition> {
        self.open(record)?;
        self.check_not_paused(record)?;
        let index = self.index_of(record, step)?;
        if self.is_going_back() {
            return Err(illegal(
                record,
                "it is going back: there is nothing to skip, resolve the compensation instead",
            ));
        }
        let attempt = match self.steps[index.0].action {
            StepState::Done { .. } => {
                return Err(illegal(record, &format!("`{step}` is done")));
            }
            // What comes after it must not start before what comes first: least of all what comes after the pivot.
            StepState::Untouched if !self.needs_are_met(index) => {
                return Err(illegal(
                    record,
                    &format!("`{step}` is not due yet: skip it when it is its turn"),
                ));
            }
            StepState::Untouched | StepState::Waiting { .. } => 0,
            StepState::Attempting { attempt, .. } | StepState::Failed { attempt, .. } => attempt,
        };
        let output = output.clone();
        self.steps[index.0].given_by_operator = true;
        self.settle(record, index, StepState::Done { attempt, output });
        self.unpark_if_about(record, index);
        Ok(())
    }

    fn pause(&mut self, record: &Record, by: &str) -> Result<(), IllegalTransition> {
        self.open(record)?;
        if matches!(self.phase, Phase::Parked { .. }) {
            return Err(illegal(record, "it is parked already"));
        }
        self.park(None, StepError::new(PAUSED, by));
        if let Phase::Parked { paused, .. } = &mut self.phase {
            *paused = true;
        }
        Ok(())
    }

    fn unpause(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        match &mut self.phase {
            Phase::Parked {
                paused,
                step,
                error,
                ..
            } if *paused => {
                *paused = false;
                // What failed meanwhile keeps it parked for that.
                if step.is_none() && error.class == PAUSED {
                    self.lift_parking();
                    self.allow_time_again(record);
                }
                Ok(())
            }
            _ => Err(illegal(record, "it is not paused")),
        }
    }

    fn abandon(
        &mut self,
        record: &Record,
        by: &str,
        left: &[String],
    ) -> Result<(), IllegalTransition> {
        self.open(record)?;
        if left != self.left() {
            return Err(illegal(record, "what it leaves is not what it says"));
        }
        self.phase = Phase::Abandoned {
            reason: Refusal::new("abandoned-by-operator", by),
            left: left.to_vec(),
        };
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
                progress.attempting_since = Some(record.at);
            }
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

    /// Waiting, unless the signal has come already.
    fn wait(&mut self, index: StepIndex, until: Option<Timestamp>) -> StepState {
        let name = &*self.definition.step(index).name;
        let kept = self.kept.iter().position(|signal| signal.name == name);
        match kept {
            Some(place) => StepState::Done {
                attempt: 1,
                output: awaited::arrived(&self.kept.remove(place).payload),
            },
            None => StepState::Waiting { until },
        }
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

    fn waiting(
        &self,
        record: &Record,
        step: &str,
    ) -> Result<(StepIndex, Option<Timestamp>), IllegalTransition> {
        self.open(record)?;
        let index = self.index_of(record, step)?;
        match self.steps[index.0].action {
            StepState::Waiting { until } => Ok((index, until)),
            _ => Err(illegal(record, &format!("`{step}` does not wait"))),
        }
    }

    fn undone(&mut self, record: &Record, index: StepIndex, attempt: u32) {
        self.steps[index.0].undo = Undo::Done { attempt };
        self.steps[index.0].since = record.at;
    }

    fn check_not_paused(&self, record: &Record) -> Result<(), IllegalTransition> {
        if matches!(self.phase, Phase::Parked { paused: true, .. }) {
            return Err(illegal(record, "it is paused: resume it first"));
        }
        Ok(())
    }

    fn is_parked_on(&self, index: StepIndex) -> bool {
        matches!(self.phase, Phase::Parked { step: Some(step), .. } if step == index)
    }

    /// It was parked because of this step, which is no longer a problem.
    fn unpark_if_about(&mut self, record: &Record, index: StepIndex) {
        if self.is_parked_on(index) {
            self.unpark(record);
        }
    }

    /// The time in which nobody was to try anything is no time that retries have used up.
    fn allow_time_again(&mut self, record: &Record) {
        for progress in &mut self.steps {
            if progress.attempting_since.is_some() {
                progress.attempting_since = Some(record.at);
            }
        }
    }

    /// Goes on where it was going before it was parked.
    fn lift_parking(&mut self) {
        if let Phase::Parked { turning_back, .. } = self.phase.clone() {
            match turning_back {
                Some(reason) => self.go_back(reason),
                None => self.phase = Phase::Running,
            }
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

/// Brings the step's next attempt forward to now; `false` when none waits.
fn try_now(progress: &mut Progress, now: Timestamp) -> bool {
    let waits = match (&mut progress.action, &mut progress.undo) {
        (_, Undo::Attempting { not_before, .. })
        | (StepState::Attempting { not_before, .. }, Undo::No) => Some(not_before),
        _ => None,
    };
    match waits {
        Some(not_before) if *not_before > now => {
            *not_before = now;
            true
        }
        _ => false,
    }
}

/// What a wait gives, in the stored form of [`crate::definition::Awaited`] and of [`Timestamp`].
mod awaited {
    use super::{Payload, Timestamp};

    pub(super) fn arrived(payload: &Payload) -> Payload {
        Payload::from_json(format!("{{\"arrived\":{}}}", payload.as_str()))
    }

    pub(super) fn timed_out() -> Payload {
        Payload::from_json("\"timed-out\"".to_owned())
    }

    pub(super) fn instant(at: Timestamp) -> Payload {
        Payload::from_json(at.0.to_string())
    }
}
