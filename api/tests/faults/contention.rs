//! Many at the same time, at one node and another: limits, duplicates and lines.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::market::{Market, mugs, mugs_and_posters};
use super::stack::{Stack, on_both_stacks};
use crate::support::PATIENCE;
use crate::support::http::Answer;

on_both_stacks! {
    a_buyer_cant_exceed_the_limit_by_parallel_requests,
    what_came_to_nothing_does_not_count_for_the_limit,
    duplicates_never_over_issue,
    two_lines_never_dead_lock_with_two_lines,
    a_failing_second_line_leaks_nothing_over_rest,
    a_repeat_with_another_quantity_is_refused_over_rest,
}

const PARALLEL: usize = 64;

/// The purchase's id, when it was accepted.
fn accepted(answer: &Answer) -> Option<String> {
    (answer.status == 202).then(|| answer.body["id"].as_str().expect("an id").to_owned())
}

/// 64 requests of one buyer under 64 keys, at every node, for one or two units of one product or of two, and the limit is 3.
async fn a_buyer_cant_exceed_the_limit_by_parallel_requests(stack: Stack) {
    let mut sale = mugs_and_posters(1_000, 1_000);
    sale["per_buyer_limit"] = json!(3);
    let market = Market::open(&stack, &sale).await;
    let token = market.shop().token().await;
    let shapes: [&[(&str, u32)]; 4] = [
        &[("mug", 1)],
        &[("mug", 2)],
        &[("poster", 1)],
        &[("mug", 1), ("poster", 1)],
    ];
    let requests = (0..PARALLEL).map(|number| {
        let (market, token, shape) = (&market, &token, shapes[number % shapes.len()]);
        async move {
            let order = market.order(shape, "tok-1");
            let shop = market.shop_for(number / shapes.len());
            let answer = shop.buy(token, &format!("k-{number}"), &order).await;
            let units: u32 = shape.iter().map(|(_, quantity)| quantity).sum();
            (answer, units)
        }
    });
    let mut units_accepted = 0;
    for (answer, units) in join_all(requests).await {
        match accepted(&answer) {
            Some(id) => {
                let settled = market.shop().settled(&token, &id).await;
                assert_eq!(settled["state"], "COMPLETED", "{settled}");
                units_accepted += units;
            }
            None => answer.expect_problem(409, "limit-reached"),
        }
    }
    // Single units were among them: as long as one was left for the buyer, one of those was accepted.
    assert_eq!(units_accepted, 3);
    let left: u64 = market.left().await[..2].iter().sum();
    assert_eq!(left, 2_000 - 3);
    market.adds_up().await;
}

/// What was declined gives the limit back, to the unit and once.
async fn what_came_to_nothing_does_not_count_for_the_limit(stack: Stack) {
    let mut sale = mugs(100);
    sale["per_buyer_limit"] = json!(2);
    let market = Market::open(&stack, &sale).await;
    let token = market.shop().token().await;
    for round in 0..3 {
        let declined = market.order(&[("mug", 2)], "tok-declined");
        let shop = market.shop_for(round);
        let answer = shop
            .buy(&token, &format!("declined-{round}"), &declined)
            .await;
        let id = accepted(&answer).unwrap_or_else(|| panic!("{answer:?}"));
        let settled = shop.settled(&token, &id).await;
        assert_eq!(settled["state"], "COMPENSATED", "{settled}");
    }
    let good = market.order(&[("mug", 1)], "tok-1");
    let tries = (0..16).map(|number| {
        let (market, token, good) = (&market, &token, &good);
        let key = format!("good-{number}");
        async move { market.shop_for(number).buy(token, &key, good).await }
    });
    let answers = join_all(tries).await;
    assert_eq!(
        answers.iter().filter_map(accepted).count(),
        2,
        "{answers:?}"
    );
    market.left_comes_to(&[98, 100]).await;
    market.adds_up().await;
}

/// Everyone sends everything eight times at once, to every node, and the gateway loses its answers.
async fn duplicates_never_over_issue(stack: Stack) {
    const BUYERS: usize = 16;
    const STOCK: u32 = 8;
    let market = Market::open(&stack, &mugs(STOCK)).await;
    let buyers = (0..BUYERS).map(async |buyer| {
        let token = market.shop().token().await;
        let card = [
            "tok-1",
            "tok-500-after",
            "tok-empty-body",
            "tok-reset-after",
        ][buyer % 4];
        let order = market.shop().order(card);
        let copies = (0..8).map(|copy| market.shop_for(copy).buy(&token, "k", &order));
        let answers = join_all(copies).await;
        let ids: BTreeSet<String> = answers.iter().filter_map(accepted).collect();
        assert!(ids.len() <= 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 202) {
            assert_eq!(answer.status, 409, "{answer:?}");
        }
        let bought = ids.into_iter().next().map(|id| ("k", id));
        (token, order, bought)
    });
    let mut serials = BTreeSet::new();
    let mut sold = 0;
    let mut buyers = join_all(buyers).await;
    market.shop().quiet().await;
    for (token, order, bought) in buyers.iter_mut().filter(|(_, _, bought)| bought.is_none()) {
        *bought = afterwards(&market, token, order).await;
    }
    for (token, order, bought) in buyers {
        let Some((key, id)) = bought else {
            continue;
        };
        let settled = market.shop().settled(&token, &id).await;
        assert_eq!(settled["state"], "COMPLETED", "{settled}");
        sold += 1;
        for unit in settled["goods"].as_array().expect("goods") {
            assert!(serials.insert(unit["serial"].as_str().map(str::to_owned)));
        }
        assert_eq!(market.ledger_of(&id).await, [1, 0, 0], "{id}");
        // Long after its end it is the same purchase, at each node.
        for shop in &market.shops {
            let again = shop.buy(&token, key, &order).await;
            assert_eq!(accepted(&again), Some(id.clone()), "{again:?}");
        }
    }
    assert_eq!((sold, serials.len()), (STOCK, STOCK as usize));
    assert_eq!(market.left().await, [0, 0]);
    market.adds_up().await;
}

/// What a copy held for a moment is back by now: who was refused comes again, under a new key, as long as something is left.
async fn afterwards(market: &Market, token: &str, order: &Value) -> Option<(&'static str, String)> {
    const KEY: &str = "k-again";
    if market.left().await[0] == 0 {
        return None;
    }
    let answer = market.shop().buy(token, KEY, order).await;
    accepted(&answer).map(|id| (KEY, id))
}

/// Half of the buyers want a mug and a poster, the others a poster and a mug.
async fn two_lines_never_dead_lock_with_two_lines(stack: Stack) {
    const BUYERS: usize = 60;
    let mut sale = mugs_and_posters(40, 40);
    sale["per_buyer_limit"] = json!(2);
    let market = Market::open(&stack, &sale).await;
    let buyers = (0..BUYERS).map(async |number| {
        let shop = market.shop_for(number / 2);
        let token = shop.token().await;
        let mut lines = [("mug", 1), ("poster", 1)];
        lines.rotate_left(number % 2);
        let answer = shop.buy(&token, "k", &market.order(&lines, "tok-1")).await;
        let Some(id) = accepted(&answer) else {
            answer.expect_problem(409, "sold-out");
            return 0;
        };
        let settled = shop.settled(&token, &id).await;
        assert_eq!(settled["state"], "COMPLETED", "{settled}");
        1
    });
    let bought = timeout(PATIENCE, join_all(buyers)).await;
    let bought: u32 = bought.expect("nobody waits for anybody").into_iter().sum();
    assert_eq!(bought, 40);
    assert_eq!(market.left().await[..2], [0, 0]);
    market.adds_up().await;
}

/// There are mugs enough, and too few posters.
async fn a_failing_second_line_leaks_nothing_over_rest(stack: Stack) {
    let mut sale = mugs_and_posters(5, 1);
    sale["per_buyer_limit"] = json!(3);
    sale["campaigns"][0]["size"] = json!(100);
    let market = Market::open(&stack, &sale).await;
    let token = market.shop().token().await;
    let mut greedy = market.order(&[("mug", 1), ("poster", 2)], "tok-1");
    greedy["campaign"] = market.shop().order("none")["campaign"].clone();
    let tries = (0..32).map(|number| {
        let (market, greedy) = (&market, &greedy);
        async move {
            let other = market.shop().token().await;
            market.shop_for(number).buy(&other, "k", greedy).await
        }
    });
    let mut answers = join_all(tries).await;
    answers.push(market.shop().buy(&token, "greedy", &greedy).await);
    for answer in answers {
        answer.expect_problem(409, "sold-out");
    }
    assert_eq!(market.left().await, [5, 1, 100]);
    // Neither the limit nor the coupon is used up.
    let mut modest = greedy.clone();
    modest["lines"] =
        json!([{ "product": "mug", "quantity": 2 }, { "product": "poster", "quantity": 1 }]);
    let answer = market.shop().buy(&token, "modest", &modest).await;
    let id = accepted(&answer).unwrap_or_else(|| panic!("{answer:?}"));
    let settled = market.shop().settled(&token, &id).await;
    assert_eq!(settled["state"], "COMPLETED", "{settled}");
    assert_eq!(market.left().await, [3, 0, 99]);
    market.adds_up().await;
}

/// Before it is paid, and when it is: the first request counts.
async fn a_repeat_with_another_quantity_is_refused_over_rest(stack: Stack) {
    let mut sale = mugs(10);
    sale["per_buyer_limit"] = json!(5);
    let market = Market::open(&stack, &sale).await;
    let token = market.shop().token().await;
    let one = market.order(&[("mug", 1)], "tok-1");
    let two = market.order(&[("mug", 2)], "tok-1");
    let first = market.shop().buy(&token, "k", &one).await;
    let id = accepted(&first).unwrap_or_else(|| panic!("{first:?}"));
    let copies = (0..8).map(|number| market.shop_for(number).buy(&token, "k", &two));
    for answer in join_all(copies).await {
        answer.expect_problem(422, "idempotency-key-reused");
    }
    market.shop().settled(&token, &id).await;
    for shop in &market.shops {
        let answer = shop.buy(&token, "k", &two).await;
        answer.expect_problem(422, "idempotency-key-reused");
    }
    // What a node held before it knew that the key was taken is given back.
    market.left_comes_to(&[9, 10]).await;
    // Both at once: one of them is the purchase, and the other is told so.
    let other = market.shop().token().await;
    let (left, right) = tokio::join!(
        market.shop_for(0).buy(&other, "k", &one),
        market.shop_for(1).buy(&other, "k", &two)
    );
    let statuses = BTreeSet::from([left.status, right.status]);
    assert_eq!(statuses, BTreeSet::from([202, 422]), "{left:?} {right:?}");
    market.adds_up().await;
}
