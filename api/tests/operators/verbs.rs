//! What operators may do to one workflow, and what they are told when it makes no sense.

use serde_json::{Value, json};

use super::desk::{Desk, expect_problem, step};
use crate::support::eventually;

/// What the payment step gives when this much was captured.
fn paid(amount: u64) -> Value {
    json!({ "payment": "pay-by-hand", "captured": { "amount": amount, "currency": "KRW" } })
}

#[tokio::test]
async fn a_retry_brings_an_attempt_forward_and_lets_a_parked_workflow_go_on() {
    let desk = Desk::open().await;
    let id = desk.parked().await;
    let parked = desk.workflow(&id).await;
    assert_eq!(
        parked["waiting_for_operator"]["step"], "payment",
        "{parked}"
    );
    assert_eq!(parked["reason"], "payment-in-progress", "{parked}");
    assert_eq!(parked["paused"], false, "{parked}");
    let attempts = step(&parked, "payment")["attempts"].as_u64();
    assert!(attempts >= Some(10), "{parked}");
    desk.gateway_fails(0).await;
    let answer = desk.tell(&id, "retry").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["id"], id.as_str(), "{answer:?}");
    desk.in_state(&id, "COMPLETED").await;
    let again = desk.tell(&id, "retry").await;
    expect_problem(&again, 409, "conflict", "", "COMPLETED");
    desk.shop.quiet().await;
    desk.shop.verify().await;
}

#[tokio::test]
async fn a_workflow_that_waits_outside_memory_is_listed_as_such_and_comes_back_for_an_order() {
    let desk = Desk::open().await;
    let id = desk.stuck().await;
    let listed = eventually("the workflow to wait for its next attempt", || async {
        let waiting = desk.shop.workflows("WAITING").await;
        waiting.into_iter().find(|one| one["id"] == id.as_str())
    })
    .await;
    assert!(listed["wakes_at"].is_string(), "{listed}");
    desk.gateway_fails(0).await;
    // Its time may have come by itself.
    let retried = desk.tell(&id, "retry").await;
    assert!([200, 409].contains(&retried.status), "{retried:?}");
    let ended = desk.in_state(&id, "COMPLETED").await;
    assert_eq!(ended["wakes_at"], Value::Null, "{ended}");
}

#[tokio::test]
async fn a_workflow_past_its_pivot_is_not_compensated_and_the_answer_says_why() {
    let desk = Desk::open().await;
    let id = desk.parked().await;
    let refused = desk.tell(&id, "compensate").await;
    expect_problem(&refused, 409, "conflict", "", "past the pivot");
    assert_eq!(desk.workflow(&id).await["past_pivot"], true);
}

#[tokio::test]
async fn what_nobody_knows_is_resolved_as_refused_and_the_workflow_turns_back() {
    let desk = Desk::open().await;
    let id = desk.parked().await;
    let refused = json!({ "step": "payment", "refused": { "code": "payment-declined", "message": "The bank says no." } });
    let answer = desk.order(&id, "resolve", &refused).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let ended = desk.in_state(&id, "COMPENSATED").await;
    assert_eq!(ended["turned_back_because"]["code"], "payment-declined");
    assert_eq!(
        step(&ended, "stock-reserve")["compensation"]["state"],
        "done"
    );
    desk.shop.quiet().await;
    desk.shop.verify().await;
}

#[tokio::test]
async fn what_nobody_knows_is_resolved_as_done_with_an_output_that_later_steps_can_read() {
    let desk = Desk::open().await;
    let id = desk.parked().await;
    let wrong = json!({ "step": "payment", "done": { "captured": 7 } });
    let refused = desk.order(&id, "resolve", &wrong).await;
    expect_problem(&refused, 422, "invalid-field", "done", "payment");
    let nowhere = json!({ "step": "delivery", "done": 7 });
    let refused = desk.order(&id, "resolve", &nowhere).await;
    expect_problem(&refused, 422, "invalid-field", "step", "goods-issue");
    let known = json!({ "step": "stock-reserve", "undone": true });
    let refused = desk.order(&id, "resolve", &known).await;
    expect_problem(&refused, 409, "conflict", "", "not being undone");
    let before = desk.commands(&id).await;
    let answer = desk
        .order(
            &id,
            "resolve",
            &json!({ "step": "payment", "done": paid(10_000) }),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    desk.in_state(&id, "COMPLETED").await;
    let after = desk.commands(&id).await;
    assert_eq!(after.len(), before.len() + 1, "refused orders leave no row");
    assert_eq!(after[0]["with"]["done"], paid(10_000), "{after:?}");
}

#[tokio::test]
async fn a_step_is_skipped_with_an_output_in_its_place() {
    let desk = Desk::open().await;
    let id = desk.parked().await;
    let wrong = json!({ "step": "payment", "output": [] });
    let refused = desk.order(&id, "skip", &wrong).await;
    expect_problem(&refused, 422, "invalid-field", "output", "payment");
    let done = json!({ "step": "coupon-claim", "output": null });
    let refused = desk.order(&id, "skip", &done).await;
    assert!([409, 422].contains(&refused.status), "{refused:?}");
    let answer = desk
        .order(
            &id,
            "skip",
            &json!({ "step": "payment", "output": paid(10_000) }),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let ended = desk.in_state(&id, "COMPLETED").await;
    assert_eq!(step(&ended, "payment")["output"], paid(10_000), "{ended}");
}

#[tokio::test]
async fn a_paused_workflow_stands_still_until_it_is_resumed() {
    let desk = Desk::open().await;
    let id = desk.stuck().await;
    let answer = desk.tell(&id, "resume").await;
    expect_problem(&answer, 409, "conflict", "", "not paused");
    let paused = desk.tell(&id, "pause").await;
    assert_eq!(paused.status, 200, "{paused:?}");
    let shown = desk.in_state(&id, "PARKED").await;
    assert_eq!(shown["paused"], true, "{shown}");
    assert_eq!(shown["reason"], "paused-by-operator", "{shown}");
    for verb in ["retry", "pause"] {
        let refused = desk.tell(&id, verb).await;
        expect_problem(&refused, 409, "conflict", "", "");
    }
    desk.gateway_fails(0).await;
    let answer = desk.tell(&id, "resume").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(desk.in_state(&id, "COMPLETED").await["paused"], false);
    desk.shop.quiet().await;
    desk.shop.verify().await;
}

#[tokio::test]
async fn an_abandoned_workflow_has_ended_and_says_what_it_leaves() {
    let desk = Desk::open().await;
    let id = desk.parked().await;
    let answer = desk.tell(&id, "abandon").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let ended = desk.in_state(&id, "ABANDONED").await;
    let left = json!(["coupon-claim", "stock-reserve", "payment"]);
    assert_eq!(ended["abandoned"]["left"], left, "{ended}");
    assert_eq!(ended["abandoned"]["because"]["message"], "alice: a test");
    // Nobody knows any better whether it is paid, and so the books go on naming it.
    let books = desk.look(&format!("sales/{}/ledger", desk.shop.sale)).await;
    let undecided = &books["undecided"];
    assert_eq!(undecided["purchases"], 1, "{books:#}");
    assert_eq!(undecided["listed"][0]["purchase"], id.as_str(), "{books:#}");
    assert_eq!(undecided["listed"][0]["state"], "ABANDONED", "{books:#}");
    for verb in ["retry", "compensate", "pause", "resume", "abandon"] {
        let refused = desk.tell(&id, verb).await;
        expect_problem(&refused, 409, "conflict", "", "ABANDONED");
    }
    desk.shop.quiet().await;
    desk.shop.verify().await;
}

#[tokio::test]
async fn a_signal_goes_only_where_one_is_awaited() {
    let desk = Desk::open().await;
    let id = desk.stuck().await;
    let signal = |name: &str| json!({ "name": name, "id": "s-1", "payload": {} });
    // Its id is its key.
    let send = |name: &str| crate::support::http::send(desk.request(&id, "signal", &signal(name)));
    expect_problem(
        &send("payment").await,
        409,
        "conflict",
        "",
        "awaits no signal",
    );
    expect_problem(
        &send("weather").await,
        422,
        "invalid-field",
        "name",
        "no step",
    );
}
