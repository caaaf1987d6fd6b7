//! What a saga is: a checked graph of steps, each an action beside its compensation.
//!
//! A definition is built in code with the typed [`Saga`], in which a wrong order or type does not compile. Underneath
//! is the untyped [`DefinitionBuilder`], which makes the checks that types can't make and serves definitions that are
//! assembled at run time.

mod policy;
mod step;

mod graph;

mod builder;
mod error;

mod saga;

mod handle;
mod typed;

mod diagram;

pub use builder::{DefinitionBuilder, StepSpec};
pub use error::DefinitionError;
pub use graph::{Compensation, Definition, Phase, Source, StepIndex, StepNode};
pub use handle::{Handle, Inputs};
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) use policy::mix;
pub use policy::{Durability, Policy, RetryPolicy};
pub use saga::{Forward, Reversible, Saga};
pub use step::{Action, AnyStep, Attempt, Awaited, Compensable, Outcome, Probed, StepKind};
