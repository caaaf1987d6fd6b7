//! What the crowd saw: counters while it is at work, and everything in the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::client::Order;

/// Counters that whoever watches may read at any time.
#[derive(Debug, Default)]
pub struct Progress {
    buyers: AtomicU64,
    completed: AtomicU64,
    turned_back: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
}

/// [`Progress`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Buyers who have left.
    pub buyers: u64,
    /// Purchases that were completed.
    pub completed: u64,
    /// Purchases that were accepted and then turned back, such as by a declined payment.
    pub turned_back: u64,
    /// Refusals without a purchase, such as sold out.
    pub refused: u64,
    /// Answers 503, and answers that did not come.
    pub unavailable: u64,
}

impl Progress {
    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            buyers: read(&self.buyers),
            completed: read(&self.completed),
            turned_back: read(&self.turned_back),
            refused: read(&self.refused),
            unavailable: read(&self.unavailable),
        }
    }

    pub(super) fn buyer_left(&self) {
        self.buyers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn settled(&self, completed: bool) {
        let counter = if completed {
            &self.completed
        } else {
            &self.turned_back
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unavailable(&self) {
        self.unavailable.fetch_add(1, Ordering::Relaxed);
    }
}

/// A start that was answered with an id, and what it takes to ask again.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The purchase's id.
    pub id: String,
    /// The buyer's token.
    pub token: String,
    /// The key of the start.
    pub key: String,
    /// The request of the start.
    pub order: Order,
}

/// Something that must hold, and how often it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// Things looked at.
    pub checked: u64,
    /// What did not hold, a sentence each.
    pub violations: Vec<String>,
}

impl Check {
    /// Counts one thing; `violation` says what did not hold.
    pub fn note(&mut self, violation: Option<String>) {
        self.checked += 1;
        self.violations.extend(violation);
    }

    /// Adds what another one saw.
    pub fn merge(&mut self, other: Self) {
        self.checked += other.checked;
        self.violations.extend(other.violations);
    }
}

/// Durations by kind.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// From the request that bought them to the goods, of completed purchases, each retry and wait included.
    pub completed: Vec<Duration>,
    /// From the first request to its answer, of buyers who were refused then.
    pub refused: Vec<Duration>,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    /// Purchases by outcome: `completed`, the code of the refusal or of the reason with `_` for `-`, `parked`, `gave_up`.
    pub purchases: BTreeMap<String, u64>,
    /// Coupons that were claimed ahead: `claimed`, or the code of the refusal with `_` for `-`.
    pub claims: BTreeMap<String, u64>,
    /// Every start that was acknowledged.
    pub acknowledged: Vec<Acknowledged>,
    /// Repeats under the same key: each must name the same purchase.
    pub repeats: Check,
    /// How long things took.
    pub times: Times,
    /// From the first request to the last completion.
    pub completed_within: Duration,
    /// The first and the last of these refusals, from the first request on.
    pub refused_between: Option<(Duration, Duration)>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Answers that no buyer should see.
    pub errors: Vec<String>,
    /// The last answer to each buyer whose patience ended before there was another one.
    pub gave_up: Vec<String>,
    /// Answers 503, and answers that did not come; each was tried again.
    pub unavailable: u64,
}

impl Report {
    pub(super) fn count(&mut self, outcome: &str) {
        *self.purchases.entry(outcome.replace('-', "_")).or_default() += 1;
    }

    pub(super) fn count_claim(&mut self, outcome: &str) {
        *self.claims.entry(outcome.replace('-', "_")).or_default() += 1;
    }

    /// A buyer who clicked then is refused now, for the first time: for how long it comes back by itself says nothing about the
    /// server.
    pub(super) fn refused_first(&mut self, clicked: Instant, began: Instant) {
        self.times.refused.push(clicked.elapsed());
        let at = began.elapsed();
        let first = self.refused_between.map_or(at, |(first, _)| first);
        self.refused_between = Some((first, at));
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (outcome, count) in other.purchases {
            *self.purchases.entry(outcome).or_default() += count;
        }
        for (outcome, count) in other.claims {
            *self.claims.entry(outcome).or_default() += count;
        }
        self.acknowledged.extend(other.acknowledged);
        self.repeats.merge(other.repeats);
        self.times.completed.extend(other.times.completed);
        self.times.refused.extend(other.times.refused);
        self.completed_within = self.completed_within.max(other.completed_within);
        self.refused_between = match (self.refused_between, other.refused_between) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
        self.errors.extend(other.errors);
        self.gave_up.extend(other.gave_up);
        self.unavailable += other.unavailable;
    }

    /// All purchases that came to an outcome.
    #[must_use]
    pub fn decided(&self) -> u64 {
        self.purchases.values().sum()
    }
}

/// The smallest duration that at least `percent` of 100 are not longer than, in milliseconds; 0 of none.
#[must_use]
pub fn percentile_ms(durations: &mut [Duration], percent: usize) -> f64 {
    durations.sort_unstable();
    let rank = (durations.len() * percent.min(100))
        .div_ceil(100)
        .saturating_sub(1);
    durations
        .get(rank)
        .map_or(0.0, |duration| duration.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut durations: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        for (percent, expected_ms) in [(0, 1.0), (50, 100.0), (99, 198.0), (100, 200.0)] {
            assert!(
                (percentile_ms(&mut durations, percent) - expected_ms).abs() < 1e-6,
                "p{percent}"
            );
        }
        assert!(percentile_ms(&mut [], 50).abs() < f64::EPSILON);
    }
}
