//! The return, the webhook and the cancellation of one purchase at the same time: one of them counts, and there is one capture or
//! none.

use futures_util::future::join_all;
use serde_json::Value;

use super::till::{Payer, Till, authorised};
use crate::support::http::send;

const PURCHASES: u32 = 40;

#[tokio::test]
async fn the_return_and_the_webhook_race_to_one_capture() {
    race_to_one_capture(&Till::embedded(PURCHASES).await, 20).await;
    if let Some(till) = Till::over_servers(PURCHASES).await {
        race_to_one_capture(&till, 20).await;
    }
}

async fn race_to_one_capture(till: &Till, purchases: usize) {
    let races = (0..purchases).map(async |_| {
        let (payer, page) = till.payer().await;
        let authorization = till.authorise(&page, "webhook-lost").await;
        let event = authorised("event", &payer.id, &authorization);
        let returns = (0..3).map(async |_| till.confirm(&payer, &authorization).await.status);
        let webhooks = (0..3).map(async |_| till.webhook(&event).await.status);
        let (returned, told) = tokio::join!(join_all(returns), join_all(webhooks));
        assert_eq!((returned, told), (vec![202; 3], vec![204; 3]));
        assert_eq!(till.settled(&payer).await["stage"], "completed");
        assert_eq!(till.ledger_of(&payer.id).await, [1, 0, 0]);
    });
    join_all(races).await;
    till.shop.quiet().await;
    till.shop.verify().await;
}

#[tokio::test]
async fn of_a_cancellation_and_a_return_at_the_same_time_one_counts() {
    let till = Till::embedded(PURCHASES).await;
    let races = (0..PURCHASES).map(async |number| {
        let (payer, page) = till.payer().await;
        let authorization = till.authorise(&page, "webhook-lost").await;
        let (cancelled, confirmed) = if number % 2 == 0 {
            tokio::join!(till.cancel(&payer), till.confirm(&payer, &authorization))
        } else {
            let (confirmed, cancelled) =
                tokio::join!(till.confirm(&payer, &authorization), till.cancel(&payer));
            (cancelled, confirmed)
        };
        let stage = till.settled(&payer).await["stage"].clone();
        match (cancelled.status, confirmed.status) {
            (202, 409) => {
                assert_eq!(stage, "cancelled");
                confirmed.expect_problem(409, "payment-over");
                assert_eq!(till.ledger_of(&payer.id).await, [0, 0, 0]);
                0
            }
            (409, 202) => {
                assert_eq!(stage, "completed");
                cancelled.expect_problem(409, "too-late-to-cancel");
                assert_eq!(till.ledger_of(&payer.id).await, [1, 0, 0]);
                1
            }
            both => panic!("{both:?} {stage} {cancelled:?} {confirmed:?}"),
        }
    });
    let paid: u64 = join_all(races).await.into_iter().sum();
    println!("{paid} of {PURCHASES} were paid, the others cancelled");
    till.shop.quiet().await;
    assert_eq!(till.stock_left().await, u64::from(PURCHASES) - paid);
    till.shop.verify().await;
}

#[tokio::test]
async fn what_is_said_before_the_payment_is_awaited_is_kept() {
    let till = Till::embedded(PURCHASES).await;
    let early = (0..PURCHASES).map(async |_| {
        let token = till.shop.token().await;
        let answer = till.shop.buy(&token, "k", &till.order()).await;
        let id = answer.body["id"].as_str().expect("an id").to_owned();
        // Perhaps before the gateway knows of it, perhaps right after.
        let payer = Payer { token, id };
        let cancelled = till.cancel(&payer).await;
        assert_eq!(cancelled.status, 202, "{cancelled:?}");
        till.settled(&payer).await
    });
    for settled in join_all(early).await {
        let settled: Value = settled;
        assert_eq!(settled["stage"], "cancelled", "{settled}");
    }
    till.shop.quiet().await;
    assert_eq!(till.stock_left().await, u64::from(PURCHASES));
}

#[tokio::test]
async fn a_return_that_is_repeated_on_and_on_leaves_the_journal_short() {
    let till = Till::embedded(5).await;
    let (payer, page) = till.payer().await;
    let authorization = till.authorise(&page, "webhook-lost").await;
    for _ in 0..200 {
        assert_eq!(till.confirm(&payer, &authorization).await.status, 202);
    }
    till.settled(&payer).await;
    let url = format!(
        "{}/v1/workflows/{}/events?limit=500",
        till.shop.operators, payer.id
    );
    let events = send(till.shop.operators().get(url)).await;
    let signals = events.text.matches("signal-received").count();
    assert_eq!(signals, 1, "{}", events.text);
}
