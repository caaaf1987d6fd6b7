//! The stored form of what happens before money moves.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of the desk's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DeskEntry {
    /// A payment waits for its buyer.
    Reserved {
        /// 1, 2, 3 and so on, without a gap.
        sequence: u64,
        /// When.
        at: Timestamp,
        /// What it is for.
        terms: Terms,
        /// The request's key.
        idempotency_key: Arc<str>,
        /// A hash of the request.
        request_hash: u64,
    },
    /// The buyer has decided.
    Decided {
        /// As above.
        sequence: u64,
        /// When.
        at: Timestamp,
        /// Which reservation.
        reservation_id: Arc<str>,
        /// What the approval needs; absent when the buyer declined.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authorization: Option<Arc<str>>,
        /// The names of the faults that the payment is to show.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        rule: String,
    },
}

/// What a reservation is for. An authorisation is worth exactly this and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The simulator's name of it, part of the page's address.
    pub reservation_id: Arc<str>,
    /// The order.
    pub order_id: Arc<str>,
    /// Minor units.
    pub amount: u64,
    /// ISO 4217.
    pub currency: Arc<str>,
    /// The buyer's time is over then, and the authorisation's.
    pub expires_at: Timestamp,
    /// Where the buyer goes afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<Arc<str>>,
    /// Where this order's webhooks go, if not where all others do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<Arc<str>>,
}
