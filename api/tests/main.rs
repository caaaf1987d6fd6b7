//! What the program promises, tested on the program itself: spawned as users run it, over HTTP, killed and stopped by
//! signals, on SQLite and on real servers.

mod support;

mod bad_input;
mod bombs;
mod buyers;
mod demo;
mod dependencies;
mod disk_full;
mod documents;
mod drain;
mod drop;
mod failover;
mod faults;
mod fuzz;
mod identity;
mod kafka;
mod kill;
mod mutants;
mod openapi;
mod opening;
mod operators;
mod reconcile;
mod servers_away;
mod soak;
mod start_once;
mod startup_errors;
mod torture;
mod verify;
