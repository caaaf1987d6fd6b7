//! What is old is removed, after it was exported and published, and its start key is free then.

use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::outbox::{BusError, EventBus, Refused};
use engine::retention::{Archive, ArchiveError, JsonLinesArchive};
use engine::store::{Head, Status, StoredEvent};
use engine::workflow::{End, Record};
use engine::{Started, WorkflowId};

use crate::house::{House, MINUTE, Node, start};

const KEPT: Duration = Duration::from_mins(10);

/// An archive in memory that fails when it is told to.
#[derive(Debug, Default)]
struct Shelf {
    full: AtomicBool,
    kept: Mutex<Vec<(WorkflowId, usize)>>,
}

#[async_trait]
impl Archive for Shelf {
    async fn export(&self, workflows: &[(Head, Vec<Record>)]) -> Result<(), ArchiveError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(ArchiveError {
                doing: "putting workflows on the shelf".into(),
                cause: "it is full".into(),
            });
        }
        let kept = workflows.iter();
        let kept = kept.map(|(head, records)| (head.id, records.len()));
        self.kept.lock().unwrap().extend(kept);
        Ok(())
    }
}

/// A bus that takes nothing when it is told to.
#[derive(Default)]
struct Bus {
    down: AtomicBool,
}

#[async_trait]
impl EventBus for Bus {
    async fn publish<'events>(
        &self,
        _: &'events [StoredEvent],
    ) -> Result<Vec<Refused<'events>>, BusError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(BusError::Unacknowledged("it is down".into()));
        }
        Ok(Vec::new())
    }
}

fn house() -> (House, Arc<Shelf>) {
    let mut house = House::new();
    let shelf = Arc::<Shelf>::default();
    house.settings.retention = Some(KEPT);
    house.settings.archive = Some(shelf.clone());
    (house, shelf)
}

async fn completed(house: &House, node: &Node, key: &str) -> WorkflowId {
    let id = house.sleeping(node, key).await;
    house.becomes(id, Status::Completed).await;
    id
}

#[tokio::test(start_paused = true)]
async fn a_workflow_is_removed_when_it_has_been_at_its_end_for_long_enough_and_its_key_is_free_then()
 {
    let (house, shelf) = house();
    let node = house.open("a", &[1]).await;
    let id = completed(&house, &node, "k").await;
    let open = house.waiting(&node, "open").await;
    let ended_at = house.head(id).updated_at;
    let records = house.store.records(id, 0, 100).await.unwrap().len();
    house.runtime.sleep_until(ended_at.after(KEPT)).await;
    let again = node.engine.start(start("k")).await.unwrap();
    assert!(matches!(again, Started::Existing(view) if view.id == id));
    house.runtime.sleep(2 * MINUTE).await;
    assert_eq!(*shelf.kept.lock().unwrap(), [(id, records)]);
    assert_eq!(node.engine.counters().purged, 1);
    assert!(node.engine.view(id).await.unwrap().is_none());
    assert_eq!(house.memory.heads().len(), 1);
    assert_eq!(house.head(open).status, Status::Waiting);
    let anew = node.engine.start(start("k")).await.unwrap();
    assert!(matches!(anew, Started::New(_)));
    node.check();
}

#[tokio::test(start_paused = true)]
async fn many_old_workflows_are_removed_a_few_at_a_time() {
    let (mut house, shelf) = house();
    house.settings.retention = None;
    let node = house.open("a", &[1]).await;
    let mut ids = Vec::new();
    for number in 0..450 {
        ids.push(house.start(&node, &format!("k{number}")).await);
    }
    for id in &ids {
        house.send_go(&node, *id).await;
    }
    house.runtime.sleep(2 * KEPT).await;
    node.kill();
    house.settings.retention = Some(KEPT);
    let node = house.open("a", &[1]).await;
    house
        .until("all are removed", |house| house.memory.workflows() == 0)
        .await;
    assert_eq!(shelf.kept.lock().unwrap().len(), 450);
    assert_eq!(node.engine.counters().purged, 450);
    assert_eq!(house.memory.events().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_that_was_not_exported() {
    let (house, shelf) = house();
    shelf.full.store(true, Ordering::Relaxed);
    let node = house.open("a", &[1]).await;
    let id = completed(&house, &node, "k").await;
    house.runtime.sleep(2 * KEPT).await;
    assert_eq!(house.head(id).status, Status::Completed);
    shelf.full.store(false, Ordering::Relaxed);
    house.runtime.sleep(MINUTE).await;
    assert_eq!(house.memory.workflows(), 0);
    node.check();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_whose_events_are_not_published() {
    let (mut house, shelf) = house();
    let bus = Arc::<Bus>::default();
    house.bus = bus.clone();
    let node = house.open("a", &[1]).await;
    let id = house.sleeping(&node, "k").await;
    bus.down.store(true, Ordering::Relaxed);
    house.becomes(id, Status::Completed).await;
    house.runtime.sleep(2 * KEPT).await;
    assert_eq!(house.head(id).status, Status::Completed);
    assert_eq!(*shelf.kept.lock().unwrap(), []);
    bus.down.store(false, Ordering::Relaxed);
    house.runtime.sleep(MINUTE).await;
    assert_eq!(house.memory.workflows(), 0);
    node.check();
}

#[tokio::test(start_paused = true)]
async fn without_a_retention_nothing_is_removed() {
    let (mut house, shelf) = house();
    house.settings.retention = None;
    let node = house.open("a", &[1]).await;
    let id = completed(&house, &node, "k").await;
    house.runtime.sleep(3 * KEPT).await;
    assert_eq!(house.head(id).status, Status::Completed);
    assert_eq!(*shelf.kept.lock().unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn one_of_several_nodes_removes() {
    let (house, shelf) = house();
    let first = house.open("a", &[1]).await;
    let second = house.open("b", &[1]).await;
    completed(&house, &second, "k").await;
    house.runtime.sleep(2 * KEPT).await;
    assert_eq!(shelf.kept.lock().unwrap().len(), 1);
    assert_eq!(first.engine.counters().purged, 1);
    assert_eq!(second.engine.counters().purged, 0);
    // The node that ran it has forgotten it, too.
    let anew = second.engine.start(start("k")).await.unwrap();
    assert!(matches!(anew, Started::New(_)));
}

#[tokio::test(start_paused = true)]
async fn another_node_removes_only_when_the_first_one_is_gone() {
    let (mut house, full) = house();
    full.full.store(true, Ordering::Relaxed);
    let first = house.open("a", &[1]).await;
    let empty = Arc::<Shelf>::default();
    house.settings.archive = Some(empty.clone());
    let second = house.open("b", &[1]).await;
    completed(&house, &second, "k").await;
    house.runtime.sleep(2 * KEPT).await;
    assert_eq!(second.engine.counters().purged, 0);
    first.kill();
    house.runtime.sleep(2 * MINUTE).await;
    assert_eq!(second.engine.counters().purged, 1);
    assert_eq!(empty.kept.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_archive_file_has_a_line_a_workflow_and_none_that_a_crash_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.jsonl");
    let head = Head {
        id: WorkflowId::new(engine::PartitionId(1), [7; 12]),
        definition: engine::workflow::DefinitionRef {
            name: "trip".into(),
            version: 1,
            hash: 3,
        },
        status: Status::Completed,
        reason: None,
        wake_at: None,
        label: Some("summer".into()),
        request_hash: [1; 32],
        created_at: engine::Timestamp(1),
        updated_at: engine::Timestamp(2),
    };
    let mut record = Record::new(
        1,
        engine::Timestamp(2),
        engine::workflow::Event::DeadlinePassed,
    );
    record.ends = Some(End::Completed);
    let workflow = (head.clone(), vec![record.clone()]);
    for lines in 1..=2 {
        let archive = JsonLinesArchive::open(&path).unwrap();
        archive
            .export(std::slice::from_ref(&workflow))
            .await
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), lines, "{text}");
        let mut torn = fs::OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(br#"{"id":"0000"#).unwrap();
    }
    let archive = JsonLinesArchive::open(&path).unwrap();
    archive.export(&[]).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["id"], head.id.to_string());
        assert_eq!(line["status"], "COMPLETED");
        assert_eq!(line["label"], "summer");
        let records: Vec<Record> = serde_json::from_value(line["records"].clone()).unwrap();
        assert_eq!(records, std::slice::from_ref(&record));
    }
    let nowhere = JsonLinesArchive::open(folder.path()).unwrap_err();
    assert!(nowhere.to_string().contains("opening the archive"));
}
