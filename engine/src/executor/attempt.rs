//! One attempt: ask first where an earlier one may have had its effect, then act, within the step's time-out. A panic is an
//! unknown outcome, not a dead node.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::definition::{Attempt, Definition, Outcome, Probed, StepIndex};
use crate::payload::Payload;
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
}

impl Work {
    /// Makes the attempt. The future may be dropped: then its outcome is unknown, as after a crash.
    pub(super) fn begin(self) -> BoxFuture<'static, Ended> {
        Box::pin(async move {
            let limit = self.definition.step(self.step).policy.attempt_timeout;
            let attempted = AssertUnwindSafe(self.outcome()).catch_unwind();
            let outcome = match self.runtime.within(limit, attempted).await {
                Some(Ok(outcome)) => outcome,
                Some(Err(panic)) => Outcome::Unknown(StepError::new("panic", message_of(&*panic))),
                None => Outcome::Unknown(timed_out(limit)),
            };
            Ended {
                step: self.step,
                direction: self.attempt.direction,
                number: self.attempt.number,
                outcome,
            }
        })
    }

    async fn outcome(&self) -> Outcome<Payload> {
        let step = &self.definition.step(self.step).step;
        if self.attempt.direction == Direction::Backward {
            let undone = step
                .compensate(&self.attempt, &self.inputs, self.output.as_ref())
                .await;
            return with_null(undone);
        }
        if self.ask_first {
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
