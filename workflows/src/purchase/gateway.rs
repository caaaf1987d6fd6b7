//! How the steps talk to the payment gateway: within which bounds, under which name of the order, and what its errors mean for an
//! attempt. Every error of the gateway is sorted here and nowhere else: a new one does not compile until it is.

use std::time::Duration;

use engine::definition::{Attempt, Durability, Outcome, Policy, RetryPolicy};
use engine::planted;
use engine::workflow::{Refusal, StepError};

use crate::ports::payment_gateway::GatewayError;

/// The bounds of a step that asks the gateway: an attempt takes longer than the client's own limit of 10 s, so that the client's
/// verdict is heard; the pauses between ten attempts are 43 s at most, and half of that as a rule.
pub(super) fn policy() -> Policy {
    Policy {
        attempt_timeout: Duration::from_secs(15),
        retry: RetryPolicy {
            first_delay: Duration::from_millis(200),
            delay_max: Duration::from_secs(10),
            attempts_max: 10,
            elapsed_max: None,
        },
        port: Some("payment-gateway"),
        durability: Durability::Barrier,
    }
}

/// The gateway's name of the purchase: the workflow's id.
pub(super) fn order_id(attempt: &Attempt) -> String {
    attempt.workflow.to_string()
}

/// What the gateway is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// To open a payment.
    Prepare,
    /// To capture it.
    Approve,
    /// To give it back.
    Cancel,
}

/// Whether the gateway was heard. An answer that is not as it should be is about this payment alone, and no reason to keep others
/// from the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Answer,
    Nothing,
}

macro_rules! classes {
    ($($class:ident $word:literal $heard:ident,)+) => {
        /// Why a step that asks the gateway has no result: the classes of its errors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Class {
            $($class,)+
        }

        impl Class {
            const ALL: &[Self] = &[$(Self::$class,)+];

            const fn word(self) -> &'static str {
                match self {
                    $(Self::$class => $word,)+
                }
            }

            const fn heard(self) -> Heard {
                match self {
                    $(Self::$class => Heard::$heard,)+
                }
            }
        }
    };
}

classes! {
    GatewayUnreachable "gateway-unreachable" Nothing,
    GatewayBusy "gateway-busy" Nothing,
    GatewayUnanswered "gateway-unanswered" Nothing,
    InquiryFailed "payment-inquiry-failed" Nothing,
    PaymentInProgress "payment-in-progress" Answer,
    PaymentConflict "payment-conflict" Answer,
    PaymentMismatch "payment-mismatch" Answer,
    PaymentRejected "payment-rejected" Answer,
    PaymentGivenBack "payment-given-back" Answer,
    PaymentMissing "payment-missing" Answer,
    RefundInProgress "refund-in-progress" Answer,
    RefundConflict "refund-conflict" Answer,
    RefundMismatch "refund-mismatch" Answer,
    RefundRejected "refund-rejected" Answer,
}

impl Class {
    /// An error of this class, in our words.
    pub(super) fn because(self, message: impl Into<String>) -> StepError {
        StepError::new(self.word(), message)
    }

    /// An error of this class, in the gateway's words.
    pub(super) fn caused_by(self, error: &GatewayError) -> StepError {
        StepError::caused_by(self.word(), error)
    }
}

/// Whether the gateway answered, if not as it should have. What is no error of the gateway is no answer either.
pub(super) fn is_answer(error: &StepError) -> bool {
    let class = Class::ALL.iter().find(|class| class.word() == error.class);
    class.is_some_and(|class| class.heard() == Heard::Answer)
}

impl Call {
    /// What it means for an attempt that this call failed. What is not known to have had no effect is unknown.
    pub(super) fn failed<T>(self, attempt: &Attempt, error: &GatewayError) -> Outcome<T> {
        let is_lost = matches!(error, GatewayError::MaybeSent(_));
        if self.is_refused(attempt, error) || is_lost && planted::is_on("lost-charge-taken-for-no")
        {
            return Outcome::Refused(rejected(error));
        }
        let why = self.class(error).caused_by(error);
        match error {
            GatewayError::NotSent(_) => Outcome::retry(why),
            GatewayError::Busy { retry_after } => Outcome::Retry {
                error: why,
                after: *retry_after,
            },
            GatewayError::InProgress
            | GatewayError::Conflict { .. }
            | GatewayError::MaybeSent(_)
            | GatewayError::Rejected { .. }
            | GatewayError::WrongPage(_)
            | GatewayError::Mismatch { .. } => Outcome::Unknown(why),
        }
    }

    /// Whether it is a "no" that is known to have had no effect.
    fn is_refused(self, attempt: &Attempt, error: &GatewayError) -> bool {
        let is_rejection = matches!(error, GatewayError::Rejected { .. });
        match self {
            // Nothing is captured by it, whatever stands in the way.
            Self::Prepare => is_rejection || matches!(error, GatewayError::Conflict { .. }),
            // An earlier attempt may have captured: then the rejection of this one says nothing about the money.
            Self::Approve => {
                is_rejection && (attempt.number == 1 || planted::is_on("late-rejection-believed"))
            }
            // There is money to be given back, so nothing is a "no": it is an operator's in the end.
            Self::Cancel => false,
        }
    }

    const fn class(self, error: &GatewayError) -> Class {
        let is_refund = matches!(self, Self::Cancel);
        match error {
            GatewayError::NotSent(_) => Class::GatewayUnreachable,
            GatewayError::Busy { .. } => Class::GatewayBusy,
            GatewayError::MaybeSent(_) => Class::GatewayUnanswered,
            GatewayError::InProgress if is_refund => Class::RefundInProgress,
            GatewayError::InProgress => Class::PaymentInProgress,
            GatewayError::Conflict { .. } if is_refund => Class::RefundConflict,
            GatewayError::Conflict { .. } => Class::PaymentConflict,
            GatewayError::Rejected { .. } if is_refund => Class::RefundRejected,
            GatewayError::Rejected { .. } => Class::PaymentRejected,
            GatewayError::WrongPage(_) | GatewayError::Mismatch { .. } if is_refund => {
                Class::RefundMismatch
            }
            GatewayError::WrongPage(_) | GatewayError::Mismatch { .. } => Class::PaymentMismatch,
        }
    }
}

/// Why an inquiry said nothing: what is about this payment alone is told apart from a gateway that can't be asked.
pub(super) fn inquiry_failed(error: &GatewayError) -> StepError {
    let class = match error {
        GatewayError::Mismatch { .. } => Class::PaymentMismatch,
        GatewayError::NotSent(_)
        | GatewayError::Busy { .. }
        | GatewayError::InProgress
        | GatewayError::Conflict { .. }
        | GatewayError::MaybeSent(_)
        | GatewayError::Rejected { .. }
        | GatewayError::WrongPage(_) => Class::InquiryFailed,
    };
    class.caused_by(error)
}

/// Our mistake or the configuration's: the buyer is told no more than that, the log has the rest.
fn rejected(error: &GatewayError) -> Refusal {
    tracing::error!(error = %error, "the payment gateway refuses our requests");
    Refusal::new(
        "payment-rejected",
        "The payment could not be made; you were not charged.",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::workflow::Direction;
    use engine::{Epoch, PartitionId, WorkflowId};

    use super::*;
    use crate::domain::money::{Currency, Money};
    use crate::ports::payment_gateway::{
        LostAnswer, NoConnection, PaymentId, PaymentRecord, PaymentStatus,
    };

    fn attempt(number: u32) -> Attempt {
        Attempt {
            workflow: WorkflowId::new(PartitionId(0), [7; 12]),
            step: Arc::from("payment"),
            direction: Direction::Forward,
            number,
            epoch: Epoch(1),
            forget: false,
        }
    }

    fn errors() -> Vec<GatewayError> {
        let words = || "words".to_owned();
        let currency = Currency::parse("KRW").expect("a currency");
        let record = PaymentRecord {
            payment_id: PaymentId::parse("p-1").expect("an id"),
            order_id: words(),
            status: PaymentStatus::Approved,
            amount: Money::new(1, currency),
            refunded: 0,
            decline: None,
        };
        vec![
            GatewayError::NotSent(NoConnection::connect_failed(words())),
            GatewayError::Busy { retry_after: None },
            GatewayError::InProgress,
            GatewayError::Conflict {
                code: words(),
                message: words(),
            },
            GatewayError::MaybeSent(LostAnswer::TimedOut),
            GatewayError::Rejected {
                status: 400,
                code: words(),
                message: words(),
            },
            GatewayError::WrongPage(words()),
            GatewayError::Mismatch {
                expected: words(),
                got: Box::new(record),
            },
        ]
    }

    #[test]
    fn an_approval_or_a_refund_is_a_no_or_made_again_only_if_it_is_known_to_have_had_no_effect() {
        for call in [Call::Approve, Call::Cancel] {
            for error in errors() {
                let outcome = call.failed::<()>(&attempt(1), &error);
                let is_sure = matches!(outcome, Outcome::Refused(_) | Outcome::Retry { .. });
                assert!(
                    !is_sure || error.known_without_effect(),
                    "{call:?}: {error}"
                );
            }
        }
    }

    #[test]
    fn what_the_gateway_says_about_one_payment_keeps_no_other_from_it() {
        for error in errors() {
            let silent = matches!(
                error,
                GatewayError::NotSent(_) | GatewayError::Busy { .. } | GatewayError::MaybeSent(_)
            );
            for call in [Call::Prepare, Call::Approve, Call::Cancel] {
                let failed = match call.failed::<()>(&attempt(2), &error) {
                    Outcome::Unknown(failed) | Outcome::Retry { error: failed, .. } => failed,
                    Outcome::Refused(_) => continue,
                    Outcome::Done { .. } => panic!("{error} is no result"),
                };
                assert_eq!(is_answer(&failed), !silent, "{call:?}: {failed}");
            }
        }
    }

    #[test]
    fn no_two_classes_have_one_word() {
        for (place, class) in Class::ALL.iter().enumerate() {
            let first = Class::ALL
                .iter()
                .position(|other| other.word() == class.word());
            assert_eq!(first, Some(place), "{class:?}");
        }
    }
}
