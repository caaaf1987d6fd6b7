//! A port that does not answer: few ask it, and who waits for it comes back by and by.

use std::sync::Arc;
use std::time::Duration;

use engine::StartError;
use engine::definition::{Action as _, Definition, Durability, Policy, RetryPolicy, Saga};
use engine::store::Status;
use futures_util::future::join_all;

use crate::support::{Script, Scripted, World, out_of_memory};
use crate::{MINUTE, Tuned, count, harness, reaches, step};

/// A step that depends on a port and never gives up.
fn at_port(step: Scripted) -> Tuned {
    let policy = step.policy();
    let retry = RetryPolicy {
        attempts_max: 1_000,
        ..policy.retry
    };
    Tuned {
        step,
        policy: Policy {
            port: Some("gateway"),
            retry,
            ..policy
        },
        takes: Duration::ZERO,
    }
}

/// A step whose next attempt is longer away than a workflow stays in memory.
fn patient(world: &World) -> Tuned {
    let step = step(world, "pay");
    let retry = RetryPolicy {
        first_delay: MINUTE,
        delay_max: MINUTE,
        attempts_max: 3,
        elapsed_max: None,
    };
    Tuned {
        policy: Policy {
            retry,
            ..step.policy()
        },
        step,
        takes: Duration::ZERO,
    }
}

fn ported(world: &World, durability: Durability) -> Arc<Definition> {
    let step = Scripted {
        durability,
        ..step(world, "a")
    };
    let mut saga = Saga::<u32>::new("ported", 1);
    let input = saga.input();
    let a = saga.compensable(at_port(step), &input);
    Arc::new(saga.finish(&a).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_down_is_asked_by_few_and_those_who_wait_come_back_staggered() {
    let mut harness = harness();
    harness.definition = ported(&harness.world, Durability::Barrier);
    harness.world.script("a", vec![Script::Retry; 2_000]);
    let engine = harness.open().await;
    let starts = (0..1_000).map(|key| {
        let (engine, start) = (engine.clone(), harness.start(&key.to_string()));
        async move { engine.start(start).await.unwrap().view().id }
    });
    join_all(starts).await;
    let at_first = harness.world.log().len();
    tokio::time::sleep(5 * MINUTE).await;
    let tried = harness.world.log().len() - at_first;
    assert!(
        tried < 100,
        "{tried} attempts in five minutes at a port that is down"
    );
    out_of_memory(&engine).await;
    harness.world.script("a", []);
    // At most a pause of 30 s, then one every 5 ms.
    let mut busiest = 0;
    for _ in 0..4_000 {
        let before = harness.world.log().len();
        tokio::time::sleep(Duration::from_millis(10)).await;
        busiest = busiest.max(harness.world.log().len() - before);
    }
    assert_eq!(count(&harness, Status::Completed).await, 1_000);
    assert!(busiest <= 20, "{busiest} at once");
}

#[tokio::test(start_paused = true)]
async fn a_start_at_a_port_that_is_down_is_told_so_at_once_and_leaves_no_trace() {
    let mut harness = harness();
    harness.definition = ported(&harness.world, Durability::Replayable);
    harness.world.script("a", vec![Script::Retry; 2_000]);
    let engine = harness.open().await;
    for key in 0..50 {
        let refused = engine.start(harness.start(&key.to_string())).await;
        assert!(
            matches!(refused, Err(StartError::Unavailable(_))),
            "{refused:?}"
        );
    }
    assert!(
        harness.world.log().len() < 20,
        "{}",
        harness.world.log().len()
    );
    assert_eq!(harness.store.workflows(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_steps_all_wait_for_a_port_that_is_down_leaves_no_trace_either() {
    let mut harness = harness();
    let replayable = |name| Scripted {
        durability: Durability::Replayable,
        ..step(&harness.world, name)
    };
    let mut saga = Saga::<u32>::new("ported", 1);
    let input = saga.input();
    let a = saga.compensable(at_port(replayable("a")), &input);
    saga.compensable(at_port(replayable("b")), &input);
    harness.definition = Arc::new(saga.finish(&a).unwrap());
    for name in ["a", "b", "undo a?", "undo b?"] {
        harness.world.script(name, vec![Script::Retry; 2_000]);
    }
    let engine = harness.open().await;
    let mut tried = 0;
    for key in 0..50 {
        let refused = engine.start(harness.start(&key.to_string())).await;
        assert!(
            matches!(refused, Err(StartError::Unavailable(_))),
            "{refused:?}"
        );
        if key == 20 {
            tried = harness.world.log().len();
        }
    }
    assert_eq!(
        harness.world.log().len(),
        tried,
        "nothing is tried any more, forward or back"
    );
    assert_eq!(harness.store.workflows(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_after_a_rest_is_known_to_be_the_first_of_its_number() {
    let mut harness = harness();
    let mut saga = Saga::<u32>::new("patient", 1);
    let input = saga.input();
    let a = saga.compensable(step(&harness.world, "a"), &input);
    let (saga, paid) = saga.pivot(patient(&harness.world), &a);
    harness.definition = Arc::new(saga.finish(&paid).unwrap());
    harness.world.script("pay", vec![Script::Retry; 3]);
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    let view = reaches(&engine, id, Status::Compensated).await;
    assert_eq!(
        view.head.reason.as_deref(),
        Some("scripted"),
        "no attempt had an effect"
    );
}
