//! Purchases that can't go on, and those of everybody else beside them.

use std::time::Duration;

use engine::{Runtime, WorkflowId};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::market::{Market, mugs};
use super::stack::{Stack, on_both_stacks};
use crate::support::eventually;
use crate::support::rounds::{instant_of, kept_in_one_round, within};
use crate::support::topic::{Arrived, Listener, taken};

on_both_stacks! {
    a_poison_purchase_doesnt_block_others,
}

/// A few payments in a row come back with an amount or an order that is not ours, and nobody else buys for a while. The gateway
/// answers, so the payments of those who come then are made at once: in less than the pause after which a gateway that does not
/// answer would be asked again.
async fn a_poison_purchase_doesnt_block_others(stack: Stack) {
    const LIMIT: Duration = Duration::from_secs(5);
    let market = Market::open(&stack, &mugs(100)).await;
    kept_in_one_round("those who come after it", async |_| {
        some_are_poisoned(&market).await;
        for _ in 0..3 {
            let (token, id) = market.shop().bought("k", "tok-1").await;
            let settled = market.shop().settled(&token, &id).await;
            assert_eq!(settled["stage"], "completed", "{settled}");
            let instant = |member: &str| instant_of(settled[member].as_str().expect("a time"));
            let took = instant("updated_at").since(instant("created_at"));
            within("a purchase", took, LIMIT)?;
        }
        Ok(())
    })
    .await;
    market.all_is_published().await;
}

async fn some_are_poisoned(market: &Market) {
    let mut poison = Vec::new();
    for number in 0..3 {
        let cards = ["tok-wrong-amount", "tok-wrong-order+inquiry-wrong-order"];
        poison.push(market.shop().bought("k", cards[number % 2]).await.1);
    }
    eventually("each of them to be parked, or to wait for long", || async {
        let mut at_rest = 0;
        for id in &poison {
            at_rest += u32::from(is_at_rest(market, id).await);
        }
        (at_rest == 3).then_some(())
    })
    .await;
}

/// It waits for an operator, or nothing of it is due for a while.
async fn is_at_rest(market: &Market, id: &str) -> bool {
    const LONG: Duration = Duration::from_secs(10);
    let workflow = market.look(&format!("workflows/{id}")).await;
    let steps = workflow["steps"].as_array().expect("steps").clone();
    let payment = steps.iter().find(|step| step["name"] == "payment");
    let due = payment.and_then(|step| step["held_back_until"].as_str());
    let soon = Runtime::system().now().after(LONG);
    workflow["state"] == "PARKED" || due.is_some_and(|due| instant_of(due) > soon)
}

/// The topic takes nothing as large as the goods of 90 units: a dead letter stands in for them, and everything else comes in its order.
#[tokio::test]
async fn an_event_that_the_broker_never_takes_stops_nobody() {
    let Some(stack) = Stack::real() else { return };
    let servers = stack.servers.as_ref().expect("servers");
    let listener = Listener::to(servers, &[("max.message.bytes", "8192")]).await;
    let letters = Listener::to_dead_letters(servers).await;
    let mut sale = mugs(10_000);
    sale["per_buyer_limit"] = json!(100);
    // One partition: whatever stops it stops everybody.
    let market = Market::open_with(&stack, &sale, &[("HOLDFAST_PARTITIONS", "1")]).await;
    let order = market.order(&[("mug", 90)], "tok-1");
    let large = (0..3).map(async |_| {
        let shop = market.shop();
        let token = shop.token().await;
        let id = shop.accepted(&token, "k", &order).await;
        shop.settled(&token, &id).await;
        id
    });
    let small = (0..60).map(async |number| {
        let shop = market.shop_for(number);
        let (token, id) = shop.bought("k", "tok-1").await;
        shop.settled(&token, &id).await;
        id
    });
    let (large, small) = tokio::join!(join_all(large), join_all(small));
    market.all_is_published().await;

    let heard = listener.heard().await;
    for id in &small {
        assert_eq!(seqs_of(&heard, id), journal_of(&market, id).await, "{id}");
    }
    let letters = letters.heard().await;
    assert_eq!(sum(&market, "dead_letters").await, letters.len() as u64);
    for id in &large {
        let lost = seqs_of(&letters, id);
        assert!(!lost.is_empty(), "{id} is too large");
        let mut journal = journal_of(&market, id).await;
        assert!(lost.iter().all(|seq| journal.contains(seq)), "{lost:?}");
        journal.retain(|seq| !lost.contains(seq));
        assert_eq!(seqs_of(&heard, id), journal, "{id}");
    }
    for letter in &letters {
        let header = |name: &str| letter.headers[name].as_str();
        let large = large.iter().find(|id| **id == letter.workflow);
        let large = large.expect("a large one");
        assert_eq!(header("holdfast_workflow"), large);
        let partition = WorkflowId::parse(large).expect("an id").partition();
        assert_eq!(header("holdfast_seq"), letter.seq.to_string());
        assert_eq!(header("holdfast_partition"), partition.to_string());
        let reason = header("holdfast_reason");
        assert!(reason.contains("too large"), "{reason}");
        assert!(letter.value.is_none(), "{letter:?}");
    }
}

/// A counter of all nodes together.
async fn sum(market: &Market, counter: &str) -> u64 {
    let mut sum = 0;
    for shop in &market.shops {
        sum += shop.look("counters").await[counter]
            .as_u64()
            .expect("a number");
    }
    sum
}

fn seqs_of(heard: &[Arrived], id: &str) -> Vec<u64> {
    let ours = taken(heard, id).into_iter();
    ours.map(|event| event.seq).collect()
}

async fn journal_of(market: &Market, id: &str) -> Vec<u64> {
    let path = format!("workflows/{id}/events?limit=500");
    let journal = market.look(&path).await;
    let events = journal["events"].as_array().expect("a list").iter();
    let seq = |event: &Value| event["seq"].as_u64().expect("a number");
    events.map(seq).collect()
}
