//! What is promised to those who wait for a workflow to be as they want it.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::definition::{Durability, Saga};
use engine::store::Status;
use engine::{Engine, Timestamp, View};
use support::operator::{Operator as _, signal};
use support::{Harness, Script, Scripted, out_of_memory};

const MINUTE: Duration = Duration::from_mins(1);

/// `hold`, then `authorised` (a signal, for ten minutes), then `pay` (the pivot), then `last`.
fn harness() -> Harness {
    let mut harness = Harness::new(Durability::Barrier);
    let step = |name| Scripted {
        name,
        world: harness.world.clone(),
        durability: Durability::Barrier,
    };
    let mut saga = Saga::<u32>::new("purchase", 1);
    let held = saga.compensable(step("hold"), &saga.input());
    let said =
        saga.await_signal::<u32, _>("authorised", &held, |_, now| Some(now.after(10 * MINUTE)));
    let (mut saga, paid) = saga.pivot(step("pay"), &held);
    saga.order(&said, &paid);
    let last = saga.retriable(step("last"), &paid);
    harness.definition = Arc::new(saga.finish(&last).unwrap());
    harness
}

fn gave(view: &View, step: &str) -> bool {
    let state = view.state.as_ref();
    state.is_some_and(|state| state.output_of(step).is_some())
}

fn in_a(duration: Duration, engine: &Engine) -> Timestamp {
    engine.runtime().now().after(duration)
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_something_ends_at_the_moment_in_which_it_is_durable() {
    let harness = harness();
    harness.world.script("hold", [Script::Retry, Script::Hang]);
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    let asked = AtomicU32::new(0);
    let held = |view: &View| {
        asked.fetch_add(1, Ordering::Relaxed);
        gave(view, "hold")
    };
    let view = engine.wait_for(id, in_a(MINUTE, &engine), held).await;
    let view = view.unwrap().unwrap();
    assert!(gave(&view, "hold") && !view.is_settled());
    assert_eq!(engine.runtime().now(), view.head.updated_at, "no later");
    let asked = asked.into_inner();
    assert!(asked < 10, "it is told, and does not ask: {asked} times");
    // What holds already holds at once, also when the workflow has left memory.
    out_of_memory(&engine).await;
    let before = engine.runtime().now();
    let again = engine.wait_for(id, in_a(MINUTE, &engine), |view| gave(view, "hold"));
    assert!(again.await.unwrap().is_some());
    assert_eq!(engine.runtime().now(), before);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_something_ends_with_the_workflow_and_with_the_time_for_it() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    let begun = engine.runtime().now();
    let in_vain = engine.wait_for(id, in_a(MINUTE, &engine), |view| gave(view, "pay"));
    let view = in_vain.await.unwrap().unwrap();
    assert_eq!(view.head.status, Status::Waiting);
    assert_eq!(engine.runtime().now().since(begun), MINUTE);
    // Nobody authorises: it is undone in the end.
    let until_then = in_a(30 * MINUTE, &engine);
    engine
        .tell(id, engine::command::Verb::Compensate, "ann", "no")
        .await
        .unwrap();
    let view = engine.wait_for(id, until_then, |view| gave(view, "pay"));
    assert_eq!(
        view.await.unwrap().unwrap().head.status,
        Status::Compensated
    );
    assert!(engine.runtime().now() < until_then);
    let nobody = engine::WorkflowId::new(engine::PartitionId(1), [9; 12]);
    let none = engine.wait_for(nobody, until_then, |_| true).await;
    assert!(none.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_something_goes_on_when_the_workflow_was_out_of_memory() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    out_of_memory(&engine).await;
    let until_then = in_a(MINUTE, &engine);
    let (view, ()) = tokio::join!(
        engine.wait_for(id, until_then, |view| gave(view, "pay")),
        async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            let told = signal("authorised", "pg-1", &7);
            engine.tell(id, told, "gateway", "yes").await.unwrap();
        }
    );
    assert!(gave(&view.unwrap().unwrap(), "pay"));
    let left = until_then.since(engine.runtime().now());
    assert!(left > Duration::from_secs(52), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_durable_is_not_seen_by_those_who_wait_for_it() {
    let harness = harness();
    harness.world.script("hold", [Script::Retry]);
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    harness.store.set_down(true);
    let seconds = Duration::from_secs(3);
    let too_early = engine.wait_for(id, in_a(seconds, &engine), |view| gave(view, "hold"));
    assert!(
        too_early
            .await
            .is_ok_and(|view| view.is_some_and(|view| !gave(&view, "hold")))
    );
    harness.store.set_down(false);
    let view = engine.wait_for(id, in_a(MINUTE, &engine), |view| gave(view, "hold"));
    assert!(gave(&view.await.unwrap().unwrap(), "hold"));
}
