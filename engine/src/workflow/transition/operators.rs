//! What operators do to a workflow.

use super::{IllegalTransition, PAUSED, START_LOST, TURNED_BACK, illegal};
use crate::definition::StepIndex;
use crate::payload::Payload;
use crate::planted;
use crate::runtime::Timestamp;
use crate::workflow::event::{By, Record, Refusal, Resolution, StepError};
use crate::workflow::state::{Phase, Progress, StepState, Undo, WorkflowState};

impl WorkflowState {
    pub(super) fn turn_back(&mut self, record: &Record, by: &By) -> Result<(), IllegalTransition> {
        self.open(record)?;
        if self.past_pivot() && !planted::is_on("undone-past-the-pivot") {
            return Err(illegal(
                record,
                "it is past the pivot: the saga only goes forward",
            ));
        }
        if self.is_going_back() {
            return Err(illegal(record, "it is going back already"));
        }
        self.check_not_paused(record)?;
        let reason = if by.actor == By::ENGINE {
            Refusal::new(START_LOST, &by.reason)
        } else {
            Refusal::new(TURNED_BACK, by.to_string())
        };
        self.go_back(reason);
        Ok(())
    }

    /// Lets a parked workflow go on, or brings forward what waits to be tried again.
    pub(super) fn retry(&mut self, record: &Record) -> Result<(), IllegalTransition> {
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

    pub(super) fn unpark(&mut self, record: &Record) {
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

    pub(super) fn resolve(
        &mut self,
        record: &Record,
        step: &str,
        resolution: &Resolution,
    ) -> Result<(), IllegalTransition> {
        self.open(record)?;
        self.check_not_paused(record)?;
        let index = self.index_of(record, step)?;
        match resolution {
            Resolution::Undone => {
                let Undo::Attempting { attempt, .. } = self.steps[index.0].undo else {
                    return Err(illegal(record, &format!("`{step}` is not being undone")));
                };
                self.undone(record, index, attempt);
                self.unpark_if_about(record, index);
            }
            Resolution::Done(output) => {
                let attempt = self.check_resolvable(record, index, resolution)?;
                let output = output.clone();
                self.steps[index.0].given_by_operator = true;
                self.settle(record, index, StepState::Done { attempt, output });
                self.unpark_if_about(record, index);
            }
            Resolution::Refused(refusal) => {
                let attempt = self.check_resolvable(record, index, resolution)?;
                let refused = StepState::Failed {
                    attempt,
                    effect_may_exist: false,
                };
                self.steps[index.0].last_error =
                    Some(StepError::new(&refusal.code, &refusal.message));
                self.settle(record, index, refused);
                if self.is_diverted(index) {
                    self.unpark_if_about(record, index);
                } else if self.is_parked_on(index) {
                    self.lift_parking();
                }
                self.turn_back_or_park(index, refusal.clone());
            }
        }
        Ok(())
    }

    /// The attempt at the step's action that this resolution is about, if that may be resolved now.
    fn check_resolvable(
        &self,
        record: &Record,
        index: StepIndex,
        resolution: &Resolution,
    ) -> Result<u32, IllegalTransition> {
        let step = &self.definition.step(index).name;
        self.check_not_diverted(record, index)?;
        let Some(attempt) = self.resolvable(index, resolution) else {
            let why = format!("it is known what became of `{step}`");
            return Err(illegal(record, &why));
        };
        if self.steps[index.0].undo != Undo::No {
            let why = format!("`{step}` is being undone already: resolve that");
            return Err(illegal(record, &why));
        }
        Ok(attempt)
    }

    /// The attempt of which an operator may say what became of it: one of which nobody knows. A step that is parked although
    /// nothing became of it may be given up for its alternative, too.
    fn resolvable(&self, index: StepIndex, resolution: &Resolution) -> Option<u32> {
        let gives_up = matches!(resolution, Resolution::Refused(_))
            && self.definition.step(index).alternative.is_some()
            && self.is_parked_on(index);
        match self.steps[index.0].action {
            StepState::Attempting {
                attempt,
                effect_may_exist,
                ..
            } if effect_may_exist || gives_up => Some(attempt),
            StepState::Failed {
                attempt,
                effect_may_exist: true,
            } => Some(attempt),
            _ => None,
        }
    }

    /// What was refused and is done in another way is over.
    fn check_not_diverted(
        &self,
        record: &Record,
        index: StepIndex,
    ) -> Result<(), IllegalTransition> {
        let node = self.definition.step(index);
        match node.alternative {
            Some(alternative) if self.is_diverted(index) => Err(illegal(
                record,
                &format!(
                    "`{}` was refused and is over: `{}` is done in its place",
                    node.name,
                    self.definition.step(alternative).name
                ),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn skip(
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
        self.check_not_diverted(record, index)?;
        if let Some(first) = self.definition.step(index).instead_of
            && !self.is_diverted(first)
        {
            let first = &self.definition.step(first).name;
            return Err(illegal(
                record,
                &format!("`{step}` is done only when `{first}` is refused, which it is not"),
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

    pub(super) fn pause(&mut self, record: &Record, by: &str) -> Result<(), IllegalTransition> {
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

    pub(super) fn unpause(&mut self, record: &Record) -> Result<(), IllegalTransition> {
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

    pub(super) fn abandon(
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
    /// they may be tried again. Not those in whose place something else is done.
    pub(super) fn reopen_refused(&mut self, record: &Record) {
        for (node, progress) in self.definition.steps().iter().zip(&mut self.steps) {
            if node.alternative.is_some() {
                continue;
            }
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

    pub(super) fn check_not_paused(&self, record: &Record) -> Result<(), IllegalTransition> {
        if matches!(self.phase, Phase::Parked { paused: true, .. }) {
            return Err(illegal(record, "it is paused: resume it first"));
        }
        Ok(())
    }

    pub(super) fn is_parked_on(&self, index: StepIndex) -> bool {
        matches!(self.phase, Phase::Parked { step: Some(step), .. } if step == index)
    }

    /// It was parked because of this step, which is no longer a problem.
    pub(super) fn unpark_if_about(&mut self, record: &Record, index: StepIndex) {
        if self.is_parked_on(index) {
            self.unpark(record);
        }
    }

    /// The time in which nobody was to try anything is no time that retries have used up.
    pub(super) fn allow_time_again(&mut self, record: &Record) {
        for progress in &mut self.steps {
            if progress.attempting_since.is_some() {
                progress.attempting_since = Some(record.at);
            }
        }
    }

    /// Goes on where it was going before it was parked.
    pub(super) fn lift_parking(&mut self) {
        if let Phase::Parked { turning_back, .. } = self.phase.clone() {
            match turning_back {
                Some(reason) => self.go_back(reason),
                None => self.phase = Phase::Running,
            }
        }
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
