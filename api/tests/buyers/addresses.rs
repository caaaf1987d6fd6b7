//! Shipping addresses: checked field by field before anything is held, and kept with the purchase.

use serde_json::{Value, json};

use super::till::Till;

fn address() -> Value {
    json!({
        "name": "Kim Min-ji",
        "address": "12, Sejong-daero, Jung-gu, Seoul",
        "zip": "04524",
        "phone": "+82 2 120 4567",
        "memo": "Please ring twice.",
    })
}

#[tokio::test]
async fn every_bad_address_is_named_by_its_field_and_holds_nothing() {
    let till = Till::embedded(5).await;
    let token = till.shop.token().await;
    let long = "x".repeat(201);
    let cases = [
        ("name", json!("")),
        ("name", json!(" \t ")),
        ("name", json!(long)),
        ("name", json!(7)),
        ("name", json!(null)),
        ("name", json!("Kim\u{0}")),
        ("address", json!("")),
        ("address", json!(long)),
        ("address", json!("line\nline")),
        ("zip", json!("")),
        ("zip", json!("1")),
        ("zip", json!("04524;")),
        ("zip", json!("x".repeat(11))),
        ("phone", json!("")),
        ("phone", json!("call me")),
        ("phone", json!("1234")),
        ("phone", json!("1".repeat(16))),
        ("memo", json!(long)),
        ("memo", json!(["a"])),
    ];
    for (field, value) in cases {
        let mut order = till.order();
        order["address"] = address();
        order["address"][field] = value.clone();
        let answer = till.shop.buy(&token, "bad", &order).await;
        assert_eq!(answer.status, 422, "{field}: {value}: {answer:?}");
        assert_eq!(
            answer.body["field"],
            format!("address.{field}"),
            "{value}: {answer:?}"
        );
    }
    for field in ["name", "address", "zip", "phone"] {
        let mut order = till.order();
        order["address"] = address();
        order["address"]
            .as_object_mut()
            .expect("an object")
            .remove(field);
        let answer = till.shop.buy(&token, "bad", &order).await;
        answer.expect_problem(422, "invalid-field");
        assert_eq!(
            answer.body["field"],
            format!("address.{field}"),
            "{answer:?}"
        );
    }
    let mut order = till.order();
    order["address"] = address();
    order["address"]["country"] = json!("KR");
    let answer = till.shop.buy(&token, "bad", &order).await;
    answer.expect_problem(422, "invalid-field");
    assert_eq!(till.stock_left().await, 5);
}

#[tokio::test]
async fn the_address_stays_with_the_purchase_and_counts_for_the_key() {
    let till = Till::embedded(5).await;
    let token = till.shop.token().await;
    let mut order = till.shop.order("tok-1");
    order["address"] = address();
    let accepted = till.shop.buy(&token, "k", &order).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.body["address"], address());
    order["address"]["memo"] = json!("Please ring once.");
    let other = till.shop.buy(&token, "k", &order).await;
    other.expect_problem(422, "idempotency-key-reused");
}
