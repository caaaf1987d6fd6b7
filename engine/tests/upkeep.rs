//! What a node does besides running workflows: it registers and keeps apart versions, audits, works on batches of commands, removes
//! what is old, and says so where the bus refuses an event for good.

mod support;

#[path = "upkeep/house.rs"]
mod house;

#[path = "upkeep/auditor.rs"]
mod auditor;
#[path = "upkeep/batches.rs"]
mod batches;
#[path = "upkeep/batches_fail.rs"]
mod batches_fail;
#[path = "upkeep/dead_letters.rs"]
mod dead_letters;
#[path = "upkeep/retention.rs"]
mod retention;
#[path = "upkeep/sqlite.rs"]
mod sqlite;
#[path = "upkeep/versions.rs"]
mod versions;
