//! The contract of the store: what every implementation must do, run against SQLite and against a real MySQL server
//! (`DATABASE_URL`; without it the MySQL half says that it was skipped, and fails in CI), and, where a claim is about the
//! trait alone, against the store in memory that other tests take for a database.
#![cfg(all(feature = "mysql", feature = "sqlite"))]

mod harness;
mod proxy;
mod samples;

mod auditing;
mod batches;
mod changes;
mod connecting;
mod definitions;
mod fence;
mod grouping;
mod groups;
mod hardship;
mod inbox;
mod journal;
mod leases;
mod listing;
mod lost;
mod migrating;
mod parking;
mod purging;
mod recovery;
mod retiring;
mod waking;
