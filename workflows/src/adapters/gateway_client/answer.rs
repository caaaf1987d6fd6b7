//! From an HTTP response to a typed answer: what each status means, and how much of a body is read.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;

use super::wire::Refusal;
use crate::ports::payment_gateway::{GatewayError, LostAnswer};
use crate::ports::webhook::shortened;

/// The longest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
pub(super) const WORD_CHARS_MAX: usize = 64;
pub(super) const SENTENCE_CHARS_MAX: usize = 256;

/// The answer of a 200; any other status is an error that says what may have happened.
pub(super) async fn read<T: DeserializeOwned>(response: Response) -> Result<T, GatewayError> {
    let status = response.status();
    match status {
        StatusCode::OK => parse(&json_body(response).await?),
        StatusCode::TOO_MANY_REQUESTS => Err(GatewayError::Busy {
            retry_after: retry_after(response.headers()),
        }),
        StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key(RETRY_AFTER) => {
            Err(GatewayError::Busy {
                retry_after: retry_after(response.headers()),
            })
        }
        StatusCode::CONFLICT => Err(refused(status, &parse(&json_body(response).await?)?)),
        // A proxy's word that it waited for somebody: it does not say for whom.
        StatusCode::REQUEST_TIMEOUT => Err(lost(LostAnswer::Status(status.as_u16()))),
        _ if status.is_client_error() => Err(match explanation(response).await {
            Some(refusal) => refused(status, &refusal),
            None => rejected(status, &Refusal::unexplained()),
        }),
        _ => Err(lost(LostAnswer::Status(status.as_u16()))),
    }
}

/// A refusal that is about an earlier request does not say that there is no money: it is told apart by its code.
/// Without a code, a 409 never gets here, and counts as "may have been".
fn refused(status: StatusCode, refusal: &Refusal) -> GatewayError {
    match refusal.code.as_str() {
        "in-progress" => GatewayError::InProgress,
        "already-approved" | "idempotency-key-reused" => GatewayError::Conflict {
            code: refusal.code.clone(),
            message: shortened(&refusal.message, SENTENCE_CHARS_MAX),
        },
        _ => rejected(status, refusal),
    }
}

fn rejected(status: StatusCode, refusal: &Refusal) -> GatewayError {
    GatewayError::Rejected {
        status: status.as_u16(),
        code: shortened(&refusal.code, WORD_CHARS_MAX),
        message: shortened(&refusal.message, SENTENCE_CHARS_MAX),
    }
}

/// A refusal's reason where there is one: the status alone already says that nothing happened.
async fn explanation(response: Response) -> Option<Refusal> {
    let body = json_body(response).await.ok()?;
    serde_json::from_slice(&body).ok()
}

async fn json_body(mut response: Response) -> Result<Vec<u8>, GatewayError> {
    if !is_json(response.headers()) {
        let found = response.headers().get(CONTENT_TYPE);
        let found = found.map_or_else(String::new, |value| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        });
        return Err(lost(LostAnswer::ContentType(shortened(
            &found,
            WORD_CHARS_MAX,
        ))));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(lost(LostAnswer::TooLarge {
                bytes_max: ANSWER_BYTES_MAX,
            }));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, GatewayError> {
    let unreadable = |reason: &str| {
        lost(LostAnswer::Unreadable(shortened(
            reason,
            SENTENCE_CHARS_MAX,
        )))
    };
    match body.trim_ascii_start().first() {
        None => Err(unreadable("an empty body")),
        // serde would also take a struct's fields as a list.
        Some(b'{') => serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string())),
        Some(_) => Err(unreadable("not a JSON object")),
    }
}

/// `application/json` or `application/<something>+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Seconds only (RFC 9110, 10.2.3): a date would need the gateway's clock and ours to agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn lost(answer: LostAnswer) -> GatewayError {
    GatewayError::MaybeSent(answer)
}
