//! Randomness from one seed: what a roll gives depends on what it is about and how often that was rolled, not on who came first.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

/// Dice that several parts of a test share.
#[derive(Clone)]
pub struct Dice {
    seed: u64,
    rolled: Arc<Mutex<HashMap<String, u64>>>,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rolled: Arc::default(),
        }
    }

    /// The next number about `what`, evenly from 0 to below `below`.
    pub fn roll(&self, what: &str, below: u64) -> u64 {
        let mut rolled = self.rolled.lock().unwrap();
        let count = rolled.entry(what.to_owned()).or_default();
        *count += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, what, *count).hash(&mut hasher);
        hasher.finish() % below
    }

    /// True or not about `what`, so many times in a thousand, and the same however often it is asked.
    pub fn always(&self, what: &str, per_mille: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, what).hash(&mut hasher);
        hasher.finish() % 1000 < per_mille
    }

    /// True so many times in a thousand.
    pub fn chance(&self, what: &str, per_mille: u64) -> bool {
        self.roll(what, 1000) < per_mille
    }
}

/// The seeds of a test: `count` from `first`, or the one in `FAULTS_SEED`, or as many as `FAULTS_COUNT` says; printed either way.
pub fn seeds(first: u64, count: u64) -> Vec<u64> {
    let from_environment = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        )
    };
    let seeds: Vec<u64> = match from_environment("FAULTS_SEED") {
        Some(seed) => vec![seed],
        None => (first..first + from_environment("FAULTS_COUNT").unwrap_or(count)).collect(),
    };
    println!("seeds {seeds:?} (one alone: FAULTS_SEED=n, more: FAULTS_COUNT=n)");
    seeds
}
