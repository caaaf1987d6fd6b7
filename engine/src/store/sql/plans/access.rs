//! How a statement reads a table, as the databases explain it in their own ways.

use crate::store::sql::dialect::Dialect;
use crate::store::sql::row::Row;

/// One way into one table.
#[derive(Debug)]
pub(super) struct Access {
    /// The table, or its alias.
    pub table: String,
    /// The index, or `PRIMARY`.
    pub index: Option<String>,
    /// How much of it.
    pub extent: Extent,
    /// What it finds is sorted.
    pub sorts: bool,
    /// The line of the plan, and the statement.
    pub line: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Some entries.
    Part,
    /// An index from its end on, as far as is needed.
    Walk,
    /// Every row.
    Whole,
}

/// The lines of a plan that read a table.
pub(super) fn accesses(dialect: Dialect, statement: &str, plan: &[Row]) -> Vec<Access> {
    let line = |row: &Row| match dialect {
        Dialect::MySql => of_mysql(row),
        Dialect::Sqlite => of_sqlite(row.text(3).expect("a text")),
    };
    let mut accesses: Vec<Access> = plan.iter().filter_map(line).collect();
    for access in &mut accesses {
        let start: String = statement.chars().take(600).collect();
        access.line = format!("{}: {start}", access.line);
    }
    accesses
}

/// The columns of EXPLAIN: MySQL has twelve, MariaDB ten.
fn of_mysql(row: &Row) -> Option<Access> {
    let text = |column| row.optional_text(column).ok().flatten();
    let columns = if row.len() == 12 {
        [2, 4, 6, 11]
    } else {
        [2, 3, 5, 9]
    };
    let [table, kind, key, extra] = columns.map(text);
    let extra = extra.unwrap_or_default();
    let extent = match kind {
        // No table is read, or none has such a row.
        None => return None,
        Some("ALL") => Extent::Whole,
        Some("index") => Extent::Walk,
        Some(_) => Extent::Part,
    };
    Some(Access {
        table: table?.to_owned(),
        index: key.map(ToOwned::to_owned),
        extent,
        sorts: extra.contains("filesort"),
        line: format!("{table:?} {kind:?} {key:?} {extra}"),
    })
}

/// Such as `SEARCH parked USING COVERING INDEX parked_by_step (step=?)`.
fn of_sqlite(detail: &str) -> Option<Access> {
    let mut words = detail.split(' ');
    let extent = match words.next() {
        Some("SEARCH") => Extent::Part,
        Some("SCAN") => Extent::Walk,
        Some("USE") if detail.contains("TEMP B-TREE") => Extent::Part,
        _ => return None,
    };
    let sorts = detail.starts_with("USE");
    let table = words.next().filter(|_| !sorts).unwrap_or("sorted");
    let mut words = words.skip_while(|word| *word != "INDEX");
    let index = words.nth(1).map(ToOwned::to_owned);
    Some(Access {
        table: table.to_owned(),
        // Where no index is named it is the table's own order, or its primary key.
        index: Some(index.unwrap_or_else(|| "PRIMARY".to_owned())),
        extent,
        sorts,
        line: detail.to_owned(),
    })
}
