//! What is read back: heads, records, and events, each by its primary key or by one covering index.

use std::collections::HashMap;
use std::sync::Arc;

use super::database::SqlDatabase;
use super::row::Row;
use super::text::SqlText;
use crate::ids::{Ident, PartitionId, WorkflowId};
use crate::runtime::Timestamp;
use crate::store::{Head, Status, StoreError, StoredEvent};
use crate::workflow::{DefinitionRef, Record};

const FINDING: &str = "finding a workflow";
const READING_RECORDS: &str = "reading a workflow's records";
const LOADING: &str = "loading workflows";
const READING_EVENTS: &str = "reading a partition's events";

/// So many workflows' records are read at a time.
const WORKFLOWS_PER_READ: usize = 64;

const SELECT_HEADS: &str = "SELECT ident, partition_id, definition, version, hash, status, reason, label, wake_us, \
     request_hash, created_us, updated_us FROM workflows WHERE ident IN (";

/// The head of this workflow.
pub(crate) async fn find(
    database: &SqlDatabase,
    ident: &Ident,
) -> Result<Option<Head>, StoreError> {
    Ok(heads(database, FINDING, &[*ident]).await?.pop())
}

/// The heads of these workflows, in any order.
pub(crate) async fn heads(
    database: &SqlDatabase,
    doing: &'static str,
    idents: &[Ident],
) -> Result<Vec<Head>, StoreError> {
    if idents.is_empty() {
        return Ok(Vec::new());
    }
    let mut text = SqlText::new(database.dialect());
    text.sql(SELECT_HEADS).list(idents, |text, ident| {
        text.bytes(ident);
    });
    text.sql(")");
    let rows = rows(database, doing, text).await?;
    rows.iter().map(head).collect()
}

/// The records after `after`.
pub(crate) async fn records(
    database: &SqlDatabase,
    id: WorkflowId,
    after: u32,
    limit: u32,
) -> Result<Vec<Record>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT payload FROM events WHERE workflow_id = ")
        .bytes(id.bytes());
    text.sql(" AND seq > ")
        .number(after)
        .sql(" ORDER BY seq LIMIT ")
        .number(limit);
    let rows = rows(database, READING_RECORDS, text).await?;
    rows.iter().map(|row| record(row, 0)).collect()
}

/// These workflows with all their records, in the order in which they are asked for.
pub(crate) async fn load(
    database: &SqlDatabase,
    idents: &[Ident],
) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
    let mut loaded = Vec::with_capacity(idents.len());
    for idents in idents.chunks(WORKFLOWS_PER_READ) {
        let mut found: HashMap<Ident, Head> = heads(database, LOADING, idents)
            .await?
            .into_iter()
            .map(|head| (head.id.ident(), head))
            .collect();
        let heads: Vec<Head> = idents
            .iter()
            .filter_map(|ident| found.remove(ident))
            .collect();
        loaded.extend(with_records(database, LOADING, heads).await?);
    }
    Ok(loaded)
}

/// These heads, in their order, with all their records; with none where one of them can't be read, since a part of a journal would
/// tell another story.
pub(crate) async fn with_records(
    database: &SqlDatabase,
    doing: &'static str,
    heads: Vec<Head>,
) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
    if heads.is_empty() {
        return Ok(Vec::new());
    }
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT workflow_id, payload FROM events WHERE workflow_id IN (");
    text.list(&heads, |text, head| {
        text.bytes(head.id.bytes());
    });
    text.sql(") ORDER BY workflow_id, seq");
    let mut records: HashMap<WorkflowId, Result<Vec<Record>, StoreError>> = HashMap::new();
    for row in rows(database, doing, text).await? {
        let id = WorkflowId::from_bytes(fixed(&row, 0)?);
        let read = records.entry(id).or_insert_with(|| Ok(Vec::new()));
        match (record(&row, 1), &mut *read) {
            (Ok(record), Ok(records)) => records.push(record),
            (Err(error), Ok(_)) => *read = Err(error),
            (_, Err(_)) => {}
        }
    }
    let with_records = heads.into_iter().map(|head| {
        let read = records.remove(&head.id).unwrap_or_else(|| Ok(Vec::new()));
        let records = read.unwrap_or_else(|error| {
            tracing::warn!(workflow.id = %head.id, %error, "a journal can't be read");
            Vec::new()
        });
        (head, records)
    });
    Ok(with_records.collect())
}

/// The events of a partition after `after`.
pub(crate) async fn events_after(
    database: &SqlDatabase,
    partition: PartitionId,
    after: u64,
    limit: u32,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT workflow_id, seq, partition_seq, kind, at_us, payload FROM events WHERE partition_id = ");
    text.number(partition.0)
        .sql(" AND partition_seq > ")
        .number(after);
    text.sql(" ORDER BY partition_seq LIMIT ").number(limit);
    let rows = rows(database, READING_EVENTS, text).await?;
    rows.iter()
        .map(|row| {
            Ok(StoredEvent {
                workflow: WorkflowId::from_bytes(fixed(row, 0)?),
                seq: unsigned(row, 1)?,
                partition_seq: unsigned(row, 2)?,
                kind: row.text(3)?.to_owned(),
                at: Timestamp(row.integer(4)?),
                payload: Arc::from(row.text(5)?),
            })
        })
        .collect()
}

/// The rows of the one statement.
pub(crate) async fn rows(
    database: &SqlDatabase,
    doing: &'static str,
    text: SqlText,
) -> Result<Vec<Row>, StoreError> {
    let outcomes = database.read(doing, text.finish()).await?;
    Ok(outcomes
        .into_iter()
        .flat_map(|outcome| outcome.rows)
        .collect())
}

fn head(row: &Row) -> Result<Head, StoreError> {
    let ident: Ident = fixed(row, 0)?;
    Ok(Head {
        id: WorkflowId::new(PartitionId(unsigned(row, 1)?), ident),
        definition: DefinitionRef {
            name: row.text(2)?.to_owned(),
            version: unsigned(row, 3)?,
            hash: row.integer(4)?.cast_unsigned(),
        },
        status: status(row, 5)?,
        reason: row.optional_text(6)?.map(ToOwned::to_owned),
        label: row.optional_text(7)?.map(ToOwned::to_owned),
        wake_at: row.optional_integer(8)?.map(Timestamp),
        request_hash: fixed(row, 9)?,
        created_at: Timestamp(row.integer(10)?),
        updated_at: Timestamp(row.integer(11)?),
    })
}

/// The status in this column.
pub(crate) fn status(row: &Row, column: usize) -> Result<Status, StoreError> {
    Status::parse(row.text(column)?).ok_or_else(|| row.wrong(column, "is no status"))
}

fn record(row: &Row, column: usize) -> Result<Record, StoreError> {
    serde_json::from_str(row.text(column)?)
        .map_err(|error| row.wrong(column, &format!("of `events` is no record: {error}")))
}

/// The bytes of this column, which are always as many.
pub(crate) fn fixed<const N: usize>(row: &Row, column: usize) -> Result<[u8; N], StoreError> {
    let bytes = row.bytes(column)?;
    bytes
        .try_into()
        .map_err(|_| row.wrong(column, &format!("has {} bytes instead of {N}", bytes.len())))
}

/// The number of this column, which is never negative.
pub(crate) fn unsigned<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, StoreError> {
    T::try_from(row.integer(column)?).map_err(|_| row.wrong(column, "is out of range"))
}
