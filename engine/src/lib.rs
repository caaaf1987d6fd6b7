//! A durable saga engine: typed definitions, a journal with group commit and fencing, and an executor that recovers
//! by folding the journal. It knows nothing about shopping, HTTP or any one database.
//!
//! To use it, begin with [`definition::Saga`] (steps and how they hang together), [`definition::Action`] and
//! [`definition::Compensable`] (what a step does and how it is undone), [`Engine`] (start, look, wait, operate) and
//! [`testing::kit`] (everything that goes wrong, for any saga). `docs/WRITING-A-SAGA.md` is the way from nothing to a tested saga,
//! and `examples/` has two.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use engine::definition::{Action, Attempt, Compensable, Outcome, Saga};
//! use engine::outbox::in_process::InProcessBus;
//! use engine::store::Status;
//! use engine::testing::MemoryStore;
//! use engine::{Engine, Parts, Payload, Runtime, Settings, Start};
//!
//! /// Lights a lamp; its compensation puts it out.
//! struct Light;
//!
//! impl Action for Light {
//!     type Input = String;
//!     type Output = u32;
//!     fn name(&self) -> &'static str {
//!         "light"
//!     }
//!     async fn act(&self, attempt: &Attempt, room: String) -> Outcome<u32> {
//!         println!("{}: light in the {room}", attempt.key());
//!         Outcome::done(100)
//!     }
//! }
//!
//! impl Compensable for Light {
//!     async fn compensate(&self, _: &Attempt, room: String, _: Option<u32>) -> Outcome<()> {
//!         println!("the {room} is dark");
//!         Outcome::done(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut saga = Saga::<String>::new("evening", 1);
//! let room = saga.input();
//! let watts = saga.compensable(Light, &room);
//! let definition = saga.finish(&watts)?;
//!
//! let runtime = Runtime::system();
//! let engine = Engine::open(Parts {
//!     runtime: runtime.clone(),
//!     store: Arc::new(MemoryStore::new(runtime.clone())),
//!     bus: Arc::new(InProcessBus::new()),
//!     definitions: vec![Arc::new(definition)],
//!     settings: Settings::default(),
//! })
//! .await?;
//!
//! let started = engine
//!     .start(Start {
//!         definition: "evening".to_owned(),
//!         input: Payload::of("kitchen")?,
//!         key: Some(("ann".to_owned(), "tonight".to_owned())),
//!         request_hash: [0; 32],
//!         label: None,
//!     })
//!     .await?;
//! let deadline = runtime.now().after(Duration::from_secs(5));
//! let ended = engine.wait(started.view().id, deadline).await?;
//! assert_eq!(ended.map(|view| view.head.status), Some(Status::Completed));
//! # Ok(())
//! # }
//! ```
//!
//! To change it, read in this order: [`definition`] (what a saga is), [`workflow`] (one execution, as pure functions),
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

pub mod planted;

pub use engine::{
    CommandError, Commanded, Counters, Drained, Engine, OpenError, Parts, Preview, Settings, Start,
    StartError, Started, View,
};
pub use runtime::{Runtime, Timestamp};

pub use ids::{Epoch, NodeName, PartitionId, WorkflowId};
pub use payload::Payload;
