//! Typed steps and waits behind [`AnyStep`], which knows of stored JSON only: here it is decoded and encoded.

use std::marker::PhantomData;

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use super::handle::Inputs;
use super::step::{Action, AnyStep, Attempt, Awaited, Compensable, Outcome, Probed, StepKind};
use crate::payload::{Payload, PayloadError};
use crate::runtime::Timestamp;
use crate::workflow::StepError;

/// A typed step with a compensation, behind [`AnyStep`].
pub(super) struct Undoable<A, N> {
    pub(super) step: A,
    pub(super) inputs: PhantomData<fn() -> N>,
}

/// A typed step without one, behind [`AnyStep`].
pub(super) struct Final<A, N> {
    pub(super) step: A,
    pub(super) inputs: PhantomData<fn() -> N>,
}

/// A wait for an instant, behind [`AnyStep`].
pub(super) struct Timer<F, N> {
    pub(super) until: F,
    pub(super) inputs: PhantomData<fn() -> N>,
}

/// A wait for a signal, behind [`AnyStep`].
pub(super) struct SignalWait<F, N, T> {
    pub(super) until: F,
    pub(super) types: PhantomData<fn() -> (N, T)>,
}

#[async_trait]
impl<N, F> AnyStep for Timer<F, N>
where
    N: Inputs,
    F: Fn(N::Value, Timestamp) -> Timestamp + Send + Sync,
{
    fn kind(&self) -> StepKind {
        StepKind::Timer
    }

    fn wait_until(
        &self,
        inputs: &[Payload],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, PayloadError> {
        Ok(Some((self.until)(N::decode(inputs)?, now)))
    }

    fn check_output(&self, output: &Payload) -> Result<(), PayloadError> {
        output.to::<Timestamp>().map(|_| ())
    }

    async fn act(&self, _: &Attempt, _: &[Payload]) -> Outcome<Payload> {
        never_attempted()
    }

    async fn compensate(&self, _: &Attempt, _: &[Payload], _: Option<&Payload>) -> Outcome<()> {
        Outcome::done(())
    }
}

#[async_trait]
impl<N, F, T> AnyStep for SignalWait<F, N, T>
where
    N: Inputs,
    F: Fn(N::Value, Timestamp) -> Option<Timestamp> + Send + Sync,
    T: DeserializeOwned,
{
    fn kind(&self) -> StepKind {
        StepKind::Signal
    }

    fn wait_until(
        &self,
        inputs: &[Payload],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, PayloadError> {
        Ok((self.until)(N::decode(inputs)?, now))
    }

    fn check_output(&self, output: &Payload) -> Result<(), PayloadError> {
        output.to::<Awaited<T>>().map(|_| ())
    }

    fn check_signal(&self, payload: &Payload) -> Result<(), PayloadError> {
        payload.to::<T>().map(|_| ())
    }

    async fn act(&self, _: &Attempt, _: &[Payload]) -> Outcome<Payload> {
        never_attempted()
    }

    async fn compensate(&self, _: &Attempt, _: &[Payload], _: Option<&Payload>) -> Outcome<()> {
        Outcome::done(())
    }
}

/// A wait has no attempts: the plan names none.
fn never_attempted() -> Outcome<Payload> {
    Outcome::retry(StepError::new("wait", "a wait is not attempted"))
}

#[async_trait]
impl<A: Compensable, N: Inputs<Value = A::Input>> AnyStep for Undoable<A, N> {
    fn is_answer(&self, error: &StepError) -> bool {
        self.step.is_answer(error)
    }

    fn has_effect(&self, inputs: &[Payload]) -> bool {
        N::decode(inputs).map_or(true, |input| self.step.has_effect(&input))
    }

    fn check_output(&self, output: &Payload) -> Result<(), PayloadError> {
        output.to::<A::Output>().map(|_| ())
    }

    async fn act(&self, attempt: &Attempt, inputs: &[Payload]) -> Outcome<Payload> {
        act::<A, N>(&self.step, attempt, inputs).await
    }

    async fn probe(&self, attempt: &Attempt, inputs: &[Payload]) -> Probed<Payload> {
        probe::<A, N>(&self.step, attempt, inputs).await
    }

    async fn compensate(
        &self,
        attempt: &Attempt,
        inputs: &[Payload],
        output: Option<&Payload>,
    ) -> Outcome<()> {
        let values =
            N::decode(inputs).and_then(|input| Ok((input, output.map(Payload::to).transpose()?)));
        match values {
            Ok((input, output)) => self.step.compensate(attempt, input, output).await,
            Err(error) => Outcome::retry(undecodable(&error)),
        }
    }
}

#[async_trait]
impl<A: Action, N: Inputs<Value = A::Input>> AnyStep for Final<A, N> {
    fn is_answer(&self, error: &StepError) -> bool {
        self.step.is_answer(error)
    }

    fn check_output(&self, output: &Payload) -> Result<(), PayloadError> {
        output.to::<A::Output>().map(|_| ())
    }

    async fn act(&self, attempt: &Attempt, inputs: &[Payload]) -> Outcome<Payload> {
        act::<A, N>(&self.step, attempt, inputs).await
    }

    async fn probe(&self, attempt: &Attempt, inputs: &[Payload]) -> Probed<Payload> {
        probe::<A, N>(&self.step, attempt, inputs).await
    }

    async fn compensate(&self, _: &Attempt, _: &[Payload], _: Option<&Payload>) -> Outcome<()> {
        Outcome::done(())
    }
}

async fn act<A: Action, N: Inputs<Value = A::Input>>(
    step: &A,
    attempt: &Attempt,
    inputs: &[Payload],
) -> Outcome<Payload> {
    let input = match N::decode(inputs) {
        Ok(input) => input,
        Err(error) => return Outcome::retry(undecodable(&error)),
    };
    match step.act(attempt, input).await {
        Outcome::Done { output, changes } => match Payload::of(&output) {
            Ok(output) => Outcome::Done { output, changes },
            Err(error) => Outcome::Unknown(StepError::caused_by("output", &error)),
        },
        Outcome::Refused(refusal) => Outcome::Refused(refusal),
        Outcome::Unknown(error) => Outcome::Unknown(error),
        Outcome::Retry { error, after } => Outcome::Retry { error, after },
    }
}

async fn probe<A: Action, N: Inputs<Value = A::Input>>(
    step: &A,
    attempt: &Attempt,
    inputs: &[Payload],
) -> Probed<Payload> {
    let input = match N::decode(inputs) {
        Ok(input) => input,
        Err(error) => return Probed::Unknown(undecodable(&error)),
    };
    match step.probe(attempt, input).await {
        Probed::Done { output, changes } => match Payload::of(&output) {
            Ok(output) => Probed::Done { output, changes },
            Err(error) => Probed::Unknown(StepError::caused_by("output", &error)),
        },
        Probed::CannotAsk => Probed::CannotAsk,
        Probed::NoEffect => Probed::NoEffect,
        Probed::Refused(refusal) => Probed::Refused(refusal),
        Probed::Unknown(error) => Probed::Unknown(error),
    }
}

/// Stored JSON that the step's types don't fit: nothing was attempted, so nothing can have taken effect.
fn undecodable(error: &PayloadError) -> StepError {
    StepError::caused_by("input", error)
}
