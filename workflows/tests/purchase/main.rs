//! The purchase: what it costs, each step twice and undone twice, the whole saga on a real engine, the catalogue, the keeper of
//! the gate, and the checker of the invariants. On an embedded database always; on a server when `DATABASE_URL` names one.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

mod quoting;
mod seeding;

mod definition;

mod claiming;
mod extending;
mod issuing;
mod paying;
mod refunding;
mod reserving;
mod settling;

mod catalogue;
mod charging;
mod contending;
mod coupons;
mod invariants;
mod keeper;
mod kit;
mod picture;
mod redirects;
mod refunds;
mod sagas;
mod stages;
