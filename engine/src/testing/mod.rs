//! What tests of sagas and of the engine itself need: a store in memory whose failures are set by the test.

mod memory_store;

pub use memory_store::{Fault, MemoryStore};
