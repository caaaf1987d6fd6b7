//! Definitions that are assembled at run time, of steps that do nothing: for tests that look at the graph or at the pure core.

use std::sync::Arc;

use async_trait::async_trait;
use engine::Payload;
use engine::definition::{
    AnyStep, Attempt, Compensation, Definition, DefinitionBuilder, DefinitionError, Outcome, Phase,
    Policy, Source, StepIndex, StepSpec,
};

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
