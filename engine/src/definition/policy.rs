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
    /// Retries end as well when the next attempt would begin later than this after the first one; `None` is no such bound.
    pub elapsed_max: Option<Duration>,
}

impl RetryPolicy {
    /// One attempt and no more.
    pub const NONE: Self = Self {
        first_delay: Duration::ZERO,
        delay_max: Duration::ZERO,
        attempts_max: 1,
        elapsed_max: None,
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

/// A delay between nothing and `delay`: what spreads a herd best (Brooker, "Exponential Backoff And Jitter", AWS, 2015).
fn full_jitter(delay: Duration, seed: u64) -> Duration {
    let spread = u64::try_from(delay.as_micros())
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    Duration::from_micros(mix(seed) % spread)
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): one seed, one well-mixed number.
pub(crate) const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The bounds of a step: of one attempt, of all of them, and of what it may run ahead of. None of this is part of the definition's
/// hash: it may change under workflows that run, and counts from their next attempt on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// An attempt that takes longer has an unknown outcome.
    pub attempt_timeout: Duration,
    /// When the next attempt follows.
    pub retry: RetryPolicy,
    /// The outside that the step depends on, by a name that it shares with all steps that do: when attempts at it fail one after
    /// the other, all of them wait for it together. `None`: the step waits for itself alone.
    pub port: Option<&'static str>,
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
                elapsed_max: None,
            },
            port: None,
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
            elapsed_max: None,
        };
        let longest_ms = [100, 200, 400, 500, 500];
        for (attempt, longest_ms) in (1..).zip(longest_ms) {
            let delays_ms: Vec<u128> = (0..200)
                .map(|seed| policy.delay_after(attempt, seed).expect("retries go on"))
                .map(|delay| delay.as_millis())
                .collect();
            let (least, most) = (delays_ms.iter().min(), delays_ms.iter().max());
            assert!(most <= Some(&longest_ms), "attempt {attempt}: {most:?} ms");
            assert!(
                most > Some(&(longest_ms * 9 / 10)),
                "never long: {most:?} ms"
            );
            assert!(
                least < Some(&(longest_ms / 10)),
                "never short: {least:?} ms"
            );
        }
        assert_eq!(policy.delay_after(6, 0), None);
        assert_eq!(RetryPolicy::NONE.delay_after(1, 0), None);
    }
}
