//! What a buyer authorises is worth exactly that: this order, this amount, this currency, until it expires.

use std::time::Duration;

use loadtest::gateway_simulator::Settings;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{Hand, Shop, order, reservation, settings};

#[tokio::test]
async fn an_authorised_order_is_captured_and_its_reservation_repeats() {
    let shop = Shop::open(settings()).await;
    let (status, reserved) = shop.reserve("k1", &reservation("o1")).await;
    assert_eq!(status, StatusCode::OK);
    let id = reserved["reservation_id"].as_str().expect("an id");
    assert_eq!(reserved["redirect_url"], shop.url(&format!("/pay/{id}")));
    assert_eq!(
        (
            &reserved["order_id"],
            &reserved["amount"],
            &reserved["currency"]
        ),
        (&json!("o1"), &json!(1_000), &json!("KRW"))
    );
    assert_eq!(shop.reserve("k1", &reservation("o1")).await.1, reserved);
    let decided = shop.decide(id, &json!({ "decision": "authorise" })).await;
    assert_eq!(
        shop.decide(id, &json!({ "decision": "authorise" })).await,
        decided
    );
    let authorization = decided.1["authorization"].as_str().expect("one");
    let (status, payment) = shop.approve("k2", &order("o1", authorization)).await;
    assert_eq!(
        (status, &payment["status"]),
        (StatusCode::OK, &json!("approved"))
    );
    assert_eq!(shop.account_of("o1").await, Some((1_000, 0)));
    assert_eq!(
        shop.reserve("k1", &reservation("o1")).await.1,
        reserved,
        "also after the capture"
    );
}

#[tokio::test]
async fn an_authorisation_of_another_order_captures_nothing() {
    let shop = Shop::open(settings()).await;
    let authorization = shop.authorised("o1").await;
    let other = |field: &str, value: Value| {
        let mut body = order("o1", &authorization);
        body[field] = value;
        body
    };
    let stolen = [
        other("order_id", json!("o2")),
        other("amount", json!(999)),
        other("amount", json!(1_001)),
        other("currency", json!("USD")),
    ];
    for body in stolen {
        let (status, refusal) = shop.approve("k1", &body).await;
        assert_eq!(
            (status, &refusal["code"]),
            (StatusCode::FORBIDDEN, &json!("authorisation-mismatch")),
            "{body}"
        );
    }
    for guess in ["auth-", "auth-0", &format!("{authorization}0")] {
        let (status, refusal) = shop.approve("k1", &order("o1", guess)).await;
        assert_eq!(
            (status, &refusal["code"]),
            (StatusCode::FORBIDDEN, &json!("authorisation-unknown")),
            "{guess}"
        );
    }
    let (status, refusal) = shop.approve("k1", &order("o1", "tok-ok")).await;
    assert_eq!(
        (status, &refusal["code"]),
        (StatusCode::FORBIDDEN, &json!("authorisation-required")),
        "nor does anybody else's stored means of payment"
    );
    assert_eq!(shop.summary().await.orders, 0, "no attempt left a trace");
    assert_eq!(
        shop.approve("k1", &order("o1", &authorization)).await.0,
        StatusCode::OK,
        "the refused attempts did not use up the key"
    );
}

#[tokio::test]
async fn an_authorisation_captures_its_order_once() {
    let shop = Shop::open(settings()).await;
    let authorization = shop.authorised("o1").await;
    shop.approve("k1", &order("o1", &authorization)).await;
    assert_eq!(
        shop.approve("k2", &order("o1", &authorization)).await.1["code"],
        "already-approved"
    );
    assert_eq!(shop.account_of("o1").await, Some((1_000, 0)));
}

#[tokio::test]
async fn an_expired_authorisation_is_declined() {
    let hand = Hand::new();
    let shop = Shop::open(hand.settings()).await;
    let authorization = shop.authorised("o1").await;
    hand.forward(Duration::from_mins(15));
    let (status, payment) = shop.approve("k1", &order("o1", &authorization)).await;
    assert_eq!(
        (status, &payment["decline"]["code"]),
        (StatusCode::OK, &json!("authorisation-expired"))
    );
    assert_eq!(shop.account_of("o1").await, Some((0, 0)));
}

#[tokio::test]
async fn a_reservation_that_expired_can_neither_be_made_nor_decided() {
    let hand = Hand::new();
    let shop = Shop::open(hand.settings()).await;
    let id = shop.reserved("o1").await;
    hand.forward(Duration::from_mins(15));
    for decision in ["authorise", "decline"] {
        let (status, refusal) = shop.decide(&id, &json!({ "decision": decision })).await;
        assert_eq!(
            (status, &refusal["code"]),
            (StatusCode::CONFLICT, &json!("reservation-expired"))
        );
    }
    let (status, refusal) = shop.reserve("k9", &reservation("o9")).await;
    assert_eq!(
        (status, &refusal["code"]),
        (StatusCode::CONFLICT, &json!("reservation-expired"))
    );
    assert_eq!(
        shop.reserve("reserve-o1", &reservation("o1")).await.0,
        StatusCode::OK,
        "a repeat is what it was"
    );
}

#[tokio::test]
async fn a_decision_is_final() {
    let shop = Shop::open(settings()).await;
    let (one, other) = (shop.reserved("o1").await, shop.reserved("o2").await);
    shop.decide(&one, &json!({ "decision": "authorise" })).await;
    shop.decide(&other, &json!({ "decision": "decline" })).await;
    for (id, decision) in [(&one, "decline"), (&other, "authorise")] {
        let (status, refusal) = shop.decide(id, &json!({ "decision": decision })).await;
        assert_eq!(
            (status, &refusal["code"]),
            (StatusCode::CONFLICT, &json!("already-decided"))
        );
    }
    let (status, refusal) = shop
        .decide("rsv-0", &json!({ "decision": "authorise" }))
        .await;
    assert_eq!(
        (status, &refusal["code"]),
        (StatusCode::NOT_FOUND, &json!("unknown-reservation"))
    );
}

#[tokio::test]
async fn an_order_is_reserved_under_one_key_and_with_one_body() {
    let shop = Shop::open(settings()).await;
    shop.reserve("k1", &reservation("o1")).await;
    let (status, refusal) = shop.reserve("k2", &reservation("o1")).await;
    assert_eq!(
        (status, &refusal["code"]),
        (StatusCode::CONFLICT, &json!("already-reserved"))
    );
    let (status, refusal) = shop.reserve("k1", &reservation("o2")).await;
    assert_eq!(
        (status, &refusal["code"]),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!("idempotency-key-reused")
        )
    );
    shop.approve("k3", &order("o3", "tok-ok")).await;
    assert_eq!(
        shop.reserve("k4", &reservation("o3")).await.1["code"],
        "already-approved"
    );
}

#[tokio::test]
async fn a_bad_reservation_is_a_400_that_names_the_field() {
    let shop = Shop::open(settings()).await;
    let wrong = [
        ("order_id", json!("a b")),
        ("amount", json!(0)),
        ("currency", json!("won")),
        ("return_url", json!("/back")),
        ("return_url", json!("javascript:alert(1)")),
        (
            "return_url",
            json!(format!("http://shop/{}", "a".repeat(2_048))),
        ),
        ("return_url", json!("http:shop/back")),
        ("webhook_url", json!("ftp://shop")),
        ("webhook_url", json!("http://@shop/webhook")),
        ("rule", json!("explode")),
    ];
    for (field, value) in wrong {
        let mut body = reservation("o1");
        body[field] = value;
        let (status, refusal) = shop.reserve("k1", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        let message = refusal["message"].as_str().expect("a sentence");
        assert!(message.starts_with(field), "{message}");
    }
    for body in [json!({}), json!([]), json!({ "colour": "red" })] {
        assert_eq!(shop.reserve("k1", &body).await.0, StatusCode::BAD_REQUEST);
    }
    let id = shop.reserved("o1").await;
    let decisions = [
        json!({}),
        json!({ "decision": "maybe" }),
        json!({ "decision": "authorise", "rule": "explode" }),
    ];
    for decision in decisions {
        assert_eq!(shop.decide(&id, &decision).await.0, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn reservations_and_decisions_survive_a_restart() {
    let folder = tempdir().expect("a folder");
    let in_file = || Settings {
        ledger: Some(folder.path().join("ledger.jsonl")),
        public_url: Some("http://pay.example/sim/".to_owned()),
        ..settings()
    };
    let shop = Shop::open(in_file()).await;
    let (open, authorization) = (shop.reserved("o1").await, shop.authorised("o2").await);
    let faulty = shop.reserved("o3").await;
    let decision = json!({ "decision": "authorise", "rule": "500-after" });
    let faulty = shop.decide(&faulty, &decision).await.1["authorization"].clone();
    let reserved = shop.reserve("reserve-o1", &reservation("o1")).await;
    assert_eq!(
        reserved.1["redirect_url"],
        format!("http://pay.example/sim/pay/{open}")
    );
    drop(shop);

    let shop = Shop::open(in_file()).await;
    assert_eq!(
        shop.reserve("reserve-o1", &reservation("o1")).await,
        reserved
    );
    assert_eq!(
        shop.decide(&open, &json!({ "decision": "decline" }))
            .await
            .0,
        StatusCode::OK
    );
    assert_eq!(
        shop.approve("k2", &order("o2", &authorization)).await.1["status"],
        "approved"
    );
    let faulty = faulty.as_str().expect("one");
    assert_eq!(
        shop.approve("k3", &order("o3", faulty)).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(
        shop.approve("k3", &order("o3", faulty)).await.0,
        StatusCode::OK
    );
}
