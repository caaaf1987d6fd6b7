//! What a consumer of the topic sees: every event of a purchase, in its order, at once, whatever happens to nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use loadtest::driver::{Manners, Progress, Settings};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::market::{Market, mugs};
use super::stack::Stack;
use crate::support::rounds::{kept_in_one_round, percentile, within};
use crate::support::shop::visit;
use crate::support::topic::{Arrived, Listener, taken};
use crate::support::{eventually, seed};

/// Two nodes, a crowd at both, and one is killed: a purchase goes on at the other node, and to a consumer it is one sequence.
#[tokio::test]
async fn events_of_one_purchase_stay_in_order() {
    let Some(stack) = Stack::real() else { return };
    let listener = Listener::to(stack.servers.as_ref().expect("servers"), &[]).await;
    let mut market = Market::open(&stack, &mugs(10_000)).await;
    market
        .rules(&json!({ "latency_ms": 50, "latency_jitter_ms": 100 }))
        .await;
    let crowd_seed = seed();
    let crowd = |node: usize, buyers: usize| Settings {
        in_flight: NonZeroUsize::new(16).expect("not zero"),
        manners: Manners {
            repeat: 0.2,
            declined: 0.2,
            faulty: 0.2,
            faulty_tokens: vec!["tok-500-after".into(), "tok-busy".into()],
            ..Manners::default()
        },
        ..market.shops[node].crowd(buyers, crowd_seed + node as u64)
    };
    let (gone, stays) = (crowd(0, 10_000), crowd(1, 150));
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    // Those at the node that is killed go away unserved.
    let doomed = visit(gone, progress);
    let dies = async {
        eventually("the crowd to be at it", || async {
            (watched.snapshot().completed >= 20).then_some(())
        })
        .await;
        market.kill(0).await;
    };
    let stays = visit(stays, Arc::new(Progress::default()));
    let report = tokio::select! {
        ((), report) = async { tokio::join!(dies, stays) } => report,
        _ = doomed => panic!("a crowd of thousands was through before the kill"),
    };
    assert_eq!(report.errors, Vec::<String>::new());
    market.shop().quiet().await;
    market.all_is_published().await;

    let mut by_workflow: BTreeMap<String, Vec<Arrived>> = BTreeMap::new();
    for event in listener.heard().await {
        let events = by_workflow.entry(event.workflow.clone()).or_default();
        events.push(event);
    }
    assert!(by_workflow.len() > 150, "{} purchases", by_workflow.len());
    let mut repeated = 0;
    for (workflow, events) in &by_workflow {
        let partitions: BTreeSet<i32> = events.iter().map(|event| event.partition).collect();
        assert_eq!(partitions.len(), 1, "{workflow}: {events:?}");
        // Who removes repeats by number, as consumers do, sees 1 to n.
        let mut last = 0;
        for event in events {
            if event.seq <= last {
                repeated += 1;
                continue;
            }
            assert_eq!(event.seq, last + 1, "{workflow}: {events:?}");
            last = event.seq;
        }
    }
    println!(
        "{} purchases, {repeated} events came twice",
        by_workflow.len()
    );
}

/// At a load, and after a silence that is longer than any poll: from the moment in which something happened to a consumer's hands. A
/// machine that does other things is late now and then; a poll of seconds is late in every round.
#[tokio::test]
async fn events_leave_in_order_within_100_ms() {
    const LIMIT: Duration = Duration::from_millis(100);
    let Some(stack) = Stack::real() else { return };
    let listener = Listener::to(stack.servers.as_ref().expect("servers"), &[]).await;
    let market = Market::open(&stack, &mugs(10_000)).await;
    // The first one makes connections.
    let (token, first) = market.shop().bought("k", "tok-1").await;
    market.shop().settled(&token, &first).await;
    for (load, count, pause_ms) in [("under load", 150, 40), ("after a silence", 4, 1_700)] {
        kept_in_one_round(load, async |_| {
            let round = purchases(&market, count, Duration::from_millis(pause_ms)).await;
            market.all_is_published().await;
            let heard = listener.heard().await;
            let ours = heard.iter().filter(|event| round.contains(&event.workflow));
            let delays: Vec<Duration> = ours.map(Arrived::delay).collect();
            assert!(delays.len() >= 4 * round.len(), "{} events", delays.len());
            let half = percentile(delays.clone(), 50);
            println!("{} events: half within {half:.1?}", delays.len());
            within("99 of 100", percentile(delays, 99), LIMIT)
        })
        .await;
    }
}

/// So many purchases, one after so long a pause, to their ends.
async fn purchases(market: &Market, count: usize, pause: Duration) -> BTreeSet<String> {
    let mut pace = interval(pause);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut bought = Vec::new();
    for _ in 0..count {
        pace.tick().await;
        bought.push(market.shop().bought("k", "tok-1").await);
    }
    let settled = bought.iter().map(async |(token, id)| {
        market.shop().settled(token, id).await;
        id.clone()
    });
    join_all(settled).await.into_iter().collect()
}

/// As many units as a buyer can have, and everything as long as it can be: what is published of it is small enough for a broker
/// with its default settings.
#[tokio::test]
async fn the_largest_purchase_is_published_too() {
    let Some(stack) = Stack::real() else { return };
    let listener = Listener::to(stack.servers.as_ref().expect("servers"), &[]).await;
    let mut sale = mugs(100);
    sale["per_buyer_limit"] = json!(100);
    let market = Market::open(&stack, &sale).await;
    let shop = market.shop();
    let token = shop.token().await;
    let long = "\u{1F4E6}".repeat(200);
    let mut order = market.order(&[("mug", 100)], &format!("tok-{}", "x".repeat(250)));
    order["address"] = json!({
        "name": long, "address": long, "zip": "12345", "phone": "010-1234-5678", "memo": long,
    });
    let answer = shop.buy(&token, &"k".repeat(200), &order).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.body["id"].as_str().expect("an id");
    let settled = shop.settled(&token, id).await;
    assert_eq!(settled["goods"].as_array().map(Vec::len), Some(100));
    market.all_is_published().await;
    let heard = listener.heard().await;
    let ours = taken(&heard, id).into_iter();
    let seqs: Vec<u64> = ours.map(|event| event.seq).collect();
    let journal = market
        .look(&format!("workflows/{id}/events?limit=500"))
        .await;
    let count = journal["events"].as_array().expect("a list").len() as u64;
    assert_eq!(seqs, (1..=count).collect::<Vec<_>>());
}
