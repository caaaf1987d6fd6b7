//! Rules can be changed while it runs, and chance is the same for the same seed.

use std::collections::BTreeSet;
use std::sync::Arc;

use loadtest::gateway_simulator::{BadRules, GatewaySimulator, Rules, Settings, StartError};
use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{Shop, order, reservation, settings};

const ORDERS: usize = 400;

/// The declined ones of `ORDERS` orders, sent at once in an order of arrival that nobody controls.
async fn declined(seed: u64, reversed: bool) -> BTreeSet<usize> {
    let rules = Rules {
        seed,
        decline_rate: 0.25,
        ..Rules::default()
    };
    let shop = Arc::new(
        Shop::open(Settings {
            rules,
            ..settings()
        })
        .await,
    );
    let mut buyers = JoinSet::new();
    for n in 0..ORDERS {
        let (shop, n) = (Arc::clone(&shop), if reversed { ORDERS - 1 - n } else { n });
        buyers.spawn(async move {
            (
                n,
                shop.approve(&format!("k{n}"), &order(&format!("o{n}"), "tok-ok"))
                    .await
                    .1,
            )
        });
    }
    let answers = buyers.join_all().await;
    answers
        .into_iter()
        .filter(|(_, payment)| payment["status"] == "declined")
        .map(|(n, _)| n)
        .collect()
}

#[tokio::test]
async fn declines_depend_on_the_seed_and_the_order_and_on_nothing_else() {
    let first = declined(7, false).await;
    println!("seed 7: {} of {ORDERS} declined", first.len());
    assert_eq!(declined(7, true).await, first);
    assert_ne!(declined(8, false).await, first);
    assert!(
        (60..140).contains(&first.len()),
        "about a quarter of {ORDERS}, not {}",
        first.len()
    );
}

#[tokio::test]
async fn rules_change_while_it_runs_and_what_is_left_out_gets_its_default() {
    let shop = Shop::open(settings()).await;
    assert_eq!(
        shop.approve("k1", &order("o1", "tok-ok")).await.1["status"],
        "approved"
    );
    let (status, rules) = shop
        .set_rules(&json!({ "decline_rate": 1.0, "seed": 3 }))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(shop.get("/v1/rules").await, (StatusCode::OK, rules));
    let declined = shop.approve("k2", &order("o2", "tok-ok")).await.1;
    assert_eq!(declined["decline"]["code"], "declined-by-issuer");
    assert_eq!(
        shop.approve("k1", &order("o1", "tok-ok")).await.1["status"],
        "approved",
        "a repeat is not judged anew"
    );
    shop.set_rules(&json!({})).await;
    assert_eq!(
        shop.approve("k3", &order("o3", "tok-ok")).await.1["status"],
        "approved"
    );
}

#[tokio::test]
async fn rules_out_of_bounds_are_refused_and_change_nothing() {
    let shop = Shop::open(settings()).await;
    let before = shop.get("/v1/rules").await.1;
    let wrong = [
        json!({ "decline_rate": 1.5 }),
        json!({ "decline_rate": -0.1 }),
        json!({ "decline_rate": "often" }),
        json!({ "latency_ms": 600_001 }),
        json!({ "latency_jitter_ms": u64::MAX }),
        json!({ "hold_ms": -1 }),
        json!({ "in_turn": ["busy", "no-such-fault"] }),
        json!({ "colour": "red" }),
        json!([]),
    ];
    for rules in wrong {
        let (status, body) = shop.set_rules(&rules).await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid-request")),
            "{rules}"
        );
    }
    assert_eq!(shop.get("/v1/rules").await.1, before);
    let rules = Rules {
        decline_rate: f64::NAN,
        ..Rules::default()
    };
    let refused = GatewaySimulator::bind(Settings {
        rules,
        ..settings()
    })
    .await;
    assert!(
        matches!(refused, Err(StartError::Rules(BadRules::DeclineRate))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn reservations_take_the_rules_in_turn_and_a_repeat_takes_no_other() {
    let shop = Shop::open(settings()).await;
    let rules = json!({ "in_turn": ["reserve-500-before", "", "500-after"] });
    shop.set_rules(&rules).await;
    for round in 0..2 {
        let order = |place| format!("o{round}-{place}");
        let (status, _) = shop.reserve("k", &reservation(&order(0))).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        for place in 0..3 {
            let authorization = shop.authorised(&order(place)).await;
            let body = crate::order(&order(place), &authorization);
            let (status, answer) = shop.approve(&order(place), &body).await;
            let expected = if place == 2 { 500 } else { 200 };
            assert_eq!(status, expected, "{place}: {answer}");
        }
    }
    // Those who pay otherwise take no turn.
    let stored = shop.approve("k-stored", &order("stored", "tok-ok")).await;
    assert_eq!(stored.0, StatusCode::OK);
}

#[tokio::test]
async fn a_fault_is_counted_when_it_could_be_seen_and_once_an_order() {
    let shop = Shop::open(settings()).await;
    for (number, token) in [
        "tok-busy+cancel-busy",
        "tok-wrong-currency",
        "tok-ok",
        "tok-inquiry-wrong-amount",
    ]
    .into_iter()
    .enumerate()
    {
        let order = order(&format!("o{number}"), token);
        for _ in 0..3 {
            shop.approve(&format!("k{number}"), &order).await;
        }
    }
    let shown = async || shop.get("/v1/rules/shown").await.1["orders"].clone();
    assert_eq!(shown().await, json!({ "busy": 1, "wrong-currency": 1 }));
    shop.payments_of("o3").await;
    shop.payments_of("o3").await;
    let expected = json!({ "busy": 1, "wrong-currency": 1, "inquiry-wrong-amount": 1 });
    assert_eq!(shown().await, expected);
}

#[tokio::test]
async fn latency_delays_the_answer_after_the_effect() {
    let rules = Rules {
        latency_ms: 120,
        latency_jitter_ms: 30,
        ..Rules::default()
    };
    let shop = Shop::open(Settings {
        rules,
        ..settings()
    })
    .await;
    let started = tokio::time::Instant::now();
    shop.approve("k1", &order("o1", "tok-ok")).await;
    assert!(
        started.elapsed().as_millis() >= 120,
        "{:?}",
        started.elapsed()
    );
}
