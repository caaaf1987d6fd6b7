//! Attempts that end late, when somebody has decided without them.

use std::sync::Arc;
use std::time::Duration;

use engine::command::Verb;
use engine::definition::{Action as _, Policy, RetryPolicy, Saga};
use engine::store::Status;
use engine::workflow::Resolution;

use crate::support::operator::Operator as _;
use crate::support::{Script, World, status};
use crate::{Tuned, harness, reaches, step};

/// A step that takes longer than its time-out, and is tried once.
fn slow(world: &World) -> Tuned {
    let step = step(world, "slow");
    Tuned {
        policy: Policy {
            retry: RetryPolicy::NONE,
            ..step.policy()
        },
        step,
        takes: Duration::from_millis(1_500),
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_success_of_a_step_that_was_undone_is_undone_again() {
    let mut harness = harness();
    let mut saga = Saga::<u32>::new("slow", 1);
    let input = saga.input();
    let a = saga.compensable(slow(&harness.world), &input);
    harness.definition = Arc::new(saga.finish(&a).unwrap());
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(
        status(&view),
        (Status::Compensated, Some("attempt-timeout"))
    );
    assert_eq!(harness.world.log(), ["undo slow?", "slow", "undo slow?"]);
    assert_eq!(
        harness.kinds(),
        [
            "started",
            "attempt-failed",
            "compensation-done",
            "effect-found-late",
            "compensated"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pivot_that_takes_effect_after_an_operator_said_that_it_did_not_is_the_operator_s_again()
{
    let mut harness = harness();
    let mut saga = Saga::<u32>::new("slow", 1);
    let input = saga.input();
    let a = saga.compensable(step(&harness.world, "a"), &input);
    let (saga, paid) = saga.pivot(slow(&harness.world), &a);
    harness.definition = Arc::new(saga.finish(&paid).unwrap());
    harness
        .world
        .script("undo a", [Script::Retry, Script::Retry]);
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    reaches(&engine, id, Status::Parked).await;
    let refused = Verb::Resolve {
        step: "slow".into(),
        resolution: Resolution::Refused(engine::workflow::Refusal::new("no", "she thinks")),
    };
    engine
        .tell(id, refused, "ann", "it is not there")
        .await
        .unwrap();
    let view = reaches(&engine, id, Status::Parked).await;
    assert_eq!(view.head.reason.as_deref(), Some("pivot-took-effect-late"));
}
