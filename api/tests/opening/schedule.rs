//! Opening hours over HTTP: what buyers are told before, at and after the instant.

use std::time::Duration;

use serde_json::json;

use super::{hours, look, opening_at, plain, post};
use crate::support::eventually;
use crate::support::process::{ServeSettings, Server};
use crate::support::rounds::{
    in_a_while, instant_of, kept_in_one_round, now, rfc3339, still_before,
};
use crate::support::shop::{Shop, seed};

async fn server(folder: &tempfile::TempDir) -> Server {
    ServeSettings::embedded(folder.path()).start().await
}

async fn opened(shop: &Shop) -> String {
    eventually("the opening to be recorded", || async {
        let sale = look(shop, &format!("sales/{}", shop.sale)).await;
        sale.body["opened_at"].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn stock_is_warm_before_opening() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder).await;
    kept_in_one_round("asking before it opens", async |round| {
        is_warm(&server, round).await
    })
    .await;
}

async fn is_warm(server: &Server, round: u32) -> Result<(), String> {
    let opens_at = in_a_while(Duration::from_secs(3), round);
    let seed = opening_at(&format!("drop-{round}"), 5, opens_at);
    let shop = Shop::open_for(server, &seed).await;
    // The gate counts the stock before any buyer has asked for any of it.
    let sale = shop.shown().await;
    still_before(opens_at)?;
    assert_eq!(sale["products"][0]["stock_left"], 5, "{sale}");
    assert_eq!(sale["state"], "scheduled", "{sale}");
    let mut buyers = Vec::new();
    for number in 0..10 {
        let token = shop.token().await;
        let key = format!("early-{number}");
        let early = shop.buy(&token, &key, &plain(&shop)).await;
        still_before(opens_at)?;
        early.expect_problem(409, "sale-not-open");
        assert!(
            early.text.contains(&rfc3339(opens_at)[..19]),
            "it says when: {early:?}"
        );
        buyers.push(token);
    }
    // All at once at the first instant: exactly the stock, and nobody is told to come back later.
    engine::Runtime::system().sleep_until(opens_at).await;
    let order = plain(&shop);
    let orders = buyers
        .iter()
        .map(|token| shop.buy(token, "at-once", &order));
    let answers = futures_util::future::join_all(orders).await;
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(accepted, 5, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status != 202) {
        refused.expect_problem(409, "sold-out");
    }
    opened(&shop).await;
    shop.quiet().await;
    Ok(())
}

#[tokio::test]
async fn a_rescheduled_sale_opens_once_at_the_new_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder).await;
    kept_in_one_round("a change before it opens", async |round| {
        opens_at_the_new_time(&server, round).await
    })
    .await;
}

async fn opens_at_the_new_time(server: &Server, round: u32) -> Result<(), String> {
    let first = in_a_while(Duration::from_secs(2), round);
    let second = in_a_while(Duration::from_secs(4), round);
    let seed = opening_at(&format!("drop-{round}"), 5, first);
    let shop = Shop::open_for(server, &seed).await;
    let path = format!("sales/{}/schedule", shop.sale);
    let changed = post(&shop, &path, &hours(1, second)).await;
    still_before(first)?;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(
        (&changed.body["revision"], &changed.body["at_the_gate"]),
        (&json!(2), &json!(true))
    );
    // The same again is the same change; another one of the same revision is too late.
    let again = post(&shop, &path, &hours(1, second)).await;
    let late = post(&shop, &path, &hours(1, first)).await;
    still_before(first)?;
    assert_eq!((again.status, &again.body["revision"]), (200, &json!(2)));
    late.expect_problem(412, "moved-on");
    let token = shop.token().await;
    engine::Runtime::system()
        .sleep_until(first.after(Duration::from_millis(300)))
        .await;
    let early = shop.buy(&token, "k-1", &plain(&shop)).await;
    still_before(second)?;
    early.expect_problem(409, "sale-not-open");
    engine::Runtime::system().sleep_until(second).await;
    let bought = shop.buy(&token, "k-2", &plain(&shop)).await;
    assert_eq!(bought.status, 202, "{bought:?}");
    let opened = opened(&shop).await;
    assert!(instant_of(&opened) >= second, "{opened}");
    only_the_closing_moves(&shop, &path).await;
    Ok(())
}

/// It has opened: only the closing can be moved by now.
async fn only_the_closing_moves(shop: &Shop, path: &str) {
    let in_five_minutes = now().after(Duration::from_mins(5));
    let again = post(shop, path, &hours(2, in_five_minutes)).await;
    again.expect_problem(422, "invalid-field");
    assert_eq!(again.body["field"], "opens_at");
    let closing = json!({ "revision": 2, "closes_at": rfc3339(now()) });
    let closed = post(shop, path, &closing).await;
    assert_eq!(closed.status, 200, "{closed:?}");
    let other = shop.token().await;
    shop.buy(&other, "k-3", &plain(shop))
        .await
        .expect_problem(409, "sale-closed");
}

#[tokio::test]
async fn a_cancelled_sale_never_opens() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder).await;
    kept_in_one_round("a sale that is cancelled in time", async |round| {
        never_opens(&server, round).await
    })
    .await;
}

async fn never_opens(server: &Server, round: u32) -> Result<(), String> {
    let opens_at = in_a_while(Duration::from_secs(2), round);
    let seed = opening_at(&format!("drop-{round}"), 5, opens_at);
    let shop = Shop::open_for(server, &seed).await;
    let path = format!("sales/{}", shop.sale);
    let schedule = format!("{path}/schedule");
    let order = json!({ "revision": 1, "cancelled": true });
    let cancelled = post(&shop, &schedule, &order).await;
    still_before(opens_at)?;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    engine::Runtime::system()
        .sleep_until(opens_at.after(Duration::from_millis(500)))
        .await;
    let token = shop.token().await;
    shop.buy(&token, "k", &plain(&shop))
        .await
        .expect_problem(409, "sale-cancelled");
    let sale = look(&shop, &path).await;
    assert_eq!(sale.body["state"], "cancelled", "{sale:?}");
    assert!(sale.body["opened_at"].is_null(), "{sale:?}");
    let revived = post(&shop, &schedule, &hours(2, now())).await;
    revived.expect_problem(422, "invalid-field");
    Ok(())
}

#[tokio::test]
async fn a_schedule_survives_a_restart_and_the_gate_goes_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path());
    let server = settings.start().await;
    let shop = Shop::open_for(&server, &seed("drop", 5, 5)).await;
    let order = json!({ "revision": 1, "cancelled": true });
    assert_eq!(post(&shop, "sales/drop/schedule", &order).await.status, 200);
    server.process.kill().await;
    let server = settings.start().await;
    let shop = shop.moved_to(&server);
    let token = shop.token().await;
    shop.buy(&token, "k", &plain(&shop))
        .await
        .expect_problem(409, "sale-cancelled");
}

#[tokio::test]
async fn bad_schedules_are_refused_by_their_field() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder).await;
    let opens_at = now().after(Duration::from_hours(1));
    let shop = Shop::open_for(&server, &opening_at("drop", 5, opens_at)).await;
    let early = rfc3339(now());
    for (order, field) in [
        (json!({ "revision": 1 }), "opens_at"),
        (json!({ "cancelled": true }), "revision"),
        (json!({ "revision": -1, "cancelled": true }), "revision"),
        (json!({ "revision": 1, "opens_at": "soon" }), "opens_at"),
        (json!({ "revision": 1, "closes_at": early }), "closes_at"),
        (
            json!({ "revision": 1, "cancelled": true, "opens_at": early }),
            "cancelled",
        ),
        (
            json!({ "revision": 1, "cancelled": true, "why": "" }),
            "why",
        ),
    ] {
        let answer = post(&shop, "sales/drop/schedule", &order).await;
        answer.expect_problem(422, "invalid-field");
        assert_eq!(answer.body["field"], field, "{order}: {answer:?}");
    }
    let nothing = json!({ "revision": 1, "cancelled": true });
    post(&shop, "sales/nothing/schedule", &nothing)
        .await
        .expect_problem(404, "not-found");
}
