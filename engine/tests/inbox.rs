//! Commands that are given at one node to workflows that another one owns.

mod support;

use std::sync::Arc;
use std::time::Duration;

use engine::command::Verb;
use engine::definition::Durability::Barrier;
use engine::definition::{Awaited, Saga};
use engine::store::{CommandState, CommandStore as _, NewCommand, Status};
use engine::workflow::By;
use engine::{CommandError, Engine, WorkflowId};
use futures_util::future::join_all;
use support::operator::{Operator as _, command, signal};
use support::{Harness, Script, out_of_memory};

/// Two nodes, and a workflow of the first that is parked.
async fn parked() -> (Harness, Engine, Engine, WorkflowId) {
    let harness = Harness::new(Barrier);
    harness
        .world
        .script("last", [Script::Retry, Script::Retry, Script::Retry]);
    let owner = harness.open_as("owner").await;
    let other = harness.open_as("other").await;
    let view = harness.run(&owner, "k").await.unwrap();
    assert_eq!(view.head.status, Status::Parked);
    (harness, owner, other, view.id)
}

fn kinds(harness: &Harness, kind: &str) -> usize {
    let kinds = harness.kinds();
    kinds.iter().filter(|found| *found == kind).count()
}

#[tokio::test(start_paused = true)]
async fn any_node_takes_a_command_for_any_workflow_and_tells_what_came_of_it() {
    let (harness, owner, other, id) = parked().await;
    other.retry(id, "ann", "it works again").await.unwrap();
    let deadline = harness.runtime.now().after(Duration::from_secs(9));
    let view = owner.wait(id, deadline).await.unwrap().unwrap();
    assert_eq!(view.head.status, Status::Completed);
    let refused = other.retry(id, "ann", "once more").await;
    assert!(matches!(refused, Err(CommandError::Conflict(why)) if why.contains("ended")));
    let audit = other.commands(Some(id), None, 10).await.unwrap();
    assert_eq!(audit.len(), 1);
    assert_eq!(audit[0].command.by.actor, "ann");
    assert!(matches!(audit[0].state, CommandState::Done { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_sent_to_both_nodes_at_once_is_carried_out_once() {
    let (harness, owner, other, id) = parked().await;
    let deadline = harness.runtime.now().after(Duration::from_secs(5));
    let retry = command(id, Verb::Retry, "ann", "it works again");
    let answers = join_all((0..20).map(|number| {
        let node = if number % 2 == 0 { &owner } else { &other };
        Engine::command(node, retry.clone(), deadline)
    }))
    .await;
    let first = answers[0].as_ref().unwrap();
    assert!(matches!(first.state, CommandState::Done { .. }));
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), first);
    }
    assert_eq!(kinds(&harness, "retry-requested"), 1);
}

#[tokio::test(start_paused = true)]
async fn commands_to_one_workflow_are_carried_out_in_the_order_in_which_they_were_accepted() {
    let (harness, owner, other, id) = parked().await;
    harness.world.script("last", [Script::Hang, Script::Hang]);
    // The first lets it go on, the second stops it, the third lets it go on again: any other order is refused.
    for (node, verb) in [
        (&other, Verb::Retry),
        (&owner, Verb::Pause),
        (&other, Verb::Resume),
    ] {
        node.tell(id, verb, "ann", "to see").await.unwrap();
    }
    let audit = owner.commands(Some(id), None, 10).await.unwrap();
    let mut seqs: Vec<u32> = audit
        .iter()
        .map(|row| match row.state {
            CommandState::Done { seq } => seq,
            _ => panic!("{row:?}"),
        })
        .collect();
    seqs.reverse();
    assert!(seqs.is_sorted(), "{seqs:?}");
    assert_eq!(seqs.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn commands_to_many_workflows_out_of_memory_are_all_carried_out_each_in_its_order() {
    const MANY: usize = 500;
    let mut harness = Harness::new(Barrier);
    let mut saga = Saga::<u32>::new("patient", 1);
    let input = saga.input();
    let word = saga.await_signal::<u32, _>("word", &input, |_, _| None);
    harness.definition = Arc::new(saga.finish(&word).unwrap());
    let owner = harness.open_as("owner").await;
    let other = harness.open_as("other").await;
    let keys: Vec<String> = (0..MANY).map(|key| key.to_string()).collect();
    let starts = keys.iter().map(|key| owner.start(harness.start(key)));
    let started = join_all(starts).await;
    let ids: Vec<WorkflowId> = started
        .into_iter()
        .map(|started| started.unwrap().view().id)
        .collect();
    out_of_memory(&owner).await;
    // Nobody waits for the answers: a workflow has two commands in its inbox when its owner looks.
    for said in [1, 2] {
        let soon = harness.runtime.now().after(Duration::from_micros(1));
        let given = ids.iter().map(|id| {
            let verb = signal("word", &said.to_string(), &said);
            Engine::command(&other, command(*id, verb, "ann", "to see"), soon)
        });
        drop(join_all(given).await);
    }
    let deadline = harness.runtime.now().after(Duration::from_mins(1));
    for id in ids {
        let view = owner.wait(id, deadline).await.unwrap().unwrap();
        assert_eq!(view.head.status, Status::Completed);
        let state = view.state.unwrap();
        let first = Awaited::Arrived(1);
        assert_eq!(
            state
                .output_of("word")
                .unwrap()
                .to::<Awaited<u32>>()
                .unwrap(),
            first
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_late_is_refused_many_at_a_time_and_keeps_nobody_waiting() {
    const LATE: usize = 1_000;
    let harness = Harness::new(Barrier);
    let engine = harness.open_as("owner").await;
    let ended = harness.run(&engine, "ended").await.unwrap();
    assert_eq!(ended.head.status, Status::Completed);
    out_of_memory(&engine).await;
    let before = engine.counters().commits;
    // Whoever accepted them had seen the workflow before its end.
    for number in 0..LATE {
        let late = NewCommand {
            workflow: ended.id,
            key: number.to_string(),
            verb: Verb::Pause,
            by: By {
                actor: "ann".to_owned(),
                reason: "wait a moment".to_owned(),
            },
            expected_seq: None,
            batch: None,
            accepted_at: harness.runtime.now(),
        };
        harness.store.submit(&late).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let audit = engine.commands(Some(ended.id), None, 200).await.unwrap();
    assert_eq!(audit.len(), 200);
    for row in audit {
        let is_told =
            matches!(&row.state, CommandState::Refused { why } if why.contains("has ended"));
        assert!(is_told, "{row:?}");
    }
    let pending = harness
        .store
        .pending_commands(ended.id.partition(), None, 1);
    assert_eq!(pending.await.unwrap(), []);
    let commits = engine.counters().commits - before;
    println!("{LATE} late commands were refused in {commits} commits");
    assert!(commits <= 50, "{commits}");
}
