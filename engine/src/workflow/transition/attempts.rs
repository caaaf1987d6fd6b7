//! What failed attempts, and attempts that end late, do to a workflow.

use super::{IllegalTransition, illegal};
use crate::definition::{Phase as StepPhase, StepIndex};
use crate::workflow::event::{AfterFailure, Failure, Record, Refusal, StepError};
use crate::workflow::state::{StepState, Undo, WorkflowState};

impl WorkflowState {
    pub(super) fn attempt_failed(
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
        let next = |not_before| StepState::Attempting {
            attempt: attempt + 1,
            not_before,
            effect_may_exist,
        };
        let phase = self.definition.step(index).phase;
        match then {
            // Going back, an attempt that failed is not repeated: its compensation takes care of what it may have done.
            AfterFailure::RetryAt(_) if self.is_going_back() => {
                self.settle(record, index, failed);
            }
            AfterFailure::RetryAt(not_before) => {
                self.settle(record, index, next(not_before));
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
                self.settle(record, index, next(record.at));
                self.park(Some(index), error.clone());
            }
        }
        Ok(())
    }

    pub(super) fn compensation_failed(
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

    /// An attempt that was given up, of a step that is undone or about to be, took effect after all.
    pub(super) fn effect_found_late(
        &mut self,
        record: &Record,
        step: &str,
    ) -> Result<(), IllegalTransition> {
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

    /// The step is being attempted again, and an earlier attempt may have had its effect.
    pub(crate) fn earlier_effect_may_exist(&self, index: StepIndex) -> bool {
        matches!(
            self.steps[index.0].action,
            StepState::Attempting {
                effect_may_exist: true,
                ..
            }
        )
    }

    pub(super) fn undone(&mut self, record: &Record, index: StepIndex, attempt: u32) {
        self.steps[index.0].undo = Undo::Done { attempt };
        self.steps[index.0].since = record.at;
    }
}
