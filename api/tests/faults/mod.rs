//! The faults of shops that are built by hand around a message queue, as claims that they can't happen here: see
//! `docs/FAULTS.md`. Each is shown over HTTP, on the embedded stack and on real servers.

mod market;
mod stack;

mod contention;
mod events;
mod gates;
mod payments;
mod poison;
mod records;
