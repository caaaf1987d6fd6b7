//! How an attempt is bounded and when the next one follows.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use serde::{Deserialize, Serialize};

/// What must be durable before a step's attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// Everything that the workflow has done so far, the intent of this attempt included: an external effect never happens
    /// without a durable intent.
    Barrier,
    /// Nothing: for an effect that is idempotent by `(workflow, step)` and that can be found and undone if the workflow never
    /// became durable.
    Replayable,
}

/// When the next attempt follows a failed one: exponential, with full jitter and a cap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The longest delay before the second attempt.
    pub first_delay: Duration,
    /// No delay is longer than this.
    pub delay_max: Duration,
    /// After so many attempts retries end; at least 1.
    pub attempts_max: u32,
}

impl RetryPolicy {
    /// One attempt and no more.
    pub const NONE: Self = Self {
        first_delay: Duration::ZERO,
        delay_max: Duration::ZERO,
        attempts_max: 1,
    };

    /// The delay between attempt `attempt` (from 1) and the next; `None` when retries have ended. `seed` fixes the jitter.
    #[must_use]
    pub fn delay_after(&self, attempt: u32, seed: u64) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let exponential = ExponentialBuilder::default()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.delay_max)
            .with_max_times(usize::try_from(self.attempts_max).unwrap_or(usize::MAX))
            .build()
            .nth(usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX))
            .unwrap_or(self.delay_max);
        Some(full_jitter(exponential, seed))
    }
}

/// A delay between half of `delay` and all of it: spread enough to break up a herd, never so short that it hammers.
fn full_jitter(delay: Duration, seed: u64) -> Duration {
    let half = delay / 2;
    let spread = u64::try_from(half.as_micros())
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    half + Duration::from_micros(mix(seed) % spread)
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): one seed, one well-mixed number.
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The bounds of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// An attempt that takes longer has an unknown outcome.
    pub attempt_timeout: Duration,
    /// When the next attempt follows.
    pub retry: RetryPolicy,
    /// What must be durable before an attempt begins.
    pub durability: Durability,
}

impl Default for Policy {
    /// 10 s an attempt; 8 attempts, 100 ms doubling to 10 s; barrier.
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(10),
            retry: RetryPolicy {
                first_delay: Duration::from_millis(100),
                delay_max: Duration::from_secs(10),
                attempts_max: 8,
            },
            durability: Durability::Barrier,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_and_end_with_the_attempts() {
        let policy = RetryPolicy {
            first_delay: Duration::from_millis(100),
            delay_max: Duration::from_millis(500),
            attempts_max: 6,
        };
        let bounds_ms = [(50, 100), (100, 200), (200, 400), (250, 500), (250, 500)];
        for (attempt, (low, high)) in (1..).zip(bounds_ms) {
            for seed in 0..50 {
                let delay_ms = policy
                    .delay_after(attempt, seed)
                    .expect("retries go on")
                    .as_millis();
                assert!(
                    (low..=high).contains(&delay_ms),
                    "attempt {attempt}: {delay_ms} ms"
                );
            }
        }
        assert_eq!(policy.delay_after(6, 0), None);
        assert_eq!(RetryPolicy::NONE.delay_after(1, 0), None);
    }
}
