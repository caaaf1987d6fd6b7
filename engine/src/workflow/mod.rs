//! One execution of a definition, as pure functions: the events, the state they fold to, and the plan that follows from
//! it. Nothing here reads a clock or does I/O, so one journal always gives one state.

pub mod event;
pub mod state;

pub mod transition;

pub mod plan;

pub use event::{
    AfterFailure, By, DefinitionRef, Direction, Earlier, End, Event, Failure, Intent, Record,
    Refusal, Resolution, Signal, StepError, with_causes,
};
pub use plan::{Plan, PlannedAttempt, follow, plan, turned_back_because};
pub use state::{Phase, Progress, StepState, Undo, WorkflowState};
pub use transition::{IllegalTransition, PAUSED, SIGNALS_MAX, START_LOST, TURNED_BACK};
