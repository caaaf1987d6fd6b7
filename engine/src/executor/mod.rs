//! The thin shell around the pure core: it makes the attempts that the plan names, turns their outcomes into events, and
//! hands the events to the journal. One task drives one workflow for as long as something is under way.

mod attempt;
mod breaker;
mod busy;
mod driver;
mod registry;

pub(crate) use breaker::Breakers;
pub(crate) use busy::Busy;
pub(crate) use driver::{Driver, DriverContext, Ends, Leftover, Origin};
pub(crate) use registry::{Discarded, NotRevived, Registry, Resident, Seen, Stage};
