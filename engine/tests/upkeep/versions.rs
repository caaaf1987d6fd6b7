//! Versions side by side: what a program does not have is left alone, counted and shown, and goes on where it can.

use std::sync::Arc;
use std::time::Duration;

use engine::definition::{Durability, Saga};
use engine::store::{CommandState, Status};
use engine::{OpenError, WorkflowId};

use crate::house::{House, MINUTE, Node, go};
use crate::support::operator::command;
use crate::support::{Scripted, chain};

#[tokio::test(start_paused = true)]
async fn a_definition_that_was_changed_under_its_version_is_refused() {
    let house = House::new();
    let same = chain(&house.world, Durability::Barrier);
    let node = house.open_with("a", vec![Arc::clone(&same)]).await;
    drop(node.unwrap());
    drop(house.open_with("b", vec![same]).await.unwrap());
    let mut saga = Saga::<u32>::new("chain", 1);
    let alone = Scripted {
        name: "alone",
        world: house.world.clone(),
        durability: Durability::Barrier,
    };
    let output = saga.compensable(alone, &saga.input());
    let changed = Arc::new(saga.finish(&output).unwrap());
    let error = house.open_with("c", vec![changed]).await.err().unwrap();
    assert!(
        matches!(&error, OpenError::DefinitionChanged { name_version, .. } if name_version == "chain v1")
    );
    let text = error.to_string();
    assert!(
        text.contains("`chain v1`") && text.contains("version 2"),
        "{text}"
    );
    let owners = house.store.partitions().await.unwrap();
    assert!(
        owners.iter().all(|row| row.owner.0 != "c"),
        "it took nothing"
    );
}

/// The rows and journals of these workflows.
fn all_of(house: &House, ids: &[WorkflowId]) -> (usize, Vec<engine::store::Head>) {
    let events = house.memory.events().into_iter();
    let own = events.filter(|event| ids.contains(&event.workflow));
    (own.count(), ids.iter().map(|id| house.head(*id)).collect())
}

async fn some(house: &House, node: &Node, name: &str) -> Vec<WorkflowId> {
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(house.waiting(node, &format!("{name} {number}")).await);
    }
    ids
}

#[tokio::test(start_paused = true)]
async fn in_a_rolling_upgrade_every_workflow_goes_on_where_its_version_is() {
    let house = House::new();
    let old = house.open("old", &[1]).await;
    let first = house.open("first new", &[1, 2]).await;
    let ones = some(&house, &old, "one").await;
    let twos = some(&house, &first, "two").await;
    first.kill();
    let quarantined = |_: &House| old.engine.counters().quarantined == 6;
    house.until("the old node has them", quarantined).await;
    let before = all_of(&house, &twos);
    let view = old.engine.view(twos[0]).await.unwrap().unwrap();
    assert!(view.state.is_none(), "shown, and not guessed at");
    assert_eq!(old.engine.audit_now().await.unwrap().quarantined, 6);
    house.runtime.sleep(3 * MINUTE).await;
    assert_eq!(all_of(&house, &twos), before, "untouched");

    let second = house.open("second new", &[1, 2]).await;
    for id in &twos {
        house.send_go(&second, *id).await;
    }
    for id in &twos {
        house.becomes(*id, Status::Completed).await;
    }
    assert_eq!(old.engine.counters().quarantined, 0);
    // The old node has kept its own.
    house.go(&old, ones[0]).await;
    old.kill();
    for id in &ones[1..] {
        house.send_go(&second, *id).await;
    }
    for id in &ones {
        house.becomes(*id, Status::Completed).await;
    }
    let log = house.world.log();
    for step in ["book", "pay", "send", "book-2", "pay-2", "send-2"] {
        let times = log.iter().filter(|done| *done == step).count();
        assert_eq!(times, 6, "{step}");
    }
    second.check();
}

#[tokio::test(start_paused = true)]
async fn a_command_to_what_is_quarantined_waits_for_a_node_that_can_run_it() {
    let house = House::new();
    let new = house.open("new", &[1, 2]).await;
    let id = house.waiting(&new, "k").await;
    new.kill();
    let old = house.open("old", &[1]).await;
    let here = |_: &House| old.engine.counters().quarantined == 1;
    house.until("the old node has it", here).await;
    let asked = command(id, go(), "ann", "a test");
    let refused = old.engine.preview(&asked).await.unwrap_err().to_string();
    assert!(refused.contains("does not have trip v2"), "{refused}");
    let next = house.open("next", &[1, 2]).await;
    house.send_go(&next, id).await;
    house.becomes(id, Status::Completed).await;
    let commands = house.memory.all_commands();
    assert!(matches!(commands[0].state, CommandState::Done { .. }));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_has_the_version_its_workflows_stay_as_they_are_and_the_partition_settles_down()
 {
    let house = House::new();
    let new = house.open("new", &[1, 2]).await;
    let twos = some(&house, &new, "two").await;
    let before = all_of(&house, &twos);
    let one = house.open("one", &[1]).await;
    let two = house.open("two", &[1]).await;
    new.kill();
    let epochs = async || -> u64 {
        let rows = house.store.partitions().await.unwrap();
        rows.iter().map(|row| row.epoch.0).sum()
    };
    house.runtime.sleep(30 * MINUTE).await;
    let after_half_an_hour = epochs().await;
    house.runtime.sleep(30 * MINUTE).await;
    let after_an_hour = epochs().await;
    assert!(
        after_half_an_hour < 60,
        "{after_half_an_hour} changes of hands"
    );
    assert!(
        after_an_hour - after_half_an_hour < 12,
        "{after_half_an_hour} {after_an_hour}"
    );
    assert_eq!(all_of(&house, &twos), before, "untouched");
    let seen = one.engine.counters().quarantined + two.engine.counters().quarantined;
    assert_eq!(seen, 6, "counted");
    // What the nodes can run goes on all the same, wherever it is.
    let id = house.sleeping(&one, "k").await;
    house.becomes(id, Status::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_alone_keeps_what_it_cannot_run() {
    let house = House::new();
    let new = house.open("new", &[1, 2]).await;
    let id = house.waiting(&new, "two").await;
    let old = house.open("old", &[1]).await;
    new.kill();
    house.runtime.sleep(3 * MINUTE).await;
    let rows = house.store.partitions().await.unwrap();
    let row = rows.iter().find(|row| row.id == id.partition()).unwrap();
    assert_eq!((row.owner.0.as_str(), row.epoch.0), ("old", 2));
    assert_eq!(old.engine.counters().quarantined, 1);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_passed_on_is_left_to_others_for_three_leases_and_kept_after_that() {
    let house = House::new();
    let new = house.open("new", &[1, 2]).await;
    let id = house.waiting(&new, "two").await;
    let old = house.open("old", &[1]).await;
    // Another node is alive, as far as anybody can see, and takes nothing over.
    let other = engine::NodeName("other".into());
    let lease = 60 * MINUTE;
    house.store.acquire(&other, 1, &[], lease).await.unwrap();
    new.kill();
    let row = async || {
        let rows = house.store.partitions().await.unwrap();
        let row = rows.into_iter().find(|row| row.id == id.partition());
        row.unwrap()
    };
    let second = Duration::from_secs(1);
    for _ in 0..120 {
        let row = row().await;
        if row.owner.0 == "old" && row.lease_left_us <= 0 {
            break;
        }
        house.runtime.sleep(second).await;
    }
    let epoch = row().await.epoch;
    for _ in 0..28 {
        let free = row().await;
        assert!(free.lease_left_us <= 0 && free.epoch == epoch, "{free:?}");
        house.runtime.sleep(second).await;
    }
    house.runtime.sleep(5 * second).await;
    for _ in 0..50 {
        let kept = row().await;
        assert!(kept.lease_left_us > 0 && kept.epoch > epoch, "{kept:?}");
        house.runtime.sleep(second).await;
    }
    old.check();
}
