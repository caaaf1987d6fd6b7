//! A step as the engine sees it in a case: the world's own step, behind a line on which things go wrong.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::clock::JumpingClock;
use super::fault::{Fault, REFUSED};
use super::script::{OnItsWay, Rule, Script};
use crate::definition::{
    AnyStep, Attempt, Definition, Outcome, Probed, StepIndex, StepKind, StepNode,
};
use crate::payload::{Payload, PayloadError};
use crate::runtime::{Clock as _, Timestamp};
use crate::store::Change;
use crate::store::change::ChangeKind;
use crate::workflow::{Direction, Refusal, StepError};

/// How long one who waits for another step waits at a time.
const PATIENCE: Duration = Duration::from_millis(10);

/// The definition with every step intercepted.
pub(super) fn intercepted(
    definition: &Definition,
    script: &Arc<Script>,
    clock: &JumpingClock,
) -> Definition {
    definition.wrapped(|index, node: &StepNode| {
        Arc::new(Intercepted {
            step: Arc::clone(&node.step),
            index,
            attempt_timeout: node.policy.attempt_timeout,
            script: Arc::clone(script),
            clock: clock.clone(),
        })
    })
}

struct Intercepted {
    step: Arc<dyn AnyStep>,
    index: StepIndex,
    attempt_timeout: Duration,
    script: Arc<Script>,
    clock: JumpingClock,
}

#[async_trait]
impl AnyStep for Intercepted {
    fn kind(&self) -> StepKind {
        self.step.kind()
    }

    fn wait_until(
        &self,
        inputs: &[Payload],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, PayloadError> {
        self.step.wait_until(inputs, now)
    }

    fn check_output(&self, output: &Payload) -> Result<(), PayloadError> {
        self.step.check_output(output)
    }

    fn check_signal(&self, payload: &Payload) -> Result<(), PayloadError> {
        self.step.check_signal(payload)
    }

    fn is_answer(&self, error: &StepError) -> bool {
        self.step.is_answer(error)
    }

    fn has_effect(&self, inputs: &[Payload]) -> bool {
        self.step.has_effect(inputs)
    }

    async fn act(&self, attempt: &Attempt, inputs: &[Payload]) -> Outcome<Payload> {
        let pass = || async {
            let work = self.step.act(attempt, inputs);
            let outcome = self.clock.at_work(work).await;
            if matches!(outcome, Outcome::Done { .. }) {
                self.script.acted(self.index);
            }
            outcome
        };
        let Some(rule) = self.script.next(self.index, Direction::Forward) else {
            return pass().await;
        };
        self.wait_for(rule.after).await;
        let request = || OnItsWay {
            step: Arc::clone(&self.step),
            attempt: attempt.clone(),
            inputs: inputs.to_vec(),
        };
        match rule.fault {
            Fault::ArrivesLate => {
                self.script.send_later(request());
                std::future::pending().await
            }
            Fault::CopyArrivesLate => {
                self.script.send_later(request());
                pass().await
            }
            _ => self.spoil(&rule, attempt, pass).await,
        }
    }

    async fn probe(&self, attempt: &Attempt, inputs: &[Payload]) -> Probed<Payload> {
        match self.script.always(self.index) {
            None => self.clock.at_work(self.step.probe(attempt, inputs)).await,
            Some(Fault::Refused) => Probed::Refused(refusal(attempt)),
            Some(Fault::NoEffect) => Probed::NoEffect,
            // Nobody answers, whatever is asked.
            Some(fault) => Probed::Unknown(error(fault.code().unwrap_or_default(), attempt)),
        }
    }

    async fn compensate(
        &self,
        attempt: &Attempt,
        inputs: &[Payload],
        output: Option<&Payload>,
    ) -> Outcome<()> {
        let pass = || {
            let work = self.step.compensate(attempt, inputs, output);
            self.clock.at_work(work)
        };
        if attempt.forget {
            self.script.nothing_comes(attempt);
        }
        match self.script.next(self.index, Direction::Backward) {
            Some(rule) => self.spoil(&rule, attempt, pass).await,
            None => pass().await,
        }
    }
}

impl Intercepted {
    /// What comes of an attempt with which this goes wrong. `pass` lets it through to the world.
    async fn spoil<T, F: Future<Output = Outcome<T>>>(
        &self,
        rule: &Rule,
        attempt: &Attempt,
        pass: impl Fn() -> F,
    ) -> Outcome<T> {
        let code = rule.fault.code().unwrap_or_default();
        match rule.fault {
            Fault::Refused => Outcome::Refused(refusal(attempt)),
            Fault::NoEffect => Outcome::retry(error(code, attempt)),
            Fault::RequestLost => Outcome::Unknown(error(code, attempt)),
            Fault::AnswerLost => match pass().await {
                Outcome::Done { .. } => Outcome::Unknown(error(code, attempt)),
                other => other,
            },
            Fault::PanicsBefore => resume_unwind(Box::new(words(attempt))),
            Fault::PanicsAfter => {
                pass().await;
                resume_unwind(Box::new(words(attempt)))
            }
            Fault::CrashBefore => self.script.crash().await,
            Fault::CrashAfter => {
                pass().await;
                self.script.crash().await
            }
            Fault::AnswersLate => {
                self.sleep(self.attempt_timeout + self.attempt_timeout / 2)
                    .await;
                pass().await
            }
            Fault::Twice => {
                pass().await;
                pass().await
            }
            Fault::AtOnce => tokio::join!(pass(), pass()).1,
            Fault::RowsRefused => self.with_refused_row(rule, attempt, pass().await),
            Fault::ArrivesLate | Fault::CopyArrivesLate => pass().await,
        }
    }

    /// The outcome with a row that the store refuses, if it has rows.
    fn with_refused_row<T>(
        &self,
        rule: &Rule,
        attempt: &Attempt,
        outcome: Outcome<T>,
    ) -> Outcome<T> {
        match outcome {
            Outcome::Done {
                output,
                mut changes,
            } if !changes.is_empty() => {
                changes.push(Change {
                    table: &REFUSED,
                    key: vec![attempt.key().into()],
                    kind: ChangeKind::Insert(Vec::new()),
                    refusal: Refusal::new("kit-rows-refused", words(attempt)),
                });
                Outcome::Done { output, changes }
            }
            other => {
                self.script.missed(rule.step, rule.direction);
                other
            }
        }
    }

    /// Waits until another step has acted and the workflow has heard of it.
    async fn wait_for(&self, other: Option<StepIndex>) {
        let Some(other) = other else { return };
        while !self.script.has_acted(other) {
            self.sleep(PATIENCE).await;
        }
        self.sleep(PATIENCE).await;
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.clock.now().after(duration);
        self.clock.sleep_until(until).await;
    }
}

fn refusal(attempt: &Attempt) -> Refusal {
    Refusal::new(Fault::Refused.code().unwrap_or_default(), words(attempt))
}

fn error(class: &str, attempt: &Attempt) -> StepError {
    StepError::new(class, words(attempt))
}

/// Names the step, so that a start that left no journal can be told by its refusal.
fn words(attempt: &Attempt) -> String {
    let way = match attempt.direction {
        Direction::Forward => "the action",
        Direction::Backward => "the compensation",
    };
    format!("the kit had {way} of `{}` fail", attempt.step)
}
