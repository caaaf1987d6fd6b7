//! The auditor over a real database: rows that somebody spoilt by hand are found, each for what it is, and healed.

use std::sync::Arc;
use std::time::Duration;

use engine::audit::OrphanKind;
use engine::command::Verb;
use engine::outbox::in_process::InProcessBus;
use engine::store::change::ChangeKind;
use engine::store::{
    Change, Column, ConnectOptions, Head, SqlDatabase, Status, Store, Table, Value, migrations,
    sqlite,
};
use engine::workflow::Refusal;
use engine::{Engine, NodeName, Parts, Settings, WorkflowId};

use crate::house::{go, start, trip};
use crate::support::World;
use crate::support::lives::Tasks;
use crate::support::operator::Operator as _;

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

/// A database, and the nodes over it, by the system's clock.
struct Place {
    database: SqlDatabase,
    store: Arc<dyn Store>,
    world: World,
}

impl Place {
    async fn open(&self, node: &str, partitions: u16) -> (Engine, Tasks) {
        let tasks = Tasks::default();
        let engine = Engine::open(Parts {
            runtime: tasks.real_runtime(),
            store: Arc::clone(&self.store),
            bus: Arc::<InProcessBus>::default(),
            definitions: vec![trip(&self.world, 1)],
            settings: Settings {
                node: NodeName(node.into()),
                partitions,
                audit_every: Duration::from_hours(1_000),
                lease: Duration::from_mins(1),
                ..Settings::default()
            },
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
        for _ in 0..600 {
            if is(&self.head(id).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never: {:?}", self.head(id).await);
    }

    /// A workflow that has left memory, to wait for its signal.
    async fn waiting(&self, engine: &Engine, key: &str) -> WorkflowId {
        let id = engine.start(start(key)).await.unwrap().view().id;
        self.becomes(id, |head| head.status == Status::Waiting)
            .await;
        for _ in 0..600 {
            if engine.counters().in_flight == 0 {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it stays in memory");
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
    let path = folder.path().join("holdfast.db");
    let database = sqlite::open(&path, &ConnectOptions::default())
        .await
        .unwrap();
    database.migrate(&migrations()).await.unwrap();
    let place = Place {
        store: database.store(),
        database,
        world: World::default(),
    };
    let (node, _tasks) = place.open("a", 1).await;
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
    let (lost, tasks) = place.open("b", 2).await;
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
