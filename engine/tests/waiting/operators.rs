//! What operators do with workflows that wait or are parked.

use std::time::Duration;

use engine::command::Verb;
use engine::store::Status;
use engine::workflow::{By, Resolution, StepState};
use engine::{CommandError, Engine, Payload, WorkflowId};

use crate::support::operator::{Operator as _, command};
use crate::support::{Harness, Script};
use crate::{HOUR, arrived, harness, reaches};

async fn parked_at_charge(harness: &Harness, engine: &Engine) -> WorkflowId {
    harness.world.script(
        "charge",
        [Script::Unknown, Script::Unknown, Script::Unknown],
    );
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    reaches(engine, id, Status::Parked).await;
    id
}

#[tokio::test(start_paused = true)]
async fn nobody_gives_a_command_in_the_engines_own_name() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let refused = engine.retry(id, By::ENGINE, "who was it?").await;
    assert!(
        matches!(&refused, Err(CommandError::Invalid(why)) if why.contains("engine")),
        "{refused:?}"
    );
    engine.retry(id, "engineer", "it was me").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_knows_what_became_of_an_attempt_resolves_it() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let wrong = Verb::Resolve {
        step: "charge".into(),
        resolution: Resolution::Done(Payload::of("paid").unwrap()),
    };
    let refused = engine.tell(id, wrong, "ann", "she thinks").await;
    assert!(
        matches!(refused, Err(CommandError::Invalid(_))),
        "{refused:?}"
    );
    let paid = Verb::Resolve {
        step: "charge".into(),
        resolution: Resolution::Done(Payload::of(&5).unwrap()),
    };
    engine
        .tell(id, paid, "ann", "it is in the gateway's books")
        .await
        .unwrap();
    let view = reaches(&engine, id, Status::Completed).await;
    let state = view.state.unwrap();
    assert_eq!(
        state
            .output_of("charge")
            .map(|output| output.as_str().to_owned()),
        Some("5".into())
    );
    assert_eq!(
        harness
            .world
            .log()
            .iter()
            .filter(|entry| *entry == "charge")
            .count(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_knows_that_it_did_not_happen_turns_it_back() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let refused = Verb::Resolve {
        step: "charge".into(),
        resolution: Resolution::Refused(engine::workflow::Refusal::new("not-charged", "checked")),
    };
    engine
        .tell(id, refused, "ann", "it is not in the gateway's books")
        .await
        .unwrap();
    let view = reaches(&engine, id, Status::Compensated).await;
    assert_eq!(view.head.reason.as_deref(), Some("not-charged"));
    assert_eq!(harness.world.log().last().unwrap(), "undo hold");
}

#[tokio::test(start_paused = true)]
async fn a_paused_workflow_does_nothing_until_it_is_resumed() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    reaches(&engine, id, Status::Waiting).await;
    engine
        .tell(id, Verb::Pause, "ann", "under investigation")
        .await
        .unwrap();
    let retried = engine.retry(id, "ben", "go").await;
    assert!(matches!(retried, Err(CommandError::Conflict(why)) if why.contains("paused")));
    engine
        .tell(id, arrived(), "gateway", "meanwhile")
        .await
        .unwrap();
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(harness.world.log(), ["hold"]);
    engine
        .tell(id, Verb::Resume, "ann", "all is well")
        .await
        .unwrap();
    reaches(&engine, id, Status::Completed).await;
    assert_eq!(harness.world.log(), ["hold", "charge", "last"]);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_workflow_says_what_it_leaves_and_is_never_touched_again() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let view = engine
        .tell(id, Verb::Abandon, "ann", "settled by hand")
        .await
        .unwrap();
    assert_eq!(view.head.status, Status::Abandoned);
    let engine::workflow::Phase::Abandoned { left, .. } = &view.state.unwrap().phase else {
        panic!("it is abandoned")
    };
    assert_eq!(left, &["hold", "charge"]);
    let begun = harness.world.log().len();
    drop(engine);
    let next = harness.open().await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(harness.world.log().len(), begun);
    let refused = next.retry(id, "ann", "a mistake").await;
    assert!(matches!(refused, Err(CommandError::Conflict(why)) if why.contains("ended")));
}

#[tokio::test(start_paused = true)]
async fn a_skipped_step_gives_what_the_operator_says() {
    let harness = harness();
    harness.world.script("last", [Script::Refuse("recalled")]);
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    reaches(&engine, id, Status::Parked).await;
    let skip = Verb::Skip {
        step: "last".into(),
        output: Payload::of(&9).unwrap(),
    };
    engine.tell(id, skip, "ann", "sent by post").await.unwrap();
    let view = reaches(&engine, id, Status::Completed).await;
    let state = view.state.unwrap();
    assert!(
        matches!(&state.phase, engine::workflow::Phase::Completed { output } if output.as_str() == "9")
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_brings_the_next_attempt_forward() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    reaches(&engine, id, Status::Waiting).await;
    let nothing = engine.retry(id, "ann", "now").await;
    assert!(
        matches!(nothing, Err(CommandError::Conflict(_))),
        "{nothing:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_sent_again_is_the_same_command() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let deadline = || engine.runtime().now().after(Duration::from_secs(5));
    let retry = command(id, Verb::Retry, "ann", "the gateway is back");
    let first = engine.command(retry.clone(), deadline()).await.unwrap();
    reaches(&engine, id, Status::Completed).await;
    let again = engine.command(retry.clone(), deadline()).await.unwrap();
    assert_eq!(first, again);
    let other = engine::command::Command {
        verb: Verb::Compensate,
        ..retry
    };
    let reused = engine.command(other, deadline()).await;
    assert!(
        matches!(reused, Err(CommandError::KeyReused(_))),
        "{reused:?}"
    );
    let audit = engine.commands(Some(id), None, 10).await.unwrap();
    assert_eq!(audit.len(), 2, "the signal and the retry: {audit:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_sent_again_while_it_would_no_longer_make_sense_is_the_same_command() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    reaches(&engine, id, Status::Waiting).await;
    let deadline = || engine.runtime().now().after(Duration::from_secs(5));
    let pause = command(id, Verb::Pause, "ann", "to look at it");
    let first = engine.command(pause.clone(), deadline()).await.unwrap();
    let again = engine.command(pause, deadline()).await.unwrap();
    assert_eq!(first, again);
    let other = engine
        .command(command(id, Verb::Pause, "ben", "to look at it"), deadline())
        .await;
    assert!(matches!(other, Err(CommandError::Conflict(_))), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_for_another_version_of_the_workflow_is_refused_and_a_preview_changes_nothing() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let version = engine.view(id).await.unwrap().unwrap().state.unwrap().seq;
    let mut retry = command(id, Verb::Retry, "ann", "the gateway is back");
    retry.expected_seq = Some(version - 1);
    let deadline = engine.runtime().now().after(Duration::from_secs(5));
    let refused = engine.command(retry.clone(), deadline).await;
    assert!(
        matches!(refused, Err(CommandError::MovedOn { .. })),
        "{refused:?}"
    );
    retry.expected_seq = Some(version);
    let preview = engine.preview(&retry).await.unwrap();
    assert_eq!(preview.status, Status::Running);
    let view = engine.view(id).await.unwrap().unwrap();
    assert!(matches!(
        view.state.unwrap().steps[2].action,
        StepState::Attempting { .. }
    ));
    assert_eq!(view.head.status, Status::Parked);
    engine.command(retry, deadline).await.unwrap();
    reaches(&engine, id, Status::Completed).await;
}
