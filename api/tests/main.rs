//! What the program promises, tested on the program itself: spawned as users run it, over HTTP, killed and stopped by
//! signals, on SQLite and on real servers.

mod support;

mod bad_input;
mod demo;
mod dependencies;
mod disk_full;
mod documents;
mod drain;
mod failover;
mod identity;
mod kafka;
mod kill;
mod operators;
mod servers_away;
mod start_once;
mod startup_errors;
