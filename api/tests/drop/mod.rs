//! The drop as a whole: buyers of every kind for a hot item, a gateway that misbehaves, and everything under it that fails once.

mod crowd;

mod claims;
mod closed_time;
mod everything_fails;
mod gateway_rules;
mod hot_item;
mod lies;
