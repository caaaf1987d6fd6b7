//! The auditor finds each kind of orphan, and nothing else, and heals what it finds.

use std::sync::Arc;
use std::time::Duration;

use engine::audit::{AuditReport, OrphanKind};
use engine::command::Verb;
use engine::store::{
    CommandState, CommandStore as _, NewCommand, Status, Submitted, UpkeepStore as _,
};
use engine::workflow::By;
use engine::{PartitionId, WorkflowId};

use crate::house::{House, MINUTE, Node};
use crate::support::dice::Dice;
use crate::support::flaky::{FlakyStore, Next, Trouble};
use crate::support::operator::Operator as _;
use crate::support::{Script, out_of_memory};

/// A pass that found exactly these, all healed.
async fn finds(node: &Node, kinds: &[OrphanKind]) -> AuditReport {
    let report = node.engine.audit_now().await.unwrap();
    let found: Vec<_> = report.orphans.iter().map(|orphan| orphan.kind).collect();
    assert_eq!(found, kinds, "{report:?}");
    assert!(report.orphans.iter().all(|orphan| orphan.healed));
    assert_eq!(node.engine.audit(), report);
    node.check();
    report
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_parked_or_is_driven_is_no_orphan() {
    let house = House::new();
    house.world.script("send", [Script::Refuse("no-goods")]);
    let node = house.open("a", &[1]).await;
    assert_eq!(node.engine.audit().at, None);
    let parked = house.sleeping(&node, "parked").await;
    house.becomes(parked, Status::Parked).await;
    house.waiting(&node, "signal").await;
    house.sleeping(&node, "timer").await;
    let driven = house.waiting(&node, "driven").await;
    house.world.script("pay", [Script::Hang]);
    house.send_go(&node, driven).await;
    house.becomes(driven, Status::Running).await;
    let report = finds(&node, &[]).await;
    assert_eq!(
        (
            report.looked_at,
            report.in_progress,
            report.timers,
            report.signals,
            report.parked
        ),
        (4, 1, 1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_nobody_drives_is_driven() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let id = house.waiting(&node, "k").await;
    finds(&node, &[]).await;
    house.memory.spoil(id, |head| head.status = Status::Running);
    finds(&node, &[OrphanKind::Undriven]).await;
    house.becomes(id, Status::Waiting).await;
    finds(&node, &[]).await;
    house.go(&node, id).await;
    house.becomes(id, Status::Completed).await;
    let counters = node.engine.counters();
    assert_eq!((counters.orphans, counters.healed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_workflow_whose_timer_was_missed_is_woken() {
    let house = House::new();
    let first = house.open("a", &[1]).await;
    let id = house.sleeping(&first, "k").await;
    first.kill();
    // The next owner sets no clock for it.
    let row = house.head(id);
    house.memory.spoil(id, |head| {
        head.status = Status::Parked;
        head.reason = Some("somebody's hand".into());
    });
    let node = house.open("a", &[1]).await;
    house.memory.spoil(id, |head| *head = row.clone());
    let due = row.wake_at.unwrap();
    house
        .runtime
        .sleep_until(due.after(Duration::from_secs(9)))
        .await;
    finds(&node, &[]).await;
    house.runtime.sleep(Duration::from_secs(2)).await;
    assert_eq!(house.head(id).status, Status::Waiting);
    finds(&node, &[OrphanKind::MissedTimer]).await;
    house.becomes(id, Status::Completed).await;
    finds(&node, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_waits_for_nothing_is_written_anew() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let id = house.sleeping(&node, "k").await;
    let row = house.head(id);
    house.memory.spoil(id, |head| head.wake_at = None);
    finds(&node, &[OrphanKind::WaitsForNothing]).await;
    out_of_memory(&node.engine).await;
    assert_eq!(house.head(id).wake_at, row.wake_at);
    finds(&node, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_parked_row_without_a_reason_is_written_anew() {
    let house = House::new();
    house.world.script("send", [Script::Refuse("no-goods")]);
    let node = house.open("a", &[1]).await;
    let id = house.sleeping(&node, "k").await;
    house.becomes(id, Status::Parked).await;
    out_of_memory(&node.engine).await;
    let (row, shown) = (house.head(id), house.memory.parked());
    assert_eq!(shown.len(), 1);
    house.memory.spoil(id, |head| head.reason = None);
    house.memory.forget_parked(id);
    finds(&node, &[OrphanKind::ParkedWithoutReason]).await;
    out_of_memory(&node.engine).await;
    assert_eq!(house.head(id).reason, row.reason);
    assert_eq!(house.memory.parked(), shown);
    finds(&node, &[]).await;
    node.engine.retry(id, "ann", "goods came").await.unwrap();
    house.becomes(id, Status::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_parked_though_its_journal_is_not_goes_on() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let id = house.waiting(&node, "k").await;
    house.memory.spoil(id, |head| {
        head.status = Status::Parked;
        head.reason = Some("somebody's hand".into());
    });
    finds(&node, &[OrphanKind::ParkedWithoutReason]).await;
    house.becomes(id, Status::Waiting).await;
    assert_eq!(house.head(id).reason, None);
    finds(&node, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_row_of_a_workflow_that_has_ended_is_closed() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let id = house.sleeping(&node, "k").await;
    house.becomes(id, Status::Completed).await;
    out_of_memory(&node.engine).await;
    house.memory.spoil(id, |head| head.status = Status::Running);
    finds(&node, &[OrphanKind::Undriven]).await;
    house.becomes(id, Status::Completed).await;
    finds(&node, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_nobody_would_take_over_is_taken_over() {
    let house = House::new();
    let first = house.open("a", &[1]).await;
    let other = house.open("b", &[1]).await;
    let id = house.waiting(&first, "k").await;
    first.kill();
    house.memory.retire_by_hand(id.partition());
    house.runtime.sleep(MINUTE).await;
    house.send_go(&other, id).await;
    house.runtime.sleep(MINUTE).await;
    assert_eq!(house.head(id).status, Status::Waiting);
    finds(&other, &[OrphanKind::UnownedPartition]).await;
    house.becomes(id, Status::Completed).await;
    finds(&other, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_came_while_its_partition_was_being_retired_is_answered() {
    let house = House::new();
    let first = house.open("a", &[1]).await;
    let other = house.open("b", &[1]).await;
    let id = house.waiting(&first, "k").await;
    house.go(&first, id).await;
    house.becomes(id, Status::Completed).await;
    first.kill();
    house.memory.retire_by_hand(id.partition());
    house.runtime.sleep(MINUTE).await;
    // Whoever accepted it had seen the workflow before its end.
    let late = NewCommand {
        workflow: id,
        key: "late".to_owned(),
        verb: Verb::Pause,
        by: By {
            actor: "ann".to_owned(),
            reason: "wait a moment".to_owned(),
        },
        expected_seq: None,
        batch: None,
        accepted_at: house.runtime.now(),
    };
    let submitted = house.memory.submit(&late).await.unwrap();
    let Submitted::New(number) = submitted else {
        panic!("{submitted:?}");
    };
    house.runtime.sleep(MINUTE).await;
    let state = async || house.memory.command(number).await.unwrap().unwrap().state;
    assert_eq!(state().await, CommandState::Pending);
    finds(&other, &[]).await;
    house.runtime.sleep(MINUTE).await;
    let CommandState::Refused { why } = state().await else {
        panic!("{:?}", state().await);
    };
    assert!(why.contains("has ended"), "{why}");
    let rows = house.memory.partitions().await.unwrap();
    let row = rows.into_iter().find(|row| row.id == id.partition());
    assert!(row.unwrap().retired, "it is empty again");
}

#[tokio::test(start_paused = true)]
async fn an_orphan_that_lasts_is_counted_once() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let id = house.waiting(&node, "k").await;
    for _ in 0..3 {
        house.memory.spoil(id, |head| head.status = Status::Running);
        finds(&node, &[OrphanKind::Undriven]).await;
        out_of_memory(&node.engine).await;
    }
    assert_eq!(node.engine.audit().orphans_total, 1);
    finds(&node, &[]).await;
    house.memory.spoil(id, |head| head.status = Status::Running);
    let report = finds(&node, &[OrphanKind::Undriven]).await;
    assert_eq!((report.orphans_total, report.healed_total), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_only_the_journal_tells_is_looked_at_in_turns() {
    let house = House::new();
    let node = house.open("a", &[1]).await;
    let mut ids = Vec::new();
    for number in 0..700 {
        ids.push(house.start(&node, &format!("k{number}")).await);
    }
    out_of_memory(&node.engine).await;
    for id in &ids {
        house.becomes(*id, Status::Waiting).await;
        house.memory.spoil(*id, |head| {
            head.status = Status::Parked;
            head.reason = None;
        });
    }
    let mut found = 0;
    for _ in 0..3 {
        found += node.engine.audit_now().await.unwrap().orphans_total;
        out_of_memory(&node.engine).await;
    }
    assert!(found >= 700);
    assert_eq!(node.engine.audit().orphans_total, 700);
    assert!(
        ids.iter()
            .all(|id| house.head(*id).status == Status::Waiting)
    );
    let parts = ids.iter().filter(|id| id.partition() == PartitionId(1));
    assert!(parts.count() > 250, "more than one turn");
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_late_because_the_node_is_full_is_not_missed() {
    let mut house = House::new();
    house.settings.in_flight_max = 1;
    house.settings.partitions = 1;
    let node = house.open("a", &[1]).await;
    let one = house.sleeping(&node, "one").await;
    house.runtime.sleep(Duration::from_secs(1)).await;
    let two = house.sleeping(&node, "two").await;
    // Whoever is woken first stays in memory.
    node.engine.pause(house.after(MINUTE)).await;
    let due = house.head(two).wake_at.unwrap();
    house.runtime.sleep_until(due.after(MINUTE)).await;
    assert_eq!(node.engine.counters().in_flight, 1);
    let report = finds(&node, &[]).await;
    assert_eq!((report.in_progress, report.timers), (1, 1));
    node.engine.resume();
    house.becomes(one, Status::Completed).await;
    house.becomes(two, Status::Completed).await;
}

/// A workflow that is woken by a slow read: it is neither driven nor has it a timer for so long. Returns with it just overdue.
async fn woken_slowly(house: &mut House, takes: Duration) -> (Node, FlakyStore, WorkflowId) {
    let dice = Dice::new(1);
    let flaky = FlakyStore::new(house.memory.clone(), &dice, Trouble::default());
    flaky.set_instant(true);
    house.store = Arc::new(flaky.clone());
    let node = house.open("a", &[1]).await;
    let id = house.sleeping(&node, "k").await;
    flaky.next("loading workflows", [Next::Slow(takes)]);
    let due = house.head(id).wake_at.unwrap();
    let overdue = due.after(Duration::from_millis(10_500));
    house.runtime.sleep_until(overdue).await;
    assert_eq!(house.head(id).status, Status::Waiting);
    (node, flaky, id)
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_is_about_to_be_driven_is_no_orphan() {
    let mut house = House::new();
    let (node, _, id) = woken_slowly(&mut house, Duration::from_secs(11)).await;
    finds(&node, &[]).await;
    assert_eq!(house.head(id).status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_moves_on_while_it_is_looked_at_again_is_no_orphan() {
    let mut house = House::new();
    let (node, flaky, id) = woken_slowly(&mut house, Duration::from_secs(14)).await;
    flaky.next("loading workflows", [Next::Slow(Duration::from_secs(3))]);
    finds(&node, &[]).await;
    assert_eq!(house.head(id).status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_busy_node_has_no_orphans_in_many_passes() {
    let mut house = House::new();
    house.settings.audit_every = Duration::from_millis(700);
    let node = house.open("a", &[1]).await;
    let mut looked_at = 0;
    for round in 0..15 {
        let moods = [
            Script::Done,
            Script::Unknown,
            Script::Retry,
            Script::Refuse("no"),
            Script::Hang,
        ];
        let mood = moods[round % moods.len()].clone();
        house.world.script("send", [mood.clone(), Script::Done]);
        house.world.script("pay", [mood, Script::Done]);
        let mut ids = Vec::new();
        for number in 0..8 {
            ids.push(house.start(&node, &format!("{round} {number}")).await);
        }
        for id in &ids {
            house.send_go(&node, *id).await;
        }
        for head in house.memory.heads() {
            let verb = match (head.status, round % 3) {
                (Status::Parked, _) => Verb::Retry,
                (Status::Waiting, 0) => Verb::Pause,
                (Status::Waiting, 1) => Verb::Compensate,
                _ => continue,
            };
            let _told = node.engine.tell(head.id, verb, "ann", "a test").await;
        }
        house.runtime.sleep(Duration::from_secs(20)).await;
        looked_at += node.engine.audit_now().await.unwrap().looked_at;
        node.check();
    }
    assert!(looked_at > 300, "{looked_at}");
    let report = node.engine.audit();
    assert_eq!(report.orphans_total, 0, "{report:?}");
}
