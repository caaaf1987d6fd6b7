//! The gate in front of the database, brought back into line with it: the rebuild of what the gate has forgotten, the keeper
//! that notices when it has, and the checker of the invariants that both sides must keep.

pub mod difference;
pub mod gate;
pub mod invariants;
pub mod rebuild;
pub mod reconciler;
mod snapshot;
