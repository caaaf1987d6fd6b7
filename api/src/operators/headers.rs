//! The headers that make an order safe to repeat and safe to be late: `Idempotency-Key` and `If-Match`.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH};
use axum::http::request::Parts;

use crate::problem::{Kind, Problem};

const KEY_BYTES_MAX: usize = 200;
/// How the names begin that batches and signals have in a workflow's inbox.
const RESERVED: [&str; 2] = ["batch/", SIGNAL];
/// The inbox's name of a signal is this and the signal's id.
pub const SIGNAL: &str = "signal:";
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What the headers say about an order.
pub struct Conditions {
    /// The `Idempotency-Key`, if there is one (IETF draft-ietf-httpapi-idempotency-key-header).
    pub key: Option<String>,
    /// The version that `If-Match` names (RFC 9110, section 13.1.1), if it names one.
    pub version: Option<u32>,
}

impl Conditions {
    /// The key, for an order that has no other name.
    pub fn key(self) -> Result<String, Problem> {
        let key = self.key.ok_or_else(key_required)?;
        match RESERVED.into_iter().find(|start| key.starts_with(start)) {
            Some(start) => {
                let why = format!("a key that begins with `{start}` is not for you to take");
                Err(Problem::new(Kind::INVALID_HEADER, why).with_field("Idempotency-Key"))
            }
            None => Ok(key),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = match only(&parts.headers, &IDEMPOTENCY_KEY) {
            Given::Nothing => None,
            Given::Text(text) if is_key(text) => Some(text.to_owned()),
            Given::Text(_) | Given::Unreadable => return Err(key_required()),
        };
        let version = match only(&parts.headers, &IF_MATCH) {
            Given::Nothing | Given::Text("*") => None,
            Given::Text(text) => Some(version(text).ok_or_else(wrong_version)?),
            Given::Unreadable => return Err(wrong_version()),
        };
        Ok(Self { key, version })
    }
}

/// What one header says.
enum Given<'a> {
    Nothing,
    Text(&'a str),
    /// It is there several times, or not text.
    Unreadable,
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Given<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Given::Nothing,
        (Some(value), None) => value.to_str().map_or(Given::Unreadable, Given::Text),
        (Some(_), Some(_)) => Given::Unreadable,
    }
}

/// A name that its sender chose for something: 1 to 200 visible ASCII characters.
pub fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The version in a strong entity tag such as `"12"`.
fn version(tag: &str) -> Option<u32> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// The entity tag of a workflow at this version.
pub fn entity_tag(version: u32) -> String {
    format!("\"{version}\"")
}

fn key_required() -> Problem {
    let why = format!(
        "send one Idempotency-Key of 1 to {KEY_BYTES_MAX} visible ASCII characters, new for each order and the same for each repeat"
    );
    Problem::new(Kind::IDEMPOTENCY_KEY_REQUIRED, why).with_field("Idempotency-Key")
}

fn wrong_version() -> Problem {
    let why = "send one If-Match with the workflow's version, its ETag, such as \"12\", or none";
    Problem::new(Kind::INVALID_HEADER, why).with_field("If-Match")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_strong_tag_of_digits() {
        assert_eq!(version(&entity_tag(12)), Some(12));
        for wrong in [
            "12",
            "\"12",
            "W/\"12\"",
            "\"\"",
            "\"+1\"",
            "\"x\"",
            "\"1\", \"2\"",
            "\"4294967296\"",
        ] {
            assert_eq!(version(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_that_the_inbox_uses_itself_is_refused() {
        let key = |text: &str| {
            let key = Some(text.to_owned());
            Conditions { key, version: None }.key().ok()
        };
        assert_eq!(key("mine"), Some("mine".to_owned()));
        assert_eq!(key("batch/1"), None);
        assert_eq!(key("signal:1"), None);
    }

    #[test]
    fn a_key_is_visible_and_not_too_long() {
        assert!(is_key("a-1") && is_key(&"k".repeat(200)));
        assert!(!is_key("") && !is_key("a b") && !is_key(&"k".repeat(201)));
    }
}
