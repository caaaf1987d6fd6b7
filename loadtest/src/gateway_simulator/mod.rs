//! A payment gateway to test against: the API of `docs/PAYMENTS.md`, rules that make it misbehave, and a ledger that
//! is the oracle for "nobody is charged for what was not issued".
//!
//! One answer, from the outside in: [`GatewaySimulator`] serves `routes`; a call in `payments` or `pay_page` asks [`rules`] how
//! to behave, plays that by `calls`, and lets a `ledger` decide and record. The decisions themselves are `book` (money) and
//! `desk` (what buyers authorise), which know neither files nor HTTP. `webhooks` tells the shop.

mod server;

pub mod faults;
pub mod rules;

mod marks;
mod simulator;

mod routes;

mod calls;
mod pay_page;
mod payments;

mod connection;
mod input;
mod refusal;
mod secret;
mod wire;

mod book;
mod desk;
mod journal;
mod ledger;

mod webhooks;

pub use book::{Entry, EntryKind};
pub use faults::{Delivery, Fault, Faults, Operation, Trouble, UnknownFault};
pub use journal::LedgerFileError;
pub use ledger::BrokenBook;
pub use rules::{BadRules, Rules};
pub use server::{Clock, GatewaySimulator, Running, Settings, ShutdownError, StartError};
pub use webhooks::{BadTarget, WebhookCounts, WebhookTarget, sign};
pub use wire::{EntryPage, OrderAccount, OrderPage, Summary, Totals};
