//! Typed values from the rows of the shop's tables: what does not fit is an error that names the column, never a guess.

use engine::WorkflowId;
use engine::store::Row;
use engine::store::StoreError;

use crate::domain::ids::BadSlug;

/// The name in this column.
pub(crate) fn slug<T>(
    row: &Row,
    column: usize,
    parse: impl Fn(String) -> Result<T, BadSlug>,
) -> Result<T, StoreError> {
    let text = row.text(column)?;
    parse(text.to_owned()).map_err(|error| nonsense(&format!("column {column}, `{text}`, {error}")))
}

/// The count in this column.
pub(crate) fn unsigned(row: &Row, column: usize) -> Result<u64, StoreError> {
    let number = row.integer(column)?;
    u64::try_from(number).map_err(|_| nonsense(&format!("column {column} is {number}")))
}

/// The small count in this column.
pub(crate) fn narrow<N: TryFrom<i64>>(row: &Row, column: usize) -> Result<N, StoreError> {
    let number = row.integer(column)?;
    N::try_from(number).map_err(|_| nonsense(&format!("column {column} is {number}")))
}

/// The database holds something that this program did not write.
pub(crate) fn nonsense(what: &impl ToString) -> StoreError {
    StoreError::Corrupt {
        doing: "reading the shop's tables",
        cause: what.to_string(),
    }
}

/// The workflow in this column.
pub(crate) fn workflow(row: &Row, column: usize) -> Result<WorkflowId, StoreError> {
    let bytes = row.bytes(column)?;
    let bytes = bytes
        .try_into()
        .map_err(|_| nonsense(&format!("column {column} has {} bytes", bytes.len())))?;
    Ok(WorkflowId::from_bytes(bytes))
}
