//! What operators do to a workflow.

use super::{IllegalTransition, PAUSED, illegal};
use crate::definition::StepIndex;
use crate::payload::Payload;
use crate::runtime::Timestamp;
use crate::workflow::event::{Record, Refusal, Resolution, StepError};
use crate::workflow::state::{Phase, Progress, StepState, Undo, WorkflowState};

impl WorkflowState {
    pub(super) fn turn_back(&mut self, record: &Record, by: &str) -> Result<(), IllegalTransition> {
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
    /// they may be tried again.
    pub(super) fn reopen_refused(&mut self, record: &Record) {
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
