//! What a node counts while it works: plain atomics that everyone shares and anyone may read.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only goes up.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted. See [`crate::engine::Counters`] for what each means.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Batches committed.
    pub commits: Count,
    /// Rows written.
    pub rows: Count,
    /// Batches split.
    pub splits: Count,
    /// Batches refused by the fence.
    pub fenced: Count,
    /// Workflows that ended or were parked.
    pub settled: Count,
    /// Orphans that the auditor found.
    pub orphans: Count,
    /// Those of them that it healed.
    pub healed: Count,
    /// Workflows that were removed because they were old.
    pub purged: Count,
    /// Events that the bus refused for good, and for which it took a dead letter.
    pub dead_letters: Count,
}
