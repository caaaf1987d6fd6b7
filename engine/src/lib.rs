//! A durable saga engine: typed definitions, a journal with group commit and fencing, and an executor that recovers
//! by folding the journal. It knows nothing about shopping, HTTP or any one database.
//!
//! Read in this order: [`definition`] (what a saga is), [`workflow`] (one execution, as pure functions),
//! [`journal`] (how events become durable), `executor` (how attempts are carried out), `node` (who owns what),
//! [`store`] and [`outbox`] (the ports), and [`Engine`], which puts them together.

#![warn(clippy::unwrap_used, missing_docs)]

pub mod ids;
pub mod payload;
pub mod runtime;

pub mod definition;
pub mod workflow;

pub mod command;
pub mod store;

mod inbox;

pub mod audit;
pub mod batch;
pub mod retention;

mod executor;
pub mod journal;
mod metrics;
mod node;
pub mod outbox;

pub mod engine;

pub mod testing;

pub use engine::{
    CommandError, Commanded, Counters, Drained, Engine, OpenError, Parts, Preview, Settings, Start,
    StartError, Started, View,
};
pub use runtime::{Runtime, Timestamp};

pub use ids::{Epoch, NodeName, PartitionId, WorkflowId};
pub use payload::Payload;
