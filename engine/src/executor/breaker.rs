//! A breaker for each port: when attempts at something that many workflows depend on fail one after the other, all of them wait
//! for it together instead of each finding out for itself, and come back one by one.
//!
//! Whoever is turned away is given a slot of its own after the pause, so that those who wait never come all at once. The first
//! to come back makes a trial: if it is answered the breaker closes, if not the pause doubles.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::runtime::Timestamp;

/// So many failures in a row open the breaker.
const FAILURES_MAX: u32 = 10;
/// The first pause.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Those who wait come back at this distance from each other.
const SLOT: Duration = Duration::from_millis(5);
/// A trial of which nobody hears is over after this long.
const TRIAL_MAX: Duration = Duration::from_secs(30);

/// Where a port stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Everybody may try.
    Closed {
        /// So many attempts failed since the last that did not.
        failures: u32,
    },
    /// Nobody may try before `until`.
    Open { until: Timestamp, pause: Duration },
    /// One is trying.
    HalfOpen { until: Timestamp, pause: Duration },
}

#[derive(Clone, Copy, Debug)]
struct Port {
    state: State,
    /// The slot that the next one who is turned away gets, at the earliest.
    next_slot: Timestamp,
}

/// The breakers of a node. Locked for look-ups only, never over an await.
#[derive(Default)]
pub(crate) struct Breakers(Mutex<HashMap<&'static str, Port>>);

impl Breakers {
    /// Whether an attempt at this port may be made now; if not, when to ask again.
    pub(crate) fn admit(&self, port: &'static str, now: Timestamp) -> Result<(), Timestamp> {
        let mut ports = self.lock();
        let Some(known) = ports.get_mut(port) else {
            return Ok(());
        };
        let not_before = match known.state {
            State::Closed { .. } => return Ok(()),
            State::Open { until, pause } | State::HalfOpen { until, pause } if until <= now => {
                let until = now.after(TRIAL_MAX);
                known.state = State::HalfOpen { until, pause };
                return Ok(());
            }
            State::Open { until, .. } => until,
            State::HalfOpen { pause, .. } => now.after(pause),
        };
        let slot = not_before.max(known.next_slot);
        known.next_slot = slot.after(SLOT);
        Err(slot)
    }

    /// An attempt had an answer, be it yes or no.
    pub(crate) fn answered(&self, port: &'static str) {
        if let Some(known) = self.lock().get_mut(port) {
            if !matches!(known.state, State::Closed { .. }) {
                tracing::info!(port, "the port answers again");
            }
            known.state = State::Closed { failures: 0 };
        }
    }

    /// An attempt had no answer.
    pub(crate) fn failed(&self, port: &'static str, now: Timestamp) {
        let mut ports = self.lock();
        let known = ports.entry(port).or_insert(Port {
            state: State::Closed { failures: 0 },
            next_slot: now,
        });
        let pause = match &mut known.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < FAILURES_MAX {
                    return;
                }
                PAUSE
            }
            // An attempt from before the pause says nothing new.
            State::Open { .. } => return,
            State::HalfOpen { pause, .. } => (*pause * 2).min(PAUSE_MAX),
        };
        tracing::warn!(
            port,
            pause_ms = pause.as_millis(),
            "the port does not answer: workflows wait for it"
        );
        let until = now.after(pause);
        known.state = State::Open { until, pause };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Port>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: &str = "gateway";

    fn at(millis: u64) -> Timestamp {
        Timestamp(1_000_000).after(Duration::from_millis(millis))
    }

    fn broken() -> Breakers {
        let breakers = Breakers::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(breakers.admit(PORT, at(0)), Ok(()));
            breakers.failed(PORT, at(0));
        }
        breakers
    }

    #[test]
    fn failures_in_a_row_open_the_breaker_and_answers_between_them_do_not() {
        let breakers = Breakers::default();
        for _ in 0..100 {
            for _ in 1..FAILURES_MAX {
                breakers.failed(PORT, at(0));
            }
            breakers.answered(PORT);
        }
        assert_eq!(breakers.admit(PORT, at(0)), Ok(()));
        assert!(broken().admit(PORT, at(0)).is_err());
        assert_eq!(broken().admit("other", at(0)), Ok(()));
    }

    #[test]
    fn those_who_wait_come_back_one_by_one() {
        let breakers = broken();
        let mut slots: Vec<Timestamp> = (0..1_000)
            .map(|_| breakers.admit(PORT, at(10)).expect_err("it is open"))
            .collect();
        assert_eq!(slots[0], at(1_000));
        slots.dedup();
        assert_eq!(slots.len(), 1_000);
        assert!(slots.windows(2).all(|two| two[1].since(two[0]) == SLOT));
    }

    #[test]
    fn one_tries_and_the_others_wait_for_what_it_finds() {
        let breakers = broken();
        assert_eq!(breakers.admit(PORT, at(1_000)), Ok(()));
        assert!(breakers.admit(PORT, at(1_001)).is_err());
        breakers.failed(PORT, at(1_500));
        // Twice as long as before.
        assert!(breakers.admit(PORT, at(3_400)).is_err());
        assert_eq!(breakers.admit(PORT, at(3_500)), Ok(()));
        breakers.answered(PORT);
        assert_eq!(breakers.admit(PORT, at(3_501)), Ok(()));
        assert_eq!(breakers.admit(PORT, at(3_501)), Ok(()));
    }

    #[test]
    fn a_trial_of_which_nobody_hears_does_not_keep_everybody_waiting() {
        let breakers = broken();
        assert_eq!(breakers.admit(PORT, at(1_000)), Ok(()));
        let later = at(1_000).after(TRIAL_MAX);
        assert_eq!(breakers.admit(PORT, later), Ok(()));
    }
}
