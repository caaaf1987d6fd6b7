//! A fresh database for each test, on each kind of store, thrown away at the end also when the test fails.

use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use engine::runtime::{Entropy as _, Runtime, SeededEntropy};
use engine::store::{
    Change, Column, ConnectOptions, Dialect, Lease, Migration, SqlDatabase, Store, Table, Value,
    change::ChangeKind, migrations,
};
use engine::testing::MemoryStore;
use engine::workflow::Refusal;
use engine::{NodeName, store};
use futures_util::FutureExt as _;
use sqlx::Connection as _;

/// Longer than any test takes.
pub const LONG: Duration = Duration::from_mins(10);

/// Longer than anything takes that is waited for, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// How many transactions wait for locks in a MySQL database: in this one only, since other tests use the same server.
pub const LOCK_WAITS: &str = "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p \
     ON p.id = t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()";

/// A counter with a guard, as the domain's stock has.
pub const STOCK: Table = Table {
    name: "stock",
    key: &["product"],
    columns: &["held", "note"],
};
/// Rows with a key of two columns and another unique key, as the domain's coupons have.
pub const COUPONS: Table = Table {
    name: "coupons",
    key: &["campaign", "buyer"],
    columns: &["serial", "state"],
};

/// The domain's migration of these tests.
pub const SHOP: Migration = Migration {
    version: 2,
    name: "shop",
    mysql: "CREATE TABLE stock (product VARCHAR(64) NOT NULL PRIMARY KEY, held BIGINT NOT NULL, note TEXT NULL,
        CONSTRAINT held_fits CHECK (held BETWEEN 0 AND 100)) CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
        CREATE TABLE coupons (campaign BIGINT NOT NULL, buyer VARBINARY(16) NOT NULL, serial BIGINT NULL,
        state VARCHAR(16) NOT NULL, PRIMARY KEY (campaign, buyer), UNIQUE KEY (serial))
        CHARSET = utf8mb4 COLLATE = utf8mb4_bin;",
    sqlite: "CREATE TABLE stock (product TEXT NOT NULL PRIMARY KEY, held INTEGER NOT NULL
        CHECK (held BETWEEN 0 AND 100), note TEXT) STRICT;
        CREATE TABLE coupons (campaign INTEGER NOT NULL, buyer BLOB NOT NULL, serial INTEGER UNIQUE,
        state TEXT NOT NULL CHECK (length(state) <= 16), PRIMARY KEY (campaign, buyer)) STRICT;",
};

/// A store of any kind: all that a claim about the trait needs.
pub struct Ground {
    pub store: Arc<dyn Store>,
}

impl Ground {
    /// A lease of a new partition.
    pub async fn lease(&self, node: &str) -> Lease {
        self.lease_for(node, LONG).await
    }

    /// A lease of a new partition for so long.
    pub async fn lease_for(&self, node: &str, duration: Duration) -> Lease {
        let leases = self
            .store
            .acquire(&NodeName(node.to_owned()), 1, &[], duration)
            .await;
        leases.expect("a partition can be made").remove(0)
    }
}

/// A database with the engine's and the tests' tables.
pub struct Fixture {
    ground: Arc<Ground>,
    pub database: SqlDatabase,
    /// The MySQL server's URL with this database; empty for SQLite.
    pub url: String,
}

impl Deref for Fixture {
    type Target = Ground;

    fn deref(&self) -> &Ground {
        &self.ground
    }
}

impl Fixture {
    async fn new(database: SqlDatabase, url: String) -> Self {
        let mut all = migrations();
        all.push(SHOP);
        let report = database
            .migrate(&all)
            .await
            .expect("an empty database can be migrated");
        assert_eq!(report.applied, [1, 2]);
        let store = database.store();
        Self {
            ground: Arc::new(Ground { store }),
            database,
            url,
        }
    }

    /// What claims about every kind of store need of it.
    pub fn ground(&self) -> Arc<Ground> {
        Arc::clone(&self.ground)
    }

    /// How many rows the table has.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let rows = self
            .database
            .query("counting rows", sql, &[])
            .await
            .expect("the table is there");
        rows[0].integer(0).expect("a count is a number")
    }

    /// Adds to and reads a product's counter.
    pub async fn held(&self, product: &str) -> Option<i64> {
        let sql = "SELECT held FROM stock WHERE product = ?";
        let rows = self
            .database
            .query("reading stock", sql, &[product.into()])
            .await;
        rows.expect("the table is there")
            .first()
            .map(|row| row.integer(0).expect("a number"))
    }
}

/// Runs a test on a SQLite file in a folder of its own.
pub async fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Arc<Fixture>) -> F) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("holdfast.db");
    let database = store::sqlite::open(&path, &ConnectOptions::default()).await;
    let database = database.expect("a new file can be opened");
    assert_eq!(database.dialect(), Dialect::Sqlite);
    test(Arc::new(Fixture::new(database, String::new()).await)).await;
}

/// Runs a test on a database of its own on the MySQL server, if there is one.
pub async fn on_mysql<F: Future<Output = ()>>(test: impl FnOnce(Arc<Fixture>) -> F) {
    let Some(url) = mysql_url() else { return };
    let outcome = AssertUnwindSafe(async {
        let database = store::mysql::connect(&url, &ConnectOptions::default()).await;
        let database = database.expect("a new database can be made");
        test(Arc::new(Fixture::new(database, url.clone()).await)).await;
    })
    .catch_unwind()
    .await;
    drop_database(&url).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Runs a test on the store in memory, which other tests take for a database.
pub async fn in_memory<F: Future<Output = ()>>(test: impl FnOnce(Arc<Ground>) -> F) {
    let store = Arc::new(MemoryStore::new(Runtime::system()));
    test(Arc::new(Ground { store })).await;
}

/// A URL on the MySQL server for a database that is not there yet; `None`, told, when there is no server.
pub fn mysql_url() -> Option<String> {
    let Ok(server) = std::env::var("DATABASE_URL") else {
        assert!(
            std::env::var("CI").is_err(),
            "CI needs DATABASE_URL: the store's MySQL half must run"
        );
        println!("skipped: set DATABASE_URL=mysql://user@host:port/any to run this on MySQL");
        return None;
    };
    let (server, _) = server
        .rsplit_once('/')
        .expect("DATABASE_URL ends with /database");
    let number = SeededEntropy::from_system().next_u64();
    Some(format!("{server}/holdfast_test_{number:016x}"))
}

pub async fn drop_database(url: &str) {
    let (_, name) = url.rsplit_once('/').expect("ends with a database");
    admin(url, &format!("DROP DATABASE IF EXISTS `{name}`")).await;
}

/// Runs a statement of the test's own on the MySQL server, past the store.
pub async fn admin(url: &str, sql: &str) {
    let mut connection = sqlx::mysql::MySqlConnection::connect(url)
        .await
        .expect("the server answers");
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql)
        .execute(&mut connection)
        .await
        .expect("the statement is right");
}

/// Makes two tests of each claim: one on SQLite, one on MySQL.
macro_rules! on_both {
    ($($claim:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::harness::on_sqlite(super::$claim).await;
            })+
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::harness::on_mysql(super::$claim).await;
            })+
        }
    };
}
pub(crate) use on_both;

/// Makes three tests of each claim: one on SQLite, one on MySQL, one in memory.
macro_rules! on_all {
    ($($claim:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::harness::on_sqlite(|fixture| super::$claim(fixture.ground())).await;
            })+
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::harness::on_mysql(|fixture| super::$claim(fixture.ground())).await;
            })+
        }
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::harness::in_memory(super::$claim).await;
            })+
        }
    };
}
pub(crate) use on_all;

fn change(table: &'static Table, key: Vec<Value>, kind: ChangeKind) -> Change {
    Change {
        table,
        key,
        kind,
        refusal: Refusal::new("refused", "The store said no."),
    }
}

pub fn new_stock(product: &str, held: i64) -> Change {
    let values = vec![Value::Integer(held), Value::Null];
    change(&STOCK, vec![product.into()], ChangeKind::Insert(values))
}

pub fn add_stock(product: &str, held: i64) -> Change {
    change(
        &STOCK,
        vec![product.into()],
        ChangeKind::Add(vec![("held", held)]),
    )
}

pub fn set_stock(product: &str, values: Vec<(Column, Value)>) -> Change {
    change(&STOCK, vec![product.into()], ChangeKind::Set(values))
}

pub fn delete_stock(product: &str) -> Change {
    change(&STOCK, vec![product.into()], ChangeKind::Delete)
}

pub fn coupon(campaign: i64, buyer: u8, kind: ChangeKind) -> Change {
    change(
        &COUPONS,
        vec![campaign.into(), Value::Bytes(vec![buyer])],
        kind,
    )
}
