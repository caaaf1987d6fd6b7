//! What a request comes to: an earlier answer, a refusal, or a new entry. Decides only; nothing changes here.

use std::sync::Arc;

use axum::http::StatusCode;
use jiff::Timestamp;

use super::{Book, Entry, EntryKind};
use crate::gateway_simulator::ledger::{Register as _, Verdict};
use crate::gateway_simulator::refusal::Refusal;
use crate::gateway_simulator::rules::{Charge, stable_hash};
use crate::gateway_simulator::wire::{ApproveBody, CancelBody};

/// More payments of one order are refused: an inquiry's answer stays short.
const ORDER_PAYMENTS_MAX: usize = 100;

impl Book {
    /// Decides an approval; `charge` is asked only when the request is new.
    pub fn decide_approval(
        &self,
        key: &str,
        request: &ApproveBody,
        at: Timestamp,
        charge: impl FnOnce() -> Result<Charge, Refusal>,
    ) -> Result<Verdict<Entry>, Refusal> {
        let ApproveBody {
            order_id,
            amount,
            currency,
            payment_token,
        } = request;
        let request_hash = stable_hash(
            0,
            &[
                "approve",
                order_id,
                &amount.to_string(),
                currency,
                payment_token,
            ],
        );
        if let Some(entry) = self.earlier(key, request_hash)? {
            return Ok(Verdict::Repeat(entry));
        }
        let order = self
            .by_order_id
            .get(order_id.as_str())
            .map(|order| &self.orders[*order]);
        if let Some(order) = order {
            if order.account.captured > 0 {
                return Err(Refusal::conflict(
                    "already-approved",
                    "the order was captured under another key",
                ));
            }
            if order.payments.len() >= ORDER_PAYMENTS_MAX {
                return Err(Refusal::conflict(
                    "too-many-payments",
                    "the order was declined too often",
                ));
            }
        }
        let (kind, amount, decline_code) = match charge()? {
            Charge::Capture { amount } => (EntryKind::Captured, amount, None),
            Charge::Decline { code } => (EntryKind::Declined, *amount, Some(Arc::from(code))),
        };
        Ok(Verdict::New(Entry {
            sequence: self.sequence() + 1,
            at,
            kind,
            payment_id: format!("pay-{}", self.payments.len() + 1).into(),
            order_id: order.map_or_else(
                || order_id.as_str().into(),
                |order| Arc::clone(&order.account.order_id),
            ),
            amount,
            rest_amount: if kind == EntryKind::Captured {
                amount
            } else {
                0
            },
            currency: self
                .totals
                .get_key_value(currency.as_str())
                .map_or_else(|| currency.as_str().into(), |(c, _)| Arc::clone(c)),
            decline_code,
            idempotency_key: key.into(),
            request_hash,
        }))
    }

    /// Decides a cancellation: nothing unless the amounts on both sides add up.
    pub fn decide_cancellation(
        &self,
        key: &str,
        payment_id: &str,
        request: &CancelBody,
        at: Timestamp,
    ) -> Result<Verdict<Entry>, Refusal> {
        let CancelBody {
            amount,
            expected_rest_amount,
        } = request;
        let request_hash = stable_hash(
            0,
            &[
                "cancel",
                payment_id,
                &amount.to_string(),
                &expected_rest_amount.to_string(),
            ],
        );
        if let Some(entry) = self.earlier(key, request_hash)? {
            return Ok(Verdict::Repeat(entry));
        }
        let unknown = || {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "unknown-payment",
                "there is no payment with this id",
            )
        };
        let payment = &self.payments[*self.by_payment_id.get(payment_id).ok_or_else(unknown)?];
        let first = &self.entries[payment.first_entry];
        if first.kind == EntryKind::Declined {
            return Err(Refusal::conflict(
                "not-captured",
                "the payment was declined: there is nothing to give back",
            ));
        }
        let Some(rest_amount) = payment.rest.checked_sub(*amount) else {
            return Err(Refusal::conflict(
                "amount-exceeds-rest",
                format!("only {} remain captured", payment.rest),
            ));
        };
        if rest_amount != *expected_rest_amount {
            return Err(Refusal::conflict(
                "rest-mismatch",
                format!("{rest_amount} would remain captured"),
            ));
        }
        Ok(Verdict::New(Entry {
            sequence: self.sequence() + 1,
            at,
            kind: EntryKind::Refunded,
            amount: *amount,
            rest_amount,
            idempotency_key: key.into(),
            request_hash,
            ..first.clone()
        }))
    }

    fn earlier(&self, key: &str, request_hash: u64) -> Result<Option<usize>, Refusal> {
        match self.by_key.get(key) {
            None => Ok(None),
            Some(entry) if self.entries[*entry].request_hash == request_hash => Ok(Some(*entry)),
            Some(_) => Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "the key was used with another request",
            )),
        }
    }
}
