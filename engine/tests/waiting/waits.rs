//! Instants, signals and deadlines: who waits leaves memory, and is woken on time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine::definition::{Definition, Saga};
use engine::store::Status;
use engine::{CommandError, WorkflowId};
use futures_util::future::join_all;

use crate::support::operator::{Operator as _, signal};
use crate::support::{Script, World, out_of_memory, status, until};
use crate::{Charge, HOUR, MINUTE, arrived, count, harness, reaches, step};

#[tokio::test(start_paused = true)]
async fn a_workflow_that_waits_leaves_memory_and_goes_on_when_its_signal_and_its_time_come() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    let view = reaches(&engine, id, Status::Waiting).await;
    let wake_at = view.head.wake_at.expect("it is awaited for ten minutes");
    assert_eq!(wake_at.since(view.head.created_at).as_secs(), 600);
    out_of_memory(&engine).await;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    let view = reaches(&engine, id, Status::Waiting).await;
    let cooling_until = view.head.wake_at.expect("it cools off");
    out_of_memory(&engine).await;
    assert_eq!(harness.world.log(), ["hold", "charge"]);
    let view = reaches(&engine, id, Status::Completed).await;
    assert_eq!(harness.world.log(), ["hold", "charge", "last"]);
    let late = view.head.updated_at.since(cooling_until);
    assert!(late < Duration::from_secs(1), "{late:?} late");
    assert!(view.head.updated_at >= cooling_until, "never early");
    assert_eq!(
        harness.kinds(),
        [
            "started",
            "step-done",
            "signal-received",
            "step-done",
            "timer-fired",
            "completed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_does_not_come_in_time_is_an_answer_too() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    let view = reaches(&engine, id, Status::Compensated).await;
    assert_eq!(status(&view), (Status::Compensated, Some("nobody-came")));
    assert_eq!(harness.world.log(), ["hold", "undo hold"]);
    let late = engine.tell(id, arrived(), "gateway", "late").await;
    assert!(matches!(late, Err(CommandError::Conflict(why)) if why.contains("ended")));
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_comes_early_is_kept_and_a_duplicate_is_dropped() {
    let harness = harness();
    harness.world.script("hold", [Script::Retry, Script::Retry]);
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    // The hold is still being attempted.
    engine
        .tell(id, arrived(), "gateway", "early")
        .await
        .unwrap();
    engine
        .tell(id, arrived(), "gateway", "twice")
        .await
        .unwrap();
    reaches(&engine, id, Status::Completed).await;
    let signals = harness
        .kinds()
        .iter()
        .filter(|kind| *kind == "signal-received")
        .count();
    assert_eq!(signals, 1);
    assert_eq!(harness.world.log().last().unwrap(), "last");
}

#[tokio::test(start_paused = true)]
async fn a_signal_of_the_wrong_type_or_name_is_refused_and_nothing_is_stored() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    reaches(&engine, id, Status::Waiting).await;
    for (verb, what) in [
        (signal("authorised", "x", &"seven"), "authorised"),
        (signal("no-such", "x", &7), "no-such"),
    ] {
        let refused = engine.tell(id, verb, "gateway", "wrong").await;
        assert!(
            matches!(&refused, Err(CommandError::Invalid(why)) if why.contains(what)),
            "{refused:?}"
        );
    }
    let not_awaited = engine
        .tell(id, signal("hold", "x", &7), "gateway", "wrong")
        .await;
    assert!(
        matches!(not_awaited, Err(CommandError::Conflict(_))),
        "{not_awaited:?}"
    );
    assert!(
        engine
            .commands(Some(id), None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_goes_on_under_the_next_owner_on_time() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    let view = reaches(&engine, id, Status::Waiting).await;
    let cooling_until = view.head.wake_at.unwrap();
    drop(engine);
    // The same node name: it takes the partitions back at once.
    let next = harness.open().await;
    assert_eq!(
        next.counters().in_flight,
        0,
        "a workflow that waits is not loaded"
    );
    let view = reaches(&next, id, Status::Completed).await;
    let late = view.head.updated_at.since(cooling_until);
    assert!(late < Duration::from_secs(1), "{late:?} late");
    assert_eq!(harness.world.log(), ["hold", "charge", "last"]);
}

#[tokio::test(start_paused = true)]
async fn thousands_that_wait_are_woken_on_time() {
    let harness = harness();
    let engine = harness.open().await;
    for chunk in 0..8 {
        let starts = (0..500).map(|key| {
            let (engine, start) = (engine.clone(), harness.start(&format!("{chunk} {key}")));
            async move { engine.start(start).await.unwrap().view().id }
        });
        join_all(starts).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    out_of_memory(&engine).await;
    tokio::time::sleep(10 * MINUTE).await;
    until("all have given up", async || {
        count(&harness, Status::Compensated).await == 4_000
    })
    .await;
    let fired = harness
        .store
        .events()
        .into_iter()
        .filter(|event| event.kind == "timer-fired");
    let mut latest = Duration::ZERO;
    let started: HashMap<WorkflowId, _> = harness
        .store
        .events()
        .into_iter()
        .filter(|event| event.kind == "step-done" && event.seq == 2)
        .map(|event| (event.workflow, event.at))
        .collect();
    for event in fired {
        latest = latest.max(event.at.since(started[&event.workflow].after(10 * MINUTE)));
    }
    assert!(latest < Duration::from_secs(1), "{latest:?} late");
}

#[tokio::test(start_paused = true)]
async fn no_wait_ends_while_the_engine_is_at_rest() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    reaches(&engine, id, Status::Waiting).await;
    let deadline = engine.runtime().now().after(Duration::from_secs(5));
    assert!(engine.pause(deadline).await);
    let before = harness.kinds();
    tokio::time::sleep(HOUR).await;
    assert_eq!(
        harness.kinds(),
        before,
        "nothing is recorded during a pause"
    );
    engine.resume();
    let view = reaches(&engine, id, Status::Compensated).await;
    assert_eq!(view.head.reason.as_deref(), Some("nobody-came"));
}

// ---- deadlines ----

fn with_deadline(world: &World) -> Arc<Definition> {
    let mut saga = Saga::<u32>::new("purchase", 1);
    saga.deadline(MINUTE);
    let held = saga.compensable(step(world, "hold"), &saga.input());
    let said = saga.await_signal::<u32, _>("authorised", &held, |_, _| None);
    let (mut saga, charged) = saga.pivot(Charge(step(world, "charge")), (&held, &said));
    let last = saga.retriable(step(world, "last"), &charged);
    Arc::new(saga.finish(&last).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_is_not_past_its_pivot_at_its_deadline_turns_back() {
    let mut harness = harness();
    harness.definition = with_deadline(&harness.world);
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    reaches(&engine, id, Status::Waiting).await;
    out_of_memory(&engine).await;
    let view = reaches(&engine, id, Status::Compensated).await;
    assert_eq!(view.head.reason.as_deref(), Some("deadline-passed"));
    let after = view.head.updated_at.since(view.head.created_at);
    assert!((60..62).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_does_not_turn_back_what_is_past_its_pivot() {
    let mut harness = harness();
    harness.definition = with_deadline(&harness.world);
    harness.world.script(
        "charge",
        [Script::Unknown, Script::Unknown, Script::Unknown],
    );
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    reaches(&engine, id, Status::Parked).await;
    tokio::time::sleep(5 * MINUTE).await;
    engine
        .retry(id, "ann", "the gateway is back")
        .await
        .unwrap();
    reaches(&engine, id, Status::Completed).await;
}
