//! What both listeners share: the server with its bounds, and reading requests so that what is wrong gets a name.

mod bounds;
mod impatient;
mod listener;
mod read;

pub use bounds::{Bounds, bounded};
pub use listener::{Listener, serve, stopped};
#[cfg(test)]
pub use read::json;
pub use read::{Json, Path, Query, Raw};
