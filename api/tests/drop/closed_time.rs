//! How long buyers are turned away when Redis has lost everything: from the flush until a purchase is accepted again, with all that is
//! reserved to be read from MySQL in between.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::Instant;

use crate::support::http::answered;
use crate::support::rounds::{kept_in_one_round, within};
use crate::support::servers::{OwnServer, Servers};
use crate::support::shop::{Shop, seed};
use crate::support::{PATIENCE, counted, unique};

/// Coupons that buyers hold: `HOLDFAST_CLOSED_RESERVATIONS`, or this.
const RESERVATIONS: u32 = 300;
const CLAIMS_AT_ONCE: usize = 64;
/// Where the code is optimised; a build for debugging, beside other tests, is given more.
const CLOSED_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 5 });

#[tokio::test]
async fn a_sale_whose_redis_was_flushed_is_open_again_within_seconds() {
    let Some(servers) = Servers::from_environment() else {
        return;
    };
    let Some(redis) = OwnServer::start("redis", &[]).await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let settings = servers.serve(folder.path());
    let settings = settings.with("REDIS_URL", format!("redis://{}", redis.address()));
    let node = settings.start().await;
    let reservations = std::env::var("HOLDFAST_CLOSED_RESERVATIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(RESERVATIONS);
    let mut sale = seed(&unique("flushed"), 1_000, reservations + 1_000);
    sale["campaigns"][0]["claims_from"] = "2020-01-01T00:00:00Z".into();
    let shop = Shop::open_for(&node, &sale).await;
    are_claimed(&shop, reservations).await;
    kept_in_one_round("closed after a flush", async |round| {
        let token = shop.token().await;
        let flushed = Instant::now();
        redis.flush().await;
        let (id, turned_away) = until_accepted(&shop, &token, round).await;
        let closed = flushed.elapsed();
        println!("{reservations} reservations, {turned_away} times turned away");
        let settled = shop.settled(&token, &id).await;
        if settled["stage"] != "completed" {
            return Err(format!("what was let in did not end well: {settled}"));
        }
        within("closed for", closed, CLOSED_MAX)
    })
    .await;
    shop.quiet().await;
    shop.verify_in_the_end().await;
    counted("faults of servers and nodes", 1);
    counted("reservations rebuilt", reservations.into());
}

/// So many buyers have a coupon.
async fn are_claimed(shop: &Shop, coupons: u32) {
    let url = format!("{}/v1/campaigns/{}/claims", shop.buyers, shop.sale);
    let claim = async |_| {
        let token = shop.token().await;
        let request = shop.http.post(&url).bearer_auth(token);
        let answer = answered(request.header("idempotency-key", "claim")).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    stream::iter(0..coupons)
        .map(claim)
        .buffer_unordered(CLAIMS_AT_ONCE)
        .collect::<Vec<()>>()
        .await;
}

/// Tries to buy until it is let in: the purchase, and how often it was turned away before.
async fn until_accepted(shop: &Shop, token: &str, round: u32) -> (String, u32) {
    let key = format!("round-{round}");
    let mut turned_away = 0;
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = shop.try_buy(token, &key, &shop.order("tok-card")).await;
        let answer = answer.expect("an answer");
        if answer.status == 202 {
            let id = answer.body["id"].as_str().expect("an id");
            return (id.to_owned(), turned_away);
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(Instant::now() < until, "it stays closed: {answer:?}");
        turned_away += 1;
    }
}
