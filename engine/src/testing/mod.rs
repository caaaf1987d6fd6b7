//! What tests of sagas and of the engine itself need: a [`kit`] that tests any saga, and a store in memory whose failures are set
//! by the test.

mod memory_store;

pub mod kit;

pub use memory_store::{Fault, MemoryStore};
