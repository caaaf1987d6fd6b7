//! What comes in, bounded and checked: whatever is wrong with it is a 4xx that says so.

use axum::body::Bytes;
use axum::extract::Query;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::{HeaderMap, StatusCode, Uri};
use reqwest::Url;
use serde::de::DeserializeOwned;

use super::faults::Faults;
use super::refusal::Refusal;
use super::wire::{AMOUNT_MAX, ApproveBody, CancelBody, PAGE_MAX, PageQuery, ReserveBody};

/// The longest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1_024;
const KEY_BYTES_MAX: usize = 255;
const ORDER_ID_BYTES_MAX: usize = 64;
const TOKEN_BYTES_MAX: usize = 256;
const URL_BYTES_MAX: usize = 2_048;

/// A body as axum read it, or why it could not.
pub(super) type Body = Result<Bytes, BytesRejection>;

pub(super) fn read_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid-request",
            rejection.body_text(),
        )),
    }
}

pub(super) fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    if !has_content_type(headers, "application/json") {
        let message = "the body must be application/json";
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            message,
        ));
    }
    let body = read_body(body)?;
    // serde would also take a struct's fields as a list.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::bad("the body", "must be a JSON object"));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad("the body", &format!("can't be read: {error}")))
}

/// A browser's form.
pub(super) fn read_form<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let body = read_body(body)?;
    let unreadable = |reason: String| Refusal::bad("the body", &format!("can't be read: {reason}"));
    let uri = Uri::builder()
        .path_and_query([b"/?", body.trim_ascii()].concat())
        .build()
        .map_err(|error| unreadable(error.to_string()))?;
    Query::try_from_uri(&uri)
        .map(|Query(form)| form)
        .map_err(|error| unreadable(error.body_text()))
}

pub(super) fn has_content_type(headers: &HeaderMap, expected: &str) -> bool {
    let content_type = headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(expected)
}

fn read_body(body: Body) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the body is longer than {BODY_BYTES_MAX} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", message)
        }
        _ => Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid-request",
            rejection.body_text(),
        ),
    })
}

/// The request's `Idempotency-Key`, required and bounded.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all("idempotency-key").iter();
    let (value, surplus) = (values.next(), values.next());
    let key = value
        .and_then(|value| value.to_str().ok())
        .filter(|key| visible_ascii(key, KEY_BYTES_MAX));
    match (key, surplus) {
        (Some(key), None) => Ok(key),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "missing-idempotency-key",
            "one Idempotency-Key of 1 to 255 visible ASCII characters is required",
        )),
    }
}

impl ReserveBody {
    /// Checks everything; the faults that its `rule` names.
    pub fn check(&self) -> Result<Faults, Refusal> {
        check_order_id(&self.order_id)?;
        check_amount(self.amount)?;
        check_currency(&self.currency)?;
        for (field, url) in [
            ("return_url", &self.return_url),
            ("webhook_url", &self.webhook_url),
        ] {
            if url.as_deref().is_some_and(|url| !is_web_address(url)) {
                return Err(Refusal::bad(
                    field,
                    "must be an absolute http or https URL of at most 2,048 bytes without credentials",
                ));
            }
        }
        read_rule(self.rule.as_deref())
    }
}

/// The faults that a field `rule` names.
pub(super) fn read_rule(rule: Option<&str>) -> Result<Faults, Refusal> {
    Faults::parse(rule.unwrap_or_default())
        .map_err(|error| Refusal::bad("rule", &format!("can't be followed: {error}")))
}

/// An absolute http or https URL with a host and without credentials, empty ones included. The parser alone would also take
/// `http:host` and `http:///host`, which others read otherwise.
pub(super) fn is_web_address(text: &str) -> bool {
    let is_absolute = text.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?', '#']).next();
        scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
            && host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
    });
    is_absolute
        && visible_ascii(text, URL_BYTES_MAX)
        && !text.contains(['"', '\\'])
        && Url::parse(text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn check_currency(currency: &str) -> Result<(), Refusal> {
    if matches!(currency.as_bytes(), [a, b, c] if [a, b, c].iter().all(|byte| byte.is_ascii_uppercase()))
    {
        Ok(())
    } else {
        Err(Refusal::bad(
            "currency",
            "must be three capital letters (ISO 4217)",
        ))
    }
}

impl ApproveBody {
    pub fn check(&self) -> Result<(), Refusal> {
        check_order_id(&self.order_id)?;
        check_amount(self.amount)?;
        check_currency(&self.currency)?;
        if !visible_ascii(&self.payment_token, TOKEN_BYTES_MAX) {
            return Err(Refusal::bad(
                "payment_token",
                "must be 1 to 256 visible ASCII characters",
            ));
        }
        Ok(())
    }
}

impl CancelBody {
    pub fn check(&self) -> Result<(), Refusal> {
        check_amount(self.amount)
    }
}

impl PageQuery {
    pub fn check(&self) -> Result<(), Refusal> {
        if (1..=PAGE_MAX).contains(&self.limit) {
            Ok(())
        } else {
            Err(Refusal::bad("limit", &format!("must be 1 to {PAGE_MAX}")))
        }
    }
}

pub(super) fn check_order_id(order_id: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if (1..=ORDER_ID_BYTES_MAX).contains(&order_id.len()) && order_id.bytes().all(legal) {
        Ok(())
    } else {
        Err(Refusal::bad(
            "order_id",
            "must be 1 to 64 letters, digits, `.`, `_`, `:` or `-`",
        ))
    }
}

fn check_amount(amount: u64) -> Result<(), Refusal> {
    if (1..=AMOUNT_MAX).contains(&amount) {
        Ok(())
    } else {
        Err(Refusal::bad(
            "amount",
            &format!("must be 1 to {AMOUNT_MAX} minor units"),
        ))
    }
}

fn visible_ascii(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
