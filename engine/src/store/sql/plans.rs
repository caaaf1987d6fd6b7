//! What the databases do to carry out the store's statements: each must go by a primary key or by an index, never by
//! reading a table. A recording driver catches the statements as they are sent, and they are explained afterwards.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::connect::ConnectOptions;
use super::database::SqlDatabase;
use super::dialect::Dialect;
use super::driver::{Connection, Driver, DriverError, Outcome, Role, RunError};
use super::migration::migrations;
use super::row::Row;
use crate::ids::{NodeName, PartitionId, WorkflowId};
use crate::runtime::Timestamp;
use crate::store::{
    Batch, EventRow, Head, HeadUpdate, Lease, ListCursor, ListFilter, Status, Store,
};
use crate::workflow::DefinitionRef;

const WORKFLOWS: u32 = 6_000;
const LEASE: std::time::Duration = std::time::Duration::from_mins(10);

type Texts = Arc<Mutex<Vec<String>>>;

/// Passes everything on and remembers it.
struct Recorder {
    inner: Arc<dyn Driver>,
    texts: Texts,
}

struct Recording {
    inner: Box<dyn Connection>,
    texts: Texts,
}

#[async_trait]
impl Driver for Recorder {
    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn round_trip_bytes_max(&self) -> usize {
        self.inner.round_trip_bytes_max()
    }

    async fn connection(&self, role: Role) -> Result<Box<dyn Connection>, DriverError> {
        let inner = self.inner.connection(role).await?;
        Ok(Box::new(Recording {
            inner,
            texts: Arc::clone(&self.texts),
        }))
    }
}

#[async_trait]
impl Connection for Recording {
    async fn run(&mut self, doing: &'static str, text: String) -> Result<Vec<Outcome>, RunError> {
        self.texts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.clone());
        self.inner.run(doing, text).await
    }

    fn release(self: Box<Self>) {
        self.inner.release();
    }
}

fn id(number: u32) -> WorkflowId {
    let mut ident = [3; 12];
    ident[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    WorkflowId::new(PartitionId(1), ident)
}

fn head(number: u32) -> Head {
    let name = ["purchase", "claim", "opening"][number as usize % 3].to_owned();
    Head {
        id: id(number),
        definition: DefinitionRef {
            name,
            version: 1,
            hash: 1,
        },
        // Nearly all have ended, as in a database that has been used for a while.
        status: if number.is_multiple_of(100) {
            Status::Running
        } else {
            Status::Completed
        },
        reason: None,
        label: None,
        request_hash: [0; 32],
        created_at: Timestamp(i64::from(number)),
        updated_at: Timestamp(0),
    }
}

fn event(number: u32) -> EventRow {
    EventRow {
        workflow: id(number),
        seq: 1,
        partition_seq: u64::from(number),
        kind: "compensated",
        at: Timestamp(0),
        payload: r#"{"seq":1,"at":0,"event":{"type":"compensated"}}"#.into(),
    }
}

/// A store that has been used for a while, then everything that a node does with it, recorded.
async fn record(database: SqlDatabase) -> Vec<String> {
    database.migrate(&migrations()).await.expect("migrated");
    let store = database.store();
    let lease = store
        .acquire(&NodeName("a".into()), 1, LEASE)
        .await
        .expect("acquired")
        .remove(0);
    assert_eq!(lease.partition, PartitionId(1));
    let numbers: Vec<u32> = (1..=WORKFLOWS).collect();
    let mut journal = store.open_journal(&lease).await.expect("opened");
    for (index, numbers) in numbers.chunks(500).enumerate() {
        let batch = Batch {
            number: index as u64 + 1,
            workflows: numbers.iter().map(|number| head(*number)).collect(),
            events: numbers.iter().map(|number| event(*number)).collect(),
            ..Batch::default()
        };
        journal.commit(&batch).await.expect("committed");
    }
    if database.dialect() == Dialect::MySql {
        let analyse = "ANALYZE TABLE workflows, events, partitions, journals".to_owned();
        database
            .write("analysing", analyse)
            .await
            .expect("analysed");
    }
    let texts = Texts::default();
    let recorder = Recorder {
        inner: database.shared_driver(),
        texts: Arc::clone(&texts),
    };
    use_everything(
        SqlDatabase::new(Arc::new(recorder)).store().as_ref(),
        &lease,
    )
    .await;
    texts.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn use_everything(store: &dyn Store, lease: &Lease) {
    store.find(&id(7).ident()).await.expect("found");
    store.records(id(7), 0, 10).await.expect("read");
    store
        .open_workflows(PartitionId(1), None, 10)
        .await
        .expect("read");
    store
        .open_workflows(PartitionId(1), Some(id(9).ident()), 10)
        .await
        .expect("read");
    store
        .events_after(PartitionId(1), 100, 10)
        .await
        .expect("read");
    let after = ListCursor {
        created_at: Timestamp(3_000),
        ident: id(3_000).ident(),
    };
    for status in [None, Some(Status::Completed), Some(Status::Running)] {
        for definition in [None, Some("purchase".to_owned())] {
            for after in [None, Some(after.clone())] {
                let definition = definition.clone();
                let filter = ListFilter {
                    status,
                    definition,
                    after,
                    limit: 20,
                };
                assert!(!store.list(&filter).await.expect("listed").items.is_empty());
            }
        }
    }
    store
        .renew(std::slice::from_ref(lease), LEASE)
        .await
        .expect("renewed");
    let mut journal = store.open_journal(lease).await.expect("opened");
    let position = journal.position().await.expect("read");
    let update = |number| HeadUpdate {
        id: id(number),
        status: Status::Parked,
        reason: None,
        updated_at: Timestamp(i64::from(number)),
    };
    let heads = (1..=64).map(update).collect();
    let batch = Batch {
        number: position.batch + 1,
        heads,
        ..Batch::default()
    };
    journal.commit(&batch).await.expect("committed");
}

/// The statements of a text that read or match rows.
fn explainable(text: &str) -> impl Iterator<Item = &str> {
    let reads = |statement: &&str| {
        ["SELECT ", "UPDATE ", "DELETE "]
            .iter()
            .any(|verb| statement.starts_with(verb))
            && (statement.contains("workflows") || statement.contains("events"))
    };
    text.split(";\n").filter(reads)
}

async fn explain(database: &SqlDatabase, how: &str, statement: &str) -> Vec<Row> {
    let outcomes = database
        .write("explaining", format!("{how}{statement}"))
        .await;
    outcomes
        .expect("explained")
        .into_iter()
        .flat_map(|outcome| outcome.rows)
        .collect()
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn no_statement_reads_a_whole_table_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("holdfast.db");
    let open = crate::store::sqlite::open(&path, &ConnectOptions::default()).await;
    let database = open.expect("opened");
    let mut explained = 0;
    for text in record(database.clone()).await {
        for statement in explainable(&text) {
            explained += 1;
            for row in explain(&database, "EXPLAIN QUERY PLAN ", statement).await {
                let detail = row.text(3).expect("a text");
                let scans = ["workflows", "events"]
                    .iter()
                    .any(|table| detail.starts_with("SCAN") && detail.contains(table));
                assert!(!scans, "{detail}: {statement}");
                let sorts = detail.contains("TEMP B-TREE");
                // Only a page a pair of status and definition, and the few open workflows, are ever sorted.
                let few =
                    statement.contains("UNION ALL") || statement.contains("ORDER BY ident LIMIT");
                assert!(!sorts || few, "{detail}: {statement}");
            }
        }
    }
    assert!(explained > 30, "only {explained} statements were looked at");
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn no_statement_reads_a_whole_table_on_mysql() {
    use crate::runtime::{Entropy as _, SeededEntropy};

    let Ok(server) = std::env::var("DATABASE_URL") else {
        assert!(std::env::var("CI").is_err(), "CI needs DATABASE_URL");
        println!("skipped: set DATABASE_URL=mysql://user@host:port/any to run this on MySQL");
        return;
    };
    let (server, _) = server.rsplit_once('/').expect("ends with /database");
    let name = format!(
        "holdfast_test_{:016x}",
        SeededEntropy::from_system().next_u64()
    );
    let url = format!("{server}/{name}");
    let open = crate::store::mysql::connect(&url, &ConnectOptions::default()).await;
    let database = open.expect("connected");
    let mut wrong = Vec::new();
    let mut explained = 0;
    for text in record(database.clone()).await {
        for statement in explainable(&text) {
            explained += 1;
            let plan = explain(&database, "EXPLAIN FORMAT=TRADITIONAL ", statement).await;
            wrong.extend(
                plan.iter()
                    .filter_map(whole_table)
                    .map(|how| format!("{how}: {statement}")),
            );
        }
    }
    database
        .write("clearing up", format!("DROP DATABASE `{name}`"))
        .await
        .expect("dropped");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(explained > 30, "only {explained} statements were looked at");
}

/// How a line of MySQL's plan reads one of the large tables from end to end, if it does.
#[cfg(feature = "mysql")]
fn whole_table(row: &Row) -> Option<String> {
    let columns = (0..row.len()).map(|column| row.optional_text(column).ok().flatten());
    let columns: Vec<&str> = columns.map(|text| text.unwrap_or("-")).collect();
    let large = columns
        .iter()
        .any(|column| matches!(*column, "workflows" | "events"));
    let whole = columns
        .iter()
        .any(|column| matches!(*column, "ALL" | "index"));
    (large && whole).then(|| columns.join(" "))
}
