//! What starts have in common: a key space, and what is asked of the store before one that is refused is undone.

mod support;

#[path = "starts/keys.rs"]
mod keys;
#[path = "starts/refused.rs"]
mod refused;
