//! A row that a query gave, with typed access to its columns. A column that is not what the program expects is an error
//! that names it, never a panic and never a guess.

use std::sync::Arc;

use crate::store::StoreError;

/// What a column of a row holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// SQL NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// Bytes, or UTF-8 text: drivers can't always tell.
    Bytes(Vec<u8>),
    /// Something else, by its SQL type: cast it in the query.
    Other(String),
}

/// What all rows of one result have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What was being done.
    pub doing: &'static str,
    /// The columns' names.
    pub columns: Vec<String>,
}

/// A row that a query gave. Columns are counted from 0.
#[derive(Debug, Clone)]
pub struct Row {
    shape: Arc<Shape>,
    cells: Vec<Cell>,
}

impl Row {
    pub(crate) const fn new(shape: Arc<Shape>, cells: Vec<Cell>) -> Self {
        Self { shape, cells }
    }

    /// How many columns the row has.
    #[cfg(all(test, feature = "mysql"))]
    pub(crate) const fn len(&self) -> usize {
        self.cells.len()
    }

    /// The whole number in this column.
    pub fn integer(&self, column: usize) -> Result<i64, StoreError> {
        self.optional_integer(column)?
            .ok_or_else(|| self.wrong(column, "is NULL"))
    }

    /// The whole number in this column, if it is not NULL.
    pub fn optional_integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.cell(column)? {
            Cell::Null => Ok(None),
            Cell::Integer(number) => Ok(Some(*number)),
            Cell::Bytes(_) => Err(self.wrong(column, "holds text or bytes, not a whole number")),
            Cell::Other(kind) => Err(self.unreadable(column, kind)),
        }
    }

    /// The text in this column.
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.optional_text(column)?
            .ok_or_else(|| self.wrong(column, "is NULL"))
    }

    /// The text in this column, if it is not NULL.
    pub fn optional_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.optional_bytes(column)?
            .map(|bytes| std::str::from_utf8(bytes).map_err(|_| self.wrong(column, "is not UTF-8")))
            .transpose()
    }

    /// The bytes in this column.
    pub fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        self.optional_bytes(column)?
            .ok_or_else(|| self.wrong(column, "is NULL"))
    }

    /// The bytes in this column, if it is not NULL.
    pub fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        match self.cell(column)? {
            Cell::Null => Ok(None),
            Cell::Bytes(bytes) => Ok(Some(bytes)),
            Cell::Integer(_) => Err(self.wrong(column, "holds a whole number, not text or bytes")),
            Cell::Other(kind) => Err(self.unreadable(column, kind)),
        }
    }

    /// The error of a column whose value is not what it should be.
    pub(crate) fn wrong(&self, column: usize, what: &str) -> StoreError {
        let name = self.shape.columns.get(column).map_or("?", String::as_str);
        StoreError::Corrupt {
            doing: self.shape.doing,
            cause: format!("column {column} (`{name}`) {what}"),
        }
    }

    fn unreadable(&self, column: usize, kind: &str) -> StoreError {
        self.wrong(column, &format!("is of type {kind}: cast it in the query"))
    }

    fn cell(&self, column: usize) -> Result<&Cell, StoreError> {
        self.cells.get(column).ok_or_else(|| {
            self.wrong(
                column,
                &format!("is not among the {} of the result", self.cells.len()),
            )
        })
    }
}
