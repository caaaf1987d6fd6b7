//! How the simulator misbehaves: by payment token for one payment, by probability for many, the same for the same seed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest wait that a rule may ask for, in milliseconds.
pub const WAIT_MS_MAX: u64 = 600_000;

/// The rules that can be changed while the simulator runs (`PUT /v1/rules`); what is left out gets its default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Everything random comes from this and the order id, so the order of arrival changes nothing.
    pub seed: u64,
    /// The share of orders declined as `declined-by-issuer`, 0 to 1.
    pub decline_rate: f64,
    /// Every payment answer takes at least this long, after its effect.
    pub latency_ms: u64,
    /// And up to this much longer, uniformly.
    pub latency_jitter_ms: u64,
    /// How long the time-out tokens hold an answer back.
    pub hold_ms: u64,
    /// For how many approvals of one order the transient faults show; the next one behaves.
    pub faulty_attempts: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            seed: 0,
            decline_rate: 0.0,
            latency_ms: 0,
            latency_jitter_ms: 0,
            hold_ms: 30_000,
            faulty_attempts: 1,
        }
    }
}

/// Rules that can't be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// Not a share.
    #[error("decline_rate must be between 0 and 1")]
    DeclineRate,
    /// Longer than [`WAIT_MS_MAX`].
    #[error("{0} must be at most {WAIT_MS_MAX}")]
    Wait(&'static str),
}

/// What goes wrong with one payment, chosen by the prefix of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `tok-declined`: declined as `insufficient-funds`.
    Declined,
    /// `tok-wrong-amount`: one minor unit less than asked for is captured, and the answer says so.
    WrongAmount,
    /// `tok-timeout-before`: nothing is captured, and no answer comes for `hold_ms`. Transient.
    TimeoutBefore,
    /// `tok-timeout-after`: captured, and the answer is held back for `hold_ms`. Transient.
    TimeoutAfter,
    /// `tok-500-after`: captured, and the answer is a 500. Transient.
    ErrorAfter,
    /// `tok-in-progress`: nothing is captured, and the answer is 409 `in-progress`. Transient.
    InProgress,
    /// `tok-busy`: nothing is captured, and the answer is 429 with `Retry-After`. Transient.
    Busy,
}

impl Fault {
    /// Every fault with the prefix that asks for it.
    pub const BY_TOKEN: [(&'static str, Self); 7] = [
        ("tok-declined", Self::Declined),
        ("tok-wrong-amount", Self::WrongAmount),
        ("tok-timeout-before", Self::TimeoutBefore),
        ("tok-timeout-after", Self::TimeoutAfter),
        ("tok-500-after", Self::ErrorAfter),
        ("tok-in-progress", Self::InProgress),
        ("tok-busy", Self::Busy),
    ];

    pub(super) fn of_token(token: &str) -> Option<Self> {
        Self::BY_TOKEN
            .into_iter()
            .find(|(prefix, _)| token.starts_with(prefix))
            .map(|(_, fault)| fault)
    }

    /// Whether it goes away after [`Rules::faulty_attempts`].
    pub(super) const fn is_transient(self) -> bool {
        !matches!(self, Self::Declined | Self::WrongAmount)
    }
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
        let waits = [
            ("latency_ms", self.latency_ms),
            ("latency_jitter_ms", self.latency_jitter_ms),
            ("hold_ms", self.hold_ms),
        ];
        match waits
            .into_iter()
            .find(|(_, wait_ms)| *wait_ms > WAIT_MS_MAX)
        {
            Some((name, _)) => Err(BadRules::Wait(name)),
            None => Ok(()),
        }
    }

    pub(super) fn charge(&self, order_id: &str, amount: u64, fault: Option<Fault>) -> Charge {
        match fault {
            Some(Fault::Declined) => Charge::Decline {
                code: "insufficient-funds",
            },
            Some(Fault::WrongAmount) => Charge::Capture {
                amount: if amount > 1 { amount - 1 } else { amount + 1 },
            },
            _ if unit(stable_hash(self.seed, &["decline", order_id])) < self.decline_rate => {
                Charge::Decline {
                    code: "declined-by-issuer",
                }
            }
            _ => Charge::Capture { amount },
        }
    }

    pub(super) fn latency(&self, operation: &str, subject: &str) -> Duration {
        let jitter_ms =
            stable_hash(self.seed, &["latency", operation, subject]) % (self.latency_jitter_ms + 1);
        Duration::from_millis(self.latency_ms + jitter_ms)
    }

    pub(super) const fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms)
    }
}

/// What the buyer may read about a decline.
pub(super) fn decline_message(code: &str) -> &'static str {
    match code {
        "insufficient-funds" => "There is not enough money on the account.",
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
