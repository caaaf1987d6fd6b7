//! A statement of a transaction: its text, what it stands for when it is refused, and how many rows it must match.

use super::dialect::Dialect;
use super::text::SqlText;

/// A multi-row statement is continued in another one beyond this length.
pub(crate) const STATEMENT_BYTES_MAX: usize = 512 * 1024;

/// What a statement stands for when it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The check of the lease.
    Fence,
    /// New workflows.
    Workflows,
    /// Events or heads.
    Events,
    /// Changes of this table.
    Changes(&'static str),
}

/// A statement of a transaction.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Its text.
    pub text: String,
    /// What it stands for.
    pub part: Part,
    /// How many rows it must match, where the database does not refuse by itself.
    pub matched: Option<u64>,
}

/// Appends `INSERT`s with all the rows, few enough that none grows beyond [`STATEMENT_BYTES_MAX`] by more than a row.
pub(crate) fn insert_rows<T>(
    statements: &mut Vec<Statement>,
    dialect: Dialect,
    part: Part,
    head: impl Fn(&mut SqlText),
    rows: impl IntoIterator<Item = T>,
    mut row: impl FnMut(&mut SqlText, T),
) {
    let mut text: Option<SqlText> = None;
    for item in rows {
        let current = if let Some(text) = text.as_mut() {
            text.sql(",\n(")
        } else {
            let text = text.insert(SqlText::new(dialect));
            head(text);
            text.sql(" VALUES\n(")
        };
        row(current, item);
        current.sql(")");
        if current.len_bytes() > STATEMENT_BYTES_MAX {
            let full = text.take().map(SqlText::finish);
            statements.extend(full.map(|text| Statement {
                text,
                part,
                matched: None,
            }));
        }
    }
    let rest = text.map(SqlText::finish);
    statements.extend(rest.map(|text| Statement {
        text,
        part,
        matched: None,
    }));
}
