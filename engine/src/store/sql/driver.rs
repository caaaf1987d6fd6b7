//! The seam to the drivers: what the store needs of a database connection, and nothing more. All statements are text (see
//! [`super::text`]), several in one round trip where that saves one.

use std::time::Duration;

use async_trait::async_trait;

use super::dialect::Dialect;
use super::row::Row;
use crate::store::StoreError;

/// Opening a connection takes at most this long.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A round trip takes at most this long; then the connection is given up.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// A migration takes at most this long: an index over ten million rows takes minutes.
pub(crate) const MIGRATION_TIMEOUT: Duration = Duration::from_hours(1);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads.
    Read,
    /// Short writes: leases, the catalogue.
    Write,
    /// Batches of a journal: never waits for others' connections.
    Journal,
    /// Changes of the schema.
    Migration,
}

/// A way to connections of one database.
#[async_trait]
pub(crate) trait Driver: Send + Sync + 'static {
    /// Which SQL it speaks.
    fn dialect(&self) -> Dialect;

    /// The most bytes of text that one round trip may carry.
    fn round_trip_bytes_max(&self) -> usize;

    /// A working connection, for one user alone, outside any transaction.
    async fn connection(&self, role: Role) -> Result<Box<dyn Connection>, DriverError>;
}

/// A connection. To drop it is to close it, whatever it was doing: an open transaction is rolled back.
#[async_trait]
pub(crate) trait Connection: Send {
    /// Runs the statements of `text` one after the other up to the first that fails.
    async fn run(&mut self, doing: &'static str, text: String) -> Result<Vec<Outcome>, RunError>;

    /// Gives the connection back for use by others. Only for one whose state is known: no transaction, no reply to come.
    fn release(self: Box<Self>);
}

/// What a statement did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What it gave.
    pub rows: Vec<Row>,
    /// How many rows it wrote or, for an UPDATE, matched.
    pub matched: u64,
}

/// One of several statements failed; those after it did not run.
#[derive(Debug)]
pub(crate) struct RunError {
    /// How many statements before it were carried out.
    pub completed: usize,
    /// Why.
    pub error: DriverError,
}

/// A driver's error, as far as the store tells them apart.
#[derive(Debug, Clone)]
pub(crate) struct DriverError {
    /// What it means.
    pub kind: ErrorKind,
    /// What the database or the driver said.
    pub cause: String,
}

/// What a driver's error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// A unique key, a CHECK, a type or a length refused a row.
    Refused,
    /// A column that may not be NULL was given NULL: how the fence says no.
    NullRefused,
    /// A dead-lock or a lock time-out.
    Contended,
    /// The connection broke, or the database does not serve.
    Unavailable,
    /// The statement is wrong for this database: a defect, or another schema.
    Invalid,
}

impl DriverError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            cause: cause.into(),
        }
    }

    /// No answer came in time.
    pub fn timed_out(limit: Duration) -> Self {
        Self::new(
            ErrorKind::Unavailable,
            format!("no answer within {} s", limit.as_secs()),
        )
    }

    /// The error of something that had no effect.
    pub fn without_effect(self, doing: &'static str) -> StoreError {
        match self.kind {
            ErrorKind::Unavailable | ErrorKind::Contended => StoreError::Unavailable {
                doing,
                cause: self.cause,
            },
            ErrorKind::Refused | ErrorKind::NullRefused | ErrorKind::Invalid => {
                StoreError::Corrupt {
                    doing,
                    cause: self.cause,
                }
            }
        }
    }

    /// The error of a write that may have taken effect when the connection broke.
    pub fn with_effect(self, doing: &'static str) -> StoreError {
        match self.kind {
            ErrorKind::Unavailable => StoreError::Lost {
                doing,
                cause: self.cause,
            },
            _ => self.without_effect(doing),
        }
    }
}
