//! A webhook is believed only when the gateway signed exactly these bytes a moment ago; what it says is read strictly.

use std::sync::Arc;

use engine::Timestamp;
use loadtest::gateway_simulator::{self, GatewaySimulator, Settings, WebhookTarget};
use proptest::prelude::*;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;
use workflows::ports::payment_gateway::{Approval, Decline, PaymentToken};
use workflows::ports::webhook::{
    BODY_BYTES_MAX, BadSignature, SIGNATURE_HEADER, WINDOW, WebhookEvent, WebhookKind, sign, verify,
};

use crate::{approve_request, client, server, with, won};

const OLD: &[u8] = b"the old secret of the tests";
const NEW: &[u8] = b"the new secret of the tests";
const NOW: Timestamp = Timestamp(1_767_225_600_000_000);
const BODY: &[u8] = br#"{"id":"evt-1"}"#;

fn check(secrets: &[&[u8]], header: &str, body: &[u8], now: Timestamp) -> Result<(), BadSignature> {
    verify(secrets, header, body, now, WINDOW)
}

#[test]
fn a_webhook_that_was_signed_now_is_believed() {
    let header = sign(&[NEW], BODY, NOW);
    assert!(header.starts_with("t=1767225600,v1="), "{header}");
    assert_eq!(check(&[NEW], &header, BODY, NOW), Ok(()));
}

#[test]
fn a_webhook_outside_the_window_is_refused() {
    let header = sign(&[NEW], BODY, NOW);
    let at = |seconds: i64| Timestamp(NOW.0 + seconds * 1_000_000);
    for seconds in [-300, -1, 0, 299, 300] {
        assert_eq!(
            check(&[NEW], &header, BODY, at(seconds)),
            Ok(()),
            "{seconds}"
        );
    }
    for seconds in [-301, 301, 86_400] {
        let refused = check(&[NEW], &header, BODY, at(seconds));
        assert_eq!(refused, Err(BadSignature::OutsideWindow), "{seconds}");
    }
}

#[test]
fn a_tampered_body_is_refused() {
    let header = sign(&[NEW], BODY, NOW);
    for body in [&b""[..], b"{}", br#"{"id":"evt-2"}"#, br#"{"id":"evt-1"} "#] {
        let refused = check(&[NEW], &header, body, NOW);
        assert_eq!(refused, Err(BadSignature::NoKeyFits));
    }
}

#[test]
fn a_time_that_was_not_signed_is_refused() {
    let header = sign(&[NEW], BODY, NOW);
    let later = header.replace("t=1767225600", "t=1767225601");
    let refused = check(&[NEW], &later, BODY, NOW);
    assert_eq!(refused, Err(BadSignature::NoKeyFits));
}

#[test]
fn the_second_key_verifies_during_rotation() {
    for signed_by in [OLD, NEW] {
        let header = sign(&[signed_by], BODY, NOW);
        assert_eq!(check(&[NEW, OLD], &header, BODY, NOW), Ok(()));
    }
    let by_both = sign(&[OLD, NEW], BODY, NOW);
    for key in [OLD, NEW] {
        assert_eq!(check(&[key], &by_both, BODY, NOW), Ok(()));
    }
    let old = sign(&[OLD], BODY, NOW);
    let refused = check(&[NEW], &old, BODY, NOW);
    assert_eq!(
        refused,
        Err(BadSignature::NoKeyFits),
        "the rotation is over"
    );
}

#[test]
fn no_key_and_an_empty_key_verify_nothing() {
    let header = sign(&[b""], BODY, NOW);
    for secrets in [&[][..], &[&b""[..]]] {
        let refused = check(secrets, &header, BODY, NOW);
        assert_eq!(refused, Err(BadSignature::NoKeyFits));
    }
}

#[test]
fn a_header_that_is_no_signature_is_refused() {
    let good = sign(&[NEW], BODY, NOW);
    let mac = good.split_once("v1=").expect("a signature").1;
    let headers = [
        String::new(),
        "hello".to_owned(),
        format!("v1={mac}"),
        "t=1767225600".to_owned(),
        format!("t=,v1={mac}"),
        format!("t=+1767225600,v1={mac}"),
        format!("t=01767225600,v1={mac}"),
        format!("t=-1,v1={mac}"),
        format!("t=99999999999999999999,v1={mac}"),
        format!("t=1767225600,t=1767225600,v1={mac}"),
        format!("t=1767225600,v1={}", &mac[1..]),
        format!("t=1767225600,v1={mac}00"),
        format!("t=1767225600,v1={}", mac.replace(|_: char| true, "g")),
        format!("t=1767225600,v1={mac},"),
        format!("t=1767225600{}", format!(",v1={mac}").repeat(9)),
    ];
    for header in headers {
        let refused = check(&[NEW], &header, BODY, NOW);
        assert_eq!(refused, Err(BadSignature::Unreadable), "{header}");
    }
    let spaced = good.replace(',', ", v0=old, ");
    assert_eq!(check(&[NEW], &spaced, BODY, NOW), Ok(()), "{spaced}");
    assert_eq!(
        check(&[NEW], &good.replace(mac, &mac.to_uppercase()), BODY, NOW),
        Ok(())
    );
}

proptest! {
    #[test]
    fn the_simulator_signs_as_we_do(body: Vec<u8>, secret in prop::collection::vec(any::<u8>(), 1..200), seconds in 0..4_000_000_000_i64) {
        let secrets = [secret.as_slice(), NEW];
        let theirs = gateway_simulator::sign(&secrets, &body, seconds);
        let now = Timestamp(seconds * 1_000_000 + 999_999);
        prop_assert_eq!(&theirs, &sign(&secrets, &body, now));
        prop_assert_eq!(check(&[&secret], &theirs, &body, now), Ok(()));
    }

    #[test]
    fn no_header_and_no_body_makes_it_fall(header: String, body: Vec<u8>) {
        prop_assert!(check(&[NEW], &header, &body, NOW).is_err());
        prop_assert!(WebhookEvent::parse(&body).is_err());
    }
}

#[tokio::test]
async fn what_the_simulator_sends_is_verified_and_read() {
    let receiver = server(ResponseTemplate::new(204)).await;
    let settings = Settings {
        webhooks: WebhookTarget::new(receiver.uri(), [NEW]).ok(),
        ..Settings::new(Arc::new(|| NOW.0))
    };
    let running = GatewaySimulator::bind(settings).await.expect("it starts");
    let port = client(&running.url());
    let paid = port
        .approve(&approve_request("order-1", "tok-webhook-early"))
        .await;
    let Ok(Approval::Approved(payment)) = paid else {
        panic!("{paid:?}")
    };
    port.approve(&approve_request("order-2", "tok-declined+webhook-early"))
        .await
        .expect("an answer");
    let sent = receiver.received_requests().await.expect("recorded");
    let events: Vec<WebhookEvent> = sent
        .iter()
        .map(|request| {
            let header = request.headers[SIGNATURE_HEADER].to_str().expect("text");
            assert_eq!(check(&[OLD, NEW], header, &request.body, NOW), Ok(()));
            WebhookEvent::parse(&request.body).expect("an event")
        })
        .collect();
    let [captured, declined] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(
        (
            captured.order_id.as_str(),
            captured.created_at,
            &captured.what
        ),
        (
            "order-1",
            NOW,
            &WebhookKind::Captured {
                payment_id: payment.payment_id,
                amount: won(1_000)
            }
        )
    );
    assert!(
        matches!(&declined.what, WebhookKind::Declined(Decline { code, .. }) if code == "insufficient-funds"),
        "{declined:?}"
    );
}

fn event(kind: &str) -> Value {
    json!({
        "id": "evt-1", "type": kind, "order_id": "order-1", "created_at": "2026-01-01T00:00:00Z",
        "authorization": "auth-1", "payment_id": "pay-1", "amount": 1_000, "currency": "KRW",
        "decline": { "code": "no", "message": "No\nmoney." }, "unheard_of": [1],
    })
}

fn parse(event: &Value) -> Result<WebhookEvent, String> {
    WebhookEvent::parse(event.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn each_type_is_read_and_one_of_a_later_version_is_left_alone() {
    let what = |kind| parse(&event(kind)).expect("an event").what;
    assert_eq!(
        what("payment.authorised"),
        WebhookKind::Authorised {
            authorization: PaymentToken::new("auth-1"),
            amount: Some(won(1_000)),
        }
    );
    assert_eq!(
        what("payment.declined"),
        WebhookKind::Declined(Decline {
            code: "no".to_owned(),
            message: "Nomoney.".to_owned()
        })
    );
    assert!(
        matches!(what("payment.captured"), WebhookKind::Captured { amount, .. } if amount == won(1_000))
    );
    assert!(
        matches!(what("payment.cancelled"), WebhookKind::Cancelled { amount, .. } if amount == won(1_000))
    );
    let bare = json!({ "id": "e", "type": "payment.renamed", "order_id": "o", "created_at": "2026-01-01T00:00:00+09:00" });
    let other = parse(&bare).expect("an event");
    assert_eq!(
        other.what,
        WebhookKind::Other {
            name: "payment.renamed".to_owned()
        }
    );
    assert!(!format!("{:?}", what("payment.authorised")).contains("auth-1"));
}

#[test]
fn a_body_that_lacks_or_bends_what_its_type_needs_is_refused() {
    let without = |kind, field: &str| {
        let mut event = event(kind);
        event.as_object_mut().expect("an object").remove(field);
        event
    };
    let wrong = [
        without("payment.authorised", "authorization"),
        without("payment.authorised", "currency"),
        without("payment.declined", "decline"),
        without("payment.captured", "payment_id"),
        without("payment.captured", "amount"),
        without("payment.cancelled", "currency"),
        without("payment.captured", "id"),
        without("payment.captured", "type"),
        without("payment.captured", "order_id"),
        without("payment.captured", "created_at"),
        with(event("payment.authorised"), "authorization", json!("")),
        with(
            event("payment.authorised"),
            "authorization",
            json!("a".repeat(257)),
        ),
        with(event("payment.authorised"), "authorization", json!("a b")),
        with(event("payment.captured"), "payment_id", json!("../pay")),
        with(event("payment.captured"), "amount", json!(-1)),
        with(event("payment.captured"), "amount", json!(1.5)),
        with(event("payment.captured"), "currency", json!("won")),
        with(event("payment.captured"), "id", json!("")),
        with(event("payment.captured"), "id", json!("e".repeat(129))),
        with(event("payment.captured"), "order_id", json!("a\nb")),
        with(event("payment.captured"), "order_id", json!("o".repeat(65))),
        with(event("payment.captured"), "created_at", json!("yesterday")),
        with(
            event("payment.declined"),
            "decline",
            json!({ "code": "no" }),
        ),
        with(event("payment.declined"), "decline", json!("no")),
        json!([]),
        json!(["evt-1"]),
        json!(null),
        json!("evt-1"),
        with(
            event("payment.captured"),
            "filler",
            json!("x".repeat(BODY_BYTES_MAX)),
        ),
    ];
    for event in wrong {
        let refused = parse(&event).expect_err("no event");
        assert!(refused.len() < 400, "{refused}");
    }
    let twice =
        br#"{"id":"a","id":"b","type":"t","order_id":"o","created_at":"2026-01-01T00:00:00Z"}"#;
    assert!(WebhookEvent::parse(twice).is_err());
    assert!(WebhookEvent::parse(b"").is_err());
}
