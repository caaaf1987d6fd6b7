//! Batches whose node dies, whose store fails, or that are stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::WorkflowId;
use engine::batch::BatchRequest;
use engine::store::{BatchState, Status};

use crate::batches::{finished, request, waiting, waiting_ones};
use crate::house::{House, MINUTE, go};
use crate::support::dice::Dice;
use crate::support::flaky::{FlakyStore, Trouble};

/// How many commands of this batch each workflow has.
fn told(house: &House, batch: u64) -> BTreeMap<WorkflowId, usize> {
    let mut told = BTreeMap::new();
    let commands = house.memory.all_commands().into_iter();
    for row in commands.filter(|row| row.command.batch == Some(batch)) {
        assert_eq!(row.command.key, format!("batch/{batch}"));
        *told.entry(row.command.workflow).or_default() += 1;
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_node_dies_is_gone_on_with_and_nobody_is_told_twice() {
    let house = House::new();
    let first = house.open("a", &[1]).await;
    let ids = waiting(&house, &first, 60).await;
    let batch = request("b", waiting_ones(), go());
    let (row, _) = first.engine.start_batch(batch).await.unwrap();
    let half = |house: &House| told(house, row.id).len() >= 25;
    house.until("half of them are told", half).await;
    first.kill();
    let second = house.open("b", &[1]).await;
    let (row, progress) = finished(&house, &second, row.id).await;
    assert_eq!((row.submitted, progress.done), (60, 60));
    let told = told(&house, row.id);
    assert_eq!(told.len(), 60);
    assert!(told.values().all(|times| *times == 1));
    let rested = |house: &House| ids.iter().all(|id| house.head(*id).wake_at.is_some());
    house.until("all have gone on", rested).await;
    let paid = house.world.log();
    assert_eq!(paid.iter().filter(|step| *step == "pay").count(), 60);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_there_at_once_do_not_tell_twice_nor_faster() {
    let house = House::new();
    let first = house.open("a", &[1]).await;
    let _second = house.open("b", &[1]).await;
    waiting(&house, &first, 40).await;
    let began = house.runtime.now();
    let batch = request("b", waiting_ones(), go());
    let (row, _) = first.engine.start_batch(batch).await.unwrap();
    finished(&house, &first, row.id).await;
    let told = told(&house, row.id);
    assert_eq!((told.len(), told.values().max()), (40, Some(&1)));
    assert!(house.runtime.now().since(began) >= Duration::from_millis(3_900));
}

#[tokio::test(start_paused = true)]
async fn a_batch_gets_through_a_store_that_fails() {
    let mut house = House::new();
    let dice = Dice::new(3);
    let trouble = Trouble {
        reads: 150,
        ..Trouble::default()
    };
    let node = house.open("a", &[1]).await;
    waiting(&house, &node, 40).await;
    node.kill();
    let flaky = FlakyStore::new(house.memory.clone(), &dice, trouble);
    house.store = Arc::new(flaky.clone());
    let mut node = None;
    for _ in 0..100 {
        node = house.try_open("a", &[1]).await.ok();
        if node.is_some() {
            break;
        }
    }
    let node = node.unwrap();
    let fast = BatchRequest {
        per_second: 100,
        ..request("b", waiting_ones(), go())
    };
    let mut row = None;
    while row.is_none() {
        row = node.engine.start_batch(fast.clone()).await.ok();
    }
    let (row, _) = row.unwrap();
    let all = |house: &House| told(house, row.id).len() == 40;
    house.until("all are told", all).await;
    flaky.calm();
    let (row, progress) = finished(&house, &node, row.id).await;
    assert_eq!((row.submitted, progress.done), (40, 40));
    assert!(told(&house, row.id).values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_stopped_tells_nobody_any_more() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    waiting(&house, &node, 60).await;
    let batch = request("b", waiting_ones(), go());
    let (row, _) = node.engine.start_batch(batch).await.unwrap();
    let some = |house: &House| told(house, row.id).len() >= 15;
    house.until("some are told", some).await;
    assert!(node.engine.stop_batch(row.id).await.unwrap());
    assert!(!node.engine.stop_batch(row.id).await.unwrap());
    house.runtime.sleep(Duration::from_secs(2)).await;
    let told_so_far = told(&house, row.id).len();
    assert!(told_so_far < 40, "{told_so_far}");
    house.runtime.sleep(MINUTE).await;
    assert_eq!(told(&house, row.id).len(), told_so_far);
    let (row, progress) = node.engine.batch(row.id).await.unwrap().unwrap();
    assert_eq!(row.state, BatchState::Stopped);
    assert_eq!(progress.done, told_so_far as u64);
    let left = house.memory.heads().into_iter();
    let left = left.filter(|head| head.status == Status::Waiting && head.wake_at.is_none());
    assert_eq!(left.count(), 60 - told_so_far);
}
