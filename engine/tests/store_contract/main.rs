//! The contract of the store: what every implementation must do, run against SQLite and against a real MySQL server
//! (`DATABASE_URL`; without it the MySQL half says that it was skipped, and fails in CI).
#![cfg(all(feature = "mysql", feature = "sqlite"))]

mod harness;
mod proxy;
mod samples;

mod changes;
mod connecting;
mod fence;
mod grouping;
mod journal;
mod leases;
mod listing;
mod lost;
mod migrating;
mod recovery;
