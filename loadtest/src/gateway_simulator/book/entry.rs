//! The one form of a ledger entry: as it is stored, and as it is read out.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of the ledger, as it is stored and as it is read out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// 1, 2, 3 and so on, without a gap.
    pub sequence: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub kind: EntryKind,
    /// The payment, numbered by its first entry.
    pub payment_id: Arc<str>,
    /// The order that it pays.
    pub order_id: Arc<str>,
    /// Minor units captured, refused, or given back by this entry.
    pub amount: u64,
    /// Minor units of the payment that remain captured after this entry.
    pub rest_amount: u64,
    /// ISO 4217.
    pub currency: Arc<str>,
    /// Why it was declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline_code: Option<Arc<str>>,
    /// The request's key.
    pub idempotency_key: Arc<str>,
    /// A hash of the request: a repeat of the key with another one is refused.
    pub request_hash: u64,
}

/// What an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Money was taken.
    Captured,
    /// The payment was refused.
    Declined,
    /// Money was given back.
    Refunded,
}
