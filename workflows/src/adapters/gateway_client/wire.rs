//! The gateway's JSON, in both directions. What does not parse here has not been understood, and is never a yes.

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::answer::{SENTENCE_CHARS_MAX, WORD_CHARS_MAX};
use crate::domain::money::{Currency, Money};
use crate::ports::payment_gateway::{
    Cancellation, Decline, GatewayError, LostAnswer, PaymentId, PaymentRecord, PaymentStatus,
    Prepared,
};
use crate::ports::webhook::shortened;

const URL_BYTES_MAX: usize = 2_048;

#[derive(Serialize)]
pub(super) struct ReserveBody<'a> {
    pub order_id: &'a str,
    pub amount: u64,
    pub currency: Currency,
    pub expires_at: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<&'a str>,
}

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
pub(super) struct ReserveAnswer {
    order_id: String,
    amount: u64,
    currency: Currency,
    redirect_url: String,
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

impl ReserveAnswer {
    /// The page of exactly this order and amount, which a browser can be sent to.
    pub fn page_of(self, order_id: &str, amount: Money) -> Result<Prepared, GatewayError> {
        let Self {
            order_id: theirs,
            redirect_url,
            ..
        } = self;
        if theirs != order_id || Money::new(self.amount, self.currency) != amount {
            return Err(wrong_page("a page of another order or amount"));
        }
        if !is_web_address(&redirect_url) {
            return Err(wrong_page(
                "redirect_url is not an http or https URL of at most 2,048 bytes",
            ));
        }
        Ok(Prepared { redirect_url })
    }
}

/// An absolute http or https URL with a host and without credentials, empty ones included. The parser would also take `http:host` and
/// `http:\\host`, which a browser may take for a place of ours.
pub(super) fn is_web_address(text: &str) -> bool {
    let plain = text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_absolute = text.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '\\', '?', '#']).next();
        scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
            && host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
    });
    plain
        && is_absolute
        && Url::parse(text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
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
        // It goes into the journal, and the message to the buyer.
        let decline = decline.map(|Decline { code, message }| Decline {
            code: shortened(&code, WORD_CHARS_MAX),
            message: shortened(&message, SENTENCE_CHARS_MAX),
        });
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

fn wrong_page(reason: &str) -> GatewayError {
    GatewayError::WrongPage(reason.to_owned())
}

fn unreadable(reason: &str) -> GatewayError {
    GatewayError::MaybeSent(LostAnswer::Unreadable(reason.to_owned()))
}
