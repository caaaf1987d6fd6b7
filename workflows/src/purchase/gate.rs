//! How the steps talk to the gate: the keys of their operations, and what its errors mean for an attempt.

use std::sync::Arc;
use std::time::Duration;

use engine::WorkflowId;
use engine::definition::{Durability, Outcome, Policy, Probed, RetryPolicy};
use engine::workflow::{Refusal, StepError};
use tokio::sync::Notify;

use super::{CouponClaim, StockReserve};
use crate::ports::reservations::{OperationKey, ReservationError, Reservations};

/// The gate and the bell that is rung when it is found closed.
#[derive(Clone)]
pub struct Gate {
    /// The reservations.
    pub reservations: Arc<dyn Reservations>,
    /// Heard by the gate's keeper.
    pub alarm: GateAlarm,
}

/// A bell: whoever finds the gate closed, or another store behind it, rings; the keeper wakes up and checks.
#[derive(Clone, Debug, Default)]
pub struct GateAlarm(Arc<Notify>);

impl GateAlarm {
    /// Asks the keeper to check the gate. Rings before it listens are one ring.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Completes when somebody rang.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// The class of the error when the gate takes a call for a mistake.
const MISUSE: &str = "gate-misuse";

impl Gate {
    /// What a failed call means for an attempt, forward or backward.
    pub(crate) fn failed<T>(&self, error: &ReservationError) -> Outcome<T> {
        match error {
            ReservationError::Unavailable(_) | ReservationError::OtherIncarnation(_) => {
                self.alarm.ring();
                Outcome::retry(StepError::caused_by("gate-unavailable", error))
            }
            ReservationError::NotSent(_) => {
                Outcome::retry(StepError::caused_by("gate-unavailable", error))
            }
            ReservationError::MaybeSent(_) => {
                Outcome::Unknown(StepError::caused_by("gate-unanswered", error))
            }
            ReservationError::Misuse(_) => Outcome::Unknown(StepError::caused_by(MISUSE, error)),
        }
    }
}

/// The bounds of a step that asks the gate: 2 s an attempt; 200 attempts, 50 ms doubling to 5 s, so that a gate that is away
/// for a quarter of an hour leaves nothing to an operator.
pub(crate) fn policy(durability: Durability) -> Policy {
    Policy {
        attempt_timeout: Duration::from_secs(2),
        retry: RetryPolicy {
            first_delay: Duration::from_millis(50),
            delay_max: Duration::from_secs(5),
            attempts_max: 200,
            elapsed_max: None,
        },
        port: Some("reservations"),
        durability,
    }
}

/// Whether the gate answered although the attempt failed: what it takes for a mistake is this workflow's alone, and no reason to
/// keep others from the gate.
pub(crate) fn is_answer(error: &StepError) -> bool {
    error.class == MISUSE
}

/// The key under which `workflow` holds its units.
pub fn stock_operation(workflow: WorkflowId) -> OperationKey {
    operation(workflow, StockReserve::NAME)
}

/// The key under which `workflow` claimed its coupon.
pub fn coupon_operation(workflow: WorkflowId) -> OperationKey {
    operation(workflow, CouponClaim::NAME)
}

/// `<workflow>/<step>`. A repeat of a start that is born in another partition has keys of its own: undoing what it did never
/// touches what the first one holds.
pub(crate) fn operation(workflow: WorkflowId, step: &str) -> OperationKey {
    OperationKey::parse(format!("{workflow}/{step}"))
        .expect("36 digits, a slash and a short step name")
}

/// What an attempt that was made again says about the ones before it.
pub(crate) fn probed<T>(again: Outcome<T>) -> Probed<T> {
    match again {
        Outcome::Done { output, changes } => Probed::Done { output, changes },
        Outcome::Refused(refusal) => Probed::Refused(refusal),
        // This one had no effect; the earlier one may have had.
        Outcome::Unknown(error) | Outcome::Retry { error, .. } => Probed::Unknown(error),
    }
}

/// The refusal before a sale opens.
pub(super) fn not_open(opens_at_ms: i64) -> Refusal {
    let message = format!("The sale opens at {}.", instant(opens_at_ms));
    Refusal::new("sale-not-open", message)
}

/// An instant in Unix milliseconds, as a buyer reads it.
pub(super) fn instant(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| "another time".to_owned(), |instant| instant.to_string())
}

/// The refusal after a sale has closed.
pub(super) fn closed() -> Refusal {
    Refusal::new("sale-closed", "The sale has closed.")
}

/// The refusal of a sale that does not open any more.
pub(super) fn cancelled() -> Refusal {
    Refusal::new("sale-cancelled", "The sale was cancelled.")
}

/// The refusal of an operation that was undone before it arrived.
pub(super) fn released() -> Refusal {
    Refusal::new(
        "released",
        "This purchase was given up before; start a new one.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::embedded::EmbeddedReservations;

    #[test]
    fn a_call_that_the_gate_takes_for_a_mistake_keeps_nobody_else_from_it() {
        let nobody = EmbeddedReservations::new("one", Arc::new(|| 0)).expect("a gate");
        let gate = Gate {
            reservations: Arc::new(nobody),
            alarm: GateAlarm::default(),
        };
        let words = || "words".to_owned();
        for (error, is_an_answer) in [
            (ReservationError::Misuse(words()), true),
            (ReservationError::NotSent(words().into()), false),
            (ReservationError::MaybeSent(words().into()), false),
            (ReservationError::Unavailable(words()), false),
            (ReservationError::OtherIncarnation(words()), false),
        ] {
            let (Outcome::Unknown(failed) | Outcome::Retry { error: failed, .. }) =
                gate.failed::<()>(&error)
            else {
                panic!("{error} is no result")
            };
            assert_eq!(is_answer(&failed), is_an_answer, "{failed}");
        }
    }
}
