//! One execution of a definition, as pure functions: the events, the state they fold to, and the plan that follows from
//! it. Nothing here reads a clock or does I/O, so one journal always gives one state.

pub mod event;
pub mod plan;
pub mod state;

pub use event::{
    AfterFailure, DefinitionRef, Direction, Event, Failure, Intent, Record, Refusal, StepError,
};
pub use plan::{Plan, PlannedAttempt, plan, turned_back_because};
pub use state::{IllegalTransition, Phase, Progress, StepState, Undo, WorkflowState};
