//! Connections to a SQLite file over sqlx: one for all writers, who take turns, and a few for reads.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteQueryResult,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Decode, Row as _, TypeInfo as _, ValueRef as _};
use tokio::sync::OwnedSemaphorePermit;

use super::errors;
use crate::store::sql::connect::ConnectOptions;
use crate::store::sql::dialect::Dialect;
use crate::store::sql::driver::{
    CONNECT_TIMEOUT, Connection, Driver, DriverError, ErrorKind, MIGRATION_TIMEOUT, Outcome, Role,
    RunError, STATEMENT_TIMEOUT,
};
use crate::store::sql::pool::Pool;
use crate::store::sql::row::Cell;
use crate::store::sql::sqlx_glue::{Backend, collect, driver_error};

/// SQLite takes more; a round trip costs next to nothing in a process.
const ROUND_TRIP_BYTES_MAX: usize = 8 << 20;
/// The writers take turns by themselves; this is for a connection that was given up and is not closed yet.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The writer's page cache, in KiB. Rows come at random places of their indexes: with SQLite's 2 MB most of them are read again.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
/// Pages in the write-ahead log before they are moved into the file. A page that is written again and again is moved once.
const CHECKPOINT_PAGES: u32 = 8_000;

/// Makes and keeps connections.
pub(super) struct SqliteDriver {
    options: SqliteConnectOptions,
    writer: Arc<Pool<SqliteConnection>>,
    readers: Arc<Pool<SqliteConnection>>,
    lock: Arc<File>,
}

impl SqliteDriver {
    pub fn new(path: &Path, lock: File, bounds: &ConnectOptions) -> Arc<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(0)
            .disable_statement_logging();
        Arc::new(Self {
            options,
            writer: Pool::new(Some(1)),
            readers: Pool::new(Some(bounds.readers_max)),
            lock: Arc::new(lock),
        })
    }

    async fn open(&self, role: Role) -> Result<SqliteConnection, DriverError> {
        let options = match role {
            Role::Read => self.options.clone().pragma("query_only", "ON"),
            Role::Write | Role::Journal | Role::Migration => self
                .options
                .clone()
                .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
                .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
                // What a statement may have to take back is kept in memory: it is gone with the process anyway.
                .pragma("temp_store", "MEMORY"),
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(DriverError::new(
                ErrorKind::Unavailable,
                driver_error::<Sqlite>(&error).cause,
            )),
            Err(_elapsed) => Err(DriverError::timed_out(CONNECT_TIMEOUT)),
        }
    }
}

#[async_trait]
impl Driver for SqliteDriver {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn round_trip_bytes_max(&self) -> usize {
        ROUND_TRIP_BYTES_MAX
    }

    async fn connection(&self, role: Role) -> Result<Box<dyn Connection>, DriverError> {
        let pool = if role == Role::Read {
            &self.readers
        } else {
            &self.writer
        };
        let permit = pool.permit().await?;
        let connection = match pool.take() {
            Some((_idle, connection)) => connection,
            None => self.open(role).await?,
        };
        let limit = if role == Role::Migration {
            MIGRATION_TIMEOUT
        } else {
            STATEMENT_TIMEOUT
        };
        Ok(Box::new(SqliteSession {
            connection,
            home: Arc::clone(pool),
            limit,
            _permit: permit,
            _lock: Arc::clone(&self.lock),
        }))
    }
}

/// A connection in use.
struct SqliteSession {
    connection: SqliteConnection,
    home: Arc<Pool<SqliteConnection>>,
    limit: Duration,
    _permit: Option<OwnedSemaphorePermit>,
    _lock: Arc<File>,
}

#[async_trait]
impl Connection for SqliteSession {
    async fn run(&mut self, doing: &'static str, text: String) -> Result<Vec<Outcome>, RunError> {
        let steps = sqlx::raw_sql(AssertSqlSafe(text)).fetch_many(&mut self.connection);
        collect::<Sqlite>(doing, steps, self.limit).await
    }

    fn release(self: Box<Self>) {
        self.home.put(self.connection);
    }
}

impl Backend for Sqlite {
    fn matched(done: &SqliteQueryResult) -> u64 {
        done.rows_affected()
    }

    fn cell(row: &SqliteRow, column: usize) -> Result<Cell, sqlx::Error> {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let kind = value.type_info().name().to_owned();
        let decoded = match kind.as_str() {
            "INTEGER" | "BOOLEAN" => <i64 as Decode<Sqlite>>::decode(value).map(Cell::Integer),
            "TEXT" | "BLOB" => {
                <&[u8] as Decode<Sqlite>>::decode(value).map(|bytes| Cell::Bytes(bytes.to_vec()))
            }
            _ => return Ok(Cell::Other(kind)),
        };
        decoded.map_err(|source| sqlx::Error::ColumnDecode {
            index: column.to_string(),
            source,
        })
    }

    fn classify(error: &dyn sqlx::error::DatabaseError) -> ErrorKind {
        errors::classify(error)
    }
}
