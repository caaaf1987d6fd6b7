//! The reservations: the same scripts behind both adapters, compared with each other and with a plain model, and what
//! callers are told when the server is away, was emptied or was replaced.

#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers fail as the test does: by a panic"
)]

mod harness;
mod outcomes;
mod server;

mod coupons;
mod gate;
mod holds;
mod rebuild_scripts;
mod rebuilding;

mod model;
mod random_sequences;

mod conversions;
mod embedded;
mod refused_service;
