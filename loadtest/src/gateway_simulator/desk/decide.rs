//! What a request at the desk comes to. Decides only; nothing changes here.

use std::sync::Arc;

use axum::http::StatusCode;
use jiff::Timestamp;

use super::{Desk, DeskEntry, Outcome, Terms};
use crate::gateway_simulator::faults::Faults;
use crate::gateway_simulator::ledger::{Register as _, Verdict};
use crate::gateway_simulator::refusal::Refusal;
use crate::gateway_simulator::rules::stable_hash;
use crate::gateway_simulator::wire::ReserveBody;

/// What a buyer decides on the page.
pub enum Decision {
    /// With the authorisation to give, and the faults that the payment is to show.
    Authorise {
        authorization: Arc<str>,
        faults: Faults,
    },
    Decline,
}

impl Desk {
    /// Decides a reservation; `reservation_id` is used only when the request is new.
    pub fn decide_reservation(
        &self,
        key: &str,
        request: &ReserveBody,
        at: Timestamp,
        reservation_id: Arc<str>,
        is_captured: bool,
    ) -> Result<Verdict<DeskEntry>, Refusal> {
        let request_hash = hash(request);
        match self.by_key.get(key) {
            Some(index) if self.reservations[*index].request_hash == request_hash => {
                return Ok(Verdict::Repeat(*index));
            }
            Some(_) => {
                return Err(Refusal::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "idempotency-key-reused",
                    "the key was used with another request",
                ));
            }
            None => {}
        }
        if is_captured {
            return Err(Refusal::conflict(
                "already-approved",
                "the order was captured",
            ));
        }
        if self.by_order.contains_key(request.order_id.as_str()) {
            return Err(Refusal::conflict(
                "already-reserved",
                "the order was reserved under another key",
            ));
        }
        if request.expires_at <= at {
            return Err(Refusal::conflict(
                "reservation-expired",
                "expires_at has passed",
            ));
        }
        let shared = |text: &String| Arc::from(text.as_str());
        Ok(Verdict::New(DeskEntry::Reserved {
            sequence: self.sequence() + 1,
            at,
            terms: Terms {
                reservation_id,
                order_id: shared(&request.order_id),
                amount: request.amount,
                currency: shared(&request.currency),
                expires_at: request.expires_at,
                return_url: request.return_url.as_ref().map(shared),
                webhook_url: request.webhook_url.as_ref().map(shared),
            },
            idempotency_key: key.into(),
            request_hash,
        }))
    }

    /// Decides what a buyer's decision comes to: the same again changes nothing, another one is refused.
    pub fn decide_decision(
        &self,
        reservation_id: &str,
        decision: Decision,
        at: Timestamp,
    ) -> Result<Verdict<DeskEntry>, Refusal> {
        let Some(index) = self.by_id.get(reservation_id).copied() else {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "unknown-reservation",
                "there is no reservation with this id",
            ));
        };
        let reservation = &self.reservations[index];
        match (&reservation.outcome, &decision) {
            (Outcome::Open, _) if reservation.is_expired(at) => Err(Refusal::conflict(
                "reservation-expired",
                "the time to pay is over",
            )),
            (Outcome::Open, _) => {
                let (authorization, rule) = match decision {
                    Decision::Authorise {
                        authorization,
                        faults,
                    } => (Some(authorization), faults.to_string()),
                    Decision::Decline => (None, String::new()),
                };
                Ok(Verdict::New(DeskEntry::Decided {
                    sequence: self.sequence() + 1,
                    at,
                    reservation_id: Arc::clone(&reservation.terms.reservation_id),
                    authorization,
                    rule,
                }))
            }
            (Outcome::Authorised { .. }, Decision::Authorise { .. })
            | (Outcome::Declined, Decision::Decline) => Ok(Verdict::Repeat(index)),
            _ => Err(Refusal::conflict(
                "already-decided",
                "the payment was decided otherwise",
            )),
        }
    }
}

fn hash(request: &ReserveBody) -> u64 {
    let ReserveBody {
        order_id,
        amount,
        currency,
        expires_at,
        return_url,
        webhook_url,
        rule,
    } = request;
    let optional = |text: &Option<String>| {
        text.as_ref()
            .map_or_else(|| "-".to_owned(), |text| format!("+{text}"))
    };
    stable_hash(
        0,
        &[
            "reserve",
            order_id,
            &amount.to_string(),
            currency,
            &expires_at.to_string(),
            &optional(return_url),
            &optional(webhook_url),
            &optional(rule),
        ],
    )
}
