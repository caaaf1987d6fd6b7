//! The store in SQL: one implementation for MySQL and for SQLite. [`dialect`] holds what their SQL differs in, [`driver`]
//! what is needed of a connection; everything between those two and the [`crate::store::Store`] trait is written once.
//!
//! No statement is prepared: all are text of the program, numbers and hexadecimal literals ([`text`]), so a whole batch
//! goes out in one round trip.

pub(crate) mod connect;
pub(crate) mod database;
pub(crate) mod dialect;
pub(crate) mod migration;
pub(crate) mod row;

mod migrate;
mod store;

mod leases;
mod listing;
mod open;
mod reads;
mod window;

mod audit;
mod batches;
mod commands;
mod definitions;
mod groups;
mod upkeep;

mod batch;
mod changes;
mod grouping;
mod journal;
mod statement;
mod transaction;

pub(crate) mod driver;
pub(crate) mod pool;
pub(crate) mod sqlx_glue;
mod text;

#[cfg(test)]
mod plans;
