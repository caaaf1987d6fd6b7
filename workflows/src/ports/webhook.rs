//! What the payment gateway tells us by itself: whether it was really the gateway, and what it says.
//!
//! A webhook is a hint that something happened, never the proof of a payment: it may be lost, doubled, early, late or out of
//! order. What counts as paid is the gateway's answer to an approval or an inquiry.

use std::fmt::Write as _;
use std::time::Duration;

use engine::{Timestamp, planted};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

use super::payment_gateway::{Decline, PaymentId, PaymentToken};
use crate::domain::money::{Currency, Money};

/// The name of the header that carries the signature.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// How far the gateway's clock and ours may be apart, with what a webhook may take to arrive.
pub const WINDOW: Duration = Duration::from_mins(5);
/// The longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1_024;

const HEADER_BYTES_MAX: usize = 1_024;
const SIGNATURES_MAX: usize = 8;
const MAC_BYTES: usize = 32;
const EVENT_ID_BYTES_MAX: usize = 128;
const ORDER_ID_BYTES_MAX: usize = 64;
const TOKEN_BYTES_MAX: usize = 256;
const WORD_CHARS_MAX: usize = 64;
const SENTENCE_CHARS_MAX: usize = 256;

/// It can't be said that the gateway sent it. What the sender may know is only that; the variants are for our log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Not `t=<seconds>,v1=<hex>`.
    #[error(
        "the signature can't be read: it is `t=<Unix seconds>,v1=<hex>`, perhaps with several `v1`"
    )]
    Unreadable,
    /// Signed too long ago, or in the future: perhaps somebody sends again what he has overheard.
    #[error("the signature's time is outside the window")]
    OutsideWindow,
    /// No key makes one of these signatures out of this body.
    #[error("no key fits the signature")]
    NoKeyFits,
}

/// Whether one of `secrets` signed exactly these bytes, not longer than `window` before or after `now`.
///
/// Two secrets while one replaces the other. The comparison takes the same time whatever is wrong. No secret verifies nothing.
pub fn verify<S: AsRef<[u8]>>(
    secrets: &[S],
    header: &str,
    body: &[u8],
    now: Timestamp,
    window: Duration,
) -> Result<(), BadSignature> {
    let (seconds, signatures) = read_header(header).ok_or(BadSignature::Unreadable)?;
    let signed_at = Timestamp(seconds.saturating_mul(1_000_000));
    let is_outside = now.since(signed_at) > window || signed_at.since(now) > window;
    if is_outside && !planted::is_on("webhook-window-not-checked") {
        return Err(BadSignature::OutsideWindow);
    }
    let mut fits = false;
    for secret in secrets.iter().filter(|secret| !secret.as_ref().is_empty()) {
        for signature in &signatures {
            fits |= mac(secret.as_ref(), seconds, body)
                .is_some_and(|mac| mac.verify_slice(signature).is_ok());
        }
    }
    if fits || planted::is_on("webhook-signature-not-checked") {
        Ok(())
    } else {
        Err(BadSignature::NoKeyFits)
    }
}

/// The header of a webhook signed at `now`, one `v1` a secret.
pub fn sign<S: AsRef<[u8]>>(secrets: &[S], body: &[u8], now: Timestamp) -> String {
    let seconds = now.0.div_euclid(1_000_000);
    let mut header = format!("t={seconds}");
    for mac in secrets
        .iter()
        .filter_map(|secret| mac(secret.as_ref(), seconds, body))
    {
        header.push_str(",v1=");
        for byte in mac.finalize().into_bytes() {
            let _ = write!(header, "{byte:02x}"); // a String takes everything
        }
    }
    header
}

/// HMAC-SHA256 over `<seconds>.<body>`. A key may have any length, so this is never `None`.
fn mac(secret: &[u8], seconds: i64, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}

/// The time and the signatures. Parts with another name are left to later versions.
fn read_header(header: &str) -> Option<(i64, Vec<[u8; MAC_BYTES]>)> {
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    let (mut seconds, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            ("t", value) if seconds.is_none() => seconds = Some(read_seconds(value)?),
            ("v1", value) if signatures.len() < SIGNATURES_MAX => signatures.push(read_hex(value)?),
            ("t" | "v1", _) => return None,
            _ => {}
        }
    }
    Some((seconds?, signatures)).filter(|(_, signatures)| !signatures.is_empty())
}

/// Digits without a sign: what was signed is this very text.
fn read_seconds(text: &str) -> Option<i64> {
    let canonical = text == "0" || (!text.starts_with('0') && !text.is_empty());
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| canonical && digits)
}

fn read_hex(text: &str) -> Option<[u8; MAC_BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * MAC_BYTES {
        return None;
    }
    let mut bytes = [0; MAC_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(bytes)
}

/// One thing that happened at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEvent {
    /// The gateway's name of it: a duplicate has the same. 1 to 128 visible ASCII characters.
    pub id: String,
    /// Our name of the purchase, 1 to 64 visible ASCII characters.
    pub order_id: String,
    /// When it happened, by the gateway's clock.
    pub created_at: Timestamp,
    /// What happened.
    pub what: WebhookKind,
}

/// What happened at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookKind {
    /// `payment.authorised`: the buyer has authorised the payment.
    Authorised {
        /// What the approval needs.
        authorization: PaymentToken,
        /// What was authorised, where the gateway says so: it must be ours.
        amount: Option<Money>,
    },
    /// `payment.declined`: by the buyer, or by the gateway.
    Declined(Decline),
    /// `payment.captured`: money was taken.
    Captured {
        /// The payment.
        payment_id: PaymentId,
        /// What was taken.
        amount: Money,
    },
    /// `payment.cancelled`: money was given back.
    Cancelled {
        /// The payment.
        payment_id: PaymentId,
        /// What was given back.
        amount: Money,
    },
    /// Another type, of a later version of the gateway: nothing to do.
    Other {
        /// The type, shortened.
        name: String,
    },
}

/// A body that is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's body can't be read: {reason}")]
pub struct BadEvent {
    reason: String,
}

impl WebhookEvent {
    /// Reads a body whose signature was verified. Fields that nobody knows are ignored; known ones are checked.
    pub fn parse(body: &[u8]) -> Result<Self, BadEvent> {
        if body.len() > BODY_BYTES_MAX {
            return Err(bad(&format!("it is longer than {BODY_BYTES_MAX} bytes")));
        }
        // serde would also take a struct's fields as a list.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(bad("it is not a JSON object"));
        }
        let wire: Wire = serde_json::from_slice(body).map_err(|error| bad(&error.to_string()))?;
        wire.try_into()
    }
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    order_id: String,
    created_at: jiff::Timestamp,
    authorization: Option<String>,
    payment_id: Option<String>,
    amount: Option<u64>,
    currency: Option<String>,
    decline: Option<Decline>,
}

impl TryFrom<Wire> for WebhookEvent {
    type Error = BadEvent;

    fn try_from(wire: Wire) -> Result<Self, BadEvent> {
        check_ascii("id", &wire.id, EVENT_ID_BYTES_MAX)?;
        check_ascii("order_id", &wire.order_id, ORDER_ID_BYTES_MAX)?;
        let what = wire.what()?;
        Ok(Self {
            id: wire.id,
            order_id: wire.order_id,
            created_at: Timestamp(wire.created_at.as_microsecond()),
            what,
        })
    }
}

impl Wire {
    fn what(&self) -> Result<WebhookKind, BadEvent> {
        Ok(match self.kind.as_str() {
            "payment.authorised" => {
                let token = required("authorization", self.authorization.as_deref())?;
                check_ascii("authorization", token, TOKEN_BYTES_MAX)?;
                WebhookKind::Authorised {
                    authorization: PaymentToken::new(token),
                    amount: self.money()?,
                }
            }
            "payment.declined" => {
                let Decline { code, message } = required("decline", self.decline.as_ref())?;
                check_ascii("decline.code", code, WORD_CHARS_MAX)?;
                WebhookKind::Declined(Decline {
                    code: code.clone(),
                    message: shortened(message, SENTENCE_CHARS_MAX),
                })
            }
            "payment.captured" => WebhookKind::Captured {
                payment_id: self.payment_id()?,
                amount: required("amount", self.money()?)?,
            },
            "payment.cancelled" => WebhookKind::Cancelled {
                payment_id: self.payment_id()?,
                amount: required("amount", self.money()?)?,
            },
            other => WebhookKind::Other {
                name: shortened(other, WORD_CHARS_MAX),
            },
        })
    }

    fn payment_id(&self) -> Result<PaymentId, BadEvent> {
        PaymentId::parse(required("payment_id", self.payment_id.as_deref())?)
            .map_err(|error| bad(&error.to_string()))
    }

    /// Amount and currency, both or neither.
    fn money(&self) -> Result<Option<Money>, BadEvent> {
        match (self.amount, self.currency.as_deref()) {
            (None, None) => Ok(None),
            (Some(amount), Some(code)) => Currency::parse(code)
                .map(|currency| Some(Money::new(amount, currency)))
                .map_err(|_| bad("currency is not three capital letters")),
            _ => Err(bad("amount and currency belong together")),
        }
    }
}

fn required<T>(field: &str, value: Option<T>) -> Result<T, BadEvent> {
    value.ok_or_else(|| bad(&format!("{field} is missing")))
}

fn check_ascii(field: &str, text: &str, bytes_max: usize) -> Result<(), BadEvent> {
    let sound =
        (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if sound {
        Ok(())
    } else {
        Err(bad(&format!(
            "{field} must be 1 to {bytes_max} visible ASCII characters"
        )))
    }
}

/// What a gateway says, as it is kept: so many characters, none of them a control.
pub(crate) fn shortened(text: &str, chars_max: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(chars_max)
        .collect()
}

fn bad(reason: &str) -> BadEvent {
    BadEvent {
        reason: shortened(reason, SENTENCE_CHARS_MAX),
    }
}
