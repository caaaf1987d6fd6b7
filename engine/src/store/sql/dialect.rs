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

    /// Fails unless the statement right before it has matched so many rows. `None` where the client is to count them: SQLite
    /// is in this very process.
    pub(crate) fn must_have_matched(self, rows: u64) -> Option<String> {
        match self {
            // The sub-select is asked only when the count is wrong, and fails because it gives two rows.
            Self::MySql => Some(format!(
                "SELECT IF(ROW_COUNT() = {rows}, 1, (SELECT 1 UNION SELECT 2))"
            )),
            Self::Sqlite => None,
        }
    }

    /// Makes the server give up a client that keeps a transaction open and says nothing for 2 s: one that was stopped in the
    /// middle holds its locks, and with them up a take-over. SQLite has no other client.
    pub(crate) const fn impatient(self) -> Option<&'static str> {
        match self {
            Self::MySql => Some("SET SESSION wait_timeout = 2"),
            Self::Sqlite => None,
        }
    }

    /// The end of that: the wait of a session in its pool.
    pub(crate) const fn patient(self) -> Option<&'static str> {
        match self {
            Self::MySql => Some("SET SESSION wait_timeout = 30"),
            Self::Sqlite => None,
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

    /// Opens a SELECT that has an order and a limit of its own in a UNION; `)` closes it.
    pub(crate) const fn limited(self) -> &'static str {
        match self {
            Self::MySql => "(",
            Self::Sqlite => "SELECT * FROM (",
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
