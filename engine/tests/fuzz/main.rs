//! What stands in a database that somebody has damaged, and what other programs wrote there, is read or refused: never a panic,
//! and never more memory than the row itself has.

#[path = "../support/mod.rs"]
mod support;

mod mutate;

mod cloud_events;
mod commands;
mod journals;
mod records;
#[cfg(feature = "sqlite")]
mod tables;
