//! Redis that lies upward in the middle of a sale at two nodes: the database's guard refuses, the late ones are told that they are sold
//! out and nothing is left of their purchases, and the reconcilers name the difference and mend it.

use std::sync::Arc;

use loadtest::driver::{self, Manners, Progress, Report};
use serde_json::{Value, json};

use super::crowd::{left_content, sale};
use crate::support::gateway::silent_gateway;
use crate::support::http::answered;
use crate::support::servers::{Servers, ask_redis};
use crate::support::shop::{Shop, visit};
use crate::support::{eventually, seed, unique};

const UNITS: u32 = 60;
/// Buyers at each of two nodes.
const BUYERS: usize = 120;
/// The difference that a lie of this kind is.
const NAMED: &str = "counters-do-not-add-up";

#[tokio::test]
async fn units_that_redis_is_given_by_hand_in_mid_sale_are_sold_by_neither_of_two_nodes() {
    let seed = seed();
    let Some(servers) = Servers::from_environment() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (_gateway, gateway) = silent_gateway(folder.path()).await;
    let settings = |name| {
        servers
            .serve(&folder.path().join(name))
            .with("PG_URL", &gateway)
    };
    let one = settings("one").start().await;
    let two = settings("two").start().await;
    let name = unique("drop");
    let shops = [
        Shop::open_for(&one, &sale(&name, UNITS)).await,
        Shop::at(&two, &name),
    ];
    let reports = tokio::join!(
        comes(&shops[0], seed),
        comes(&shops[1], seed ^ 1),
        lies_in_the_middle(&shops[0], &servers.redis_url),
    );
    let completed = [&reports.0, &reports.1].map(|report| {
        left_content(report);
        report.purchases.get("completed").copied().unwrap_or(0)
    });
    println!("{completed:?} were served at the two nodes");
    assert_eq!(completed.iter().sum::<u64>(), u64::from(UNITS));
    nobody_is_left_in_between(&shops[0]).await;
    is_named_and_mended(&shops).await;
    for shop in &shops {
        assert_eq!(shop.stock_left().await, 0);
    }
    shops[0].quiet().await;
    // Nobody had a coupon, so that the check of those has nothing to look at.
    shops[0].verify_in_the_end_but("I2").await;
}

/// Buyers who want a mug without a coupon: nothing but the stock ends the sale.
async fn comes(shop: &Shop, seed: u64) -> Report {
    let mut settings = driver::Settings {
        manners: Manners {
            repeat: 0.2,
            ..Manners::default()
        },
        ..shop.crowd(BUYERS, seed)
    };
    settings.order.campaign = None;
    visit(settings, Arc::new(Progress::default())).await
}

/// When half of the units are sold, Redis is made to believe that there are many more.
async fn lies_in_the_middle(shop: &Shop, redis: &str) {
    eventually("half of the units to be sold", || async {
        (shop.stock_left().await <= u64::from(UNITS / 2)).then_some(())
    })
    .await;
    let key = format!("holdfast:{{{}}}:stock", shop.sale);
    ask_redis(redis, &format!("HINCRBY {key} mug:available 1000")).await;
}

/// Who was let in by the gate for nothing and turned back by the guard heard the word that the gate has, before anything was durable or
/// after; nobody waits for an operator.
async fn nobody_is_left_in_between(shop: &Shop) {
    let turned_back = shop.workflows("COMPENSATED").await;
    println!("{} left a purchase that was turned back", turned_back.len());
    for purchase in &turned_back {
        assert_eq!(purchase["reason"], "sold-out", "{purchase}");
    }
    assert_eq!(shop.workflows("PARKED").await, Vec::<Value>::new());
}

/// One of the reconcilers has seen it, by itself or because it was asked to look, and afterwards there is nothing more to see.
async fn is_named_and_mended(shops: &[Shop; 2]) {
    let url = format!("{}/v1/reconcile", shops[0].operators);
    eventually("the difference to be mended", || async {
        let order = json!({ "sale": shops[0].sale, "repair": true });
        let request = shops[0].operators().post(&url).json(&order);
        let report = answered(request).await;
        assert_eq!(report.status, 200, "{report:?}");
        (report.body["clean"] == true && report.body["found"] == 0).then_some(())
    })
    .await;
    let mut named = 0;
    for shop in shops {
        let shown = shop.look("reconcile").await;
        named += shown["totals"]["found"][NAMED].as_u64().unwrap_or(0);
    }
    assert!(named > 0, "nobody named it");
}
