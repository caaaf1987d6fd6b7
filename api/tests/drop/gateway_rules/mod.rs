//! Everything that a gateway can do wrong, each alone, in pairs and by chance: the money adds up, and nobody is charged for what
//! was not issued. A rule that nobody could see acting has not been tested, and fails the test.

mod rules;
mod world;

use std::collections::BTreeMap;

use loadtest::driver::{Manners, Settings};
use loadtest::gateway_simulator::Fault;
use serde_json::json;

use self::rules::{End, Plan, pairs};
use self::world::{HOLD_MS, Stack, WEBHOOK_LATE_MS, World, at_the_gateway, size};
use crate::support::{counted, seed};

/// Purchases for each rule and each pair: `HOLDFAST_RULE_PURCHASES`, or this.
const PURCHASES: usize = 2;
/// Pairs, chosen by the seed among all there are: `HOLDFAST_RULE_PAIRS`, `all` of them, or this.
const PAIRS: usize = 16;
/// So many of them at a time at one gateway, which remembers only so many orders.
const PAIRS_AT_ONCE: usize = 60;
/// How often those rules are tried that have not acted often enough: on a machine that is busy a buyer may come too late for them.
const ROUNDS: usize = 5;
/// The share of payments that show each rule: two in five show one or more, and the gateway is odd, not away.
const RATE: f64 = 0.008;

#[tokio::test]
async fn each_rule_of_the_gateway_alone_in_pairs_and_by_chance_keeps_the_money_right_on_the_embedded_stack()
 {
    each_rule_keeps_the_money_right(Stack::Embedded).await;
}

#[tokio::test]
async fn each_rule_of_the_gateway_alone_in_pairs_and_by_chance_keeps_the_money_right_on_real_servers()
 {
    if Stack::Servers.is_there() {
        each_rule_keeps_the_money_right(Stack::Servers).await;
    }
}

/// Beside each other: most of the time a buyer of theirs waits.
async fn each_rule_keeps_the_money_right(stack: Stack) {
    let seed = seed();
    tokio::join!(alone_and_in_pairs(stack, seed), by_chance(stack, seed));
}

async fn alone_and_in_pairs(stack: Stack, seed: u64) {
    let (chosen, total) = pairs(seed, PAIRS);
    let mut acted_together = 0;
    for (place, some) in chosen.chunks(PAIRS_AT_ONCE).enumerate() {
        let plan = |end| Plan::of(end, place == 0, some);
        let (goods, refunds) = tokio::join!(
            keep_the_money_right(stack, plan(End::Goods), seed),
            keep_the_money_right(stack, plan(End::Refund), seed)
        );
        acted_together += goods + refunds;
    }
    println!(
        "{} rules alone, all of them acted; {} of {total} pairs, of which {acted_together} acted together on one order",
        Fault::all().len(),
        chosen.len()
    );
    counted("pairs of rules", u64::try_from(chosen.len()).unwrap());
}

/// Sells until each rule of the plan has acted alone often enough. How many of its pairs acted together.
async fn keep_the_money_right(stack: Stack, plan: Plan, seed: u64) -> usize {
    let enough = size("HOLDFAST_RULE_PURCHASES", PURCHASES);
    let world = World::start(stack).await;
    world.crowds(&plan, enough, seed).await;
    for round in 1.. {
        let shown = world.shown().await;
        let missing = plan.alone_less_often_than(enough, &shown);
        if missing.is_empty() {
            break;
        }
        println!("{:?}, once more: {missing:?}", plan.end);
        assert!(round < ROUNDS, "rules that did not act: {missing:?}");
        world
            .crowds(&plan.only(missing), enough, seed + round as u64)
            .await;
    }
    let shown = world.adds_up().await;
    plan.pairs_that_acted(&shown)
}

async fn by_chance(stack: Stack, seed: u64) {
    let world = World::start(stack).await;
    let rates: BTreeMap<&str, f64> = Fault::all()
        .iter()
        .map(|(name, _)| (name.as_str(), RATE))
        .collect();
    let rules = json!({
        "seed": seed >> 16, "rates": rates, "hold_ms": HOLD_MS, "webhook_late_ms": WEBHOOK_LATE_MS,
    });
    world.set_rules(&rules).await;
    let each = size("HOLDFAST_RULE_PURCHASES", PURCHASES);
    let buyers = each * Fault::all().len();
    let manners = Manners {
        redirect: 1.0,
        visits: at_the_gateway(),
        ..Manners::default()
    };
    let settings = Settings {
        manners,
        ..world.shop.crowd(buyers, seed)
    };
    let report = world.comes(settings, each).await;
    assert!(report.purchases["completed"] > 0, "{:?}", report.purchases);
    let shown = world.adds_up().await;
    assert!(!shown.is_empty(), "no rule acted");
}
