//! The events' one JSON form, made from what the ledger and the desk have recorded.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::gateway_simulator::desk::{Outcome, Reservation};
use crate::gateway_simulator::rules::decline_message;
use crate::gateway_simulator::wire::{CancelledView, Decline, PaymentView, Status};

/// One thing that happened to an order.
#[derive(Debug, Serialize)]
pub struct Event {
    /// The same for every copy.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub order_id: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<String>,
    pub amount: u64,
    pub currency: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decline: Option<Decline>,
    pub created_at: Timestamp,
}

impl Event {
    /// The buyer has decided. `None` while it is open.
    pub fn of_reservation(reservation: &Reservation, at: Timestamp) -> Option<Self> {
        let terms = &reservation.terms;
        let (kind, authorization, decline) = match &reservation.outcome {
            Outcome::Open => return None,
            Outcome::Authorised { authorization, .. } => {
                ("payment.authorised", Some(Arc::clone(authorization)), None)
            }
            Outcome::Declined => {
                let code = "declined-by-buyer";
                let decline = Decline {
                    code: code.to_owned(),
                    message: decline_message(code),
                };
                ("payment.declined", None, Some(decline))
            }
        };
        Some(Self {
            id: format!("evt-{}", terms.reservation_id),
            kind,
            order_id: Arc::clone(&terms.order_id),
            authorization,
            payment_id: None,
            amount: terms.amount,
            currency: Arc::clone(&terms.currency),
            decline,
            created_at: at,
        })
    }

    /// An approval captured or was declined.
    pub fn of_approval(sequence: u64, payment: &PaymentView) -> Self {
        let kind = match payment.status {
            Status::Declined => "payment.declined",
            Status::Approved | Status::Cancelled => "payment.captured",
        };
        Self {
            id: format!("evt-{sequence}"),
            kind,
            order_id: Arc::clone(&payment.order_id),
            authorization: None,
            payment_id: Some(payment.payment_id.clone()),
            amount: payment.amount,
            currency: Arc::clone(&payment.currency),
            decline: payment.decline.clone(),
            created_at: payment.at,
        }
    }

    /// Money was given back.
    pub fn of_cancellation(sequence: u64, cancelled: &CancelledView, at: Timestamp) -> Self {
        Self {
            kind: "payment.cancelled",
            amount: cancelled.cancelled_amount,
            decline: None,
            created_at: at,
            ..Self::of_approval(sequence, &cancelled.payment)
        }
    }
}
