//! A database in which something was damaged: every read of it says what is wrong, or gives what is there, and one workflow whose
//! journal can't be read is no other workflow's trouble.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::command::Verb;
use engine::definition::{Action, Attempt, Compensable, Definition, Outcome, Saga};
use engine::outbox::in_process::InProcessBus;
use engine::store::{
    BatchRow, ConnectOptions, ListFilter, NewBatch, SqlDatabase, Status, StoreError, migrations,
    sqlite,
};
use engine::workflow::By;
use engine::{
    CommandError, Engine, NodeName, OpenError, PartitionId, Parts, Payload, Settings, Start,
    Timestamp, WorkflowId,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;

use crate::mutate::{cases, seed};
use crate::support::lives::Tasks;
use crate::support::operator::{Operator as _, signal};
use crate::support::{out_of_memory, until};

/// Every table that is read: by what its rows are told apart, and its columns of whole numbers, of text and of bytes.
struct Columns {
    table: &'static str,
    key: &'static str,
    numbers: &'static [&'static str],
    texts: &'static [&'static str],
    bytes: &'static [&'static str],
}

const TABLES: [Columns; 7] = [
    Columns {
        table: "partitions",
        key: "id",
        numbers: &["id", "epoch", "lease_until_us", "retired"],
        texts: &["owner"],
        bytes: &[],
    },
    Columns {
        table: "journals",
        key: "partition_id",
        numbers: &[
            "partition_id",
            "epoch",
            "opened",
            "batch_no",
            "last_seq",
            "published_seq",
        ],
        texts: &[],
        bytes: &[],
    },
    Columns {
        table: "workflows",
        key: "ident",
        numbers: &[
            "partition_id",
            "version",
            "hash",
            "wake_us",
            "created_us",
            "updated_us",
        ],
        texts: &["definition", "status", "reason", "label"],
        bytes: &["ident", "request_hash"],
    },
    Columns {
        table: "events",
        key: "partition_seq",
        numbers: &["partition_id", "partition_seq", "seq", "at_us"],
        texts: &["kind", "payload", "payload", "payload"],
        bytes: &["workflow_id"],
    },
    Columns {
        table: "parked",
        key: "ident",
        numbers: &["partition_id", "since_us", "created_us"],
        texts: &["definition", "step", "class", "message"],
        bytes: &["ident"],
    },
    Columns {
        table: "commands",
        key: "id",
        numbers: &[
            "expected_seq",
            "batch_id",
            "accepted_us",
            "state",
            "seq",
            "answered_us",
        ],
        texts: &["name", "verb", "body", "actor", "reason", "answer"],
        bytes: &["workflow_id"],
    },
    Columns {
        table: "batches",
        key: "id",
        numbers: &[
            "per_second",
            "state",
            "submitted",
            "created_us",
            "worker_until_us",
        ],
        texts: &[
            "name", "filter", "verb", "actor", "reason", "place", "worker",
        ],
        bytes: &[],
    },
];

const NUMBERS: [&str; 7] = [
    "NULL",
    "0",
    "-1",
    "7",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
];
const TEXTS: [&str; 12] = [
    "NULL",
    "''",
    "CAST(x'fffe' AS TEXT)",
    "CAST(x'7b22007d' AS TEXT)",
    "hex(zeroblob(200000))",
    "'{}'",
    "'null'",
    "'{\"type\":'",
    LATER,
    "replace(hex(zeroblob(50000)), '0', '[')",
    "'RUNNING'",
    "'LOST'",
];
const BYTES: [&str; 6] = [
    "NULL",
    "x''",
    "x'00'",
    "zeroblob(12)",
    "zeroblob(16)",
    "zeroblob(32)",
];
/// What a later version of the program may write.
const LATER: &str = "'{\"seq\":2,\"at\":1,\"event\":{\"type\":\"step-praised\",\"data\":{}}}'";

/// A step that is done.
struct Does(&'static str);

impl Action for Does {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &'static str {
        self.0
    }

    async fn act(&self, _: &Attempt, input: u32) -> Outcome<u32> {
        Outcome::done(input)
    }
}

impl Compensable for Does {
    async fn compensate(&self, _: &Attempt, _: u32, _: Option<u32>) -> Outcome<()> {
        Outcome::done(())
    }
}

/// `book`, then `go` (a signal), then `send`.
fn trip() -> Arc<Definition> {
    let mut saga = Saga::<u32>::new("trip", 1);
    let booked = saga.compensable(Does("book"), &saga.input());
    let told = saga.await_signal::<u32, _>("go", &booked, |_, _| None);
    let sent = saga.compensable(Does("send"), &booked);
    saga.order(&told, &sent);
    Arc::new(saga.finish(&sent).expect("a definition"))
}

/// A database file, and what works on it.
struct Place {
    path: PathBuf,
    database: SqlDatabase,
    folder: Option<TempDir>,
}

impl Place {
    async fn open(path: PathBuf) -> Self {
        let database = sqlite::open(&path, &ConnectOptions::default()).await;
        Self {
            database: database.expect("a file"),
            path,
            folder: None,
        }
    }

    async fn node(&self, tasks: &Tasks) -> Result<Engine, OpenError> {
        Engine::open(Parts {
            runtime: tasks.real_runtime(),
            store: self.database.store(),
            bus: Arc::<InProcessBus>::default(),
            definitions: vec![trip()],
            settings: Settings {
                node: NodeName("a".into()),
                partitions: 1,
                rest_after: Duration::ZERO,
                start_timeout: Duration::from_secs(2),
                audit_every: Duration::from_hours(1),
                ..Settings::default()
            },
        })
        .await
    }

    /// Makes the change by hand. `false`: the columns' types don't let it.
    async fn damage(&self, change: String) -> bool {
        let options = SqliteConnectOptions::new().filename(&self.path);
        let mut connection: SqliteConnection = options.connect().await.expect("a connection");
        let change = format!("PRAGMA ignore_check_constraints = 1; {change}");
        let changed = sqlx::raw_sql(AssertSqlSafe(change))
            .execute(&mut connection)
            .await;
        changed.is_ok_and(|changed| changed.rows_affected() > 0)
    }
}

fn start(key: &str) -> Start {
    Start {
        definition: "trip".into(),
        input: Payload::of(&1).expect("a payload"),
        key: Some(("tester".into(), key.into())),
        request_hash: [1; 32],
        label: Some("summer".into()),
    }
}

async fn becomes(engine: &Engine, id: WorkflowId, status: Status) {
    until("it stands there", async || {
        let view = engine.view(id).await.expect("a store");
        view.is_some_and(|view| view.head.status == status)
    })
    .await;
}

/// A node has worked here and is gone: of its workflows one has ended, one is parked, and the others wait for `go`.
async fn lived_in(path: PathBuf, waiting: usize) -> Vec<WorkflowId> {
    let place = Place::open(path).await;
    place
        .database
        .migrate(&migrations())
        .await
        .expect("an empty file");
    let tasks = Tasks::default();
    let node = place.node(&tasks).await.expect("a node");
    let mut ids = Vec::new();
    for number in 0..waiting + 2 {
        let id = node
            .start(start(&format!("k{number}")))
            .await
            .expect("a start")
            .view()
            .id;
        becomes(&node, id, Status::Waiting).await;
        ids.push(id);
    }
    node.tell(ids[0], signal("go", "one", &1), "ann", "go")
        .await
        .expect("told");
    becomes(&node, ids[0], Status::Completed).await;
    node.tell(ids[1], Verb::Pause, "ann", "wait")
        .await
        .expect("told");
    let batch = NewBatch {
        key: "b".into(),
        filter: ListFilter {
            status: Some(Status::Parked),
            ..ListFilter::default()
        },
        verb: Verb::Resume,
        by: By {
            actor: "ann".into(),
            reason: "go on".into(),
        },
        per_second: 1,
        created_at: Timestamp(1),
    };
    let store = place.database.store();
    store.submit_batch(&batch).await.expect("a batch");
    store.stop_batch(1).await.expect("a batch");
    out_of_memory(&node).await;
    tasks.kill();
    until("nothing of it runs", async || tasks.alive() == 0).await;
    ids
}

/// A copy of what somebody else lived in, in a folder of its own.
async fn copy(template: &Path) -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("holdfast.db");
    for end in ["", "-wal"] {
        let of = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        if of(template).exists() {
            fs::copy(of(template), of(&path)).expect("a copy");
        }
    }
    let mut place = Place::open(path).await;
    place.folder = Some(folder);
    place
}

/// A read gives what is there, or says that it makes no sense: nothing is lost or away.
fn told<T>(doing: &str, read: Result<T, StoreError>) -> Option<T> {
    match read {
        Ok(found) => Some(found),
        Err(StoreError::Corrupt { cause, .. }) => {
            assert!(
                !cause.is_empty() && cause.len() < 2_000,
                "{doing}: {} bytes",
                cause.len()
            );
            None
        }
        Err(other) => panic!("{doing}: {other}"),
    }
}

/// Reads everything; how much of it made sense.
async fn read_everything(place: &Place, ids: &[WorkflowId]) -> usize {
    let store = place.database.store();
    let partition = PartitionId(1);
    let mut sound = 0;
    let mut count = |is_sound: bool| sound += usize::from(is_sound);
    let idents: Vec<_> = ids.iter().map(WorkflowId::ident).collect();
    for id in ids {
        count(told("find", store.find(&id.ident()).await).is_some());
        count(told("records", store.records(*id, 0, 100).await).is_some());
        count(told("commands", store.commands(Some(*id), None, None, 100).await).is_some());
    }
    count(told("load", store.load(&idents).await).is_some());
    count(told("open", store.open_workflows(partition, None, 100).await).is_some());
    count(told("open everywhere", store.open_everywhere(None, 100).await).is_some());
    count(told("events", store.events_after(partition, 0, 1_000).await).is_some());
    count(told("inbox", store.pending_commands(partition, None, 100).await).is_some());
    for filter in [
        ListFilter::default(),
        ListFilter {
            status: Some(Status::Waiting),
            limit: 10,
            ..ListFilter::default()
        },
        ListFilter {
            label: Some("summer".into()),
            limit: 10,
            ..ListFilter::default()
        },
        ListFilter {
            step: Some("go".into()),
            limit: 10,
            ..ListFilter::default()
        },
    ] {
        count(told("list", store.list(&filter).await).is_some());
    }
    count(told("counts", store.count_by_status().await).is_some());
    count(told("partitions", store.partitions().await).is_some());
    count(told("errors", store.error_groups(10).await).is_some());
    count(told("old", store.purgeable(Timestamp(i64::MAX), 10).await).is_some());
    let batches: Option<Vec<BatchRow>> = told("batches", store.batches(None, 10).await);
    count(batches.is_some());
    count(told("progress", store.batch_progress(1).await).is_some());
    count(
        told(
            "a batch",
            store
                .take_batch(&NodeName("b".into()), Duration::ZERO)
                .await,
        )
        .is_some(),
    );
    sound
}

/// Damages, each a statement, to one row or to all.
fn damages() -> impl Strategy<Value = String> {
    let (any_table, place) = (0..TABLES.len(), any::<Index>());
    (any_table, place, any::<Index>(), proptest::option::of(0..8_u32)).prop_map(
        |(table, column, damage, row)| {
            let Columns { table, key, numbers, texts, bytes } = &TABLES[table];
            let columns: [(&[&str], &[&str]); 3] =
                [(numbers, &NUMBERS), (texts, &TEXTS), (bytes, &BYTES)];
            let columns = columns.iter().flat_map(|(columns, damages)| {
                columns.iter().map(move |column| (*column, *damages))
            });
            let columns: Vec<_> = columns.collect();
            let (column, damages) = column.get(&columns);
            let change = format!("UPDATE OR IGNORE {table} SET {column} = {}", damage.get(damages));
            match row {
                None => change,
                Some(row) => format!(
                    "{change} WHERE {key} = (SELECT {key} FROM {table} ORDER BY {key} LIMIT 1 OFFSET {row})"
                ),
            }
        },
    )
}

fn runner() -> TestRunner {
    TestRunner::new(Config {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed()),
        ..Config::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_table_is_read_or_what_is_wrong_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("template.db");
    let ids = lived_in(template.clone(), 2).await;
    let sound = read_everything(&copy(&template).await, &ids).await;
    let mut runner = runner();
    let (mut damaged, mut noticed) = (0, 0);
    for _ in 0..(cases() / 4).max(8) {
        let damage = damages().new_tree(&mut runner).expect("a damage").current();
        let place = copy(&template).await;
        println!("{damage}");
        if place.damage(damage).await {
            damaged += 1;
            noticed += u32::from(read_everything(&place, &ids).await < sound);
        }
    }
    println!("{damaged} damaged databases, {noticed} of them noticed by {sound} reads");
    assert!(damaged > 0 && noticed > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_opens_a_damaged_database_or_says_why_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("template.db");
    let ids = lived_in(template.clone(), 2).await;
    let mut runner = runner();
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..(cases() / 32).max(4) {
        let damage = damages().new_tree(&mut runner).expect("a damage").current();
        let place = copy(&template).await;
        println!("{damage}");
        if !place.damage(damage).await {
            continue;
        }
        let tasks = Tasks::default();
        match place.node(&tasks).await {
            Ok(node) => {
                opened += 1;
                for id in &ids {
                    let deadline = node.runtime().now().after(Duration::from_millis(200));
                    let command =
                        crate::support::operator::command(*id, signal("go", "1", &1), "ann", "go");
                    let _ = node.command(command, deadline).await;
                }
                let _ = node.audit_now().await;
            }
            Err(why) => {
                refused += 1;
                assert!(!why.to_string().is_empty());
            }
        }
        tasks.assert_none_panicked();
        tasks.kill();
        until("nothing of it runs", async || tasks.alive() == 0).await;
    }
    println!("{opened} opened, {refused} refused");
    assert!(opened > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_journal_that_can_not_be_read_stops_no_other_workflow() {
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("template.db");
    let ids = lived_in(template.clone(), 3).await;
    let (broken, others) = (ids[2], &ids[3..]);
    for damage in ["'{'", "'{}'", "CAST(x'fffe' AS TEXT)", LATER] {
        let place = copy(&template).await;
        // All that wait are due, as after a crash.
        assert!(
            place
                .damage("UPDATE workflows SET status = 'RUNNING' WHERE status = 'WAITING'".into())
                .await
        );
        let workflow = broken.to_string().replace('-', "");
        let change = format!(
            "UPDATE events SET payload = {damage} WHERE workflow_id = x'{workflow}' AND seq = 2"
        );
        assert!(place.damage(change).await);
        let tasks = Tasks::default();
        let node = place.node(&tasks).await.expect("a node");
        for id in others {
            node.tell(*id, signal("go", "1", &1), "ann", "go")
                .await
                .expect("told");
            becomes(&node, *id, Status::Completed).await;
        }
        let new = node.start(start("new")).await.expect("a start").view().id;
        becomes(&node, new, Status::Waiting).await;
        assert_eq!(node.counters().quarantined, 1, "{damage}");
        let refused = node.tell(broken, signal("go", "1", &1), "ann", "go").await;
        assert!(
            matches!(
                &refused,
                Err(CommandError::Conflict(_) | CommandError::Store(_))
            ),
            "{damage}: {refused:?}"
        );
        let store = place.database.store();
        let old = store
            .purgeable(Timestamp(i64::MAX), 10)
            .await
            .expect("what is old");
        assert!(
            old.iter()
                .all(|(head, records)| head.id != broken && !records.is_empty())
        );
        tasks.assert_none_panicked();
        tasks.kill();
        until("nothing of it runs", async || tasks.alive() == 0).await;
    }
}
