//! Purchases that can't be made, each for its own reason.

use serde_json::json;

use super::cases::{Case, cases};
use crate::support::http::{get, send};
use crate::support::process::ServeSettings;
use crate::support::shop::{Shop, seed};

#[tokio::test]
async fn every_bad_purchase_is_a_4xx_that_names_the_field_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let token = shop.token().await;
    let mut wrong = Vec::new();
    for Case {
        name,
        body,
        content_type,
        status,
        slug,
        field,
    } in cases()
    {
        let shown = String::from_utf8_lossy(&body[..body.len().min(150)]).into_owned();
        let mut request = shop
            .http
            .post(format!("{}/v1/purchases", shop.buyers))
            .bearer_auth(&token);
        request = request.header("idempotency-key", "bad").body(body);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let answer = send(request).await;
        let got = (
            answer.status,
            answer.body["type"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches("/problems/")
                .to_owned(),
            answer.body["field"].as_str().unwrap_or_default().to_owned(),
        );
        println!("{name}: {shown}\n  -> {got:?} {}", answer.text);
        if got == (status, slug.to_owned(), field.to_owned()) {
            answer.expect_problem(status, slug);
        } else {
            wrong.push(format!("{name}: {shown} is {got:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(nothing_was_made(&shop).await, json!([]));
    // The key of all those was not used up.
    let good = shop.buy(&token, "bad", &shop.order("tok-1")).await;
    assert_eq!(good.status, 202, "{good:?}");
}

#[tokio::test]
async fn refusals_say_why_and_leave_no_workflow() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 1, 1).await;
    for (sale, opens_at, closes_at) in [
        ("closed", "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"),
        ("later", "2100-01-01T00:00:00Z", "2100-01-02T00:00:00Z"),
        ("empty", "2020-01-01T00:00:00Z", "2100-01-02T00:00:00Z"),
    ] {
        let mut other = seed(sale, u32::from(sale != "empty"), 1);
        (other["opens_at"], other["closes_at"]) = (opens_at.into(), closes_at.into());
        assert_eq!(shop.seed(&other).await.status, 201);
    }
    let token = shop.token().await;
    for (sale, quantity, slug) in [
        ("closed", 1, "sale-closed"),
        ("later", 1, "sale-not-open"),
        ("empty", 1, "sold-out"),
        ("open", 2, "limit-reached"),
    ] {
        let mut order = shop.order("tok-1");
        order["sale"] = sale.into();
        order["campaign"] = serde_json::Value::Null;
        order["lines"][0]["quantity"] = quantity.into();
        let answer = shop.buy(&token, "key", &order).await;
        println!("{sale}: {}", answer.text);
        answer.expect_problem(409, slug);
    }
    assert_eq!(nothing_was_made(&shop).await, json!([]));
}

async fn nothing_was_made(shop: &Shop) -> serde_json::Value {
    get(
        shop.operators(),
        format!("{}/v1/workflows?definition=purchase", shop.operators),
    )
    .await
    .body["workflows"]
        .clone()
}
