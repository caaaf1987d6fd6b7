//! What a purchase waits for while its buyer is at the gateway: the first answer counts, and only that one.

use engine::definition::Awaited;
use engine::workflow::Refusal;
use serde::{Deserialize, Serialize};

use super::HoldExtend;
use super::payment::declined;
use crate::ports::payment_gateway::PaymentToken;

/// The wait, and the signal that ends it.
pub const AUTHORISATION: &str = "authorisation";

/// What the buyer, or the gateway for the buyer, says about the payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Authorisation {
    /// The payment may be captured.
    Authorised {
        /// What captures it.
        token: PaymentToken,
    },
    /// The gateway let the buyer not pay.
    Declined {
        /// A stable word for machines.
        code: String,
        /// A sentence for the buyer.
        message: String,
    },
    /// The buyer does not want it any more.
    Cancelled,
}

/// What the payment may be captured with, or why it may not be.
pub(super) fn charge_with(answer: Awaited<Authorisation>) -> Result<PaymentToken, Refusal> {
    match answer {
        Awaited::Arrived(Authorisation::Authorised { token }) => Ok(token),
        Awaited::Arrived(Authorisation::Declined { message, .. }) => Err(declined(&message)),
        Awaited::Arrived(Authorisation::Cancelled) => Err(Refusal::new(
            HoldExtend::CANCELLED,
            "You cancelled the purchase before it was paid.",
        )),
        Awaited::TimedOut => Err(Refusal::new(
            HoldExtend::EXPIRED,
            "The payment was not authorised in time; the units are on sale again.",
        )),
    }
}
