//! What is kept, and for how long.

use std::time::Duration;

use engine::store::change::ChangeKind;
use engine::store::{
    Change, ConnectOptions, Row, SqlDatabase, Table, Value as Cell, mysql, sqlite,
};
use engine::workflow::Refusal;
use engine::{PartitionId, WorkflowId};
use serde_json::json;

use super::market::{Market, mugs};
use super::stack::{Stack, on_both_stacks};
use crate::support::eventually;
use crate::support::http::{answered, get};

on_both_stacks! {
    old_events_are_purged,
    the_books_add_up_when_old_purchases_are_purged,
    goods_that_are_nobodys_are_a_difference_also_beside_purged_ones,
}

/// What a node is started with that removes what is old.
const RETENTION: [(&str, &str); 1] = [("HOLDFAST_RETENTION", "1h")];

/// The engine's row of a workflow, as far as it says how old it is.
const WORKFLOWS: Table = Table {
    name: "workflows",
    key: &["ident"],
    columns: &["created_us", "updated_us"],
};

/// The list of each buyer's purchases.
const PURCHASES: Table = Table {
    name: "purchases",
    key: &["buyer", "created_us", "workflow_id"],
    columns: &[],
};

/// The coupons, as far as they say how old they are.
const COUPONS: Table = Table {
    name: "coupons",
    key: &["campaign", "buyer"],
    columns: &["claimed_us"],
};

/// The goods.
const GOODS: Table = Table {
    name: "goods",
    key: &["sale", "serial"],
    columns: &["workflow_id", "line_number", "product", "buyer", "price"],
};

/// What ended a day ago has gone with its events; what has not ended is there, and what was sold stays sold.
async fn old_events_are_purged(stack: Stack) {
    let (mut market, ended) = after_purchases(&stack).await;
    let (_, parked) = market.shop().bought("k", "tok-wrong-amount").await;
    market.is_parked(&parked).await;
    let (open, _page) = market.payer().await;
    let left = market.left().await;
    a_day_passes(&stack, &mut market).await;
    for (_, id) in &ended {
        is_removed(&market, id).await;
        let shop = market.shop();
        let url = format!("{}/v1/workflows/{id}/events", shop.operators);
        assert_eq!(get(shop.operators(), url).await.status, 404);
    }
    let state = async |id: &str| market.look(&format!("workflows/{id}")).await["state"].clone();
    assert_eq!(state(&parked).await, "PARKED");
    market.comes_to(&open.id, "WAITING").await;
    assert_eq!(market.left().await, left);
    let path = format!("{}/cancel", open.id);
    assert_eq!(market.tell(&open.token, &path, "").await.status, 202);
    market.shop().quiet().await;
    // The topic did not get a day older with the rest.
    market.shop().verify_in_the_end_but("I5").await;
    let shop = market.shop();
    let reconcile = shop
        .operators()
        .post(format!("{}/v1/reconcile", shop.operators));
    let order = json!({ "sale": shop.sale, "repair": false });
    let report = answered(reconcile.json(&order)).await;
    assert_eq!(report.body["clean"], true, "{report:?}");
}

/// The books of a sale are about what was paid and issued, whoever remembers how; and a buyer's list can be read.
async fn the_books_add_up_when_old_purchases_are_purged(stack: Stack) {
    let (mut market, ended) = after_purchases(&stack).await;
    let path = format!("sales/{}/ledger", market.shop().sale);
    let before = market.look(&path).await;
    assert_eq!(before["adds_up"], true, "{before:#}");
    assert_eq!(before["purged"]["purchases"], 0, "{before:#}");
    a_day_passes(&stack, &mut market).await;
    for (_, id) in &ended {
        is_removed(&market, id).await;
    }
    let shop = market.shop();
    let list = shop.http.get(format!("{}/v1/me/purchases", shop.buyers));
    let list = answered(list.bearer_auth(&ended[0].0)).await;
    assert_eq!(list.status, 200, "{list:?}");
    let books = market.look(&path).await;
    assert_eq!(books["differences"], json!([]), "{books:#}");
    assert_eq!(books["adds_up"], true, "{books:#}");
    let purged = json!({ "purchases": 2, "issued": before["issued"] });
    assert_eq!(books["purged"], purged, "{books:#}");
    assert_eq!(books["paid"], 0, "{books:#}");
}

/// Goods of which no buyer's list knows have no purchase that could have been removed. And who removes nothing misses those that are.
async fn goods_that_are_nobodys_are_a_difference_also_beside_purged_ones(stack: Stack) {
    let (mut market, ended) = after_purchases(&stack).await;
    kill_all(&stack, &mut market).await;
    let database = database_of(&stack).await;
    everything_is_a_day_older(&database).await;
    let nobody = WorkflowId::new(PartitionId(1), [7; 12]);
    let sale = market.shops[0].sale.clone();
    let goods = Change {
        table: &GOODS,
        key: vec![sale.as_str().into(), "NOBODY-1".into()],
        kind: ChangeKind::Insert(vec![
            nobody.bytes().as_slice().into(),
            0.into(),
            "mug".into(),
            "nobody".into(),
            5.into(),
        ]),
        refusal: Refusal::new("there", "the goods are there"),
    };
    let issued = database.transact("issuing goods to nobody", &[goods]).await;
    issued.expect("done");
    drop(database);
    start_all(&stack, &mut market, &RETENTION).await;
    for (_, id) in &ended {
        is_removed(&market, id).await;
    }
    let path = format!("sales/{sale}/ledger");
    let books = market.look(&path).await;
    assert_eq!(books["purged"]["purchases"], 2, "{books:#}");
    assert_eq!(books["adds_up"], false, "{books:#}");
    let difference = json!([{
        "purchase": nobody.to_string(), "state": null, "paid": 0, "refunded": 0, "issued": 5,
    }]);
    assert_eq!(books["differences"], difference, "{books:#}");

    kill_all(&stack, &mut market).await;
    start_all(&stack, &mut market, &[]).await;
    let books = market.look(&path).await;
    assert_eq!(books["purged"]["purchases"], 0, "{books:#}");
    let differences = books["differences"].as_array().map(Vec::len);
    assert_eq!(differences, Some(3), "{books:#}");
}

/// A sale with two purchases that were completed and one that was declined, all published: buyers and purchases.
async fn after_purchases(stack: &Stack) -> (Market, Vec<(String, String)>) {
    let market = Market::open(stack, &mugs(10)).await;
    let mut ended = Vec::new();
    for card in ["tok-1", "tok-2", "tok-declined"] {
        let (token, id) = market.shop().bought("k", card).await;
        market.shop().settled(&token, &id).await;
        ended.push((token, id));
    }
    market.all_is_published().await;
    (market, ended)
}

async fn is_removed(market: &Market, id: &str) {
    eventually("what is old to be removed", || async {
        let shop = market.shop();
        let url = format!("{}/v1/workflows/{id}", shop.operators);
        (get(shop.operators(), url).await.status == 404).then_some(())
    })
    .await;
}

/// Every node is killed, and comes back a day later, with a retention of an hour.
async fn a_day_passes(stack: &Stack, market: &mut Market) {
    kill_all(stack, market).await;
    everything_is_a_day_older(&database_of(stack).await).await;
    start_all(stack, market, &RETENTION).await;
}

async fn kill_all(stack: &Stack, market: &mut Market) {
    for node in 0..stack.nodes().len() {
        market.kill(node).await;
    }
}

async fn start_all(stack: &Stack, market: &mut Market, variables: &[(&str, &str)]) {
    for node in 0..stack.nodes().len() {
        market.start_again_with(node, variables).await;
    }
    market.is_shown().await;
}

async fn database_of(stack: &Stack) -> SqlDatabase {
    let options = ConnectOptions::default();
    match &stack.servers {
        Some(servers) => mysql::connect(&servers.database_url, &options).await,
        None => sqlite::open(stack.folder.path().join("one/holdfast.db"), &options).await,
    }
    .expect("the database")
}

/// Everything in the database is a day older than it was. No node runs.
async fn everything_is_a_day_older(database: &SqlDatabase) {
    let rows = database
        .query(
            "reading how old they are",
            "SELECT ident, created_us, updated_us FROM workflows",
            &[],
        )
        .await
        .expect("rows");
    let day_us = i64::try_from(Duration::from_hours(24).as_micros()).expect("small");
    let earlier =
        |row: &Row, column: usize| Cell::Integer(row.integer(column).expect("a number") - day_us);
    let mut changes: Vec<Change> = rows
        .iter()
        .map(|row| Change {
            table: &WORKFLOWS,
            key: vec![Cell::Bytes(row.bytes(0).expect("bytes").to_vec())],
            kind: ChangeKind::Set(vec![
                ("created_us", earlier(row, 1)),
                ("updated_us", earlier(row, 2)),
            ]),
            refusal: Refusal::new("gone", "a workflow has gone"),
        })
        .collect();
    assert!(!changes.is_empty());
    let sql = "SELECT buyer, created_us, workflow_id FROM purchases";
    let listed = database.query("reading how old they are", sql, &[]).await;
    for row in listed.expect("rows") {
        let key = |created_us: Cell| -> Vec<Cell> {
            let buyer = row.text(0).expect("a buyer");
            let id = row.bytes(2).expect("bytes");
            vec![buyer.into(), created_us, id.into()]
        };
        let created_us = Cell::Integer(row.integer(1).expect("a number"));
        for (created_us, kind) in [
            (created_us, ChangeKind::Delete),
            (earlier(&row, 1), ChangeKind::Insert(Vec::new())),
        ] {
            changes.push(Change {
                table: &PURCHASES,
                key: key(created_us),
                kind,
                refusal: Refusal::new("gone", "a purchase has gone"),
            });
        }
    }
    let sql = "SELECT campaign, buyer, claimed_us FROM coupons";
    let coupons = database.query("reading how old they are", sql, &[]).await;
    for row in coupons.expect("rows") {
        let name = |column: usize| Cell::from(row.text(column).expect("a name"));
        changes.push(Change {
            table: &COUPONS,
            key: vec![name(0), name(1)],
            kind: ChangeKind::Set(vec![("claimed_us", earlier(&row, 2))]),
            refusal: Refusal::new("gone", "a coupon has gone"),
        });
    }
    database
        .transact("making them older", &changes)
        .await
        .expect("done");
}
