//! The ports: what the sagas ask of the world. Their adapters are in [`crate::adapters`].

pub mod catalogue;
pub mod payment_gateway;
pub mod reservations;
pub mod serials;
pub mod webhook;
