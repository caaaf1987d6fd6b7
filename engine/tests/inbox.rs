//! Commands that are given at one node to workflows that another one owns.

mod support;

use std::time::Duration;

use engine::command::Verb;
use engine::definition::Durability::Barrier;
use engine::store::{CommandState, Status};
use engine::{CommandError, Engine, WorkflowId};
use futures_util::future::join_all;
use support::operator::{Operator as _, command};
use support::{Harness, Script};

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
