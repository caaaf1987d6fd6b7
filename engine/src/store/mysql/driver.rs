//! Connections to MySQL over sqlx: each with the session settings that the store relies on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::mysql::{MySql, MySqlConnectOptions, MySqlConnection, MySqlQueryResult, MySqlRow};
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

/// At most so much text is sent in one round trip, also where the server would take more.
const ROUND_TRIP_BYTES_MAX: usize = 8 << 20;

/// A connection that has waited for longer is asked for a sign of life before it is used.
const IDLE_CHECK_AFTER: Duration = Duration::from_secs(5);

/// - Strict: a value that does not fit is refused, not bent; the fence relies on it.
/// - READ COMMITTED: no gap locks between the writers of different partitions.
/// - A lock is waited for less long than an answer.
/// - A client that stops in the middle of a transaction holds its locks (and so a take-over) up for half a minute at most.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO', \
     innodb_lock_wait_timeout = 5, wait_timeout = 30, autocommit = 1; \
     SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// What the server allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// `max_allowed_packet`.
    pub packet_bytes_max: usize,
}

/// Makes and keeps connections.
pub(super) struct MySqlDriver {
    options: MySqlConnectOptions,
    round_trip_bytes_max: usize,
    readers: Arc<Pool<MySqlConnection>>,
    writers: Arc<Pool<MySqlConnection>>,
    journals: Arc<Pool<MySqlConnection>>,
}

impl MySqlDriver {
    pub fn new(options: MySqlConnectOptions, limits: Limits, bounds: &ConnectOptions) -> Arc<Self> {
        Arc::new(Self {
            options,
            round_trip_bytes_max: ROUND_TRIP_BYTES_MAX.min(limits.packet_bytes_max),
            readers: Pool::new(Some(bounds.readers_max)),
            writers: Pool::new(Some(bounds.writers_max)),
            journals: Pool::new(None),
        })
    }

    async fn open(&self) -> Result<MySqlConnection, DriverError> {
        let open = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(SESSION).execute(&mut connection).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, open).await {
            Ok(Ok(connection)) => Ok(connection),
            // Whatever the reason, nothing was asked yet.
            Ok(Err(error)) => Err(DriverError::new(
                ErrorKind::Unavailable,
                driver_error::<MySql>(&error).cause,
            )),
            Err(_elapsed) => Err(DriverError::timed_out(CONNECT_TIMEOUT)),
        }
    }
}

#[async_trait]
impl Driver for MySqlDriver {
    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }

    fn round_trip_bytes_max(&self) -> usize {
        self.round_trip_bytes_max
    }

    async fn connection(&self, role: Role) -> Result<Box<dyn Connection>, DriverError> {
        let pool = match role {
            Role::Read => &self.readers,
            Role::Write | Role::Migration => &self.writers,
            Role::Journal => &self.journals,
        };
        let permit = pool.permit().await?;
        let limit = if role == Role::Migration {
            MIGRATION_TIMEOUT
        } else {
            STATEMENT_TIMEOUT
        };
        let home = Some(Arc::clone(pool));
        while let Some((idle, mut connection)) = pool.take() {
            if idle < IDLE_CHECK_AFTER || is_alive(&mut connection).await {
                return Ok(Box::new(MySqlSession {
                    connection,
                    home,
                    limit,
                    _permit: permit,
                }));
            }
        }
        let connection = self.open().await?;
        Ok(Box::new(MySqlSession {
            connection,
            home,
            limit,
            _permit: permit,
        }))
    }
}

async fn is_alive(connection: &mut MySqlConnection) -> bool {
    use sqlx::Connection as _;
    matches!(
        tokio::time::timeout(CONNECT_TIMEOUT, connection.ping()).await,
        Ok(Ok(()))
    )
}

/// A connection in use.
pub(super) struct MySqlSession {
    connection: MySqlConnection,
    home: Option<Arc<Pool<MySqlConnection>>>,
    limit: Duration,
    _permit: Option<OwnedSemaphorePermit>,
}

impl MySqlSession {
    /// A connection that no pool waits for.
    pub const fn alone(connection: MySqlConnection) -> Self {
        Self {
            connection,
            home: None,
            limit: STATEMENT_TIMEOUT,
            _permit: None,
        }
    }
}

#[async_trait]
impl Connection for MySqlSession {
    async fn run(&mut self, doing: &'static str, text: String) -> Result<Vec<Outcome>, RunError> {
        let steps = sqlx::raw_sql(AssertSqlSafe(text)).fetch_many(&mut self.connection);
        collect::<MySql>(doing, steps, self.limit).await
    }

    fn release(self: Box<Self>) {
        if let Some(home) = self.home {
            home.put(self.connection);
        }
    }
}

impl Backend for MySql {
    fn matched(done: &MySqlQueryResult) -> u64 {
        done.rows_affected()
    }

    fn cell(row: &MySqlRow, column: usize) -> Result<Cell, sqlx::Error> {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let kind = value.type_info().name().to_owned();
        let decoded = match kind.as_str() {
            "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
                <i64 as Decode<MySql>>::decode(value).map(Cell::Integer)
            }
            "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED"
            | "BIGINT UNSIGNED" | "YEAR" => <u64 as Decode<MySql>>::decode(value).map(|number| {
                i64::try_from(number).map_or_else(|_| Cell::Other(kind.clone()), Cell::Integer)
            }),
            "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" | "BINARY"
            | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "ENUM" => {
                <&[u8] as Decode<MySql>>::decode(value).map(|bytes| Cell::Bytes(bytes.to_vec()))
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
