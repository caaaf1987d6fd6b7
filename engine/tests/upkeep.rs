//! What a node does besides running workflows: it registers and keeps apart versions, audits, works on batches of commands, and
//! removes what is old.

mod support;

#[path = "upkeep/house.rs"]
mod house;

#[path = "upkeep/auditor.rs"]
mod auditor;
#[path = "upkeep/batches.rs"]
mod batches;
#[path = "upkeep/batches_fail.rs"]
mod batches_fail;
#[path = "upkeep/retention.rs"]
mod retention;
#[path = "upkeep/sqlite.rs"]
mod sqlite;
#[path = "upkeep/versions.rs"]
mod versions;
