//! The catalogue over HTTP: lists, one sale, pools of serial numbers, recalls, and the books.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{look, plain, post};
use crate::support::http::send;
use crate::support::process::ServeSettings;
use crate::support::shop::{Shop, seed};

/// A sale `drop` whose mugs have their serial numbers from a pool.
async fn pooled(folder: &tempfile::TempDir) -> (crate::support::process::Server, Shop) {
    let server = ServeSettings::embedded(folder.path()).start().await;
    let mut drop = seed("drop", 5, 5);
    drop["products"][0]["serials"] = "pool".into();
    let shop = Shop::open_for(&server, &drop).await;
    (server, shop)
}

const SERIALS: &str = "sales/drop/products/mug/serials";

async fn ledger(shop: &Shop) -> Value {
    let answer = look(shop, "sales/drop/ledger").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn buy(shop: &Shop, card: &str) -> Value {
    let token = shop.token().await;
    let mut order = plain(shop);
    order["payment"]["token"] = card.into();
    let answer = shop.buy(&token, "k", &order).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.body["id"].as_str().expect("an id").to_owned();
    shop.settled(&token, &id).await
}

#[tokio::test]
async fn goods_get_their_serial_numbers_from_the_pool_and_the_books_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, shop) = pooled(&folder).await;
    let filled = post(&shop, SERIALS, &json!({ "serials": ["A-1", "A-2"] })).await;
    assert_eq!(filled.status, 200, "{filled:?}");
    let again = post(&shop, SERIALS, &json!({ "serials": ["A-2", "A-3"] })).await;
    assert_eq!(
        (&again.body["added"], &again.body["filled"]),
        (&json!(1), &json!(3))
    );
    let mut serials = BTreeSet::new();
    for _ in 0..3 {
        let bought = buy(&shop, "tok-good").await;
        assert_eq!(bought["state"], "COMPLETED", "{bought}");
        let serial = bought["goods"][0]["serial"].as_str().expect("a number");
        serials.insert(serial.to_owned());
    }
    assert_eq!(serials, ["A-1", "A-2", "A-3"].map(str::to_owned).into());
    let level = look(&shop, SERIALS).await;
    assert_eq!(
        (&level.body["taken"], &level.body["left"]),
        (&json!(3), &json!(0)),
        "{level:?}"
    );

    // The pool is empty though there is stock: who has paid gets the money back.
    let unlucky = buy(&shop, "tok-good").await;
    assert_eq!(unlucky["goods"], Value::Null, "{unlucky}");
    let books = ledger(&shop).await;
    let expected = json!({
        "sale": "drop", "currency": "KRW",
        "purchases": { "paid": 4, "issued": 3, "refunded": 1, "outstanding": 0 },
        "paid": 48_000, "refunded": 12_000, "issued": 36_000, "outstanding": 0,
        "undecided": { "purchases": 0, "unresolved": 0, "held": [], "listed": [] },
        "purged": { "purchases": 0, "issued": 0 },
        "adds_up": true, "differences": [],
    });
    assert_eq!(books, expected);
    shop.quiet().await;
    shop.verify().await;
}

#[tokio::test]
async fn a_recalled_product_is_refunded_and_its_numbers_stay_in_the_pool() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, shop) = pooled(&folder).await;
    post(&shop, SERIALS, &json!({ "serials": ["A-1"] })).await;
    let path = "sales/drop/products/mug/recall";
    let recalled = post(&shop, path, &json!({ "recalled": true })).await;
    assert_eq!(
        (recalled.status, &recalled.body["recalled"]),
        (200, &json!(true))
    );
    let bought = buy(&shop, "tok-good").await;
    assert_eq!(bought["goods"], Value::Null, "{bought}");
    let books = ledger(&shop).await;
    assert_eq!(
        (&books["paid"], &books["refunded"], &books["adds_up"]),
        (&json!(12_000), &json!(12_000), &json!(true)),
        "{books}"
    );
    assert_eq!(look(&shop, SERIALS).await.body["left"], 1);
    post(&shop, path, &json!({ "recalled": false })).await;
    // A buyer's node may remember the recall for a second.
    let bought = crate::support::eventually("goods to be issued again", || async {
        let bought = buy(&shop, "tok-good").await;
        bought["goods"][0]["serial"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(bought, "A-1");
}

#[tokio::test]
async fn declined_payments_are_not_in_the_books() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "drop", 5, 5).await;
    let declined = buy(&shop, "tok-declined").await;
    assert_eq!(declined["state"], "COMPENSATED", "{declined}");
    let books = ledger(&shop).await;
    assert_eq!(books["purchases"]["paid"], 0, "{books}");
    assert_eq!(books["adds_up"], true, "{books}");
}

#[tokio::test]
async fn sales_are_listed_and_shown_as_the_database_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let (server, shop) = pooled(&folder).await;
    for name in ["a", "b"] {
        Shop::open_for(&server, &seed(name, 1, 1)).await;
    }
    let first = look(&shop, "sales?limit=2").await;
    let names = |body: &Value| -> Vec<String> {
        let sales = body["sales"].as_array().expect("a list").iter();
        sales
            .map(|sale| sale["sale"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(&first.body), ["a", "b"]);
    assert_eq!(first.body["next_cursor"], "b");
    let second = look(&shop, "sales?limit=2&cursor=b").await;
    assert_eq!(names(&second.body), ["drop"]);
    assert!(second.body["next_cursor"].is_null());

    buy(&shop, "tok-declined").await;
    let sale = look(&shop, "sales/drop").await;
    let mug = &sale.body["products"][0];
    assert_eq!(
        (
            &sale.body["state"],
            &sale.body["revision"],
            &sale.body["hold_seconds"]
        ),
        (&json!("open"), &json!(1), &json!(600)),
        "{sale:?}"
    );
    assert_eq!(
        (
            &mug["serials"],
            &mug["stock_total"],
            &mug["stock_left"],
            &mug["recalled"]
        ),
        (&json!("pool"), &json!(5), &json!(5), &json!(false))
    );
    assert!(sale.body["opening"].is_string(), "{sale:?}");
}

#[tokio::test]
async fn every_bad_request_has_its_problem_and_every_change_its_role() {
    let folder = tempfile::tempdir().unwrap();
    let (server, shop) = pooled(&folder).await;
    Shop::open_for(&server, &seed("plain", 1, 1)).await;
    for path in [
        "sales/nothing",
        "sales/nothing/ledger",
        "sales/drop/products/cap/serials",
        "sales/No%20Sale",
    ] {
        look(&shop, path).await.expect_problem(404, "not-found");
    }
    look(&shop, "sales?limit=0")
        .await
        .expect_problem(400, "invalid-parameter");
    look(&shop, "sales?cursor=A%20b")
        .await
        .expect_problem(400, "invalid-parameter");
    let generated = post(
        &shop,
        "sales/plain/products/mug/serials",
        &json!({ "serials": ["A"] }),
    )
    .await;
    generated.expect_problem(409, "conflict");
    let blank = post(&shop, SERIALS, &json!({ "serials": ["A", "B C"] })).await;
    blank.expect_problem(422, "invalid-field");
    assert_eq!(blank.body["field"], "serials[1]");
    let wrong = post(
        &shop,
        "sales/drop/products/mug/recall",
        &json!({ "recalled": 1 }),
    )
    .await;
    wrong.expect_problem(422, "invalid-field");
    let none = post(&shop, "seed", &json!({ "sales": [] })).await;
    none.expect_problem(422, "invalid-field");
    assert_eq!(none.body["field"], "sales");

    let nobody = |path: &str| {
        shop.http
            .post(format!("{}/v1/{path}", shop.operators))
            .json(&json!({}))
    };
    for path in [
        "seed",
        "sales/drop/schedule",
        SERIALS,
        "sales/drop/products/mug/recall",
    ] {
        send(nobody(path))
            .await
            .expect_problem(401, "unauthenticated");
    }
}
