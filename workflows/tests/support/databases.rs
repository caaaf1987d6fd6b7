//! A database of a test's own, with the whole schema.

use std::io::Write as _;

use engine::Runtime;
use engine::store::{ConnectOptions, SqlDatabase, mysql as mysql_store, sqlite as sqlite_store};
use workflows::tables::migrations;

/// A database that goes when it is dropped (a file) or [`Disposable::dispose`]d of (on a server).
pub struct Disposable {
    pub database: SqlDatabase,
    folder: Option<tempfile::TempDir>,
    name: Option<String>,
}

pub async fn sqlite() -> Disposable {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ConnectOptions::default();
    let database = sqlite_store::open(folder.path().join("shop.db"), &options)
        .await
        .expect("opened");
    database.migrate(&migrations()).await.expect("migrated");
    Disposable {
        database,
        folder: Some(folder),
        name: None,
    }
}

/// A new database on the server of `DATABASE_URL`. Without one: in CI a failure, elsewhere a line that says so.
pub async fn mysql() -> Option<Disposable> {
    let Ok(server) = std::env::var("DATABASE_URL") else {
        assert!(
            std::env::var("CI").is_err(),
            "CI needs DATABASE_URL: this must be tested on MySQL"
        );
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        // Past the capture of output, so that `scripts/test` can list it.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: {name}: DATABASE_URL is not set"
        );
        return None;
    };
    let (server, _) = server
        .rsplit_once('/')
        .expect("DATABASE_URL ends with /database");
    let name = format!("holdfast_shop_{:016x}", Runtime::system().next_u64());
    let options = ConnectOptions::default();
    let database = mysql_store::connect(&format!("{server}/{name}"), &options)
        .await
        .expect("connected");
    database.migrate(&migrations()).await.expect("migrated");
    Some(Disposable {
        database,
        folder: None,
        name: Some(name),
    })
}

impl Disposable {
    pub async fn dispose(self) {
        if let Some(name) = &self.name {
            let drop: &'static str = Box::leak(format!("DROP DATABASE `{name}`").into_boxed_str());
            self.database
                .query("dropping a test's database", drop, &[])
                .await
                .expect("dropped");
        }
        drop(self.folder);
    }
}

/// Makes two tests of each claim: one on each kind of database.
macro_rules! on_both_databases {
    ($($claim:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                let disposable = $crate::support::sqlite().await;
                super::$claim(disposable.database.clone()).await;
                disposable.dispose().await;
            })+
        }
        mod on_mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                let Some(disposable) = $crate::support::mysql().await else { return };
                super::$claim(disposable.database.clone()).await;
                disposable.dispose().await;
            })+
        }
    };
}
pub(crate) use on_both_databases;
