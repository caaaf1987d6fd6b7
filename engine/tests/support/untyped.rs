//! Definitions that are assembled at run time, of steps that do nothing: for tests that look at the graph or at the pure core.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::definition::{
    AnyStep, Attempt, Compensation, Definition, DefinitionBuilder, DefinitionError, Outcome, Phase,
    Policy, Source, StepIndex, StepKind, StepSpec,
};
use engine::payload::PayloadError;
use engine::{Payload, Timestamp};

/// A step that does nothing.
pub struct Inert;

#[async_trait]
impl AnyStep for Inert {
    async fn act(&self, _: &Attempt, _: &[Payload]) -> Outcome<Payload> {
        Outcome::done(Payload::null())
    }

    async fn compensate(&self, _: &Attempt, _: &[Payload], _: Option<&Payload>) -> Outcome<()> {
        Outcome::done(())
    }
}

/// A wait of this length from the instant at which it begins, or for as long as it takes.
pub struct Wait {
    pub kind: StepKind,
    pub lasts: Option<Duration>,
}

#[async_trait]
impl AnyStep for Wait {
    fn kind(&self) -> StepKind {
        self.kind
    }

    fn wait_until(&self, _: &[Payload], now: Timestamp) -> Result<Option<Timestamp>, PayloadError> {
        Ok(self.lasts.map(|lasts| now.after(lasts)))
    }

    async fn act(&self, _: &Attempt, _: &[Payload]) -> Outcome<Payload> {
        unreachable!("a wait is not attempted")
    }

    async fn compensate(&self, _: &Attempt, _: &[Payload], _: Option<&Payload>) -> Outcome<()> {
        unreachable!("a wait is not undone")
    }
}

/// A step of this phase that waits for `inputs`, undone where its phase allows it.
pub fn spec(name: &str, phase: Phase, inputs: &[usize]) -> StepSpec {
    let compensation = match phase {
        Phase::Compensable => Compensation::Runs,
        Phase::Pivot | Phase::Retriable => Compensation::None { because: "a test" },
    };
    let inputs = inputs
        .iter()
        .map(|index| Source::Step(StepIndex(*index)))
        .collect();
    StepSpec {
        name: name.to_owned(),
        phase,
        compensation,
        policy: Policy::default(),
        inputs,
        step: Arc::new(Inert),
    }
}

/// The step as a wait: for a signal, or for its time.
pub fn waiting(spec: StepSpec, kind: StepKind, lasts: Option<Duration>) -> StepSpec {
    StepSpec {
        compensation: Compensation::None {
            because: "waiting has no effect",
        },
        step: Arc::new(Wait { kind, lasts }),
        ..spec
    }
}

/// A definition of these steps whose output is its input.
pub fn build(specs: impl IntoIterator<Item = StepSpec>) -> Result<Definition, DefinitionError> {
    let mut builder = DefinitionBuilder::new("saga", 1);
    for spec in specs {
        builder.step(spec);
    }
    builder.build(Source::Input)
}

/// `a` and `b` at once, then the pivot, then `c` and `d`: the shape of a purchase.
pub fn diamond() -> Vec<StepSpec> {
    vec![
        spec("a", Phase::Compensable, &[]),
        spec("b", Phase::Compensable, &[]),
        spec("pivot", Phase::Pivot, &[0, 1]),
        spec("c", Phase::Retriable, &[1, 2]),
        spec("d", Phase::Retriable, &[1, 3]),
    ]
}
