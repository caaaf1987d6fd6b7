//! What the engine promises to one workflow, whatever its steps and its store do.

mod support;

use std::sync::Arc;
use std::time::Duration;

use engine::definition::Durability::{Barrier, Replayable};
use engine::store::change::ChangeKind;
use engine::store::{Change, Status, Table, Value};
use engine::testing::Fault;
use engine::workflow::Refusal;
use engine::{CommandError, StartError, Started};
use futures_util::future::join_all;
use support::operator::Operator as _;
use support::{Harness, RestlessClock, Script, status, until};

static STOCK: Table = Table {
    name: "stock",
    key: &["product"],
    columns: &["held"],
};

fn hold_one() -> Script {
    Script::DoneWith(vec![Change {
        table: &STOCK,
        key: vec![Value::from("tee")],
        kind: ChangeKind::Add(vec![("held", 1)]),
        refusal: Refusal::new("sold-out", "nothing is left"),
    }])
}

#[tokio::test(start_paused = true)]
async fn a_workflow_runs_its_steps_in_order_and_completes() {
    let harness = Harness::new(Barrier);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(status(&view), (Status::Completed, None));
    assert_eq!(harness.world.log(), ["a", "b", "pivot", "last"]);
    assert_eq!(
        harness.kinds(),
        [
            "started",
            "step-done",
            "step-done",
            "step-done",
            "completed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn replayable_steps_share_one_commit_before_the_pivot_and_one_after_it() {
    let harness = Harness::new(Replayable);
    let engine = harness.open().await;
    harness.run(&engine, "k").await.unwrap();
    assert_eq!(engine.counters().commits, 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_before_anything_is_durable_leaves_no_trace() {
    let harness = Harness::new(Replayable);
    harness.world.script("b", [Script::Refuse("sold-out")]);
    let engine = harness.open().await;
    let refused = harness.run(&engine, "k").await;
    assert!(matches!(refused, Err(StartError::Refused(refusal)) if refusal.code == "sold-out"));
    assert_eq!(harness.world.log(), ["a", "b", "undo a"]);
    assert_eq!(harness.world.forgotten(), ["a"]);
    assert_eq!(
        (harness.store.workflows(), harness.store.events().len()),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_cannot_be_attempted_before_anything_is_durable_makes_the_start_unavailable() {
    let harness = Harness::new(Replayable);
    harness.world.script("b", [Script::Retry]);
    let engine = harness.open().await;
    assert!(matches!(
        harness.run(&engine, "k").await,
        Err(StartError::Unavailable(_))
    ));
    assert_eq!(harness.world.log(), ["a", "b", "undo a"]);
    assert_eq!(harness.store.workflows(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_comes_due_between_two_looks_at_the_clock_is_made() {
    let mut harness = Harness::on(Arc::new(RestlessClock::new()), Barrier);
    harness.settings.lease = Duration::from_hours(1);
    let engine = harness.open().await;
    for number in 0..100 {
        harness
            .world
            .script("last", [Script::Unknown, Script::Unknown]);
        let view = harness.run(&engine, &format!("k{number}")).await.unwrap();
        assert_eq!(status(&view), (Status::Completed, None), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_makes_the_workflow_durable_and_is_tried_again() {
    let harness = Harness::new(Replayable);
    harness.world.script("b", [Script::Unknown]);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(view.head.status, Status::Completed);
    assert_eq!(harness.world.log(), ["a", "b", "b", "pivot", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_compensated_in_reverse_order() {
    let harness = Harness::new(Barrier);
    harness.world.script("pivot", [Script::Refuse("declined")]);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(status(&view), (Status::Compensated, Some("declined")));
    assert_eq!(harness.world.log(), ["a", "b", "pivot", "undo b", "undo a"]);
    assert!(
        harness.world.forgotten().is_empty(),
        "durable work is undone by key, for ever"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_stays_unknown_is_compensated_because_it_may_have_happened() {
    let harness = Harness::new(Barrier);
    harness
        .world
        .script("b", [Script::Unknown, Script::Panic, Script::Hang]);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(view.head.status, Status::Compensated);
    assert_eq!(
        harness.world.log(),
        ["a", "b", "b", "b", "undo b?", "undo a"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pivot_that_stays_unknown_is_parked_and_not_undone_until_an_operator_retries_it() {
    let harness = Harness::new(Barrier);
    harness
        .world
        .script("pivot", [Script::Unknown, Script::Unknown, Script::Unknown]);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(status(&view), (Status::Parked, Some("scripted")));
    let refused = engine.compensate(view.id, "ann", "give up").await;
    assert!(matches!(refused, Err(CommandError::Conflict(why)) if why.contains("pivot")));
    let going = engine
        .retry(view.id, "ann", "the gateway is back")
        .await
        .unwrap();
    let done = engine
        .wait(
            going.id,
            harness.runtime.now().after(Duration::from_secs(9)),
        )
        .await;
    assert_eq!(done.unwrap().unwrap().head.status, Status::Completed);
    assert!(
        !harness
            .world
            .log()
            .iter()
            .any(|entry| entry.starts_with("undo"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_past_the_pivot_is_retried_and_then_parked_never_undone() {
    let harness = Harness::new(Barrier);
    harness
        .world
        .script("last", [Script::Retry, Script::Retry, Script::Retry]);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(view.head.status, Status::Parked);
    assert_eq!(
        harness.world.log(),
        ["a", "b", "pivot", "last", "last", "last"]
    );
}

#[tokio::test(start_paused = true)]
async fn rows_that_the_store_refuses_refuse_the_step_and_undo_its_effect_outside() {
    let harness = Harness::new(Replayable);
    harness.world.script("b", [hold_one()]);
    harness.store.refuse_changes("stock");
    let engine = harness.open().await;
    let refused = harness.run(&engine, "k").await;
    assert!(matches!(refused, Err(StartError::Refused(refusal)) if refusal.code == "sold-out"));
    assert_eq!(harness.world.log(), ["a", "b", "undo b?", "undo a"]);
    assert_eq!(harness.store.workflows(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_refused_workflow_does_not_spoil_the_batch_that_it_is_in() {
    let harness = Harness::new(Replayable);
    harness.world.script("b", [hold_one()]);
    harness.store.refuse_changes("stock");
    let engine = harness.open().await;
    let keys: Vec<String> = (0..50).map(|key| key.to_string()).collect();
    let runs = join_all(keys.iter().map(|key| harness.run(&engine, key))).await;
    let completed = runs
        .iter()
        .flatten()
        .filter(|view| view.head.status == Status::Completed);
    assert_eq!((completed.count(), harness.store.workflows()), (49, 49));
    assert!(engine.counters().splits > 0, "the batch was split");
}

#[tokio::test(start_paused = true)]
async fn fifty_starts_with_one_key_make_one_workflow() {
    let harness = Harness::new(Replayable);
    let engine = harness.open().await;
    let started = join_all((0..50).map(|_| engine.start(harness.start("same")))).await;
    let ids: std::collections::HashSet<_> = started
        .iter()
        .map(|started| started.as_ref().unwrap().view().id)
        .collect();
    let new = started
        .iter()
        .filter(|started| matches!(started, Ok(Started::New(_))))
        .count();
    assert_eq!((ids.len(), new, harness.store.workflows()), (1, 1, 1));
    let mut other = harness.start("same");
    other.request_hash = [2; 32];
    assert!(matches!(
        engine.start(other).await,
        Err(StartError::KeyReused(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_remembered_by_the_store_after_a_restart() {
    let harness = Harness::new(Replayable);
    let engine = harness.open().await;
    let first = harness.run(&engine, "k").await.unwrap();
    let engine = harness.open().await;
    let again = engine.start(harness.start("k")).await.unwrap();
    assert!(matches!(&again, Started::Existing(view) if view.id == first.id));
    assert_eq!(harness.store.workflows(), 1);
    assert!(
        !harness
            .world
            .log()
            .iter()
            .any(|entry| entry.starts_with("undo"))
    );
    let mut other = harness.start("k");
    other.request_hash = [2; 32];
    assert!(matches!(
        engine.start(other).await,
        Err(StartError::KeyReused(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn an_open_workflow_goes_on_under_the_next_owner() {
    let harness = Harness::new(Barrier);
    harness.world.script("pivot", [Script::Hang]);
    let engine = harness.open().await;
    let started = engine.start(harness.start("k")).await.unwrap();
    harness.world.has_attempted(&["a", "b", "pivot"]).await;
    // The same node name: it takes the partitions back at once, and the old owner is fenced.
    let next = harness.open().await;
    let view = harness.settled(&next, &started).await;
    assert_eq!(view.head.status, Status::Completed);
    assert_eq!(harness.world.log(), ["a", "b", "pivot", "pivot", "last"]);
    let stale = engine.start(harness.start("other")).await;
    assert!(stale.is_err(), "the fenced owner starts nothing: {stale:?}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_is_neither_lost_nor_doubled() {
    for fault in [
        Fault::LostAfterCommit,
        Fault::LostBeforeCommit,
        Fault::Unavailable,
        Fault::Contended,
    ] {
        let harness = Harness::new(Barrier);
        harness.store.fail_next([fault.clone(), fault.clone()]);
        let engine = harness.open().await;
        let view = harness.run(&engine, "k").await.unwrap();
        assert_eq!(view.head.status, Status::Completed, "{fault:?}");
        assert_eq!(harness.kinds().len(), 5, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_stops_the_node_and_its_return_brings_it_back() {
    let harness = Harness::new(Replayable);
    let engine = harness.open().await;
    harness.store.set_down(true);
    let undecided = engine.start(harness.start("k")).await;
    assert!(
        matches!(undecided, Err(StartError::Undecided(_))),
        "{undecided:?}"
    );
    until("it stops", async || !engine.is_serving()).await;
    harness.store.set_down(false);
    until("it serves again", async || engine.is_serving()).await;
    // What the lost start did is undone, unless its client repeats it first: it does.
    until("the repeat is taken", async || {
        harness.run(&engine, "k").await.is_ok()
    })
    .await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(view.head.status, Status::Completed);
    assert_eq!(harness.store.workflows(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_start_did_is_undone() {
    let harness = Harness::new(Replayable);
    let engine = harness.open().await;
    harness.store.set_down(true);
    let undecided = engine.start(harness.start("k")).await;
    assert!(undecided.is_err());
    // Before the lease has ended the start may still be written.
    tokio::time::sleep(harness.settings.lease).await;
    assert!(!engine.is_serving());
    harness.store.set_down(false);
    until("it is undone", async || harness.world.log().len() >= 4).await;
    assert_eq!(harness.world.log(), ["a", "b", "undo b", "undo a"]);
    assert_eq!(harness.store.workflows(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_what_is_under_way_and_nothing_begins_during_it() {
    let harness = Harness::new(Replayable);
    let engine = harness.open().await;
    let starts = join_all((0..20).map(|key| {
        let start = harness.start(&key.to_string());
        let engine = engine.clone();
        async move { engine.start(start).await }
    }));
    let deadline = harness.runtime.now().after(Duration::from_secs(5));
    let (started, paused) = tokio::join!(starts, engine.pause(deadline));
    assert!(paused);
    let begun = harness.world.log().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        harness.world.log().len(),
        begun,
        "nothing begins during a pause"
    );
    assert!(matches!(
        engine.start(harness.start("late")).await,
        Err(StartError::NotServing(_))
    ));
    engine.resume();
    for started in started.iter().flatten() {
        assert_eq!(
            harness.settled(&engine, started).await.head.status,
            Status::Completed
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_event_is_published_once_per_workflow_and_in_order() {
    let harness = Harness::new(Barrier);
    let mut events = harness.bus.subscribe(10_000);
    let engine = harness.open().await;
    let keys: Vec<String> = (0..30).map(|key| key.to_string()).collect();
    join_all(keys.iter().map(|key| harness.run(&engine, key))).await;
    let deadline = harness.runtime.now().after(Duration::from_secs(10));
    let drained = engine.drain(deadline).await;
    assert_eq!((drained.open, drained.unpublished), (0, 0));
    let mut seen = std::collections::HashMap::new();
    let mut count = 0;
    while let Ok(event) = events.try_recv() {
        let last = seen.insert(event.workflow, event.seq).unwrap_or(0);
        assert_eq!(event.seq, last + 1);
        count += 1;
    }
    assert_eq!((count, seen.len()), (30 * 5, 30));
}
