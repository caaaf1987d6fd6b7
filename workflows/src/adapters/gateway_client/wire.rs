//! The gateway's JSON, in both directions. What does not parse here has not been understood, and is never a yes.

use serde::{Deserialize, Serialize};

use crate::domain::money::{Currency, Money};
use crate::ports::payment_gateway::{
    Cancellation, Decline, GatewayError, LostAnswer, PaymentId, PaymentRecord, PaymentStatus,
};

#[derive(Serialize)]
pub(super) struct ApproveBody<'a> {
    pub order_id: &'a str,
    pub amount: u64,
    pub currency: Currency,
    pub payment_token: &'a str,
}

#[derive(Serialize)]
pub(super) struct CancelBody {
    pub amount: u64,
    pub expected_rest_amount: u64,
}

#[derive(Deserialize)]
pub(super) struct PaymentAnswer {
    payment_id: PaymentId,
    order_id: String,
    status: PaymentStatus,
    amount: u64,
    currency: Currency,
    refunded: u64,
    #[serde(default)]
    decline: Option<Decline>,
}

#[derive(Deserialize)]
pub(super) struct InquiryAnswer {
    pub payments: Vec<PaymentAnswer>,
}

#[derive(Deserialize)]
pub(super) struct CancelAnswer {
    payment: PaymentAnswer,
    cancelled_amount: u64,
    rest_amount: u64,
}

/// The body of every answer that is not 200.
#[derive(Deserialize)]
pub(super) struct Refusal {
    pub code: String,
    #[serde(default)]
    pub message: String,
}

impl Refusal {
    pub fn unexplained() -> Self {
        Self {
            code: "unexplained".to_owned(),
            message: "the answer had no readable explanation".to_owned(),
        }
    }
}

impl TryFrom<PaymentAnswer> for PaymentRecord {
    type Error = GatewayError;

    fn try_from(payment: PaymentAnswer) -> Result<Self, GatewayError> {
        let PaymentAnswer {
            payment_id,
            order_id,
            status,
            amount,
            currency,
            refunded,
            decline,
        } = payment;
        if refunded > amount {
            return Err(unreadable("more refunded than captured"));
        }
        if decline.is_some() != (status == PaymentStatus::Declined) {
            return Err(unreadable(
                "a reason to decline must come with a declined payment, and only with one",
            ));
        }
        let amount = Money::new(amount, currency);
        Ok(Self {
            payment_id,
            order_id,
            status,
            amount,
            refunded,
            decline,
        })
    }
}

impl TryFrom<CancelAnswer> for Cancellation {
    type Error = GatewayError;

    fn try_from(cancelled: CancelAnswer) -> Result<Self, GatewayError> {
        let payment: PaymentRecord = cancelled.payment.try_into()?;
        let amount = Money::new(cancelled.cancelled_amount, payment.amount.currency);
        Ok(Self {
            payment,
            amount,
            rest: cancelled.rest_amount,
        })
    }
}

fn unreadable(reason: &str) -> GatewayError {
    GatewayError::MaybeSent(LostAnswer::Unreadable(reason.to_owned()))
}
