//! The reservations: the same scripts behind both adapters, compared with each other and with a plain model, and what
//! callers are told when the server is away, was emptied or was replaced.

#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers fail as the test does: by a panic"
)]

#[path = "../support/patience.rs"]
mod patience;
#[path = "../support/redis_server.rs"]
mod redis_server;

mod harness;
mod outcomes;

mod coupons;
mod coupons_ahead;
mod gate;
mod holds;
mod known_starts;
mod operations;
mod rebuild_scripts;
mod rebuilding;
mod rollbacks;
mod windows;

mod model;
mod random_sequences;

mod contention;

mod cluster;
mod conversions;
mod embedded;
mod large;
mod refused_service;
