//! Money goes back only where it came from, and only when both sides agree on what remains.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{Shop, order, settings};

#[tokio::test]
async fn a_full_refund_is_made_once_however_often_it_is_asked_for() {
    let shop = Shop::open(settings()).await;
    shop.approve("k1", &order("o1", "tok-ok")).await;
    let first = shop.cancel("k2", "pay-1", 1_000, 0).await;
    assert_eq!(first.0, StatusCode::OK);
    assert_eq!(
        (&first.1["cancelled_amount"], &first.1["rest_amount"]),
        (&json!(1_000), &json!(0))
    );
    assert_eq!(first.1["payment"]["status"], "cancelled");
    assert_eq!(shop.cancel("k2", "pay-1", 1_000, 0).await, first);
    assert_eq!(shop.account_of("o1").await, Some((1_000, 1_000)));
}

#[tokio::test]
async fn parts_are_given_back_until_nothing_remains() {
    let shop = Shop::open(settings()).await;
    shop.approve("k1", &order("o1", "tok-ok")).await;
    assert_eq!(
        shop.cancel("k2", "pay-1", 300, 700).await.1["payment"]["status"],
        "approved"
    );
    assert_eq!(
        shop.cancel("k3", "pay-1", 700, 0).await.1["payment"]["status"],
        "cancelled"
    );
    assert_eq!(
        shop.cancel("k2", "pay-1", 300, 700).await.1["payment"]["refunded"],
        300,
        "the answer as it was"
    );
    let (status, body) = shop.cancel("k4", "pay-1", 1, 0).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("amount-exceeds-rest"))
    );
    let summary = shop.summary().await;
    assert_eq!((summary.refunds, summary.totals[0].refunded), (2, 1_000));
}

#[tokio::test]
async fn a_refund_with_another_rest_in_mind_is_refused() {
    let shop = Shop::open(settings()).await;
    shop.approve("k1", &order("o1", "tok-ok")).await;
    let (status, body) = shop.cancel("k2", "pay-1", 300, 0).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("rest-mismatch"))
    );
    assert_eq!(shop.account_of("o1").await, Some((1_000, 0)));
}

#[tokio::test]
async fn nothing_is_given_back_of_a_declined_or_unknown_payment() {
    let shop = Shop::open(settings()).await;
    shop.approve("k1", &order("o1", "tok-declined")).await;
    let (status, body) = shop.cancel("k2", "pay-1", 1_000, 0).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("not-captured"))
    );
    for payment_id in ["pay-2", "pay-0", "pay-x", "%F0%9F%92%B8"] {
        let (status, body) = shop.cancel("k3", payment_id, 1_000, 0).await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::NOT_FOUND, &json!("unknown-payment")),
            "{payment_id}"
        );
    }
}

#[tokio::test]
async fn concurrent_full_refunds_under_many_keys_give_back_once() {
    let shop = Arc::new(Shop::open(settings()).await);
    shop.approve("k", &order("o1", "tok-ok")).await;
    let mut refunds = JoinSet::new();
    for key in 0..30 {
        let shop = Arc::clone(&shop);
        refunds.spawn(async move { shop.cancel(&format!("r{key}"), "pay-1", 1_000, 0).await.0 });
    }
    let made = refunds
        .join_all()
        .await
        .into_iter()
        .filter(|status| *status == StatusCode::OK)
        .count();
    assert_eq!(made, 1);
    assert_eq!(shop.account_of("o1").await, Some((1_000, 1_000)));
}
