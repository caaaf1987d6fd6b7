//! The typed way to write a definition: a step's output is a handle that later steps take as input, and the phase is in
//! the builder's type, so a wrong order or type does not compile.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::graph::{
    Compensation, Definition, DefinitionBuilder, DefinitionError, Phase, Source, StepSpec,
};
use super::step::{Action, AnyStep, Attempt, Awaited, Compensable, Outcome, Probed, StepKind};
use crate::payload::{Payload, PayloadError};
use crate::runtime::Timestamp;
use crate::workflow::StepError;

/// Before the pivot: steps can be undone.
pub struct Reversible(());
/// Past the pivot: the saga only goes forward.
pub struct Forward(());

/// Where a saga that is being written stands to its pivot: what a wait added now belongs to.
pub trait Side {
    /// The phase of a wait.
    const PHASE: Phase;
}

impl Side for Reversible {
    const PHASE: Phase = Phase::Compensable;
}

impl Side for Forward {
    const PHASE: Phase = Phase::Retriable;
}

/// The value that the saga's input or a step will have.
pub struct Handle<T> {
    source: Source,
    saga: Arc<str>,
    value: PhantomData<fn() -> T>,
}

/// The handles that a step takes as input: one, or a tuple of up to four.
pub trait Inputs: Send + Sync + 'static {
    /// The values that the step's action sees.
    type Value: Send;

    /// Where the values come from, in order, each with the saga it belongs to.
    fn sources(&self) -> Vec<(Source, Arc<str>)>;

    /// The values from their stored JSON, in the order of [`Inputs::sources`].
    fn decode(stored: &[Payload]) -> Result<Self::Value, PayloadError>;
}

impl<T: DeserializeOwned + Send + 'static> Inputs for Handle<T> {
    type Value = T;

    fn sources(&self) -> Vec<(Source, Arc<str>)> {
        vec![(self.source, Arc::clone(&self.saga))]
    }

    fn decode(stored: &[Payload]) -> Result<T, PayloadError> {
        stored[0].to()
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self {
            source: self.source,
            saga: Arc::clone(&self.saga),
            value: PhantomData,
        }
    }
}

macro_rules! inputs_of_tuples {
    ($($name:ident $index:tt),+) => {
        impl<$($name: DeserializeOwned + Send + 'static),+> Inputs for ($(Handle<$name>,)+) {
            type Value = ($($name,)+);

            fn sources(&self) -> Vec<(Source, Arc<str>)> {
                vec![$((self.$index.source, Arc::clone(&self.$index.saga))),+]
            }

            fn decode(stored: &[Payload]) -> Result<Self::Value, PayloadError> {
                Ok(($(stored[$index].to::<$name>()?,)+))
            }
        }
    };
}
inputs_of_tuples!(A 0, B 1);
inputs_of_tuples!(A 0, B 1, C 2);
inputs_of_tuples!(A 0, B 1, C 2, D 3);

/// What may stand for the inputs of a step: a reference to a handle, or a tuple of references.
pub trait Wiring {
    /// The owned handles.
    type Inputs: Inputs;
    /// The handles, owned.
    fn inputs(self) -> Self::Inputs;
}

impl<T: DeserializeOwned + Send + 'static> Wiring for &Handle<T> {
    type Inputs = Handle<T>;
    fn inputs(self) -> Handle<T> {
        self.clone()
    }
}

macro_rules! wiring_of_tuples {
    ($($name:ident $index:tt),+) => {
        impl<$($name: DeserializeOwned + Send + 'static),+> Wiring for ($(&Handle<$name>,)+) {
            type Inputs = ($(Handle<$name>,)+);
            fn inputs(self) -> Self::Inputs {
                ($(self.$index.clone(),)+)
            }
        }
    };
}
wiring_of_tuples!(A 0, B 1);
wiring_of_tuples!(A 0, B 1, C 2);
wiring_of_tuples!(A 0, B 1, C 2, D 3);

/// A saga being written. `I` is what a workflow is started with; `P` is the phase.
///
/// A compensable step past the pivot does not compile:
/// ```compile_fail
/// # use engine::definition::*;
/// # fn f<A: Compensable<Input = ()>, B: Action<Input = ()>>(a: A, b: B) {
/// let saga = Saga::<()>::new("s", 1);
/// let input = saga.input();
/// let (mut saga, _paid) = saga.pivot(b, &input);
/// saga.compensable(a, &input);
/// # }
/// ```
pub struct Saga<I, P = Reversible> {
    builder: DefinitionBuilder,
    name: Arc<str>,
    foreign: Option<DefinitionError>,
    types: PhantomData<fn() -> (I, P)>,
}

impl<I: Serialize + DeserializeOwned + Send + 'static> Saga<I, Reversible> {
    /// An empty saga. The name and version are what workflows are pinned to.
    #[must_use]
    pub fn new(name: &str, version: u32) -> Self {
        Self {
            builder: DefinitionBuilder::new(name, version),
            name: format!("{name} v{version}").into(),
            foreign: None,
            types: PhantomData,
        }
    }

    /// A step with a compensation. It starts when the steps are done whose handles it takes, and is undone, once it may have taken
    /// effect, when the saga turns back and everything that came after it is undone.
    pub fn compensable<A: Compensable, W>(&mut self, step: A, inputs: W) -> Handle<A::Output>
    where
        W: Wiring,
        W::Inputs: Inputs<Value = A::Input>,
    {
        let step = Undoable {
            step,
            inputs: PhantomData::<fn() -> W::Inputs>,
        };
        let (name, policy) = (step.step.name().to_owned(), step.step.policy());
        self.push(
            name,
            policy,
            Phase::Compensable,
            Compensation::Runs,
            Arc::new(step),
            &inputs.inputs(),
        )
    }

    /// A step that needs no compensation, and says why.
    pub fn without_compensation<A: Action, W>(
        &mut self,
        step: A,
        inputs: W,
        because: &'static str,
    ) -> Handle<A::Output>
    where
        W: Wiring,
        W::Inputs: Inputs<Value = A::Input>,
    {
        let no_compensation = Compensation::None { because };
        self.push_final(step, inputs, Phase::Compensable, no_compensation)
    }

    /// The point of no return: once this step is done the saga only goes forward. It starts when every step before it is done.
    pub fn pivot<A: Action, W>(
        mut self,
        step: A,
        inputs: W,
    ) -> (Saga<I, Forward>, Handle<A::Output>)
    where
        W: Wiring,
        W::Inputs: Inputs<Value = A::Input>,
    {
        let because = Compensation::None {
            because: "the pivot is never undone",
        };
        let handle = self.push_final(step, inputs, Phase::Pivot, because);
        let saga = Saga {
            builder: self.builder,
            name: self.name,
            foreign: self.foreign,
            types: PhantomData,
        };
        (saga, handle)
    }
}

impl<I: Serialize + DeserializeOwned + Send + 'static> Saga<I, Forward> {
    /// A step past the pivot: retried until it is done, or parked for an operator.
    pub fn retriable<A: Action, W>(&mut self, step: A, inputs: W) -> Handle<A::Output>
    where
        W: Wiring,
        W::Inputs: Inputs<Value = A::Input>,
    {
        let because = Compensation::None {
            because: "past the pivot the saga only goes forward",
        };
        self.push_final(step, inputs, Phase::Retriable, because)
    }
}

impl<I: Serialize + DeserializeOwned + Send + 'static, P: Side> Saga<I, P> {
    /// Waits, durably, until the instant that `until` gives for the inputs and the instant at which the wait begins. A workflow
    /// that only waits leaves memory. The handle's value is the instant at which it went on.
    pub fn sleep_until<W: Wiring>(
        &mut self,
        name: &str,
        inputs: W,
        until: impl Fn(<W::Inputs as Inputs>::Value, Timestamp) -> Timestamp + Send + Sync + 'static,
    ) -> Handle<Timestamp> {
        let wait = Timer {
            until,
            inputs: PhantomData::<fn() -> W::Inputs>,
        };
        self.push_wait(name, Arc::new(wait), &inputs.inputs())
    }

    /// Waits, durably, for the signal `name`, until the instant that `until` gives for the inputs and the instant at which the
    /// wait begins (`None`: for as long as it takes). A signal that came before the wait is taken at once.
    pub fn await_signal<T, W: Wiring>(
        &mut self,
        name: &str,
        inputs: W,
        until: impl Fn(<W::Inputs as Inputs>::Value, Timestamp) -> Option<Timestamp>
        + Send
        + Sync
        + 'static,
    ) -> Handle<Awaited<T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let wait = SignalWait {
            until,
            types: PhantomData::<fn() -> (W::Inputs, T)>,
        };
        self.push_wait(name, Arc::new(wait), &inputs.inputs())
    }

    fn push_wait<T>(
        &mut self,
        name: &str,
        step: Arc<dyn AnyStep>,
        inputs: &impl Inputs,
    ) -> Handle<T> {
        let because = Compensation::None {
            because: "waiting has no effect",
        };
        let policy = super::Policy::default();
        self.push(name.to_owned(), policy, P::PHASE, because, step, inputs)
    }
}

impl<I: Serialize + DeserializeOwned + Send + 'static, P> Saga<I, P> {
    /// A workflow that is not past its pivot after this long turns back.
    pub fn deadline(&mut self, deadline: Duration) {
        self.builder.deadline(deadline);
    }

    /// What a workflow is started with.
    #[must_use]
    pub fn input(&self) -> Handle<I> {
        Handle {
            source: Source::Input,
            saga: Arc::clone(&self.name),
            value: PhantomData,
        }
    }

    /// `later` starts only when `earlier` is done, though it takes nothing from it.
    pub fn order<A, B>(&mut self, earlier: &Handle<A>, later: &Handle<B>) {
        let step = self.builder.name_of(if self.owns(&later.saga) {
            later.source
        } else {
            earlier.source
        });
        self.check_owned(step.clone(), &earlier.saga);
        self.check_owned(step, &later.saga);
        if let (Source::Step(earlier), Source::Step(later)) = (earlier.source, later.source) {
            self.builder.edge(earlier, later);
        }
    }

    /// Checks the whole and returns the definition; `output` is what a completed workflow gives.
    pub fn finish<T>(mut self, output: &Handle<T>) -> Result<Definition, DefinitionError> {
        self.check_owned("output".to_owned(), &output.saga);
        match self.foreign {
            Some(error) => Err(error),
            None => self.builder.build(output.source),
        }
    }

    /// Two sagas of one name are still two.
    fn owns(&self, saga: &Arc<str>) -> bool {
        Arc::ptr_eq(saga, &self.name)
    }

    /// Keeps the first use of a handle that belongs to another saga, for [`Saga::finish`] to report.
    fn check_owned(&mut self, step: String, saga: &Arc<str>) {
        if !self.owns(saga) {
            self.foreign.get_or_insert(DefinitionError::ForeignHandle {
                step,
                saga: saga.to_string(),
            });
        }
    }

    fn push_final<A: Action, W>(
        &mut self,
        step: A,
        inputs: W,
        phase: Phase,
        compensation: Compensation,
    ) -> Handle<A::Output>
    where
        W: Wiring,
        W::Inputs: Inputs<Value = A::Input>,
    {
        let (name, policy) = (step.name().to_owned(), step.policy());
        let step = Final {
            step,
            inputs: PhantomData::<fn() -> W::Inputs>,
        };
        self.push(
            name,
            policy,
            phase,
            compensation,
            Arc::new(step),
            &inputs.inputs(),
        )
    }

    fn push<T>(
        &mut self,
        name: String,
        policy: super::Policy,
        phase: Phase,
        compensation: Compensation,
        step: Arc<dyn AnyStep>,
        inputs: &impl Inputs,
    ) -> Handle<T> {
        let mut sources = Vec::new();
        for (source, saga) in inputs.sources() {
            self.check_owned(name.clone(), &saga);
            sources.push(source);
        }
        let index = self.builder.step(StepSpec {
            name,
            phase,
            compensation,
            policy,
            inputs: sources,
            step,
        });
        Handle {
            source: Source::Step(index),
            saga: Arc::clone(&self.name),
            value: PhantomData,
        }
    }
}

/// A typed step with a compensation, behind [`AnyStep`].
struct Undoable<A, N> {
    step: A,
    inputs: PhantomData<fn() -> N>,
}

/// A typed step without one, behind [`AnyStep`].
struct Final<A, N> {
    step: A,
    inputs: PhantomData<fn() -> N>,
}

/// A wait for an instant, behind [`AnyStep`].
struct Timer<F, N> {
    until: F,
    inputs: PhantomData<fn() -> N>,
}
/// A wait for a signal, behind [`AnyStep`].
struct SignalWait<F, N, T> {
    until: F,
    types: PhantomData<fn() -> (N, T)>,
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
