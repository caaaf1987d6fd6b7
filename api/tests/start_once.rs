//! A start under one key is one purchase, whatever is repeated.

use std::collections::HashSet;

use tokio::task::JoinSet;

use crate::support::http::{answered, get, send};
use crate::support::process::ServeSettings;
use crate::support::shop::{Shop, seed};

#[tokio::test]
async fn fifty_concurrent_starts_with_one_key_are_one_purchase() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 100, 100).await;
    let token = shop.token().await;
    let mut starts = JoinSet::new();
    for _ in 0..50 {
        let request = shop
            .http
            .post(format!("{}/v1/purchases", shop.buyers))
            .bearer_auth(&token);
        starts.spawn(answered(
            request
                .header("idempotency-key", "once")
                .json(&shop.order("tok-1")),
        ));
    }
    let mut ids = HashSet::new();
    while let Some(answer) = starts.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        let id = answer.body["id"].as_str().expect("an id").to_owned();
        assert_eq!(answer.location, Some(format!("/v1/purchases/{id}")));
        ids.insert(id);
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let id = ids.into_iter().next().expect("one");
    let settled = shop.settled(&token, &id).await;
    assert_eq!(settled["state"], "COMPLETED", "{settled}");
    let listed = get(
        shop.operators(),
        format!("{}/v1/workflows?definition=purchase", shop.operators),
    )
    .await;
    assert_eq!(
        listed.body["workflows"].as_array().map(Vec::len),
        Some(1),
        "{listed:?}"
    );

    // Ended or not: the same again is the same, anything else is refused, and another buyer's key is another key.
    let again = shop.buy(&token, "once", &shop.order("tok-1")).await;
    assert_eq!(
        (again.status, again.body["id"].as_str()),
        (202, Some(id.as_str())),
        "{again:?}"
    );
    shop.buy(&token, "once", &shop.order("tok-2"))
        .await
        .expect_problem(422, "idempotency-key-reused");
    let other = shop.token().await;
    let theirs = shop.buy(&other, "once", &shop.order("tok-1")).await;
    assert_eq!(theirs.status, 202, "{theirs:?}");
    assert_ne!(theirs.body["id"], id.as_str());
}

#[tokio::test]
async fn a_start_needs_one_sound_key() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 100, 100).await;
    let token = shop.token().await;
    let request = || {
        shop.http
            .post(format!("{}/v1/purchases", shop.buyers))
            .bearer_auth(&token)
            .json(&shop.order("tok-1"))
    };
    let too_long = "k".repeat(201);
    let key = "idempotency-key";
    for request in [
        request(),
        request().header(key, ""),
        request().header(key, "two words"),
        request().header(key, too_long.as_str()),
        request().header(key, b"\xc3\xa4".as_slice()),
        request().header(key, "one").header(key, "two"),
    ] {
        let answer = send(request).await;
        answer.expect_problem(400, "idempotency-key-required");
        assert_eq!(answer.body["field"], "Idempotency-Key");
    }
    assert_eq!(
        send(request().header(key, "k".repeat(200))).await.status,
        202
    );
}

#[tokio::test]
async fn a_repeat_after_a_restart_names_the_same_purchase_and_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path());
    let server = settings.start().await;
    let shop = Shop::open_for(&server, &seed_for("open", 5)).await;
    let mut purchases = Vec::new();
    for card in ["tok-good", "tok-declined"] {
        let (token, id) = shop.bought("once", card).await;
        shop.settled(&token, &id).await;
        purchases.push((token, id, card));
    }
    server.process.kill().await;

    // The gate is built anew from the database: it no longer knows the operations of purchases that have ended.
    let server = settings.start().await;
    let shop = shop.moved_to(&server);
    for (token, id, card) in &purchases {
        for _ in 0..3 {
            let again = shop.buy(token, "once", &shop.order(card)).await;
            assert_eq!(again.status, 202, "{card}: {again:?}");
            assert_eq!(again.body["id"], id.as_str(), "{card}");
        }
    }
    shop.quiet().await;
    shop.verify_in_the_end().await;
}

/// A sale in which one buyer may have several.
fn seed_for(sale: &str, per_buyer_limit: u32) -> serde_json::Value {
    let mut sale = seed(sale, 100, 100);
    sale["per_buyer_limit"] = per_buyer_limit.into();
    sale
}
