//! Names that nobody can guess: whoever knows a reservation's may decide on it, whoever knows an authorisation may use it.

use std::sync::Arc;

use rand::TryRng as _;
use rand::rngs::SysRng;

use super::payments::AUTHORISATION_PREFIX;
use super::refusal::Refusal;

pub(super) fn reservation_id() -> Result<Arc<str>, Refusal> {
    named("rsv-")
}

pub(super) fn authorization() -> Result<Arc<str>, Refusal> {
    named(AUTHORISATION_PREFIX)
}

fn named(prefix: &str) -> Result<Arc<str>, Refusal> {
    let random = || {
        SysRng
            .try_next_u64()
            .map_err(|error| Refusal::broken("no-randomness", &error.to_string()))
    };
    Ok(format!("{prefix}{:016x}{:016x}", random()?, random()?).into())
}
