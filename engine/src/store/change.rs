//! Transactional effects: the rows of the domain that a step wants written in the very transaction that makes its event
//! durable. A step says *what* changes; the store groups the changes of a whole batch, so that a hot counter costs one
//! UPDATE a batch and new rows one multi-row INSERT a table.
//!
//! A change is also a guard. An insert that meets a unique key, a counter that a CHECK constraint stops, a row that is
//! not there: each refuses the change, nothing of the batch is written, the batch is split until the one event is alone,
//! and that step is refused with the change's own [`Refusal`].

use crate::workflow::Refusal;

/// A table of the domain that steps may change. Names are trusted text of the program, never input.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// The table's name.
    pub name: &'static str,
    /// The columns of its primary or a unique key.
    pub key: &'static [Column],
    /// Its other columns, in the order in which an insert gives them.
    pub columns: &'static [Column],
}

/// A column of a [`Table`].
pub type Column = &'static str;

/// A value for a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// UTF-8 text.
    Text(String),
    /// Bytes, such as a workflow's ident.
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

/// The values of a table's key columns, in their order.
pub type Key = Vec<Value>;

/// One change of one row, and the refusal that its step gets when the change can't be made.
#[derive(Debug, Clone)]
pub struct Change {
    /// Where.
    pub table: &'static Table,
    /// Which row.
    pub key: Key,
    /// What.
    pub kind: ChangeKind,
    /// Why the step is refused when the row does.
    pub refusal: Refusal,
}

/// What happens to the row, and when the database refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// A new row, with a value for each of [`Table::columns`]. Refused when the key (or any unique key) exists.
    Insert(Vec<Value>),
    /// Adds to whole-number columns of an existing row. All additions to one row in a batch become one UPDATE. Refused when
    /// the row is absent or a CHECK constraint says no.
    Add(Vec<(Column, i64)>),
    /// Sets columns of an existing row. Refused when the row is absent.
    Set(Vec<(Column, Value)>),
    /// Removes an existing row. Refused when the row is absent.
    Delete,
}
