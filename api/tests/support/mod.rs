//! What every test here needs: the real program as a process, buyers, servers, and waiting for a state without sleeping
//! blindly.

pub mod gateway;
pub mod http;
pub mod listener;
pub mod process;
mod rest;
pub mod rounds;
mod running;
pub mod servers;
pub mod shop;
pub mod topic;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take that is expected to happen, on a machine that is busy with other things. What may take only so long
/// is measured, in rounds: see [`rounds`].
pub const PATIENCE: Duration = Duration::from_mins(3);
/// How often a state is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Looks until there is something to see; panics with `what` when nothing came in time.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain for {what}"
        );
        sleep(POLL).await;
    }
}

/// A seed for everything random in a test, printed so that a failure can be run again with `HOLDFAST_TEST_SEED`.
pub fn seed() -> u64 {
    let seed = std::env::var("HOLDFAST_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| engine::Runtime::system().next_u64());
    println!("HOLDFAST_TEST_SEED={seed}");
    seed
}

/// Says what was done, for whoever adds it up over many tests: `scripts/test-long` does.
pub fn counted(what: &str, count: u64) {
    println!("counted: {count} {what}");
}

/// A name that nothing else has.
pub fn unique(prefix: &str) -> String {
    format!(
        "{prefix}-{:012x}",
        engine::Runtime::system().next_u64() >> 16
    )
}
