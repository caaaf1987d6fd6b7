//! How the simulator misbehaves: by payment token for one payment, by probability for many, the same for the same seed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::faults::{Fault, Faults, UnknownFault};

/// The longest wait that a rule may ask for, in milliseconds.
pub const WAIT_MS_MAX: u64 = 600_000;

/// The rules that can be changed while the simulator runs (`PUT /v1/rules`); what is left out gets its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Everything random comes from this and the order id, so the order of arrival changes nothing.
    pub seed: u64,
    /// The share of orders declined as `declined-by-issuer`, 0 to 1.
    pub decline_rate: f64,
    /// The share of orders, 0 to 1, that show a fault, by its name.
    pub rates: BTreeMap<String, f64>,
    /// The rules of reservations, one after the other as they come and then from the beginning; `""` is none.
    pub in_turn: Vec<String>,
    /// Every payment answer takes at least this long, after its effect.
    pub latency_ms: u64,
    /// And up to this much longer, uniformly.
    pub latency_jitter_ms: u64,
    /// How long the time-outs hold an answer back.
    pub hold_ms: u64,
    /// For how many requests of one call and order each transient fault shows; after all of them it behaves.
    pub faulty_attempts: u32,
    /// How old a payment must be for an inquiry with `inquiry-lag` to see it.
    pub inquiry_lag_ms: u64,
    /// How much later a late webhook is sent, and how long a reordered one waits for the next.
    pub webhook_late_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            seed: 0,
            decline_rate: 0.0,
            rates: BTreeMap::new(),
            in_turn: Vec::new(),
            latency_ms: 0,
            latency_jitter_ms: 0,
            hold_ms: 30_000,
            faulty_attempts: 1,
            inquiry_lag_ms: 1_000,
            webhook_late_ms: 1_000,
        }
    }
}

/// Rules that can't be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// Not a share.
    #[error("decline_rate must be between 0 and 1")]
    DeclineRate,
    /// Not a share.
    #[error("the rate of {0} must be between 0 and 1")]
    Rate(String),
    /// Not a fault.
    #[error(transparent)]
    Unknown(#[from] UnknownFault),
    /// Longer than [`WAIT_MS_MAX`].
    #[error("{0} must be at most {WAIT_MS_MAX}")]
    Wait(&'static str),
}

/// What a new approval comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    Capture { amount: u64 },
    Decline { code: &'static str },
}

impl Rules {
    pub(super) fn check(&self) -> Result<(), BadRules> {
        if !(0.0..=1.0).contains(&self.decline_rate) {
            return Err(BadRules::DeclineRate);
        }
        for (name, rate) in &self.rates {
            Faults::parse(name)?;
            if Fault::named(name).is_none() || !(0.0..=1.0).contains(rate) {
                return Err(BadRules::Rate(name.clone()));
            }
        }
        for rule in &self.in_turn {
            Faults::parse(rule)?;
        }
        let waits = [
            ("latency_ms", self.latency_ms),
            ("latency_jitter_ms", self.latency_jitter_ms),
            ("hold_ms", self.hold_ms),
            ("inquiry_lag_ms", self.inquiry_lag_ms),
            ("webhook_late_ms", self.webhook_late_ms),
        ];
        match waits
            .into_iter()
            .find(|(_, wait_ms)| *wait_ms > WAIT_MS_MAX)
        {
            Some((name, _)) => Err(BadRules::Wait(name)),
            None => Ok(()),
        }
    }

    /// The faults that an order shows by chance.
    pub(super) fn faults_by_chance(&self, order_id: &str) -> Faults {
        let shown =
            |name: &str, rate| unit(stable_hash(self.seed, &["fault", name, order_id])) < rate;
        self.rates
            .iter()
            .filter(|(name, rate)| shown(name, **rate))
            .filter_map(|(name, _)| Fault::named(name))
            .fold(Faults::default(), Faults::and)
    }

    /// The faults of a reservation that comes after so many others; `None` when none has a turn.
    pub(super) fn faults_in_turn(&self, earlier: usize) -> Option<Faults> {
        let place = earlier.checked_rem(self.in_turn.len())?;
        Faults::parse(&self.in_turn[place]).ok()
    }

    pub(super) fn charge(&self, order_id: &str, amount: u64, faults: Faults) -> Charge {
        use super::faults::{Operation::Approve, Trouble::WrongAmount};
        if faults.has(Fault::Declined) {
            return Charge::Decline {
                code: "insufficient-funds",
            };
        }
        if unit(stable_hash(self.seed, &["decline", order_id])) < self.decline_rate {
            return Charge::Decline {
                code: "declined-by-issuer",
            };
        }
        let amount = if faults.has(Fault::Call(Approve, WrongAmount)) {
            one_off(amount)
        } else {
            amount
        };
        Charge::Capture { amount }
    }

    pub(super) fn latency(&self, operation: &str, subject: &str) -> Duration {
        let jitter_ms =
            stable_hash(self.seed, &["latency", operation, subject]) % (self.latency_jitter_ms + 1);
        Duration::from_millis(self.latency_ms + jitter_ms)
    }

    pub(super) const fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms)
    }

    pub(super) const fn inquiry_lag(&self) -> Duration {
        Duration::from_millis(self.inquiry_lag_ms)
    }

    pub(super) const fn webhook_delay(&self) -> Duration {
        Duration::from_millis(self.webhook_late_ms)
    }
}

/// Another amount, and a legal one.
pub(super) const fn one_off(amount: u64) -> u64 {
    if amount > 1 { amount - 1 } else { amount + 1 }
}

/// What the buyer may read about a decline.
pub(super) fn decline_message(code: &str) -> &'static str {
    match code {
        "insufficient-funds" => "There is not enough money on the account.",
        "authorisation-expired" => "The time to pay was over.",
        "declined-by-buyer" => "The payment was declined on the payment page.",
        _ => "The card's issuer declined the payment.",
    }
}

/// A hash that stays the same over builds and machines (FNV-1a, then the finisher of `SplitMix64`): not for secrets.
pub(super) fn stable_hash(seed: u64, parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The upper half of a hash as a number from 0 up to, but not including, 1.
fn unit(hash: u64) -> f64 {
    let upper = u32::try_from(hash >> 32).unwrap_or(u32::MAX);
    f64::from(upper) / (f64::from(u32::MAX) + 1.0)
}
