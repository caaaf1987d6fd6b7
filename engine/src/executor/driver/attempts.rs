//! What a driver attempts, and what it makes of the outcomes.

use std::sync::Arc;
use std::time::Duration;

use super::Driver;
use crate::definition::{Attempt, Outcome, Phase as StepPhase, StepIndex};
use crate::executor::attempt::{Ended, Late, Work, unless_it_panics};
use crate::planted;
use crate::runtime::Timestamp;
use crate::workflow::plan::inputs;
use crate::workflow::{
    AfterFailure, Direction, Earlier, Event, Failure, PlannedAttempt, Refusal, StepError, StepState,
};

/// The class of the error when a step is refused because another copy of the start has what it asks for.
const START_UNDER_WAY: &str = "start-under-way";

impl Driver {
    pub(super) fn begin(&mut self, planned: &PlannedAttempt) {
        let node = self.state.definition().step(planned.step);
        let inputs = inputs(&self.state, planned.step);
        debug_assert_eq!(
            inputs.len(),
            node.inputs.len(),
            "a step is attempted only when what it needs is done"
        );
        let output = match (planned.direction, &self.state.steps[planned.step.0].action) {
            (Direction::Backward, StepState::Done { output, .. }) => Some(output.clone()),
            _ => None,
        };
        let only_attempt = matches!(
            self.state.steps[planned.step.0].action,
            StepState::Done { attempt: 1, .. }
        );
        let key = (planned.step, planned.direction, planned.number);
        let work = Work {
            runtime: self.context.runtime.clone(),
            definition: Arc::clone(self.state.definition()),
            step: planned.step,
            attempt: Attempt {
                workflow: self.id,
                step: Arc::clone(&node.name),
                direction: planned.direction,
                number: planned.number,
                epoch: self.context.epoch,
                forget: planned.direction == Direction::Backward
                    && only_attempt
                    && self.is_volatile()
                    && (self.leftover.as_ref().is_none_or(|leftover| leftover.alone)
                        || planted::is_on("lost-start-forgotten-too-soon")),
            },
            inputs,
            output,
            ask_first: planned.effect_may_exist || self.inherited.contains(&key),
        };
        self.acting.insert(planned.step);
        self.attempts.push(work.begin());
    }

    pub(super) fn attempt_ended(&mut self, mut ended: Ended) {
        self.acting.remove(&ended.step);
        if let Some(late) = ended.late.take() {
            self.late.push(late);
            self.watched.push(ended.step);
        }
        self.tell_breaker(&ended);
        if !self.is_expected(&ended) {
            // The workflow moved on without it: an operator said what became of it, perhaps wrongly.
            let took_effect = ended.direction == Direction::Forward
                && matches!(ended.outcome, Outcome::Done { .. });
            let step = ended.step;
            return self.ended_late(&Late { step, took_effect });
        }
        let step = self.state.definition().step(ended.step).name.to_string();
        match ended.direction {
            Direction::Forward => self.action_ended(step, ended),
            Direction::Backward => self.compensation_ended(step, ended),
        }
    }

    fn tell_breaker(&self, ended: &Ended) {
        let node = self.state.definition().step(ended.step);
        let Some(port) = node.policy.port else { return };
        let breakers = &self.context.breakers;
        match ended.outcome {
            Outcome::Done { .. } | Outcome::Refused(_) => breakers.answered(port),
            Outcome::Unknown(ref error) | Outcome::Retry { ref error, .. }
                if unless_it_panics(|| node.step.is_answer(error), false) =>
            {
                breakers.answered(port);
            }
            Outcome::Unknown(_) | Outcome::Retry { .. } => {
                breakers.failed(port, self.context.runtime.now());
            }
        }
    }

    /// An attempt that ends after the workflow moved on changes nothing.
    pub(super) fn is_expected(&self, ended: &Ended) -> bool {
        if self.state.is_terminal() {
            return false;
        }
        self.state.steps[ended.step.0].attempting(ended.direction) == Some(ended.number)
    }

    pub(super) fn action_ended(&mut self, step: String, ended: Ended) {
        let attempt = ended.number;
        let outcome = match ended.outcome {
            Outcome::Refused(refusal) if self.is_belied(ended.step) => Outcome::Unknown(
                StepError::new("refused-after-its-effect", refusal.to_string()),
            ),
            // Of the two this one is durable, so the other never will be.
            Outcome::Refused(refusal)
                if refusal.earlier == Earlier::UnderWay && !self.is_volatile() =>
            {
                Outcome::retry(StepError::new(START_UNDER_WAY, refusal.to_string()))
            }
            Outcome::Unknown(error) if planted::is_on("unknown-taken-for-refused") => {
                Outcome::Refused(Refusal::new(error.class, error.message))
            }
            other => other,
        };
        let event = match outcome {
            Outcome::Done { output, changes } => {
                if !changes.is_empty() {
                    self.rows_pending.insert(ended.step);
                }
                let done = Event::StepDone {
                    step,
                    attempt,
                    output,
                };
                return self.record(done, changes);
            }
            Outcome::Refused(refusal) => Event::StepRefused {
                step,
                attempt,
                refusal,
                effect_may_exist: false,
            },
            Outcome::Unknown(error) => {
                let failure = Failure::Unknown;
                let then = self.after_failure(ended.step, attempt, failure, None);
                Event::AttemptFailed {
                    step,
                    attempt,
                    failure,
                    error,
                    then,
                }
            }
            Outcome::Retry { error, after } => {
                // Another life may have made this very attempt, and what it sent may still be on its way.
                let key = (ended.step, ended.direction, attempt);
                let failure = if self.inherited.contains(&key)
                    && !planted::is_on("inherited-attempt-forgotten")
                {
                    Failure::Unknown
                } else {
                    Failure::NoEffect
                };
                let then = if self.is_volatile() && self.may_turn_back(ended.step) {
                    self.unavailable.get_or_insert(error.clone());
                    AfterFailure::TurnBack
                } else {
                    self.after_failure(ended.step, attempt, failure, after)
                };
                Event::AttemptFailed {
                    step,
                    attempt,
                    failure,
                    error,
                    then,
                }
            }
        };
        self.record(event, Vec::new());
    }

    pub(super) fn compensation_ended(&mut self, step: String, ended: Ended) {
        let attempt = ended.number;
        let (error, after) = match ended.outcome {
            Outcome::Done { mut changes, .. } => {
                let progress = &self.state.steps[ended.step.0];
                let without_rows = progress.undone_before || progress.given_by_operator;
                if without_rows || self.rows_never.contains(&ended.step) {
                    changes.clear();
                }
                return self.record(Event::CompensationDone { step, attempt }, changes);
            }
            Outcome::Refused(refusal) => {
                let error = StepError::new(refusal.code, refusal.message);
                let then = AfterFailure::Park;
                return self.record(
                    Event::CompensationFailed {
                        step,
                        attempt,
                        error,
                        then,
                    },
                    Vec::new(),
                );
            }
            Outcome::Unknown(error) => (error, None),
            Outcome::Retry { error, after } => (error, after),
        };
        let then = match self.delay(ended.step, attempt, after) {
            Some(instant) => AfterFailure::RetryAt(instant),
            None => AfterFailure::Park,
        };
        self.record(
            Event::CompensationFailed {
                step,
                attempt,
                error,
                then,
            },
            Vec::new(),
        );
    }

    /// What follows a failed attempt at an action.
    pub(super) fn after_failure(
        &self,
        step: StepIndex,
        attempt: u32,
        failure: Failure,
        pause: Option<Duration>,
    ) -> AfterFailure {
        if let Some(instant) = self.delay(step, attempt, pause) {
            return AfterFailure::RetryAt(instant);
        }
        match self.state.definition().step(step).phase {
            StepPhase::Compensable => AfterFailure::TurnBack,
            StepPhase::Pivot if failure == Failure::NoEffect && self.may_turn_back(step) => {
                AfterFailure::TurnBack
            }
            StepPhase::Pivot | StepPhase::Retriable => AfterFailure::Park,
        }
    }

    /// Whether there is a way back from this step after an attempt that had no effect.
    pub(super) fn may_turn_back(&self, step: StepIndex) -> bool {
        match self.state.definition().step(step).phase {
            StepPhase::Compensable => true,
            StepPhase::Pivot => !self.state.earlier_effect_may_exist(step),
            StepPhase::Retriable => false,
        }
    }

    /// When the attempt after this one begins; `None` when retries have ended.
    pub(super) fn delay(
        &self,
        step: StepIndex,
        attempt: u32,
        at_least: Option<Duration>,
    ) -> Option<Timestamp> {
        let policy = &self.state.definition().step(step).policy;
        let delay = policy
            .retry
            .delay_after(attempt, self.context.runtime.next_u64())?;
        let delay = delay.max(at_least.unwrap_or_default());
        let next = self.context.runtime.now().after(delay);
        let since = self.state.steps[step.0].attempting_since?;
        let in_time = policy
            .retry
            .elapsed_max
            .is_none_or(|elapsed_max| next.since(since) <= elapsed_max);
        in_time.then_some(next)
    }
}
