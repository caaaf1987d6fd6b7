//! Each fault of each call, by its name: what the client sees, and what the ledger says about it.

use std::time::Duration;

use loadtest::gateway_simulator::{Fault, Faults, Rules, Settings};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Hand, Shop, order, reservation, settings};

/// What a client sees of one request.
#[derive(Debug, PartialEq)]
enum Seen {
    Answer(u16),
    /// A 200 whose body is no JSON.
    Garbage(String),
    Broken,
    /// Nothing for as long as the rules say, and then this status.
    Held(u16),
}

/// How long the time-outs hold an answer back: long enough to be told from an answer that is not held.
const HOLD: Duration = Duration::from_millis(300);

/// What the client of this request sees, under this key, and how long it waited for that.
async fn seen(request: RequestBuilder, key: &str) -> (Seen, Duration) {
    let begun = Instant::now();
    let sent = request.header("idempotency-key", key).send().await;
    let waited = begun.elapsed();
    (what(sent).await, waited)
}

async fn what(sent: reqwest::Result<Response>) -> Seen {
    match sent {
        Err(error) => {
            assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
            Seen::Broken
        }
        Ok(answer) => {
            let status = answer.status().as_u16();
            let text = answer.text().await.expect("a body");
            match serde_json::from_str::<Value>(&text) {
                Ok(_) => Seen::Answer(status),
                Err(_) => Seen::Garbage(text),
            }
        }
    }
}

async fn shop() -> Shop {
    let rules = Rules {
        hold_ms: u64::try_from(HOLD.as_millis()).expect("short"),
        ..Rules::default()
    };
    Shop::open(Settings {
        rules,
        ..settings()
    })
    .await
}

/// An answer that is held comes no sooner; when any other comes is the machine's business.
fn is_like((seen, waited): &(Seen, Duration), expected: &Seen) -> bool {
    match (seen, expected) {
        (Seen::Answer(status), Seen::Held(after)) => status == after && *waited >= HOLD,
        (Seen::Garbage(text), Seen::Garbage(beginning)) => {
            text.starts_with(beginning.as_str()) && text.is_empty() == beginning.is_empty()
        }
        _ => seen == expected,
    }
}

/// An approval meets the trouble once, and captures once.
async fn approval(name: &str, expected: Seen, captured: bool) {
    let shop = shop().await;
    let body = order("o1", &format!("tok-{name}"));
    let request = shop.client.post(shop.url("/v1/payments/approve"));
    let first = seen(request.json(&body), "k1").await;
    assert!(is_like(&first, &expected), "{first:?}");
    assert_eq!(shop.payments_of("o1").await.len(), usize::from(captured));
    let (status, payment) = shop.approve("k1", &body).await;
    assert_eq!(
        (status, &payment["status"]),
        (StatusCode::OK, &json!("approved"))
    );
    assert_eq!(shop.account_of("o1").await, Some((1_000, 0)));
}

/// A reservation meets the trouble once, and reserves once.
async fn reservation_with(name: &str, expected: Seen, _reserved: bool) {
    let shop = shop().await;
    let mut body = reservation("o1");
    body["rule"] = json!(format!("reserve-{name}"));
    let request = shop.client.post(shop.url("/v1/payments/reserve"));
    let first = seen(request.json(&body), "k1").await;
    assert!(is_like(&first, &expected), "{first:?}");
    let (status, again) = shop.reserve("k1", &body).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(shop.reserve("k1", &body).await.1, again);
}

/// A refund meets the trouble once, and gives back once.
async fn refund(name: &str, expected: Seen, given_back: bool) {
    let shop = shop().await;
    let token = format!("tok-cancel-{name}");
    shop.approve("k1", &order("o1", &token)).await;
    let request = shop.client.post(shop.url("/v1/payments/pay-1/cancel"));
    let body = json!({ "amount": 1_000, "expected_rest_amount": 0 });
    let first = seen(request.json(&body), "k2").await;
    assert!(is_like(&first, &expected), "{first:?}");
    let refunded = if given_back { 1_000 } else { 0 };
    assert_eq!(shop.account_of("o1").await, Some((1_000, refunded)));
    assert_eq!(shop.cancel("k2", "pay-1", 1_000, 0).await.0, StatusCode::OK);
    assert_eq!(shop.account_of("o1").await, Some((1_000, 1_000)));
}

/// An inquiry meets the trouble once.
async fn inquiry(name: &str, expected: Seen, _answered: bool) {
    let shop = shop().await;
    let token = format!("tok-inquiry-{name}");
    shop.approve("k1", &order("o1", &token)).await;
    let request = shop.client.get(shop.url("/v1/payments?order_id=o1"));
    let first = seen(request, "k2").await;
    assert!(is_like(&first, &expected), "{first:?}");
    assert_eq!(shop.payments_of("o1").await.len(), 1);
}

/// For each trouble a test of each call: what its first attempt looks like, and whether that had its effect.
macro_rules! troubles {
    ($($test:ident: $name:literal, $seen:expr, $effect:literal;)*) => {
        mod an_approval_meets {
            use super::Seen;
            $(#[tokio::test] async fn $test() { super::approval($name, $seen, $effect).await; })*
        }
        mod a_reservation_meets {
            use super::Seen;
            $(#[tokio::test] async fn $test() { super::reservation_with($name, $seen, $effect).await; })*
        }
        mod a_refund_meets {
            use super::Seen;
            $(#[tokio::test] async fn $test() { super::refund($name, $seen, $effect).await; })*
        }
        mod an_inquiry_meets {
            use super::Seen;
            $(#[tokio::test] async fn $test() { super::inquiry($name, $seen, $effect).await; })*
        }
    };
}

troubles! {
    busy: "busy", Seen::Answer(429), false;
    in_progress: "in-progress", Seen::Answer(409), false;
    timeout_before: "timeout-before", Seen::Held(504), false;
    error_before: "500-before", Seen::Answer(500), false;
    reset_before: "reset-before", Seen::Broken, false;
    timeout_after: "timeout-after", Seen::Held(200), true;
    error_after: "500-after", Seen::Answer(500), true;
    reset_after: "reset-after", Seen::Broken, true;
    empty_body: "empty-body", Seen::Garbage(String::new()), true;
    malformed_body: "malformed-body", Seen::Garbage("{".to_owned()), true;
}

#[tokio::test]
async fn wrong_currency_and_wrong_order_are_lies_of_the_answer_only() {
    let shop = shop().await;
    for (token, field, lie) in [
        ("tok-wrong-currency", "currency", "XTS"),
        ("tok-wrong-order", "order_id", "another-order"),
    ] {
        for _ in 0..3 {
            let (_, payment) = shop.approve(token, &order(token, token)).await;
            assert_eq!(payment[field], lie);
        }
        let truth = shop.payments_of(token).await;
        assert_eq!(
            (&truth[0]["currency"], &truth[0]["order_id"]),
            (&json!("KRW"), &json!(token))
        );
        assert_eq!(shop.account_of(token).await, Some((1_000, 0)));
    }
}

#[tokio::test]
async fn wrong_answers_of_other_calls_change_nothing_either() {
    let shop = shop().await;
    for (trouble, field) in [
        ("wrong-amount", "amount"),
        ("wrong-currency", "currency"),
        ("wrong-order", "order_id"),
    ] {
        let mut body = reservation(trouble);
        body["rule"] = json!(format!(
            "reserve-{trouble}+inquiry-{trouble}+cancel-{trouble}"
        ));
        let reserved = shop.reserve(trouble, &body).await.1;
        assert_ne!(reserved[field], body[field], "{trouble}");
        let id = reserved["reservation_id"].as_str().expect("an id");
        let decided = shop.decide(id, &json!({ "decision": "authorise" })).await.1;
        let token = decided["authorization"].as_str().expect("one");
        let payment = shop
            .approve(&format!("a-{trouble}"), &order(trouble, token))
            .await
            .1;
        assert_eq!(payment[field], body[field], "{trouble}");
        let found = shop.payments_of(trouble).await;
        assert_ne!(found[0][field], body[field], "{trouble}");
        let id = payment["payment_id"].as_str().expect("an id");
        let cancelled = shop.cancel(&format!("c-{trouble}"), id, 400, 600).await.1;
        let lie = if trouble == "wrong-amount" {
            cancelled["cancelled_amount"] != json!(400)
        } else {
            cancelled["payment"][field] != body[field]
        };
        assert!(lie, "{trouble}: {cancelled}");
        assert_eq!(
            shop.account_of(trouble).await,
            Some((1_000, 400)),
            "{trouble}"
        );
    }
}

#[tokio::test]
async fn inquiry_lag() {
    let hand = Hand::new();
    let shop = Shop::open(hand.settings()).await;
    shop.approve("k1", &order("o1", "tok-inquiry-lag")).await;
    assert!(shop.payments_of("o1").await.is_empty());
    hand.forward(Duration::from_millis(999));
    assert!(shop.payments_of("o1").await.is_empty());
    hand.forward(Duration::from_millis(1));
    assert_eq!(shop.payments_of("o1").await.len(), 1);
    assert_eq!(
        shop.account_of("o1").await,
        Some((1_000, 0)),
        "the oracle does not lag"
    );
}

#[tokio::test]
async fn pairs_show_one_after_the_other() {
    let shop = shop().await;
    let body = order("o1", "tok-500-after+busy+cancel-500-before-17");
    for expected in [429, 500, 200] {
        assert_eq!(shop.approve("k1", &body).await.0.as_u16(), expected);
    }
    for expected in [500, 200] {
        assert_eq!(
            shop.cancel("k2", "pay-1", 1_000, 0).await.0.as_u16(),
            expected
        );
    }
    assert_eq!(shop.account_of("o1").await, Some((1_000, 1_000)));
}

#[tokio::test]
async fn every_fault_can_be_had_by_chance_and_the_same_seed_picks_the_same_orders() {
    for (name, fault) in Fault::all() {
        assert_eq!(Fault::named(name), Some(*fault), "{name}");
        assert!(
            Faults::of_token(&format!("tok-{name}-17")).has(*fault),
            "{name}"
        );
        assert_eq!(
            Faults::parse(name)
                .map(|faults| faults.to_string())
                .as_ref(),
            Ok(name)
        );
    }
    assert!(Faults::of_token("tok-ok").is_empty());
    assert!(Faults::of_token("declined").is_empty());
    let mut chosen = Vec::new();
    for _ in 0..2 {
        let shop = shop().await;
        let rules = json!({ "seed": 5, "rates": { "busy": 0.25, "cancel-busy": 1.0 } });
        assert_eq!(shop.set_rules(&rules).await.0, StatusCode::OK);
        let mut busy = Vec::new();
        for n in 0..100 {
            let status = shop
                .approve(&format!("k{n}"), &order(&format!("o{n}"), "tok-ok"))
                .await
                .0;
            if status == StatusCode::TOO_MANY_REQUESTS {
                busy.push(n);
            }
        }
        assert_eq!(
            shop.cancel("c", "pay-1", 1_000, 0).await.0,
            StatusCode::TOO_MANY_REQUESTS
        );
        chosen.push(busy);
    }
    println!("seed 5: {} of 100 are busy", chosen[0].len());
    assert_eq!(chosen[0], chosen[1]);
    assert!((10..40).contains(&chosen[0].len()), "{chosen:?}");
}

#[tokio::test]
async fn rates_out_of_bounds_are_refused() {
    let shop = shop().await;
    for rates in [
        json!({ "busy": 1.1 }),
        json!({ "busy": -0.1 }),
        json!({ "explode": 0.1 }),
        json!({ "": 0.1 }),
        json!({ "busy+500-after": 0.1 }),
        json!({ "busy": "often" }),
    ] {
        assert_eq!(
            shop.set_rules(&json!({ "rates": rates })).await.0,
            StatusCode::BAD_REQUEST,
            "{rates}"
        );
    }
}
