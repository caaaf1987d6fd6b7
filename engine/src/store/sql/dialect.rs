//! Where the two SQL dialects differ: a handful of fragments, kept in one place so that the rest is written once.

/// Which SQL a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// MySQL 8.0.16 or later, and MariaDB 10.6 or later.
    MySql,
    /// SQLite, as it is built into the program.
    Sqlite,
}

impl Dialect {
    /// Begins a transaction that is going to write.
    pub(crate) const fn begin(self) -> &'static str {
        match self {
            Self::MySql => "START TRANSACTION",
            Self::Sqlite => "BEGIN IMMEDIATE",
        }
    }

    /// The database's own clock, in microseconds since the epoch. Sessions are set to UTC.
    pub(crate) const fn now_us(self) -> &'static str {
        match self {
            Self::MySql => "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        }
    }

    /// Makes a SELECT lock what it read until the end of the transaction. On SQLite the one writer holds the whole file.
    pub(crate) const fn share_lock(self) -> &'static str {
        match self {
            Self::MySql => " LOCK IN SHARE MODE",
            Self::Sqlite => "",
        }
    }

    /// Makes a SELECT take what it read for its transaction alone. On SQLite the one writer holds the whole file.
    pub(crate) const fn update_lock(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE",
            Self::Sqlite => "",
        }
    }

    /// What stands before and behind the name of an index that a table is to be read by, whatever the statistics say.
    pub(crate) const fn index_hint(self) -> (&'static str, &'static str) {
        match self {
            Self::MySql => (" FORCE INDEX (", ")"),
            Self::Sqlite => (" INDEXED BY ", ""),
        }
    }

    /// Follows `FROM workflows`: read by the status index whatever the statistics say. With `ORDER BY ident LIMIT n` an
    /// optimiser would otherwise gladly walk the primary key of ten million finished workflows.
    pub(crate) const fn by_status_index(self) -> &'static str {
        match self {
            Self::MySql => " FORCE INDEX (workflows_by_status)",
            Self::Sqlite => " INDEXED BY workflows_by_status",
        }
    }

    /// Opens the list of an `IN` over several columns; `)` closes it.
    pub(crate) const fn in_rows(self) -> &'static str {
        match self {
            Self::MySql => " IN (",
            Self::Sqlite => " IN (VALUES ",
        }
    }
}
