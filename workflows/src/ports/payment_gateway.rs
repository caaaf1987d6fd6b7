//! The payment gateway as the purchase saga sees it: approve, inquire, cancel, and errors that say what may have happened.
//!
//! Money has three answers: yes, no, and "we do not know". The last one is the reason for this file: [`GatewayError`]
//! keeps what is known to have had no effect apart from everything else, and "everything else" is the default.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use engine::{Timestamp, planted};
use serde::{Deserialize, Serialize};

use crate::domain::money::Money;

/// A payment gateway. Every call is safe to repeat with the same idempotency key.
///
/// The contract suite in `tests/gateway_client/contract.rs` runs against any implementation.
#[async_trait]
pub trait PaymentGateway: Send + Sync {
    /// Opens a payment that the buyer authorises at the gateway: where to send the buyer. It captures nothing, and what nobody
    /// authorises until `expires_at` lapses by itself.
    async fn prepare(&self, request: &PrepareRequest) -> Result<Prepared, GatewayError>;

    /// Captures the order's amount, once an order, whatever is repeated.
    ///
    /// An [`Approval::Approved`] was checked: order, amount and currency equal the request's, to the unit.
    async fn approve(&self, request: &ApproveRequest) -> Result<Approval, GatewayError>;

    /// What the gateway knows about an order: its capture if there is one, else its last declined attempt.
    ///
    /// `Ok(None)` is the gateway's own word that it has no payment. An inquiry has no effect, so every error means the
    /// same here: nothing new is known, ask again. The amount is the gateway's: compare it by [`PaymentRecord::verify`].
    async fn inquire(&self, order_id: &str) -> Result<Option<PaymentRecord>, GatewayError>;

    /// Gives back part or all of a captured payment, refused unless `expected_rest` is what remains afterwards.
    async fn cancel(&self, request: &CancelRequest) -> Result<Cancellation, GatewayError>;
}

/// The gateway's own name of a payment: 1 to 64 bytes of `[A-Za-z0-9._-]`, so that it is safe in a path and in a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PaymentId(String);

/// The text is not a payment id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payment id is 1 to 64 letters, digits, `.`, `_` or `-`, and does not start with a dot")]
pub struct BadPaymentId;

impl PaymentId {
    /// Checks the text.
    pub fn parse(text: impl Into<String>) -> Result<Self, BadPaymentId> {
        let text = text.into();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let sound =
            (1..=64).contains(&text.len()) && text.bytes().all(legal) && !text.starts_with('.');
        if sound {
            Ok(Self(text))
        } else {
            Err(BadPaymentId)
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PaymentId {
    type Error = BadPaymentId;
    fn try_from(text: String) -> Result<Self, BadPaymentId> {
        Self::parse(text)
    }
}

impl From<PaymentId> for String {
    fn from(id: PaymentId) -> Self {
        id.0
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the buyer authorised at the gateway. Whoever has it can charge: it is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PaymentToken(String);

impl PaymentToken {
    /// Wraps a token as the gateway issued it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token itself, for the request to the gateway and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PaymentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentToken(hidden)")
    }
}

/// One order to be authorised by the buyer.
#[derive(Clone, Debug)]
pub struct PrepareRequest {
    /// Our name of the purchase.
    pub order_id: String,
    /// Stable over every attempt of the step: 1 to 255 visible ASCII characters.
    pub idempotency_key: String,
    /// What we computed; what is captured later must be the same.
    pub amount: Money,
    /// The buyer's time is over then.
    pub expires_at: Timestamp,
}

/// A payment waits for its buyer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Where the buyer authorises it: an absolute http or https URL of at most 2,048 bytes.
    pub redirect_url: String,
}

/// One order to be captured.
#[derive(Clone, Debug)]
pub struct ApproveRequest {
    /// Our name of the purchase; the gateway captures an order at most once.
    pub order_id: String,
    /// Stable over every attempt of the step: 1 to 255 visible ASCII characters.
    pub idempotency_key: String,
    /// What we computed, never what the buyer sent.
    pub amount: Money,
    /// What the buyer authorised: a stored means of payment, or the authorisation that the gateway gave for this order.
    pub payment_token: PaymentToken,
}

/// Money to be given back.
#[derive(Clone, Debug)]
pub struct CancelRequest {
    /// The captured payment.
    pub payment_id: PaymentId,
    /// Stable over every attempt of the step: 1 to 255 visible ASCII characters.
    pub idempotency_key: String,
    /// How much to give back now.
    pub amount: Money,
    /// Minor units that must remain captured afterwards; the gateway refuses when its own figure differs.
    pub expected_rest: u64,
}

/// The gateway's answer to an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Captured, and the answer is exactly what was asked for.
    Approved(PaymentRecord),
    /// The gateway said no; nothing was captured.
    Declined {
        /// A stable word for machines, such as `insufficient-funds`.
        code: String,
        /// A sentence for the buyer.
        message: String,
    },
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Captured, perhaps refunded in part.
    Approved,
    /// Refused by the gateway: nothing was captured.
    Declined,
    /// Captured and given back in full.
    Cancelled,
}

/// Why a payment was declined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    /// A stable word for machines, such as `insufficient-funds`.
    pub code: String,
    /// A sentence for the buyer.
    pub message: String,
}

/// One payment as the gateway's ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRecord {
    /// The gateway's name of it.
    pub payment_id: PaymentId,
    /// The order that it pays.
    pub order_id: String,
    /// Where it stands.
    pub status: PaymentStatus,
    /// What was captured; of a declined payment, what was asked for.
    pub amount: Money,
    /// Minor units given back so far: never more than `amount`.
    pub refunded: u64,
    /// Present when declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline: Option<Decline>,
}

impl PaymentRecord {
    /// Whether this is the payment of that order and that amount, to the unit.
    ///
    /// Every record that is to count as "paid" goes through here, whether it came by approval, inquiry or webhook.
    pub fn verify(&self, order_id: &str, amount: Money) -> Result<(), GatewayError> {
        let is_order = self.order_id == order_id || planted::is_on("order-not-compared");
        let is_amount = self.amount == amount || planted::is_on("amount-not-compared");
        if is_order && is_amount {
            return Ok(());
        }
        Err(GatewayError::Mismatch {
            expected: format!("order {order_id}, {amount}"),
            got: Box::new(self.clone()),
        })
    }

    /// Minor units that the gateway has taken and not given back.
    pub fn rest(&self) -> u64 {
        match self.status {
            PaymentStatus::Declined => 0,
            PaymentStatus::Approved | PaymentStatus::Cancelled => {
                self.amount.amount.saturating_sub(self.refunded)
            }
        }
    }
}

impl fmt::Display for PaymentRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            payment_id,
            order_id,
            status,
            amount,
            refunded,
            ..
        } = self;
        write!(
            f,
            "payment {payment_id} of order {order_id}, {amount}, {refunded} refunded, {status:?}"
        )
    }
}

/// Money was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// The payment after this cancellation.
    pub payment: PaymentRecord,
    /// What this cancellation gave back.
    pub amount: Money,
    /// Minor units that remain captured.
    pub rest: u64,
}

/// Why a call has no usable answer, sorted by what may have happened at the gateway.
///
/// [`Self::known_without_effect`] is the one question that decides between "may compensate" and "must find out first".
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No connection was made, so no byte of the request left: known to have had no effect.
    /// The saga retries with the same key, and may compensate when its attempts end.
    #[error("the payment gateway could not be reached: {0}")]
    NotSent(NoConnection),

    /// The gateway turned the request away before it looked at it (429, or 503 with `Retry-After`): no effect.
    /// The saga retries with the same key, not before `retry_after`.
    #[error("the payment gateway is busy")]
    Busy {
        /// The gateway's own wish, at most an hour; `None` where it gave none that could be read.
        retry_after: Option<Duration>,
    },

    /// The same key is being worked on right now (409 `in-progress`): it may yet capture.
    /// The saga inquires until it is resolved; it neither compensates nor takes another key.
    #[error("the payment gateway is still working on an earlier attempt with this key")]
    InProgress,

    /// An earlier request stands in the way: the order was captured under another key (409 `already-approved`), or the
    /// key was used with another body (422 `idempotency-key-reused`). This request had no effect, but there may be money.
    /// The saga inquires and goes on with what it finds; compensating could keep the buyer's money for nothing.
    #[error("an earlier request stands in the way ({code}): {message}")]
    Conflict {
        /// The gateway's word for it.
        code: String,
        /// The gateway's sentence, shortened.
        message: String,
    },

    /// The request may have been carried out, and the answer was lost or can't be read.
    /// The saga inquires by order until it is resolved, or parks; it never compensates on this.
    #[error("the payment gateway may have carried out the request: {0}")]
    MaybeSent(LostAnswer),

    /// The gateway understood and refused (4xx): our bug or configuration; no effect.
    /// The saga ends the step as refused. A retry can't help; the log line should wake somebody.
    #[error("the payment gateway refused the request with {status} {code}: {message}")]
    Rejected {
        /// The HTTP status; 0 when the client refused to send it.
        status: u16,
        /// The gateway's word for it, or `unexplained`.
        code: String,
        /// The gateway's sentence, shortened.
        message: String,
    },

    /// What was prepared is a page of another order or amount, or none that a browser could be sent to. It captured nothing.
    /// The saga asks again with the same key, and goes back when its attempts end; the buyer never sees the page.
    #[error("the payment gateway prepared something else: {0}")]
    WrongPage(String),

    /// The answer is about another order, amount or currency: never paid, whatever it says.
    /// The saga parks for an operator, with both sides in the reason: there may be money to give back.
    #[error("the payment gateway's answer does not match: expected {expected}, got {got}")]
    Mismatch {
        /// What we asked for.
        expected: String,
        /// What the gateway says it did.
        got: Box<PaymentRecord>,
    },
}

impl GatewayError {
    /// Whether the request certainly changed nothing and the order certainly is not captured.
    ///
    /// Only then may the saga retry blindly, refuse, or compensate. Anything else: inquire first, or ask an operator.
    pub const fn known_without_effect(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Busy { .. } | Self::Rejected { .. } => true,
            Self::InProgress
            | Self::Conflict { .. }
            | Self::MaybeSent(_)
            | Self::WrongPage(_)
            | Self::Mismatch { .. } => false,
        }
    }
}

/// Evidence that not even a connection was made. Only the adapters can make one, and only from a failed connect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NoConnection {
    reason: String,
}

impl NoConnection {
    /// For an adapter's one translation of transport errors: the connect itself failed.
    pub(crate) fn connect_failed(reason: String) -> Self {
        Self { reason }
    }
}

/// How an answer was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostAnswer {
    /// Nothing came within the time allowed for one request.
    #[error("no answer in time")]
    TimedOut,
    /// The connection broke after it had been made.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// A status that says nothing certain: 5xx, a redirect, or a success that is not 200.
    #[error("status {0}")]
    Status(u16),
    /// Not JSON by its own word.
    #[error("content type {0:?} where JSON was due")]
    ContentType(String),
    /// JSON by its own word, and yet not what was agreed.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
    /// More than anyone should read.
    #[error("an answer of more than {bytes_max} bytes")]
    TooLarge {
        /// The bound, in bytes.
        bytes_max: usize,
    },
}
