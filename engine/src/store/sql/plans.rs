//! What the databases do to carry out the store's statements, proved on a store that is as large and as skewed as one that has
//! been used for a while: each goes by a primary key or by the index that it is meant to go by, and what a call reads is
//! bounded by a number that has nothing to do with the size of the store. MySQL also says how much it has read, and has to do
//! as well when its optimiser is set to do everything differently.

mod access;
mod calls;
mod fill;
mod lists;
mod owner;
mod probe;
mod recorder;

use std::sync::Arc;

use self::probe::Probe;
use self::recorder::{Recorder, Watch};
use super::connect::ConnectOptions;
use super::database::SqlDatabase;
use super::migration::migrations;
use crate::ids::NodeName;
use crate::store::Store;

const LEASE: std::time::Duration = std::time::Duration::from_mins(10);

/// A filled database, and its store under watch.
async fn filled(database: &SqlDatabase, workflows: u32) -> (Arc<dyn Store>, Arc<Watch>) {
    database.migrate(&migrations()).await.expect("migrated");
    let store = database.store();
    let partitions = u16::try_from(fill::PARTITIONS).expect("few");
    let leases = store
        .acquire(&NodeName("a".into()), partitions, &[], LEASE)
        .await;
    assert_eq!(leases.expect("acquired").len(), usize::from(partitions));
    let began = tokio::time::Instant::now();
    fill::fill(database, workflows).await;
    let took_ms = began.elapsed().as_millis();
    println!("{workflows} workflows filled in within {took_ms} ms");
    let watch = Arc::new(Watch::default());
    let recorder = Recorder {
        inner: database.shared_driver(),
        watch: Arc::clone(&watch),
    };
    (SqlDatabase::new(Arc::new(recorder)).store(), watch)
}

fn judge(probe: &Probe) {
    println!("most reads of each call:");
    let mut reads = probe.reads.clone();
    reads.sort_by(|one, other| one.0.cmp(other.0).then(other.1.cmp(&one.1)));
    reads.dedup_by_key(|(name, _)| *name);
    for (name, reads) in reads {
        println!("{reads:>8} {name}");
    }
    assert!(probe.wrong.is_empty(), "{}", probe.wrong.join("\n"));
    let accesses = probe.accesses;
    assert!(accesses > 100, "only {accesses} ways were looked at");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn every_statement_goes_by_its_index_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("holdfast.db");
    let open = crate::store::sqlite::open(&path, &ConnectOptions::default()).await;
    let database = open.expect("opened");
    let workflows = 60_000;
    let (store, watch) = filled(&database, workflows).await;
    let mut probe = Probe::new(watch, false);
    calls::all(&mut probe, store.as_ref(), workflows, 0).await;
    judge(&probe);
}

#[cfg(feature = "mysql")]
mod on_mysql {
    use std::panic::{AssertUnwindSafe, resume_unwind};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::runtime::{Entropy as _, SeededEntropy};

    /// What an optimiser may leave out, and what it may do that it does not do by itself.
    const SWITCHES: [&str; 14] = [
        "index_merge",
        "mrr",
        "index_condition_pushdown",
        "derived_merge",
        "skip_scan",
        "prefer_ordering_index",
        "use_index_extensions",
        "semijoin",
        "materialization",
        "condition_fanout_filter",
        "derived_condition_pushdown",
        "subquery_to_derived",
        "batched_key_access",
        "hash_join",
    ];

    #[tokio::test]
    async fn every_statement_reads_little_and_goes_by_its_index_on_mysql() {
        let Ok(server) = std::env::var("DATABASE_URL") else {
            assert!(std::env::var("CI").is_err(), "CI needs DATABASE_URL");
            println!("skipped: set DATABASE_URL=mysql://user@host:port/any to run this on MySQL");
            return;
        };
        let rows = std::env::var("HOLDFAST_PLANS_ROWS");
        let workflows = rows.map_or(1_000_000, |rows| rows.parse().expect("a number of rows"));
        let (server, _) = server.rsplit_once('/').expect("ends with /database");
        let number = SeededEntropy::from_system().next_u64();
        let name = format!("holdfast_test_{number:016x}");
        let url = format!("{server}/{name}");
        let open = crate::store::mysql::connect(&url, &ConnectOptions::default()).await;
        let database = open.expect("connected");
        let looked = AssertUnwindSafe(look(database.clone(), workflows));
        let outcome = looked.catch_unwind().await;
        let drop = format!("DROP DATABASE `{name}`");
        database.write("clearing up", drop).await.expect("dropped");
        match outcome {
            Ok(probe) => judge(&probe),
            Err(panic) => resume_unwind(panic),
        }
    }

    async fn look(database: SqlDatabase, workflows: u32) -> Probe {
        let (store, watch) = filled(&database, workflows).await;
        let mut probe = Probe::new(Arc::clone(&watch), true);
        let all = known_switches(&database).await;
        let known = SWITCHES
            .iter()
            .filter(|name| all.iter().any(|one| one == *name));
        let switched = |value| {
            let switches = known.clone().map(|name| format!("{name}={value}"));
            switches.collect::<Vec<_>>().join(",")
        };
        calls::all(&mut probe, store.as_ref(), workflows, 0).await;
        watch.switch_to(switched("off"));
        calls::all(&mut probe, store.as_ref(), workflows, 1).await;
        watch.switch_to(switched("on"));
        calls::all(&mut probe, store.as_ref(), workflows, 2).await;
        probe
    }

    /// The switches that this server has.
    async fn known_switches(database: &SqlDatabase) -> Vec<String> {
        let text = "SELECT @@optimizer_switch".to_owned();
        let outcomes = database.write("reading the switches", text).await;
        let outcomes = outcomes.expect("read");
        let all = outcomes[0].rows[0].text(0).expect("a text");
        let names = all.split(',').filter_map(|switch| switch.split('=').next());
        names.map(ToOwned::to_owned).collect()
    }
}
