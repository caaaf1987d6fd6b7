//! Who may do what: tokens, the families of refresh tokens, and roles.

mod families;
pub mod forge;
mod forged;
mod guests;
mod keys;
mod roles;
