//! The simulator's JSON, in both directions.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::book::Entry;

/// The largest amount, in minor units: sums over every order that fits into memory stay inside a `u64`.
pub(super) const AMOUNT_MAX: u64 = 1_000_000_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReserveBody {
    pub order_id: String,
    pub amount: u64,
    pub currency: String,
    pub expires_at: Timestamp,
    pub return_url: Option<String>,
    pub webhook_url: Option<String>,
    /// Names of faults that the order is to show.
    pub rule: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ReservedView {
    pub reservation_id: Arc<str>,
    pub order_id: Arc<str>,
    pub amount: u64,
    pub currency: Arc<str>,
    pub expires_at: Timestamp,
    pub redirect_url: String,
}

/// What the page's form sends, and what a test may send instead of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionBody {
    pub decision: Choice,
    /// Names of faults that the payment is to show.
    pub rule: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Choice {
    Authorise,
    Decline,
}

#[derive(Debug, Serialize)]
pub(super) struct DecidedView {
    pub order_id: Arc<str>,
    pub decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Arc<str>>,
    /// Where the buyer goes now, with `order_id` and `authorization` or `decision=declined` in the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveBody {
    pub order_id: String,
    pub amount: u64,
    pub currency: String,
    pub payment_token: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelBody {
    pub amount: u64,
    pub expected_rest_amount: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InquiryQuery {
    pub order_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    #[serde(default)]
    pub cursor: u64,
    #[serde(default = "page_default")]
    pub limit: usize,
}

fn page_default() -> usize {
    100
}

/// The most that one page of the ledger holds.
pub(super) const PAGE_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Approved,
    Declined,
    Cancelled,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Decline {
    pub code: String,
    pub message: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct PaymentView {
    pub payment_id: String,
    pub order_id: Arc<str>,
    pub status: Status,
    pub amount: u64,
    pub currency: Arc<str>,
    pub refunded: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decline: Option<Decline>,
    pub at: Timestamp,
}

#[derive(Debug, Serialize)]
pub(super) struct Payments {
    pub payments: Vec<PaymentView>,
}

#[derive(Debug, Serialize)]
pub(super) struct CancelledView {
    pub payment: PaymentView,
    pub cancelled_amount: u64,
    pub rest_amount: u64,
}

/// A page of `GET /v1/ledger`: everything that moved or refused to move, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntryPage {
    /// In ascending order of `sequence`.
    pub entries: Vec<Entry>,
    /// For the next page; `None` after the last.
    pub next_cursor: Option<u64>,
}

/// What one order comes to: the oracle's side of "captured less refunded equals the goods issued".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAccount {
    /// The order.
    pub order_id: Arc<str>,
    /// ISO 4217, of its first payment.
    pub currency: Arc<str>,
    /// Minor units taken.
    pub captured: u64,
    /// Minor units given back.
    pub refunded: u64,
    /// Payments, declined ones included.
    pub payments: usize,
}

/// A page of `GET /v1/ledger/orders`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderPage {
    /// In the order of their first payment.
    pub orders: Vec<OrderAccount>,
    /// For the next page; `None` after the last.
    pub next_cursor: Option<u64>,
}

/// `GET /v1/ledger/summary`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Orders with at least one payment.
    pub orders: u64,
    /// Captures.
    pub captures: u64,
    /// Declined payments.
    pub declines: u64,
    /// Refunds, each cancellation counted.
    pub refunds: u64,
    /// Minor units by currency.
    pub totals: Vec<Totals>,
}

/// Sums in one currency, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// ISO 4217.
    pub currency: Arc<str>,
    /// Taken.
    pub captured: u64,
    /// Given back.
    pub refunded: u64,
}
