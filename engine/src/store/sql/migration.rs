//! A version of the schema, as a program carries it, and what may be wrong with the one that a database has.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::dialect::Dialect;
use crate::store::StoreError;

/// Another process's migration is waited for so long.
pub(super) const LOCK_SECONDS: u32 = 60;

/// One version of the schema, for each dialect. Statements end with `;`, comments are lines of their own that begin with
/// `--`, and the last line is a statement's.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1 for the first, then one more each.
    pub version: u32,
    /// A word for people, such as `engine`.
    pub name: &'static str,
    /// For MySQL.
    pub mysql: &'static str,
    /// For SQLite.
    pub sqlite: &'static str,
}

impl Migration {
    pub(super) const fn text(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::MySql => self.mysql,
            Dialect::Sqlite => self.sqlite,
        }
    }

    /// The SHA-256 of the text in hexadecimal, whatever the line ends.
    pub(super) fn checksum(&self, dialect: Dialect) -> String {
        let text = self.text(dialect).replace("\r\n", "\n");
        let mut hexadecimal = String::with_capacity(64);
        for byte in Sha256::digest(text) {
            // Writing to a `String` can't fail.
            let _ = write!(hexadecimal, "{byte:02x}");
        }
        hexadecimal
    }
}

/// The engine's own migrations; a caller appends its own, numbered on.
#[must_use]
pub fn migrations() -> Vec<Migration> {
    vec![Migration {
        version: 1,
        name: "engine",
        mysql: include_str!("../../../../migrations/mysql/0001_engine.sql"),
        sqlite: include_str!("../../../../migrations/sqlite/0001_engine.sql"),
    }]
}

/// What [`SqlDatabase::migrate`](crate::store::SqlDatabase::migrate) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The versions that it applied, in order; empty when the schema was up to date.
    pub applied: Vec<u32>,
    /// The schema's version now.
    pub version: u32,
}

/// The schema could not be brought up to date. Each variant says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MigrateError {
    /// A later version of this program has migrated this database.
    #[error(
        "the database's schema is version {found} and this program knows {known}: run the program that made it, or a later one"
    )]
    NewerSchema {
        /// The database's.
        found: u32,
        /// The program's.
        known: u32,
    },
    /// A migration's text is not what was applied.
    #[error(
        "migration {version} `{name}` was changed after it had been applied: restore its text and add a new migration"
    )]
    ChangedChecksum {
        /// Its version.
        version: u32,
        /// Its name.
        name: String,
    },
    /// A migration was begun and not finished: MySQL can't undo what it did to the schema.
    #[error(
        "migration {version} `{name}` was begun and not finished: drop what it made (or restore the backup), delete its row from schema_migrations, and migrate again"
    )]
    PartiallyApplied {
        /// Its version.
        version: u32,
        /// Its name.
        name: String,
    },
    /// Another process is migrating.
    #[error(
        "another process has been migrating this database for {LOCK_SECONDS} s: wait until it is done, and migrate again"
    )]
    Locked,
    /// A migration failed.
    #[error(
        "statement {statement} of migration {version} `{name}` failed ({cause}): correct what it says, and migrate again"
    )]
    Failed {
        /// Its version.
        version: u32,
        /// Its name.
        name: &'static str,
        /// Which of its statements, from 1.
        statement: usize,
        /// What the database said.
        cause: String,
    },
    /// The program's list is not 1, 2, 3...: a defect.
    #[error(
        "the program's migrations are not numbered 1, 2, 3 and so on: the one at place {place} has version {version}"
    )]
    Misnumbered {
        /// Where in the list, from 1.
        place: usize,
        /// The number that it has.
        version: u32,
    },
    /// The database could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
