//! Coupons that are claimed ahead: exactly as many as there are, one a buyer, and what becomes of each.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::till::{Payer, Till};
use crate::support::http::{Answer, answered, send};
use crate::support::rounds::{in_a_while, kept_in_one_round, rfc3339, still_before};
use crate::support::shop::{Shop, seed};

/// A sale that opens in a hundred years, with coupons that can be claimed now.
fn claimable(sale: &str, size: u32) -> Value {
    let mut sale = seed(sale, 100, size);
    sale["campaigns"][0]["claims_from"] = json!("2020-01-01T00:00:00Z");
    sale
}

async fn claim(till: &Till, token: &str, key: &str, campaign: &str) -> Answer {
    let url = format!("{}/v1/campaigns/{campaign}/claims", till.shop.buyers);
    let request = till.shop.http.post(url).bearer_auth(token);
    answered(request.header("idempotency-key", key)).await
}

async fn coupons(till: &Till, token: &str) -> Value {
    let url = format!("{}/v1/me/coupons", till.shop.buyers);
    let answer = answered(till.shop.http.get(url).bearer_auth(token)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["coupons"].clone()
}

#[tokio::test]
async fn exactly_the_campaigns_size_is_claimed_by_a_crowd() {
    const SIZE: usize = 20;
    const BUYERS: usize = 64;
    let mut seed = claimable("drop", u32::try_from(SIZE).unwrap());
    // Long before the sale.
    seed["opens_at"] = json!("2099-01-01T00:00:00Z");
    let desk = Till::embedded_for(&seed).await;
    let buyers = (0..BUYERS).map(async |_| {
        let token = desk.shop.token().await;
        // Twice at the same time under the same key, and once more under another.
        let (one, same) = tokio::join!(
            claim(&desk, &token, "k", "drop"),
            claim(&desk, &token, "k", "drop")
        );
        assert_eq!(one.status, same.status, "{one:?} {same:?}");
        let other = claim(&desk, &token, "k2", "drop").await;
        if one.status == 201 {
            assert_eq!(one.body["state"], "issued", "{one:?}");
            other.expect_problem(409, "coupon-already-used");
            assert_eq!(
                coupons(&desk, &token).await.as_array().map(Vec::len),
                Some(1)
            );
            1
        } else {
            one.expect_problem(409, "coupons-exhausted");
            assert!(one.body["retry"]["why"].is_string(), "{one:?}");
            assert_eq!(coupons(&desk, &token).await, json!([]));
            0
        }
    });
    let issued: usize = join_all(buyers).await.into_iter().sum();
    assert_eq!(issued, SIZE);
    let shown = desk.shop.shown().await;
    assert_eq!(shown["campaigns"][0]["coupons_left"], 0, "{shown}");
    desk.shop.quiet().await;
}

#[tokio::test]
async fn a_coupon_is_issued_then_reserved_then_used_or_issued_again() {
    let till = Till::embedded_for(&claimable("drop", 10)).await;
    let token = till.shop.token().await;
    let claimed = claim(&till, &token, "k", "drop").await;
    assert_eq!(claimed.status, 201, "{claimed:?}");
    let state = async || coupons(&till, &token).await[0]["state"].clone();
    assert_eq!(state().await, "issued");
    let bought = till.shop.buy(&token, "p-1", &till.order()).await;
    assert_eq!(bought.status, 202, "{bought:?}");
    assert_eq!(bought.body["discount"], 2_000);
    let listed = coupons(&till, &token).await;
    assert_eq!(listed[0]["state"], "reserved", "{listed}");
    assert_eq!(listed[0]["purchase"], bought.body["id"], "{listed}");
    let beside = till.shop.buy(&token, "p-beside", &till.order()).await;
    beside.expect_problem(409, "coupon-already-used");
    assert_eq!(beside.body["retry"]["can_help"], true, "{beside:?}");
    // Given back exactly as it was taken.
    let payer = Payer {
        token: token.clone(),
        id: bought.body["id"].as_str().expect("an id").to_owned(),
    };
    assert_eq!(till.cancel(&payer).await.status, 202);
    assert_eq!(till.settled(&payer).await["stage"], "cancelled");
    assert_eq!(state().await, "issued");
    let bought = till
        .shop
        .buy(&token, "p-2", &till.shop.order("tok-1"))
        .await;
    let id = bought.body["id"].as_str().expect("an id");
    assert_eq!(till.shop.settled(&token, id).await["stage"], "completed");
    assert_eq!(state().await, "used");
    // A repeat of the claim tells what became of it.
    let again = claim(&till, &token, "k", "drop").await;
    assert_eq!((again.status, &again.body["state"]), (201, &json!("used")));
    let late = till.shop.buy(&token, "p-late", &till.order()).await;
    late.expect_problem(409, "coupon-already-used");
    assert_eq!(late.body["retry"]["can_help"], false, "{late:?}");
    till.shop.quiet().await;
    till.shop.verify().await;
}

#[tokio::test]
async fn a_coupon_that_was_not_used_in_time_has_expired() {
    let till = Till::embedded(5).await;
    kept_in_one_round("a coupon", async |round| expires(&till, round).await).await;
}

async fn expires(till: &Till, round: u32) -> Result<(), String> {
    let name = format!("soon-{round}");
    let until = in_a_while(Duration::from_secs(4), round);
    let mut sale = claimable(&name, 10);
    sale["campaigns"][0]["valid_until"] = json!(rfc3339(until));
    let shop = Shop::open_for(till.server(), &sale).await;
    let token = shop.token().await;
    let claimed = claim(till, &token, "k", &name).await;
    still_before(until)?;
    assert_eq!(claimed.status, 201, "{claimed:?}");
    crate::support::eventually("the coupon to expire", || async {
        (coupons(till, &token).await[0]["state"] == "expired").then_some(())
    })
    .await;
    let refused = shop.buy(&token, "p", &shop.order_at_the_gateway()).await;
    refused.expect_problem(409, "coupon-expired");
    assert_eq!(refused.body["retry"]["can_help"], false, "{refused:?}");
    let late = shop.token().await;
    claim(till, &late, "k", &name)
        .await
        .expect_problem(409, "coupon-expired");
    Ok(())
}

#[tokio::test]
async fn a_claim_that_can_not_be_is_refused_and_says_when_it_can() {
    let mut sale = seed("drop", 10, 10);
    sale["campaigns"] = json!([
        { "campaign": "later", "name": "L", "size": 1, "discount": { "amount": 1 }, "claims_from": "2099-01-01T00:00:00Z" },
        { "campaign": "never", "name": "N", "size": 1, "discount": { "percent": 10 } },
        { "campaign": "ahead", "name": "A", "size": 1, "discount": { "percent": 10 },
          "claims_from": "2020-01-01T00:00:00Z", "claim_in_purchase": false },
    ]);
    let till = Till::embedded_for(&sale).await;
    let token = till.shop.token().await;
    let later = claim(&till, &token, "k", "later").await;
    later.expect_problem(409, "claims-not-open");
    assert_eq!(later.body["retry"]["can_help"], true);
    assert_eq!(later.body["retry"]["at"], "2099-01-01T00:00:00Z");
    let never = claim(&till, &token, "k", "never").await;
    never.expect_problem(409, "claims-not-open");
    assert_eq!(never.body["retry"]["can_help"], false);
    claim(&till, &token, "k", "nowhere")
        .await
        .expect_problem(404, "not-found");
    claim(&till, &token, "k", "No%20slug")
        .await
        .expect_problem(404, "not-found");
    let mut order = till.order();
    order["campaign"] = json!("ahead");
    let none = till.shop.buy(&token, "p", &order).await;
    none.expect_problem(409, "no-coupon");
    assert_eq!(none.body["retry"]["can_help"], true, "{none:?}");
    let url = format!("{}/v1/campaigns/ahead/claims", till.shop.buyers);
    let keyless = send(till.shop.http.post(url).bearer_auth(&token)).await;
    keyless.expect_problem(400, "idempotency-key-required");
}
