//! How a database is connected to, and what a person is told when that fails.

use std::path::PathBuf;

/// How a database is used. The defaults fit a node.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// At most so many connections read at a time.
    pub readers_max: usize,
    /// At most so many connections of MySQL do short writes (leases, the catalogue) at a time; journals have their own.
    pub writers_max: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            readers_max: 8,
            writers_max: 4,
        }
    }
}

/// A database can't be used. Each variant says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one of a database.
    #[error(
        "the database URL can't be used ({cause}): write it as mysql://user:password@host:3306/database"
    )]
    BadUrl {
        /// What is wrong with it, without the URL itself: it holds a password.
        cause: String,
    },
    /// Nothing answers there.
    #[error(
        "no database answers at {address} ({cause}): start it, or correct the host and port in the database URL"
    )]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// The user or the password is wrong.
    #[error(
        "the database at {address} refuses user `{user}`: correct user and password in the database URL ({cause})"
    )]
    AccessDenied {
        /// Host and port.
        address: String,
        /// The user.
        user: String,
        /// What the database said.
        cause: String,
    },
    /// The database is not there and may not be made.
    #[error(
        "database `{database}` does not exist and could not be created ({cause}): create it, or grant its user CREATE"
    )]
    UnknownDatabase {
        /// Its name.
        database: String,
        /// What the server said.
        cause: String,
    },
    /// The server is of a version or has a setting that can't be used.
    #[error("the database server can't be used: {what}; {needed}")]
    Unsupported {
        /// What it is.
        what: String,
        /// What it must be.
        needed: &'static str,
    },
    /// Another process has the file open.
    #[error("{} is already in use by another holdfast process: stop that one, or give this one another data folder", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be opened or made.
    #[error("{} can't be opened ({cause}): check that the folder exists and may be written to", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The server answered with something else.
    #[error("the database at {address} can't be used ({cause}): see the server's log")]
    Refused {
        /// Host and port.
        address: String,
        /// What the server said.
        cause: String,
    },
}

/// What the database does to keep what it has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durability {
    /// Of a MySQL server.
    MySql {
        /// `innodb_flush_log_at_trx_commit`: 1 when each commit is flushed to disk.
        flush_log_at_trx_commit: i64,
        /// `sync_binlog`: 1 when each commit is flushed to the binary log, too.
        sync_binlog: i64,
        /// Whether there is a binary log.
        binary_log: bool,
    },
    /// Of a SQLite file.
    Sqlite {
        /// `synchronous`: 2 (FULL) when each commit is flushed to disk.
        synchronous: i64,
        /// `journal_mode`, such as `wal`.
        journal_mode: String,
    },
}

impl Durability {
    /// What was confirmed survives the loss of power.
    #[must_use]
    pub fn survives_power_loss(&self) -> bool {
        match self {
            Self::MySql {
                flush_log_at_trx_commit,
                sync_binlog,
                binary_log,
            } => *flush_log_at_trx_commit == 1 && (*sync_binlog == 1 || !binary_log),
            Self::Sqlite { synchronous, .. } => *synchronous >= 2,
        }
    }
}
