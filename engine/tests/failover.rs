//! Nodes that come, leave, die, are stopped and wake up over one store, on Tokio's paused clock: who has which partition when,
//! and that nothing is lost, done twice or told in the wrong order on the way.

mod support;

#[path = "failover/place.rs"]
mod place;

#[path = "failover/order.rs"]
mod order;
#[path = "failover/retirement.rs"]
mod retirement;
#[path = "failover/sharing.rs"]
mod sharing;
#[path = "failover/stall.rs"]
mod stall;
