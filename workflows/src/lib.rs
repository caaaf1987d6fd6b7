//! What a purchase means: the sagas of a limited drop, the ports they need, and the adapters behind the ports.

#![warn(clippy::unwrap_used)]

pub mod domain;
pub mod ports;

pub mod campaign;
pub mod ledger;
pub mod opening;
pub mod purchase;
pub mod reconcile;

pub mod tables;

mod rows;

pub mod adapters;
