//! One command to many workflows.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::batch::{BatchError, BatchRequest};
use engine::command::Verb;
use engine::store::{BatchProgress, BatchRow, BatchState, CommandState, ListFilter, Status};
use engine::workflow::By;
use engine::{CommandError, WorkflowId};

use crate::house::{House, MINUTE, Node, go};
use crate::support::{Script, out_of_memory};

pub fn request(key: &str, filter: ListFilter, verb: Verb) -> BatchRequest {
    BatchRequest {
        key: key.into(),
        filter,
        verb,
        by: By {
            actor: "ann".into(),
            reason: "the goods came".into(),
        },
        per_second: 10,
    }
}

pub fn at_step(step: &str) -> ListFilter {
    ListFilter {
        step: Some(step.into()),
        ..ListFilter::default()
    }
}

pub fn waiting_ones() -> ListFilter {
    ListFilter {
        status: Some(Status::Waiting),
        ..ListFilter::default()
    }
}

/// So many workflows that wait for the signal.
pub async fn waiting(house: &House, node: &Node, count: usize) -> Vec<WorkflowId> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(house.start(node, &format!("k{number}")).await);
    }
    for id in &ids {
        house.becomes(*id, Status::Waiting).await;
    }
    out_of_memory(&node.engine).await;
    ids
}

/// So many workflows that are parked on their last step.
async fn parked(house: &House, node: &Node, count: usize) -> Vec<WorkflowId> {
    let ids = waiting(house, node, count).await;
    let refusals = vec![Script::Refuse("no-goods"); count];
    house.world.script("send", refusals);
    for id in &ids {
        house.send_go(node, *id).await;
    }
    for id in &ids {
        house.becomes(*id, Status::Parked).await;
    }
    out_of_memory(&node.engine).await;
    ids
}

pub async fn finished(house: &House, node: &Node, id: u64) -> (BatchRow, BatchProgress) {
    for _ in 0..10_000 {
        let (row, progress) = node.engine.batch(id).await.unwrap().unwrap();
        if row.state == BatchState::Finished && progress.pending == 0 {
            return (row, progress);
        }
        house.runtime.sleep(Duration::from_millis(100)).await;
    }
    panic!("the batch does not finish");
}

#[tokio::test(start_paused = true)]
async fn a_batch_tells_all_that_match_at_its_pace_and_shows_what_became_of_each() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let ids = parked(&house, &node, 25).await;
    let untouched = house.waiting(&node, "another").await;
    let began = house.runtime.now();
    let batch = request("b", at_step("send"), Verb::Retry);
    let (row, new) = node.engine.start_batch(batch).await.unwrap();
    assert!(new);
    let (row, progress) = finished(&house, &node, row.id).await;
    assert_eq!((row.submitted, progress.done), (25, 25));
    for id in &ids {
        house.becomes(*id, Status::Completed).await;
    }
    let took = house.runtime.now().since(began);
    assert!(took >= Duration::from_millis(2_400), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let commands = node.engine.batch_commands(row.id, None, 100).await.unwrap();
    assert_eq!(commands.len(), 25);
    assert!(commands.iter().all(|row| row.command.workflow != untouched));
    let mut at: Vec<_> = commands.iter().map(|row| row.command.accepted_at).collect();
    at.sort();
    let pace = at.windows(11).map(|some| some[10].since(some[0]));
    assert!(pace.min() >= Some(Duration::from_millis(999)));
    let next = node.engine.batch_commands(row.id, Some(commands[9].id), 5);
    assert_eq!(next.await.unwrap(), commands[10..15]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_a_filter_and_other_nonsense_is_refused() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let only_instants = ListFilter {
        created_before: Some(house.after(MINUTE)),
        limit: 7,
        ..ListFilter::default()
    };
    for filter in [ListFilter::default(), only_instants] {
        let refused = node.engine.start_batch(request("b", filter, Verb::Retry));
        assert!(matches!(refused.await, Err(BatchError::EmptyFilter)));
    }
    let ended = ListFilter {
        status: Some(Status::Completed),
        ..ListFilter::default()
    };
    let mut wrong = vec![request("b", ended, Verb::Retry)];
    for per_second in [0, 1_001] {
        wrong.push(BatchRequest {
            per_second,
            ..request("b", waiting_ones(), Verb::Retry)
        });
    }
    wrong.push(request(" ", waiting_ones(), Verb::Retry));
    wrong.push(request("b", at_step(&"x".repeat(256)), Verb::Retry));
    for batch in wrong {
        let refused = node.engine.start_batch(batch).await;
        assert!(
            matches!(refused, Err(BatchError::Invalid(_))),
            "{refused:?}"
        );
    }
    assert_eq!(node.engine.batches(None, 10).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_sent_again_is_the_same_batch_and_its_key_is_not_for_another() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let batch = request("b", waiting_ones(), Verb::Pause);
    let (first, new) = node.engine.start_batch(batch.clone()).await.unwrap();
    assert!(new);
    let (again, new) = node.engine.start_batch(batch.clone()).await.unwrap();
    assert_eq!((again.id, new), (first.id, false));
    let other = BatchRequest {
        verb: Verb::Abandon,
        ..batch
    };
    let refused = node.engine.start_batch(other).await;
    assert!(matches!(refused, Err(BatchError::KeyReused(id)) if id == first.id));
}

#[tokio::test(start_paused = true)]
async fn a_preview_counts_and_shows_what_would_happen_and_writes_nothing() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    parked(&house, &node, 7).await;
    house.waiting(&node, "another").await;
    let before = (house.memory.heads(), house.memory.all_commands().len());
    let batch = request("b", at_step("send"), Verb::Retry);
    let preview = node.engine.preview_batch(&batch, 3).await.unwrap();
    assert_eq!((preview.count, preview.more), (7, false));
    assert_eq!(preview.sample.len(), 3);
    for (head, would) in &preview.sample {
        assert_eq!(head.status, Status::Parked);
        assert_eq!(would.as_ref().unwrap().status, Status::Running);
    }
    let batch = request("b", at_step("send"), Verb::Compensate);
    let preview = node.engine.preview_batch(&batch, 1).await.unwrap();
    let (_, would) = &preview.sample[0];
    assert!(matches!(would, Err(CommandError::Conflict(why)) if why.contains("pivot")));
    let after = (house.memory.heads(), house.memory.all_commands().len());
    assert_eq!(after, before);
    assert_eq!(node.engine.batches(None, 10).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_does_not_fit_refuses_with_the_reason_and_those_that_have_ended_are_left_alone()
 {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let stuck = parked(&house, &node, 3).await;
    let done = house.sleeping(&node, "done").await;
    house.becomes(done, Status::Completed).await;
    let open = house.waiting(&node, "open").await;
    let labelled = ListFilter {
        label: Some("summer".into()),
        ..ListFilter::default()
    };
    let batch = request("b", labelled, Verb::Compensate);
    let (row, _) = node.engine.start_batch(batch).await.unwrap();
    let (row, progress) = finished(&house, &node, row.id).await;
    assert_eq!(row.submitted, 4);
    assert_eq!((progress.done, progress.refused), (1, 3));
    house.becomes(open, Status::Compensated).await;
    let commands = node.engine.batch_commands(row.id, None, 100).await.unwrap();
    let states: BTreeMap<_, _> = commands
        .iter()
        .map(|row| (row.command.workflow, &row.state))
        .collect();
    assert!(!states.contains_key(&done));
    for id in &stuck {
        let state = states[id];
        assert!(
            matches!(state, CommandState::Refused { why } if why.contains("pivot")),
            "{state:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn only_those_that_matched_when_the_batch_came_by_are_told() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let ids = waiting(&house, &node, 30).await;
    let slow = BatchRequest {
        per_second: 2,
        ..request("b", waiting_ones(), go())
    };
    let (row, _) = node.engine.start_batch(slow).await.unwrap();
    house.runtime.sleep(Duration::from_secs(5)).await;
    // The oldest comes last: it does not wait any more then. Another begins to wait behind the batch's back.
    house.go(&node, ids[0]).await;
    let late = house.waiting(&node, "late").await;
    let (_, progress) = finished(&house, &node, row.id).await;
    let told: Vec<_> = node.engine.batch_commands(row.id, None, 100).await.unwrap();
    let told: Vec<_> = told.iter().map(|row| row.command.workflow).collect();
    assert!(!told.contains(&late));
    assert!(
        !told.contains(&ids[0]) || progress.done == 30,
        "it rests now"
    );
}

#[tokio::test(start_paused = true)]
async fn two_batches_go_on_side_by_side() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    waiting(&house, &node, 20).await;
    let slow = BatchRequest {
        per_second: 1,
        ..request("slow", waiting_ones(), Verb::Pause)
    };
    let (slow, _) = node.engine.start_batch(slow).await.unwrap();
    house.runtime.sleep(Duration::from_secs(3)).await;
    let quick = request("quick", at_step("nowhere"), Verb::Retry);
    let (quick, _) = node.engine.start_batch(quick).await.unwrap();
    finished(&house, &node, quick.id).await;
    let (slow, _) = node.engine.batch(slow.id).await.unwrap().unwrap();
    assert_eq!(slow.state, BatchState::Running);
}
