//! One attempt: ask first where an earlier one may have had its effect, then act, within the step's time-out. A panic is an
//! unknown outcome, not a dead node. An action that has used up its time is given up but watched for as long again: if it takes
//! effect after all while the workflow goes back, it is undone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::definition::{Attempt, Definition, Outcome, Probed, StepIndex};
use crate::payload::Payload;
use crate::planted;
use crate::runtime::Runtime;
use crate::workflow::{Direction, StepError};

/// What is attempted.
pub(super) struct Work {
    pub(super) runtime: Runtime,
    pub(super) definition: Arc<Definition>,
    pub(super) step: StepIndex,
    pub(super) attempt: Attempt,
    pub(super) inputs: Vec<Payload>,
    /// For a compensation: what the action gave, if that is known.
    pub(super) output: Option<Payload>,
    /// For an action: an earlier attempt may have had its effect.
    pub(super) ask_first: bool,
}

/// How an attempt ended.
pub(super) struct Ended {
    pub(super) step: StepIndex,
    pub(super) direction: Direction,
    pub(super) number: u32,
    pub(super) outcome: Outcome<Payload>,
    /// The rest of an action that was given up.
    pub(super) late: Option<BoxFuture<'static, Late>>,
}

/// How an action ended that had been given up.
pub(super) struct Late {
    pub(super) step: StepIndex,
    /// It took effect.
    pub(super) took_effect: bool,
}

impl Work {
    /// Makes the attempt. The future may be dropped: then its outcome is unknown, as after a crash.
    pub(super) fn begin(self) -> BoxFuture<'static, Ended> {
        Box::pin(async move {
            let limit = self.definition.step(self.step).policy.attempt_timeout;
            let (runtime, step) = (self.runtime.clone(), self.step);
            let (direction, number) = (self.attempt.direction, self.attempt.number);
            let mut attempted: BoxFuture<'static, Outcome<Payload>> = Box::pin(self.guarded());
            let in_time = runtime.within(limit, &mut attempted).await;
            let watched = in_time.is_none() && direction == Direction::Forward;
            let late = watched.then(|| {
                Box::pin(watch(runtime, step, limit, attempted)) as BoxFuture<'static, Late>
            });
            let outcome = in_time.unwrap_or_else(|| Outcome::Unknown(timed_out(limit)));
            Ended {
                step,
                direction,
                number,
                outcome,
                late,
            }
        })
    }

    async fn guarded(self) -> Outcome<Payload> {
        match AssertUnwindSafe(self.outcome()).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(panic) => Outcome::Unknown(StepError::new("panic", message_of(&*panic))),
        }
    }

    async fn outcome(&self) -> Outcome<Payload> {
        let step = &self.definition.step(self.step).step;
        if self.attempt.direction == Direction::Backward {
            let undone = step
                .compensate(&self.attempt, &self.inputs, self.output.as_ref())
                .await;
            return with_null(undone);
        }
        if self.ask_first && !planted::is_on("unknown-not-probed") {
            match step.probe(&self.attempt, &self.inputs).await {
                Probed::Done { output, changes } => return Outcome::Done { output, changes },
                Probed::Refused(refusal) => return Outcome::Refused(refusal),
                Probed::Unknown(error) => return Outcome::Unknown(error),
                Probed::NoEffect | Probed::CannotAsk => {}
            }
        }
        step.act(&self.attempt, &self.inputs).await
    }
}

/// What a step says about itself, or this if it panics: its panic is no reason for nobody to drive the workflow.
pub(super) fn unless_it_panics(ask: impl FnOnce() -> bool, otherwise: bool) -> bool {
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or(otherwise)
}

async fn watch(
    runtime: Runtime,
    step: StepIndex,
    limit: Duration,
    attempted: BoxFuture<'static, Outcome<Payload>>,
) -> Late {
    let outcome = runtime.within(limit, attempted).await;
    let took_effect = matches!(outcome, Some(Outcome::Done { .. }));
    Late { step, took_effect }
}

fn with_null(outcome: Outcome<()>) -> Outcome<Payload> {
    match outcome {
        Outcome::Done {
            output: (),
            changes,
        } => Outcome::Done {
            output: Payload::null(),
            changes,
        },
        Outcome::Refused(refusal) => Outcome::Refused(refusal),
        Outcome::Unknown(error) => Outcome::Unknown(error),
        Outcome::Retry { error, after } => Outcome::Retry { error, after },
    }
}

fn timed_out(limit: Duration) -> StepError {
    StepError::new(
        "attempt-timeout",
        format!("no answer within {} ms", limit.as_millis()),
    )
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
