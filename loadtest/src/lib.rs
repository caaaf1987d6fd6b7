//! What speaks to Holdfast only by HTTP: the payment-gateway simulator and the load driver.

#![warn(clippy::unwrap_used)]

pub mod driver;
pub mod gateway_simulator;
