//! One key, one effect, one answer; one order, one capture.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{Shop, order, settings};

#[tokio::test]
async fn an_approval_is_captured_in_full_and_can_be_inquired() {
    let shop = Shop::open(settings()).await;
    let (status, payment) = shop.approve("k1", &order("o1", "tok-ok")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        payment,
        json!({
            "payment_id": "pay-1", "order_id": "o1", "status": "approved", "amount": 1_000, "currency": "KRW",
            "refunded": 0, "at": "2026-01-01T00:00:00Z",
        })
    );
    assert_eq!(shop.payments_of("o1").await, [payment]);
    assert_eq!(
        shop.payments_of("another").await,
        Vec::<serde_json::Value>::new()
    );
    assert_eq!(shop.account_of("o1").await, Some((1_000, 0)));
}

#[tokio::test]
async fn a_repeat_with_the_same_key_gives_the_same_answer_even_after_a_refund() {
    let shop = Shop::open(settings()).await;
    let first = shop.approve("k1", &order("o1", "tok-ok")).await;
    assert_eq!(shop.approve("k1", &order("o1", "tok-ok")).await, first);
    assert_eq!(shop.cancel("k2", "pay-1", 1_000, 0).await.0, StatusCode::OK);
    assert_eq!(shop.approve("k1", &order("o1", "tok-ok")).await, first);
    assert_eq!(shop.summary().await.captures, 1);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_whatever_differs() {
    let shop = Shop::open(settings()).await;
    shop.approve("k1", &order("o1", "tok-ok")).await;
    let others = [
        order("o2", "tok-ok"),
        order("o1", "tok-other"),
        json!({ "order_id": "o1", "amount": 1_001, "currency": "KRW", "payment_token": "tok-ok" }),
        json!({ "order_id": "o1", "amount": 1_000, "currency": "USD", "payment_token": "tok-ok" }),
    ];
    for other in others {
        let (status, body) = shop.approve("k1", &other).await;
        assert_eq!(
            (status, &body["code"]),
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!("idempotency-key-reused")
            )
        );
    }
    let (status, body) = shop.cancel("k1", "pay-1", 1_000, 0).await;
    assert_eq!(
        (status, &body["code"]),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!("idempotency-key-reused")
        )
    );
    assert_eq!(shop.summary().await.totals[0].captured, 1_000);
}

#[tokio::test]
async fn a_captured_order_is_not_captured_again_under_another_key() {
    let shop = Shop::open(settings()).await;
    shop.approve("k1", &order("o1", "tok-ok")).await;
    let (status, body) = shop.approve("k2", &order("o1", "tok-ok")).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("already-approved"))
    );
    shop.cancel("k3", "pay-1", 1_000, 0).await;
    assert_eq!(
        shop.approve("k4", &order("o1", "tok-ok")).await.0,
        StatusCode::CONFLICT,
        "also after a refund"
    );
}

#[tokio::test]
async fn a_declined_order_may_be_paid_by_another_token_under_another_key() {
    let shop = Shop::open(settings()).await;
    let (status, declined) = shop.approve("k1", &order("o1", "tok-declined")).await;
    assert_eq!(
        (status, &declined["decline"]["code"]),
        (StatusCode::OK, &json!("insufficient-funds"))
    );
    assert_eq!(
        shop.approve("k2", &order("o1", "tok-ok")).await.1["status"],
        "approved"
    );
    let statuses: Vec<_> = shop
        .payments_of("o1")
        .await
        .into_iter()
        .map(|payment| payment["status"].clone())
        .collect();
    assert_eq!(statuses, ["declined", "approved"]);
    assert_eq!(
        shop.approve("k1", &order("o1", "tok-declined")).await.1,
        declined
    );
}

#[tokio::test]
async fn an_order_is_declined_a_hundred_times_and_no_more() {
    let shop = Shop::open(settings()).await;
    for key in 0..100 {
        let (status, _) = shop
            .approve(&format!("k{key}"), &order("o1", "tok-declined"))
            .await;
        assert_eq!(status, StatusCode::OK);
    }
    let (status, body) = shop.approve("one-more", &order("o1", "tok-declined")).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("too-many-payments"))
    );
}

#[tokio::test]
async fn fifty_concurrent_approvals_with_one_key_capture_once_and_agree() {
    let shop = Arc::new(Shop::open(settings()).await);
    let mut buyers = JoinSet::new();
    for _ in 0..50 {
        let shop = Arc::clone(&shop);
        buyers.spawn(async move { shop.approve("one-key", &order("o1", "tok-ok")).await });
    }
    let answers = buyers.join_all().await;
    assert_eq!(answers.len(), 50);
    assert!(
        answers
            .iter()
            .all(|answer| *answer == answers[0] && answer.0 == StatusCode::OK),
        "{answers:?}"
    );
    let summary = shop.summary().await;
    assert_eq!((summary.captures, summary.totals[0].captured), (1, 1_000));
}

#[tokio::test]
async fn fifty_concurrent_approvals_with_fifty_keys_capture_once_and_refuse_the_rest() {
    let shop = Arc::new(Shop::open(settings()).await);
    let mut buyers = JoinSet::new();
    for key in 0..50 {
        let shop = Arc::clone(&shop);
        buyers.spawn(async move {
            shop.approve(&format!("k{key}"), &order("o1", "tok-ok"))
                .await
                .0
        });
    }
    let statuses = buyers.join_all().await;
    assert_eq!(
        statuses
            .iter()
            .filter(|status| **status == StatusCode::OK)
            .count(),
        1
    );
    assert_eq!(
        statuses
            .iter()
            .filter(|status| **status == StatusCode::CONFLICT)
            .count(),
        49
    );
    assert_eq!(shop.summary().await.totals[0].captured, 1_000);
}
