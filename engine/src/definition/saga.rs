//! The typed way to write a definition: a step's output is a handle that later steps take as input, and the phase is in
//! the builder's type, so a wrong order or type does not compile.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::{DefinitionBuilder, StepSpec};
use super::error::DefinitionError;
use super::graph::{Compensation, Definition, Phase, Source};
use super::handle::{Handle, Inputs, Wiring};
use super::policy::Policy;
use super::step::{Action, AnyStep, Awaited, Compensable};
use super::typed::{Final, SignalWait, Timer, Undoable};
use crate::runtime::Timestamp;

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
    /// The first wrong use of a handle, for [`Saga::finish`] to report.
    wrong: Option<DefinitionError>,
    types: PhantomData<fn() -> (I, P)>,
}

impl<I: Serialize + DeserializeOwned + Send + 'static> Saga<I, Reversible> {
    /// An empty saga. The name and version are what workflows are pinned to.
    #[must_use]
    pub fn new(name: &str, version: u32) -> Self {
        Self {
            builder: DefinitionBuilder::new(name, version),
            name: format!("{name} v{version}").into(),
            wrong: None,
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
            wrong: self.wrong,
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

    /// What is done in the place of the retriable step `first` when that is refused, by its action or by a guard in the store: a
    /// refund in the place of goods. It never starts otherwise: least of all when nobody knows what became of `first`. The handle,
    /// like that of `first` itself, is the output of whichever of the two is done. When the alternative is refused as well, the
    /// workflow is parked for an operator.
    pub fn or_else<T, A, W>(&mut self, first: &Handle<T>, step: A, inputs: W) -> Handle<T>
    where
        A: Action<Output = T>,
        W: Wiring,
        W::Inputs: Inputs<Value = A::Input>,
    {
        let name = step.name().to_owned();
        let alternative = self.retriable(step, inputs);
        self.check_owned(name.clone(), &first.saga);
        if let (Source::Step(first), Source::Step(alternative)) = (first.source, alternative.source)
        {
            self.builder.or_else(first, alternative);
        } else {
            let input = self.builder.name_of(Source::Input);
            self.wrong
                .get_or_insert(DefinitionError::AlternativeNotRetriable {
                    first: input.clone(),
                    alternative: name,
                    step: input,
                });
        }
        first.clone()
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
        let policy = Policy::default();
        self.push(name.to_owned(), policy, P::PHASE, because, step, inputs)
    }
}

impl<I: Serialize + DeserializeOwned + Send + 'static, P> Saga<I, P> {
    /// A workflow that is not past its pivot after this long turns back.
    pub fn deadline(&mut self, deadline: Duration) {
        self.builder.deadline(deadline);
    }

    /// The start keys of this saga and of all others with this key space are the same keys: one that was used for a workflow of
    /// either is used. Without it a saga has a key space of its own, its name. It is for ever: with another one, keys that were used
    /// are not known.
    ///
    /// A start begins before it knows that its key was used under another saga, and what it did then counts as that workflow's. So
    /// what these sagas do before anything is durable must be the same, under the same names of steps.
    pub fn key_space(&mut self, name: &str) {
        self.builder.key_space(name);
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
        match self.wrong {
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
            self.wrong.get_or_insert(DefinitionError::ForeignHandle {
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
        policy: Policy,
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
