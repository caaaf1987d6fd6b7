//! Being refused: with a reason, with a word on trying again, and for next to nothing.

use engine::store::{ConnectOptions, SqlDatabase, mysql};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::till::Till;
use crate::support::http::answered;
use crate::support::rounds::kept_in_one_round;
use crate::support::servers::{OwnServer, Servers};
use crate::support::shop::{Shop, seed};
use crate::support::unique;

#[tokio::test]
async fn who_is_too_early_is_told_when_the_sale_opens() {
    let mut sale = seed("drop", 10, 10);
    sale["opens_at"] = json!("2099-05-01T09:00:00Z");
    let till = Till::embedded_for(&sale).await;
    let token = till.shop.token().await;
    for order in [till.shop.order("tok-1"), till.order()] {
        let early = till.shop.buy(&token, "k", &order).await;
        early.expect_problem(409, "sale-not-open");
        assert!(early.text.contains("2099-05-01T09:00:00Z"), "{early:?}");
        assert_eq!(early.body["retry"]["can_help"], true);
        assert_eq!(early.body["retry"]["at"], "2099-05-01T09:00:00Z");
    }
    let shown = till.shop.shown().await;
    assert_eq!(shown["state"], "scheduled", "{shown}");
    assert_eq!(shown["revision"], 1, "{shown}");
}

#[tokio::test]
async fn who_is_too_late_is_told_that_it_is_over() {
    let mut sale = seed("drop", 10, 10);
    sale["closes_at"] = json!("2021-01-01T00:00:00Z");
    let till = Till::embedded_for(&sale).await;
    let token = till.shop.token().await;
    let late = till.shop.buy(&token, "k", &till.order()).await;
    late.expect_problem(409, "sale-closed");
    assert_eq!(late.body["retry"]["can_help"], false, "{late:?}");
}

#[tokio::test]
async fn who_has_enough_is_told_so_and_whether_it_is_for_good() {
    let till = Till::embedded(10).await;
    let (payer, page) = till.payer().await;
    let mut order = till.order();
    order["campaign"] = Value::Null;
    let more = till.shop.buy(&payer.token, "k2", &order).await;
    more.expect_problem(409, "limit-reached");
    assert_eq!(more.body["retry"]["can_help"], true, "{more:?}");

    till.authorise(&page, "").await;
    assert_eq!(till.settled(&payer).await["stage"], "completed");
    let more = till.shop.buy(&payer.token, "k3", &order).await;
    more.expect_problem(409, "limit-reached");
    assert_eq!(more.body["retry"]["can_help"], false, "{more:?}");
    assert!(more.text.contains("bought 1 of the 1"), "{more:?}");
}

#[tokio::test]
async fn who_has_enough_only_until_a_purchase_comes_to_nothing_gets_others_then() {
    let till = Till::embedded(10).await;
    let (payer, _) = till.payer().await;
    let mut order = till.shop.order("tok-1");
    order["campaign"] = Value::Null;
    let more = till.shop.buy(&payer.token, "k2", &order).await;
    more.expect_problem(409, "limit-reached");
    assert_eq!(more.body["retry"]["can_help"], true, "{more:?}");
    till.cancel(&payer).await;
    assert_eq!(till.settled(&payer).await["stage"], "cancelled");
    let again = till.shop.buy(&payer.token, "k2", &order).await;
    assert_eq!(again.status, 202, "{again:?}");
}

#[tokio::test]
async fn who_asks_for_more_than_one_buyer_may_have_is_told_how_many() {
    let till = Till::embedded(10).await;
    let token = till.shop.token().await;
    let mut order = till.order();
    order["lines"][0]["quantity"] = json!(2);
    let greedy = till.shop.buy(&token, "k", &order).await;
    greedy.expect_problem(409, "limit-reached");
    assert_eq!(greedy.body["retry"]["can_help"], false, "{greedy:?}");
    assert!(greedy.text.contains("at most 1"), "{greedy:?}");
}

#[tokio::test]
async fn units_that_are_only_held_may_come_back_and_sold_ones_do_not() {
    let till = Till::embedded(1).await;
    let (payer, page) = till.payer().await;
    let late = till.shop.token().await;
    let mut order = till.order();
    order["campaign"] = Value::Null;
    let sold_out = till.shop.buy(&late, "k", &order).await;
    sold_out.expect_problem(409, "sold-out");
    assert_eq!(sold_out.body["retry"]["can_help"], true, "{sold_out:?}");
    till.authorise(&page, "").await;
    assert_eq!(till.settled(&payer).await["stage"], "completed");
    crate::support::eventually("the refusal to be for good", || async {
        let sold_out = till.shop.buy(&late, "k", &order).await;
        sold_out.expect_problem(409, "sold-out");
        (sold_out.body["retry"]["can_help"] == false).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_refusals_leave_no_row_and_no_workflow() {
    let till = Till::embedded(1).await;
    sell_out(&till.shop).await;
    let before = Traces::of(&till.shop).await;
    let buyers = a_thousand(&till.shop).await;
    refuse_all(&till.shop, &buyers, &without_coupon(&till.shop)).await;
    assert_eq!(Traces::of(&till.shop).await, before);
}

#[tokio::test]
async fn a_thousand_refusals_ask_the_database_nothing() {
    let Some((shop, database, _kept)) = with_own_database(1, 1).await else {
        return;
    };
    kept_in_one_round("refused claims", async |_| {
        ask_nothing(&database, refuse_a_thousand_claims(&shop)).await
    })
    .await;
    let with_coupon = shop.order("tok-1");
    kept_in_one_round("refused purchases", async |_| {
        refusals_ask_nothing(&database, &shop, &with_coupon).await
    })
    .await;
}

#[tokio::test]
async fn a_thousand_refusals_that_give_something_back_ask_it_nothing_either() {
    for (units, coupons, code) in [(1, 2_000, "sold-out"), (20_000, 1, "coupons-exhausted")] {
        let Some((shop, database, _kept)) = with_own_database(units, coupons).await else {
            return;
        };
        let order = shop.order("tok-1");
        let told = shop.buy(&shop.token().await, "told", &order).await;
        told.expect_problem(409, code);
        kept_in_one_round(code, async |_| {
            refusals_ask_nothing(&database, &shop, &order).await
        })
        .await;
        // What each of them had held meanwhile is there again.
        shop.verify_in_the_end().await;
    }
}

#[tokio::test]
async fn a_thousand_refusals_without_a_coupon_ask_it_nothing_either() {
    let Some((shop, database, _kept)) = with_own_database(1, 1).await else {
        return;
    };
    let order = without_coupon(&shop);
    kept_in_one_round("refused purchases", async |_| {
        refusals_ask_nothing(&database, &shop, &order).await
    })
    .await;
}

/// A sale of which one unit is sold and one coupon used, on a database of which nobody else asks anything.
async fn with_own_database(units: u32, coupons: u32) -> Option<(Shop, SqlDatabase, impl Sized)> {
    let servers = Servers::from_environment()?;
    let mysql = OwnServer::start("mysql", &[]).await?;
    let url = format!("mysql://root@{}/holdfast", mysql.address());
    let folder = tempfile::tempdir().expect("a folder");
    let settings = servers.serve(folder.path()).with("DATABASE_URL", &url);
    let server = settings.start().await;
    let mut sale = seed(&unique("drop"), units, coupons);
    sale["campaigns"][0]["claims_from"] = json!("2020-01-01T00:00:00Z");
    let shop = Shop::open_for(&server, &sale).await;
    sell_out(&shop).await;
    shop.quiet().await;
    let database = mysql::connect(&url, &ConnectOptions::default()).await;
    let database = database.expect("a database");
    Some((shop, database, (server, mysql, folder)))
}

/// While this is done, hardly more is asked than the node asks by itself in the same time, for leases, inboxes and timers: that is
/// more in one minute than in another, where refusals that ask would ask in each.
async fn ask_nothing(
    database: &SqlDatabase,
    doing: impl Future<Output = ()>,
) -> Result<(), String> {
    let (begun, before) = (Instant::now(), questions(database).await);
    doing.await;
    let (took, asked) = (begun.elapsed(), questions(database).await - before);
    tokio::time::sleep(took).await;
    let idle = questions(database).await - before - asked;
    println!("in {took:?}: {asked} questions with 1,000 refusals, {idle} without");
    if asked < idle + 100 {
        Ok(())
    } else {
        Err(format!("{asked} with them, {idle} without"))
    }
}

async fn questions(database: &SqlDatabase) -> i64 {
    let sql = "SELECT CAST(VARIABLE_VALUE AS SIGNED) FROM performance_schema.global_status \
               WHERE VARIABLE_NAME = 'Questions'";
    let rows = database.query("counting questions", sql, &[]).await;
    let rows = rows.expect("the status");
    rows[0].integer(0).expect("a number")
}

/// What a refusal would leave behind.
#[derive(Debug, PartialEq)]
struct Traces {
    rows: Value,
    workflows: usize,
}

impl Traces {
    async fn of(shop: &Shop) -> Self {
        shop.quiet().await;
        let workflows = shop.look("workflows?limit=500").await;
        Self {
            rows: shop.look("counters").await["rows"].clone(),
            workflows: workflows["workflows"].as_array().expect("a list").len(),
        }
    }
}

async fn sell_out(shop: &Shop) {
    let (token, id) = shop.bought("k", "tok-1").await;
    assert_eq!(shop.settled(&token, &id).await["stage"], "completed");
}

fn without_coupon(shop: &Shop) -> Value {
    let mut order = shop.order("tok-1");
    order["campaign"] = Value::Null;
    order
}

/// A thousand buyers, each of whom wants something once.
async fn a_thousand(shop: &Shop) -> Vec<String> {
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.extend(join_all((0..100).map(|_| shop.token())).await);
    }
    tokens
}

async fn refuse_all(shop: &Shop, buyers: &[String], order: &Value) {
    for some in buyers.chunks(100) {
        let refused = some.iter().map(|token| shop.buy(token, "k", order));
        for answer in join_all(refused).await {
            assert_eq!(answer.status, 409, "{answer:?}");
        }
    }
}

async fn refusals_ask_nothing(
    database: &SqlDatabase,
    shop: &Shop,
    order: &Value,
) -> Result<(), String> {
    let buyers = a_thousand(shop).await;
    ask_nothing(database, refuse_all(shop, &buyers, order)).await
}

async fn refuse_a_thousand_claims(shop: &Shop) {
    let url = format!("{}/v1/campaigns/{}/claims", shop.buyers, shop.sale);
    for round in 0..10 {
        let token = shop.token().await;
        let refused = (0..100).map(|number| {
            let request = shop.http.post(&url).bearer_auth(&token);
            answered(request.header("idempotency-key", format!("{round}-{number}")))
        });
        for answer in join_all(refused).await {
            answer.expect_problem(409, "coupons-exhausted");
        }
    }
}
