//! What each token does to its payment, and what the ledger says about it afterwards.

use loadtest::gateway_simulator::{Fault, Rules, Settings};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{PATIENCE, Shop, order, settings};

fn holding(hold_ms: u64) -> Settings {
    Settings {
        rules: Rules {
            hold_ms,
            ..Rules::default()
        },
        ..settings()
    }
}

/// A client that waits for the answer to its approval under the key `k1`.
fn approving(shop: &Shop, body: &Value) -> JoinSet<reqwest::Result<Response>> {
    let request = shop
        .client
        .post(shop.url("/v1/payments/approve"))
        .header("idempotency-key", "k1");
    let mut waiting = JoinSet::new();
    waiting.spawn(request.json(body).send());
    waiting
}

#[tokio::test]
async fn a_timeout_before_the_effect_captures_nothing_and_the_next_attempt_captures_once() {
    let shop = Shop::open(holding(20)).await;
    assert_eq!(
        shop.approve("k1", &order("o1", "tok-timeout-before"))
            .await
            .0,
        StatusCode::GATEWAY_TIMEOUT
    );
    assert!(shop.payments_of("o1").await.is_empty());
    assert_eq!(
        shop.approve("k1", &order("o1", "tok-timeout-before"))
            .await
            .0,
        StatusCode::OK
    );
    assert_eq!(shop.account_of("o1").await, Some((1_000, 0)));
}

#[tokio::test]
async fn a_timeout_after_the_effect_is_captured_while_the_client_still_waits() {
    let shop = Shop::open(holding(600_000)).await;
    let body = order("o1", "tok-timeout-after");
    let mut waiting = approving(&shop, &body);
    shop.has_payment("o1").await;
    assert_eq!(shop.payments_of("o1").await[0]["status"], "approved");
    assert!(waiting.try_join_next().is_none(), "the answer is held back");
    // The client gives up.
    waiting.shutdown().await;
    assert_eq!(
        shop.approve("k1", &body).await.0,
        StatusCode::OK,
        "the second attempt is answered"
    );
    assert_eq!(shop.account_of("o1").await, Some((1_000, 0)));
}

#[tokio::test]
async fn an_error_after_the_effect_is_captured_and_the_repeat_says_so() {
    let shop = Shop::open(settings()).await;
    let (status, body) = shop.approve("k1", &order("o1", "tok-500-after")).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::INTERNAL_SERVER_ERROR, &json!("internal-error"))
    );
    assert_eq!(
        shop.approve("k1", &order("o1", "tok-500-after")).await.1["status"],
        "approved"
    );
    assert_eq!(shop.account_of("o1").await, Some((1_000, 0)));
}

#[tokio::test]
async fn busy_and_in_progress_leave_no_trace() {
    let shop = Shop::open(settings()).await;
    let busy = shop.send_approval("k1", &order("o1", "tok-busy")).await;
    assert_eq!(busy.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(busy.headers()["retry-after"], "1");
    let (status, body) = shop.approve("k2", &order("o2", "tok-in-progress")).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("in-progress"))
    );
    assert_eq!(shop.summary().await.orders, 0);
    assert_eq!(
        shop.approve("k1", &order("o1", "tok-busy")).await.0,
        StatusCode::OK
    );
    assert_eq!(
        shop.approve("k2", &order("o2", "tok-in-progress")).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_wrong_amount_is_captured_as_answered() {
    let shop = Shop::open(settings()).await;
    assert_eq!(
        shop.approve("k1", &order("o1", "tok-wrong-amount")).await.1["amount"],
        999
    );
    assert_eq!(shop.account_of("o1").await, Some((999, 0)));
}

#[tokio::test]
async fn a_transient_fault_shows_for_as_many_attempts_as_the_rules_say() {
    let rules = Rules {
        faulty_attempts: 3,
        ..Rules::default()
    };
    let shop = Shop::open(Settings {
        rules,
        ..settings()
    })
    .await;
    for _ in 0..3 {
        assert_eq!(
            shop.approve("k1", &order("o1", "tok-busy")).await.0,
            StatusCode::TOO_MANY_REQUESTS
        );
    }
    assert_eq!(
        shop.approve("k1", &order("o1", "tok-busy")).await.0,
        StatusCode::OK
    );
}

#[test]
fn no_prefix_hides_another() {
    for (prefix, _) in Fault::all() {
        let matching = Fault::all()
            .iter()
            .filter(|(other, _)| prefix.starts_with(other.as_str()))
            .count();
        assert_eq!(matching, 1, "{prefix}");
    }
}

#[tokio::test]
async fn stopping_ends_held_answers_without_a_promise() {
    let shop = Shop::open(holding(600_000)).await;
    let body = order("o1", "tok-timeout-after");
    let mut held = approving(&shop, &body);
    shop.has_payment("o1").await;
    shop.running
        .shutdown(PATIENCE)
        .await
        .expect("it stops in time");
    let answer = held
        .join_next()
        .await
        .expect("one request")
        .expect("no panic")
        .expect("an answer");
    // A 503 would promise that nothing happened.
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
