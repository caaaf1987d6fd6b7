//! The same over a real database, by the system's clock: what somebody spoilt by hand is found and healed, a batch tells
//! everybody once, versions live side by side, and what is old goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engine::audit::OrphanKind;
use engine::batch::BatchRequest;
use engine::command::Verb;
use engine::outbox::in_process::InProcessBus;
use engine::retention::JsonLinesArchive;
use engine::store::change::ChangeKind;
use engine::store::{
    BatchState, Change, Column, ConnectOptions, Head, Lease, SqlDatabase, Status, Store, Table,
    Value, migrations, sqlite,
};
use engine::workflow::Refusal;
use engine::{Engine, NodeName, Parts, Settings, WorkflowId};

use crate::batches::{request, waiting_ones};
use crate::house::{go, start, trip};
use crate::support::lives::Tasks;
use crate::support::operator::Operator as _;
use crate::support::{World, out_of_memory, until};

static WORKFLOWS: Table = Table {
    name: "workflows",
    key: &["ident"],
    columns: &["status", "reason"],
};
static PARTITIONS: Table = Table {
    name: "partitions",
    key: &["id"],
    columns: &["retired", "lease_until_us"],
};
static BATCHES: Table = Table {
    name: "batches",
    key: &["id"],
    columns: &["worker_until_us"],
};

/// No lease that a test relies on ends by itself, however long the machine stands still: what dies is set free by hand.
const LEASE: Duration = Duration::from_hours(1);
/// The lease of one who looks often for what others have left. It may end while the machine stands still, and is taken again.
const BRIEF: Duration = Duration::from_secs(2);

/// A database, and the nodes over it, by the system's clock.
struct Place {
    database: SqlDatabase,
    store: Arc<dyn Store>,
    world: World,
}

impl Place {
    async fn new(folder: &tempfile::TempDir) -> Self {
        let path = folder.path().join("holdfast.db");
        let database = sqlite::open(&path, &ConnectOptions::default()).await;
        let database = database.unwrap();
        database.migrate(&migrations()).await.unwrap();
        Self {
            store: database.store(),
            database,
            world: World::default(),
        }
    }

    fn settings(node: &str) -> Settings {
        Settings {
            node: NodeName(node.into()),
            partitions: 1,
            lease: LEASE,
            audit_every: Duration::from_hours(1_000),
            ..Settings::default()
        }
    }

    fn brief(node: &str) -> Settings {
        Settings {
            lease: BRIEF,
            ..Self::settings(node)
        }
    }

    async fn open(&self, settings: Settings, versions: &[u32]) -> (Engine, Tasks) {
        let tasks = Tasks::default();
        let engine = Engine::open(Parts {
            runtime: tasks.real_runtime(),
            store: Arc::clone(&self.store),
            bus: Arc::<InProcessBus>::default(),
            definitions: versions.iter().map(|it| trip(&self.world, *it)).collect(),
            settings,
        });
        (engine.await.unwrap(), tasks)
    }

    async fn spoil(&self, table: &'static Table, key: Value, kind: ChangeKind) {
        let change = Change {
            table,
            key: vec![key],
            kind,
            refusal: Refusal::new("test", "the row is there"),
        };
        let done = self.database.transact("spoiling a row", &[change]).await;
        done.unwrap();
    }

    async fn spoil_head(&self, id: WorkflowId, set: Vec<(Column, Value)>) {
        let ident = Value::Bytes(id.ident().to_vec());
        self.spoil(&WORKFLOWS, ident, ChangeKind::Set(set)).await;
    }

    async fn head(&self, id: WorkflowId) -> Head {
        self.store.find(&id.ident()).await.unwrap().unwrap()
    }

    async fn becomes(&self, id: WorkflowId, is: impl Fn(&Head) -> bool) {
        let what = format!("{id} is as expected");
        until(&what, async || is(&self.head(id).await)).await;
    }

    /// A workflow that has left memory, to wait for its signal.
    async fn waiting(&self, engine: &Engine, key: &str) -> WorkflowId {
        let id = engine.start(start(key)).await.unwrap().view().id;
        self.becomes(id, |head| head.status == Status::Waiting)
            .await;
        out_of_memory(engine).await;
        id
    }

    /// A node dies where it stands; its partitions are free at once, as they would be when its leases have ended.
    async fn loses(&self, node: &str, tasks: &Tasks) {
        tasks.kill();
        until("nothing of it runs", async || tasks.alive() == 0).await;
        let mut rows = self.store.partitions().await.unwrap();
        rows.retain(|row| row.owner.0 == node);
        let leases: Vec<Lease> = (rows.into_iter())
            .map(|row| Lease {
                partition: row.id,
                epoch: row.epoch,
            })
            .collect();
        self.store.release(&leases).await.unwrap();
    }
}

async fn finds(engine: &Engine, expected: &[(WorkflowId, OrphanKind)]) {
    let report = engine.audit_now().await.unwrap();
    let mut found: Vec<_> = report.orphans.iter().map(|it| (it.id, it.kind)).collect();
    let mut expected = expected.to_vec();
    found.sort_by_key(|it| it.0);
    expected.sort_by_key(|it| it.0);
    assert_eq!(found, expected, "{report:?}");
    assert!(report.orphans.iter().all(|it| it.healed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_spoilt_in_sqlite_is_found_and_healed() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(&folder).await;
    let (node, _tasks) = place.open(Place::settings("a"), &[1]).await;
    let left = place.waiting(&node, "left").await;
    let parked = place.waiting(&node, "parked").await;
    node.tell(parked, Verb::Pause, "ann", "wait").await.unwrap();
    place.waiting(&node, "well").await;
    finds(&node, &[]).await;
    let running = ("status", Value::from("RUNNING"));
    place.spoil_head(left, vec![running]).await;
    place
        .spoil_head(parked, vec![("reason", Value::Null)])
        .await;
    let expected = [
        (left, OrphanKind::Undriven),
        (parked, OrphanKind::ParkedWithoutReason),
    ];
    finds(&node, &expected).await;
    place
        .becomes(left, |head| head.status == Status::Waiting)
        .await;
    place.becomes(parked, |head| head.reason.is_some()).await;
    finds(&node, &[]).await;

    // Two partitions that nobody would take over: one is retired, the other's row is gone.
    let two = Settings {
        partitions: 2,
        ..Place::settings("b")
    };
    let (lost, tasks) = place.open(two, &[1]).await;
    let mut strays: Vec<WorkflowId> = Vec::new();
    for number in 0..100 {
        let id = place.waiting(&lost, &format!("stray {number}")).await;
        let is_new = |id: &WorkflowId| strays.iter().all(|it| it.partition() != id.partition());
        if is_new(&id) {
            strays.push(id);
        } else {
            lost.tell(id, Verb::Abandon, "ann", "not needed")
                .await
                .unwrap();
        }
        if strays.len() == 2 {
            break;
        }
    }
    tasks.kill();
    drop(lost);
    let retired = vec![
        ("retired", Value::Integer(1)),
        ("lease_until_us", Value::Integer(0)),
    ];
    let key = |id: WorkflowId| Value::Integer(i64::from(id.partition().0));
    place
        .spoil(&PARTITIONS, key(strays[0]), ChangeKind::Set(retired))
        .await;
    place
        .spoil(&PARTITIONS, key(strays[1]), ChangeKind::Delete)
        .await;
    let expected = [
        (strays[0], OrphanKind::UnownedPartition),
        (strays[1], OrphanKind::UnownedPartition),
    ];
    finds(&node, &expected).await;
    for id in strays {
        node.tell(id, go(), "ann", "go on").await.unwrap();
        place.becomes(id, |head| head.wake_at.is_some()).await;
    }
    finds(&node, &[]).await;
    assert_eq!(node.counters().orphans, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sqlite_a_batch_goes_on_after_its_node_died_and_tells_everybody_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(&folder).await;
    let (first, tasks) = place.open(Place::settings("a"), &[1]).await;
    for number in 0..40 {
        place.waiting(&first, &format!("k{number}")).await;
    }
    let batch = BatchRequest {
        per_second: 20,
        ..request("b", waiting_ones(), go())
    };
    let (row, _) = first.start_batch(batch).await.unwrap();
    until("some are told", async || {
        let commands = first.batch_commands(row.id, None, 100).await;
        commands.unwrap().len() >= 15
    })
    .await;
    place.loses("a", &tasks).await;
    let free = ChangeKind::Set(vec![("worker_until_us", Value::Integer(0))]);
    let id = Value::Integer(i64::try_from(row.id).unwrap());
    place.spoil(&BATCHES, id, free).await;
    let (second, _tasks) = place.open(Place::brief("b"), &[1]).await;
    until("the batch is finished", async || {
        let (row, progress) = second.batch(row.id).await.unwrap().unwrap();
        row.state == BatchState::Finished && progress.pending == 0
    })
    .await;
    let (row, progress) = second.batch(row.id).await.unwrap().unwrap();
    assert_eq!((row.submitted, progress.done), (40, 40));
    let commands = second.batch_commands(row.id, None, 100).await.unwrap();
    let told: BTreeSet<_> = commands.iter().map(|row| row.command.workflow).collect();
    assert_eq!((commands.len(), told.len()), (40, 40));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sqlite_a_version_goes_on_where_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(&folder).await;
    let (new, tasks) = place.open(Place::settings("new"), &[1, 2]).await;
    let id = place.waiting(&new, "k").await;
    let (old, _old) = place.open(Place::brief("old"), &[1]).await;
    place.loses("new", &tasks).await;
    until("the old node has it", async || {
        old.counters().quarantined == 1
    })
    .await;
    assert!(old.view(id).await.unwrap().unwrap().state.is_none());
    let (next, _next) = place.open(Place::settings("next"), &[1, 2]).await;
    next.tell(id, go(), "ann", "go on").await.unwrap();
    place.becomes(id, |head| head.wake_at.is_some()).await;
    assert_eq!(place.world.log(), ["book-2", "pay-2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sqlite_what_is_old_is_exported_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(&folder).await;
    let file = folder.path().join("archive.jsonl");
    let settings = Settings {
        retention: Some(Duration::from_secs(1)),
        archive: Some(Arc::new(JsonLinesArchive::open(&file).unwrap())),
        ..Place::settings("a")
    };
    let (node, _tasks) = place.open(settings, &[1]).await;
    let id = place.waiting(&node, "old").await;
    let open = place.waiting(&node, "open").await;
    node.tell(id, Verb::Compensate, "ann", "not needed")
        .await
        .unwrap();
    until("one is removed", async || node.counters().purged == 1).await;
    assert!(node.view(id).await.unwrap().is_none());
    assert_eq!(node.records(id, 0, 10).await.unwrap(), []);
    assert_eq!(place.head(open).await.status, Status::Waiting);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(&id.to_string()) && text.contains("COMPENSATED"),
        "{text}"
    );
    assert!(!text.contains(&open.to_string()));
}
