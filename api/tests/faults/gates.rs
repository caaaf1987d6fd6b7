//! The gate before a sale opens, and after everything under it was started anew.

use std::time::Duration;

use serde_json::{Value, json};

use super::market::{Market, mugs};
use super::stack::{Stack, on_both_stacks};
use crate::support::eventually;
use crate::support::rounds::{in_a_while, kept_in_one_round, now, rfc3339, still_before, within};

on_both_stacks! {
    stock_is_warm_before_opening_though_every_node_was_killed,
}

/// So long before the opening the nodes are started anew, in the first round.
const AHEAD: Duration = Duration::from_secs(12);
/// So long after it the first buyer is served, at the latest.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Nodes are killed and started again before a sale opens. From then on a buyer asks without a pause: too early is all that the
/// buyer hears until the purchase is accepted, and nobody's first request has to fill anything.
async fn stock_is_warm_before_opening_though_every_node_was_killed(stack: Stack) {
    kept_in_one_round("the first buyer", async |round| {
        served_on_time(&stack.another(), round).await
    })
    .await;
}

async fn served_on_time(stack: &Stack, round: u32) -> Result<(), String> {
    let opens_at = in_a_while(AHEAD, round);
    let mut sale = mugs(3);
    sale["opens_at"] = json!(rfc3339(opens_at));
    sale["per_buyer_limit"] = json!(3);
    let mut market = Market::open(stack, &sale).await;
    for node in 0..stack.nodes().len() {
        market.kill(node).await;
    }
    for node in 0..stack.nodes().len() {
        market.start_again(node).await;
    }
    market.is_shown().await;
    let (shown, left) = (market.shown().await, market.left().await);
    still_before(opens_at)?;
    assert_eq!(shown["state"], "scheduled", "{shown}");
    assert_eq!(left, [3, 3]);
    let mut late = Duration::ZERO;
    for (number, shop) in market.shops.iter().enumerate() {
        let token = shop.token().await;
        let order = market.order(&[("mug", 1)], "tok-1");
        if number == 0 {
            still_before(opens_at)?;
        }
        let mut asked = 0;
        let id = eventually("the sale to open", || {
            asked += 1;
            let key = format!("k-{asked}");
            let (token, order) = (&token, &order);
            async move {
                let answer = shop.try_buy(token, &key, order).await.expect("an answer");
                if answer.status == 202 {
                    return Some(Ok(answer.body["id"].as_str().expect("an id").to_owned()));
                }
                if answer.status == 503 {
                    return Some(Err(format!("a buyer had to come again: {answer:?}")));
                }
                answer.expect_problem(409, "sale-not-open");
                assert_ne!(answer.body["retry"]["at"], Value::Null, "{answer:?}");
                None
            }
        })
        .await?;
        if number == 0 {
            if asked == 1 {
                return Err("nobody asked before it opened".to_owned());
            }
            assert!(now() >= opens_at, "too early");
            late = now().since(opens_at);
        }
        let settled = shop.settled(&token, &id).await;
        assert_eq!(settled["state"], "COMPLETED", "{settled}");
    }
    market.adds_up().await;
    within("served after the opening", late, LATE_MAX)
}
