//! Where a purchase stands, in a word for machines and a sentence for its buyer: read off the workflow's state, and off nothing else.

use engine::Payload;
use engine::definition::Awaited;
use engine::workflow::{Phase, Refusal, START_LOST, StepState, TURNED_BACK, WorkflowState};

use super::authorisation::charge_with;
use super::{
    AUTHORISATION, Authorisation, Fulfilment, GoodsIssue, HoldExtend, Payment, PaymentPrepare,
    Refund,
};
use crate::domain::money::Money;

/// Where a purchase stands. The last six are ends, but for [`Stage::Attention`], which an operator ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Units and coupon are being held, or are held and the payment is about to begin.
    Held,
    /// The buyer is to authorise the payment at the gateway.
    AwaitingPayment,
    /// The money is being captured.
    Paying,
    /// It is paid, and the goods are being issued.
    Issuing,
    /// The purchase comes to nothing, and what it had is being given back.
    Undoing {
        /// Why.
        because: Refusal,
    },
    /// An operator has to look at it.
    Attention,
    /// It is paid, and the goods are the buyer's.
    Completed,
    /// It was paid, the goods could not be given, and the money was given back.
    Refunded {
        /// All that had been paid.
        amount: Money,
        /// Why there are no goods, as in [`Fulfilment::Refunded`].
        reason: String,
    },
    /// Nobody authorised the payment in time.
    Expired,
    /// The buyer cancelled it.
    Cancelled,
    /// It was refused, and nothing is left of it.
    Refused {
        /// Why.
        because: Refusal,
    },
    /// An operator gave it up as it was.
    GivenUp,
}

impl Stage {
    /// A stable word for machines.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::AwaitingPayment => "awaiting-payment",
            Self::Paying => "paying",
            Self::Issuing => "issuing",
            Self::Undoing { .. } => "undoing",
            Self::Attention => "attention",
            Self::Completed => "completed",
            Self::Refunded { .. } => "refunded",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Refused { .. } => "refused",
            Self::GivenUp => "given-up",
        }
    }

    /// A sentence for the buyer.
    #[must_use]
    pub fn sentence(&self) -> String {
        let fixed = match self {
            Self::Held => "Your units are held.",
            Self::AwaitingPayment => {
                "Your units are held until you have authorised the payment, or until its time is over."
            }
            Self::Paying => "Your payment is being made.",
            Self::Issuing => "You have paid; your goods are being issued.",
            Self::Undoing { because } => {
                return format!(
                    "{} What was held for you is being given back.",
                    because.message
                );
            }
            Self::Attention => {
                "Something went wrong that a person has to look at. The shop knows; you need not do anything."
            }
            Self::Completed => "The goods are yours.",
            Self::Refunded { amount, reason } => {
                return format!(
                    "{} You got {amount} back, all that you had paid.",
                    no_goods(reason)
                );
            }
            Self::Expired => {
                "The payment was not authorised in time. You were not charged, and your units are on sale again."
            }
            Self::Cancelled => "You cancelled the purchase. You were not charged.",
            Self::Refused { because } => return because.message.clone(),
            Self::GivenUp => "The shop closed this purchase by hand. Ask it what became of it.",
        };
        fixed.to_owned()
    }
}

/// Where the purchase of this state stands.
#[must_use]
pub fn stage(state: &WorkflowState) -> Stage {
    match &state.phase {
        Phase::Running => on_its_way(state),
        Phase::Compensating { reason } => Stage::Undoing {
            because: why(reason),
        },
        Phase::Parked { .. } => Stage::Attention,
        Phase::Completed { .. } => completed(state),
        Phase::Compensated { reason } => ended(reason),
        Phase::Abandoned { .. } => Stage::GivenUp,
    }
}

fn on_its_way(state: &WorkflowState) -> Stage {
    if is_begun(state, Refund::NAME) {
        return Stage::Undoing {
            because: Refusal::new(
                "goods-refused",
                "The goods can't be given, and your money is being returned.",
            ),
        };
    }
    if state.output_of(Payment::NAME).is_some() {
        return Stage::Issuing;
    }
    if is_begun(state, Payment::NAME) {
        return Stage::Paying;
    }
    match answer(state).map(charge_with) {
        Some(Ok(_)) => Stage::Paying,
        Some(Err(because)) => Stage::Undoing { because },
        None if state.output_of(PaymentPrepare::NAME).is_some() => Stage::AwaitingPayment,
        None => Stage::Held,
    }
}

fn is_begun(state: &WorkflowState, step: &str) -> bool {
    let index = state.definition().index_of(step);
    index.is_some_and(|index| state.steps[index.0].action != StepState::Untouched)
}

/// What was waited for, once it is there.
fn answer(state: &WorkflowState) -> Option<Awaited<Authorisation>> {
    state.output_of(AUTHORISATION)?.to().ok()
}

fn completed(state: &WorkflowState) -> Stage {
    match state.output_of(Refund::NAME).map(Payload::to) {
        Some(Ok(Fulfilment::Refunded { amount, reason, .. })) => Stage::Refunded { amount, reason },
        _ => Stage::Completed,
    }
}

fn ended(reason: &Refusal) -> Stage {
    match reason.code.as_str() {
        HoldExtend::EXPIRED => Stage::Expired,
        HoldExtend::CANCELLED => Stage::Cancelled,
        _ => Stage::Refused {
            because: why(reason),
        },
    }
}

/// What steps say no with: their sentences are for the buyer.
const TOLD: [&str; 20] = [
    "coupons-exhausted",
    "coupon-already-used",
    "no-coupon",
    "coupon-not-valid-yet",
    "coupon-expired",
    "unknown-campaign",
    "claims-not-open",
    "sale-not-open",
    "sale-closed",
    "sale-cancelled",
    "sold-out",
    "limit-reached",
    "unknown-product",
    "released",
    "hold-lost",
    HoldExtend::EXPIRED,
    HoldExtend::CANCELLED,
    "payment-declined",
    "payment-rejected",
    "payment-not-authorised",
];

/// Whether the sentence that comes with this reason is for the buyer. What the shop could not reach, and what an operator noted, is not.
#[must_use]
pub fn is_told(code: &str) -> bool {
    TOLD.contains(&code)
}

/// Why something came to nothing before it was paid, as its buyer is told.
#[must_use]
pub fn why(reason: &Refusal) -> Refusal {
    let sentence = match reason.code.as_str() {
        code if is_told(code) => return reason.clone(),
        START_LOST => {
            "Your purchase was interrupted before it was accepted. You were not charged; please buy again."
        }
        TURNED_BACK => "The shop called it off. You were not charged.",
        _ => {
            "Something that the shop needs did not answer, and nothing came of it. You were not charged; please try again."
        }
    };
    Refusal::new(&reason.code, sentence)
}

fn no_goods(reason: &str) -> &'static str {
    match reason {
        GoodsIssue::RECALLED => "A product was recalled, so that no goods can be given.",
        GoodsIssue::EXHAUSTED => "There are no serial numbers left for your goods.",
        _ => "The goods could not be given.",
    }
}
