//! What the author of a saga writes: an action, its compensation, and how an attempt ended.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::ids::{Epoch, WorkflowId};
use crate::payload::{Payload, PayloadError};
use crate::runtime::Timestamp;
use crate::store::Change;
use crate::workflow::{Direction, Refusal, StepError};

/// How an attempt ended. The variant says what is known about the effect, and so what may follow.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It took effect.
    Done {
        /// What it gave.
        output: T,
        /// Rows to be written in the transaction that makes this outcome durable.
        changes: Vec<Change>,
    },
    /// A "no" that is known to have had no effect. It is not retried: the workflow turns back.
    Refused(Refusal),
    /// It may or may not have taken effect: a time-out, a reset, an answer that makes no sense. It is probed, retried under the
    /// same key, and in the end compensated, because it may have taken effect.
    Unknown(StepError),
    /// It is known to have had no effect, and trying again may help.
    Retry {
        /// What went wrong.
        error: StepError,
        /// The other side asked for at least this pause.
        after: Option<Duration>,
    },
}

impl<T> Outcome<T> {
    /// Done, with no rows.
    #[must_use]
    pub const fn done(output: T) -> Self {
        Self::Done {
            output,
            changes: Vec::new(),
        }
    }

    /// Done, with rows that are written in the transaction that makes this outcome durable.
    #[must_use]
    pub const fn done_with(output: T, changes: Vec<Change>) -> Self {
        Self::Done { output, changes }
    }

    /// Refused, with a code for machines and a sentence for people.
    #[must_use]
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, message))
    }

    /// Known to have had no effect; the policy says when to try again.
    #[must_use]
    pub const fn retry(error: StepError) -> Self {
        Self::Retry { error, after: None }
    }
}

/// What the other side says about an attempt whose outcome is unknown.
#[derive(Debug)]
pub enum Probed<T> {
    /// The step can't ask. The action is tried again under the same key.
    CannotAsk,
    /// It took effect.
    Done {
        /// What it gave.
        output: T,
        /// Rows to be written with it.
        changes: Vec<Change>,
    },
    /// It had no effect: the action may be tried again.
    NoEffect,
    /// It was refused.
    Refused(Refusal),
    /// Still not known: ask again later.
    Unknown(StepError),
}

/// The attempt that is being made, as the step sees it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which workflow.
    pub workflow: WorkflowId,
    /// Which step.
    pub step: Arc<str>,
    /// Action or compensation.
    pub direction: Direction,
    /// Its number, from 1. A number above 1 means that an earlier attempt may still be under way somewhere.
    pub number: u32,
    /// The epoch under which the partition is owned.
    pub epoch: Epoch,
    /// For a compensation: the workflow is being discarded before anything of it was durable, and its only attempt at the action
    /// is known to be over. So nothing is on its way any more, and the other side may forget that there was an attempt, instead
    /// of refusing this key for ever.
    pub forget: bool,
}

impl Attempt {
    /// The key under which every attempt of this step, forward or backward, is known to the other side:
    /// `<workflow>/<step>`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.workflow, self.step)
    }
}

/// A step's action. It may do anything, as long as it knows each attempt by [`Attempt::key`] and says honestly how it ended; it is
/// never replayed to find out where a workflow was.
pub trait Action: Send + Sync + 'static {
    /// What it takes: the value of one handle, or a tuple of the values of several.
    type Input: Send;
    /// What it gives to later steps.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// The step's name: unique in its saga, stable for ever (it is part of keys and of the journal), `[a-z0-9-]`.
    fn name(&self) -> &str;

    /// The step's bounds.
    fn policy(&self) -> Policy {
        Policy::default()
    }

    /// Makes one attempt. It may be made again under the same [`Attempt::key`]: its effect must be idempotent by that key.
    fn act(
        &self,
        attempt: &Attempt,
        input: Self::Input,
    ) -> impl Future<Output = Outcome<Self::Output>> + Send;

    /// Asks the other side what became of an earlier attempt whose outcome is unknown.
    fn probe(
        &self,
        attempt: &Attempt,
        input: Self::Input,
    ) -> impl Future<Output = Probed<Self::Output>> + Send {
        let _ = (attempt, input);
        async { Probed::CannotAsk }
    }

    /// Whether the step's [port](Policy::port) answered although the attempt failed with this error: what is wrong is wrong with
    /// this workflow, and says nothing against attempts of others. What is no answer counts against the port, and enough of it in a
    /// row makes everybody wait.
    fn is_answer(&self, error: &StepError) -> bool {
        let _ = error;
        false
    }
}

/// An action that can be undone. The compensation works by key, with the output or without it, and also stops an attempt that is
/// still on its way to the other side. It is retried until it is done, or parked for an operator.
pub trait Compensable: Action {
    /// Undoes what the action did, by key. `output` is absent when nobody knows whether the action took effect: then the
    /// compensation must make sure that it has none, now or later.
    fn compensate(
        &self,
        attempt: &Attempt,
        input: Self::Input,
        output: Option<Self::Output>,
    ) -> impl Future<Output = Outcome<()>> + Send;

    /// Whether the action does anything with this input. When it does not, undoing it is nothing either, and a start that is
    /// refused need not find out first whether it has been durable in an earlier life. The engine takes the step's word for it: when
    /// in doubt it has an effect.
    fn has_effect(&self, input: &Self::Input) -> bool {
        let _ = input;
        true
    }
}

/// What a step is: something that is done, or something that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// An action, with attempts and an effect.
    Action,
    /// An instant that has to come.
    Timer,
    /// A signal of the step's name that has to come, or an instant.
    Signal,
}

/// What became of a signal that was awaited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Awaited<T> {
    /// It came.
    Arrived(T),
    /// It had not come by the instant until which it was awaited.
    TimedOut,
}

/// A step without its types: what the executor calls.
#[async_trait]
pub trait AnyStep: Send + Sync {
    /// What the step is.
    fn kind(&self) -> StepKind {
        StepKind::Action
    }

    /// For a timer or a signal that starts at `now`: until when it waits; `None` is for as long as it takes.
    fn wait_until(
        &self,
        inputs: &[Payload],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, PayloadError> {
        let _ = (inputs, now);
        Ok(None)
    }

    /// Whether later steps could take this for the step's output: what an operator gives in its place is checked.
    fn check_output(&self, output: &Payload) -> Result<(), PayloadError> {
        let _ = output;
        Ok(())
    }

    /// Whether this is what the awaited signal may say.
    fn check_signal(&self, payload: &Payload) -> Result<(), PayloadError> {
        let _ = payload;
        Ok(())
    }

    /// [`Action::is_answer`].
    fn is_answer(&self, error: &StepError) -> bool {
        let _ = error;
        false
    }

    /// [`Compensable::has_effect`], on stored JSON.
    fn has_effect(&self, inputs: &[Payload]) -> bool {
        let _ = inputs;
        true
    }

    /// [`Action::act`], on stored JSON.
    async fn act(&self, attempt: &Attempt, inputs: &[Payload]) -> Outcome<Payload>;

    /// [`Action::probe`], on stored JSON.
    async fn probe(&self, attempt: &Attempt, inputs: &[Payload]) -> Probed<Payload> {
        let _ = (attempt, inputs);
        Probed::CannotAsk
    }

    /// [`Compensable::compensate`], on stored JSON. Called only where the definition says that there is a compensation.
    async fn compensate(
        &self,
        attempt: &Attempt,
        inputs: &[Payload],
        output: Option<&Payload>,
    ) -> Outcome<()>;
}
