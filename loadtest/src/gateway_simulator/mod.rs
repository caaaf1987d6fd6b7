//! A payment gateway to test against: the API of `docs/PAYMENTS.md`, rules that make it misbehave, and a ledger that
//! is the oracle for "nobody is charged for what was not issued".
//!
//! One answer, from the outside in: [`GatewaySimulator`] serves `routes`, these ask [`rules`] how to behave, and let
//! `ledger` decide and record. The decision itself is `book`, which knows neither files nor HTTP.

mod server;

pub mod rules;

mod simulator;

mod routes;

mod input;
mod refusal;
mod wire;

mod book;
mod journal;
mod ledger;

pub use book::{Entry, EntryKind};
pub use journal::LedgerFileError;
pub use rules::{BadRules, Fault, Rules};
pub use server::{Clock, GatewaySimulator, Running, Settings, ShutdownError, StartError};
pub use wire::{EntryPage, OrderAccount, OrderPage, Summary, Totals};
