//! What comes to the webhook's address: the header with the signatures, and a body that was signed.

use engine::Timestamp;
use workflows::ports::webhook::{BODY_BYTES_MAX, WINDOW, WebhookEvent, WebhookKind, sign, verify};

use crate::mutate::{Target, Verdict};
use crate::short;

const SECRET: &[u8] = b"a secret of the fuzz tests, long enough";
const OTHER: &[u8] = b"another secret of the fuzz tests, as long";
const BODY: &[u8] = br#"{"id":"evt-1"}"#;
/// The instant at which the corpus was signed.
const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// Whatever is believed names a time in the window, and has the very signature of that time.
fn check_signature(bytes: &[u8]) -> Verdict {
    let header = String::from_utf8_lossy(bytes);
    if let Err(error) = verify(&[SECRET, OTHER], &header, BODY, NOW, WINDOW) {
        short(&error)?;
        return Ok(false);
    }
    let parts = || header.split(',').map(str::trim);
    let seconds = parts().find_map(|part| part.strip_prefix("t="));
    let seconds: i64 = seconds
        .and_then(|text| text.parse().ok())
        .ok_or("believed without a time")?;
    let far = (seconds - NOW.0 / 1_000_000).unsigned_abs();
    let good = sign(&[SECRET, OTHER], BODY, Timestamp(seconds * 1_000_000));
    let is_signed = parts().any(|part| {
        part.starts_with("v1=")
            && good
                .split(',')
                .any(|good| good == part.to_ascii_lowercase())
    });
    if far > WINDOW.as_secs() || !is_signed {
        return Err(format!("believed: {header}"));
    }
    Ok(true)
}

#[test]
fn no_header_is_believed_without_a_signature() {
    let made = vec![
        sign(&[SECRET], BODY, NOW),
        sign(&[OTHER, SECRET], BODY, NOW),
    ];
    let made = made.into_iter().map(String::into_bytes).collect();
    let words = [
        "t=",
        "v1=",
        "v0=",
        "=",
        ",",
        "t=1767225600",
        "t=+1767225600",
        "t=-9223372036854775808",
    ];
    Target {
        made,
        ..Target::new("signature", &words)
    }
    .fuzz(check_signature);
}

fn is_name(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What is read is within its bounds, and says what the body says.
fn check_event(bytes: &[u8]) -> Verdict {
    let event = match WebhookEvent::parse(bytes) {
        Ok(event) => event,
        Err(error) => return short(&error).map(|()| false),
    };
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(bytes) else {
        // What nobody asks for may be deeper than a value may be.
        return Ok(true);
    };
    let says = |field: &str, value: &str| body[field].as_str() == Some(value);
    let bounded = bytes.len() <= BODY_BYTES_MAX
        && is_name(&event.id, 128)
        && is_name(&event.order_id, 64)
        && says("id", &event.id)
        && says("order_id", &event.order_id);
    let sound = match &event.what {
        WebhookKind::Authorised {
            authorization,
            amount,
        } => {
            is_name(authorization.expose(), 256)
                && says("authorization", authorization.expose())
                && amount.is_none_or(|amount| body["amount"].as_u64() == Some(amount.amount))
        }
        WebhookKind::Declined(decline) => {
            is_name(&decline.code, 64)
                && decline.message.chars().count() <= 256
                && !decline.message.chars().any(char::is_control)
        }
        WebhookKind::Captured { payment_id, amount }
        | WebhookKind::Cancelled { payment_id, amount } => {
            says("payment_id", payment_id.as_str())
                && body["amount"].as_u64() == Some(amount.amount)
                && says("currency", &amount.currency.to_string())
        }
        WebhookKind::Other { name } => name.chars().count() <= 64,
    };
    if bounded && sound {
        Ok(true)
    } else {
        Err(format!("read as {event:?}"))
    }
}

#[test]
fn a_signed_body_is_read_as_it_is_or_refused() {
    let words = [
        "\"payment.authorised\"",
        "\"payment.declined\"",
        "\"payment.captured\"",
        "\"payment.cancelled\"",
        "\"authorization\"",
        "\"amount\"",
        "\"currency\"",
        "\"decline\"",
        "\"../pay\"",
    ];
    Target::new("webhook", &words).fuzz(check_event);
}
