//! Batches of commands in SQL. The node that works on one holds it for a while by the database's clock; every step forward
//! is guarded by that.

use std::time::Duration;

use super::commands::{from_json, json, last_id, new_id};
use super::database::SqlDatabase;
use super::driver::{ErrorKind, Outcome};
use super::leases::lease_until;
use super::reads::{rows, unsigned};
use super::row::Row;
use super::text::SqlText;
use crate::ids::NodeName;
use crate::runtime::Timestamp;
use crate::store::{BatchProgress, BatchRow, BatchState, ListCursor, NewBatch, StoreError};
use crate::workflow::By;

const SUBMITTING: &str = "submitting a batch of commands";
const READING: &str = "reading batches of commands";
const TAKING: &str = "taking a batch of commands";
const ADVANCING: &str = "noting how far a batch of commands is";
const STOPPING: &str = "stopping a batch of commands";

/// So many batches are tried when other nodes take them at the same moment.
const CANDIDATES_MAX: u32 = 16;
/// A row that was refused and is not there to be read was removed in between, once at most.
const SUBMIT_ATTEMPTS_MAX: u32 = 2;

/// What [`batch_row`] reads.
const SELECT: &str = "SELECT id, name, filter, verb, actor, reason, per_second, state, place, submitted, created_us FROM batches";

/// Makes a batch durable. After a lost reply the same batch finds itself.
pub(crate) async fn submit(
    database: &SqlDatabase,
    batch: &NewBatch,
) -> Result<(BatchRow, bool), StoreError> {
    let mut attempt = 1;
    loop {
        let error = match database.write(SUBMITTING, insert(database, batch)?).await {
            Ok(outcomes) => {
                let new = BatchRow {
                    id: new_id(&outcomes, SUBMITTING)?,
                    batch: batch.clone(),
                    state: BatchState::Running,
                    place: None,
                    submitted: 0,
                };
                return Ok((new, true));
            }
            Err(error) => error,
        };
        if error.kind != ErrorKind::Refused {
            return Err(error.with_effect(SUBMITTING));
        }
        let mut text = SqlText::new(database.dialect());
        text.sql(SELECT).sql(" WHERE name = ").text(&batch.key);
        if let Some(existing) = first(database, SUBMITTING, text).await? {
            return Ok((existing, false));
        }
        if attempt == SUBMIT_ATTEMPTS_MAX {
            return Err(error.without_effect(SUBMITTING));
        }
        attempt += 1;
    }
}

fn insert(database: &SqlDatabase, batch: &NewBatch) -> Result<String, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql(
        "INSERT INTO batches (name, filter, verb, actor, reason, per_second, state, submitted, created_us, \
         worker_until_us) VALUES (",
    );
    text.text(&batch.key).sql(", ");
    text.text(&json(&batch.filter, SUBMITTING)?).sql(", ");
    text.text(&json(&batch.verb, SUBMITTING)?).sql(", ");
    text.text(&batch.by.actor).sql(", ");
    text.text(&batch.by.reason).sql(", ");
    text.number(batch.per_second).sql(", 0, 0, ");
    text.number(batch.created_at.0).sql(", 0)");
    text.sql(last_id(database.dialect()));
    Ok(text.finish())
}

/// The batch of this number.
pub(crate) async fn batch(database: &SqlDatabase, id: u64) -> Result<Option<BatchRow>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql(SELECT).sql(" WHERE id = ").number(id);
    first(database, READING, text).await
}

/// Batches, newest first.
pub(crate) async fn batches(
    database: &SqlDatabase,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<BatchRow>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql(SELECT);
    if let Some(before) = before {
        text.sql(" WHERE id < ").number(before);
    }
    text.sql(" ORDER BY id DESC LIMIT ").number(limit);
    let rows = rows(database, READING, text).await?;
    rows.iter().map(batch_row).collect()
}

/// How far a batch's commands are.
pub(crate) async fn progress(database: &SqlDatabase, id: u64) -> Result<BatchProgress, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT state, COUNT(*) FROM commands WHERE batch_id = ")
        .number(id)
        .sql(" GROUP BY state");
    let mut progress = BatchProgress::default();
    for row in rows(database, READING, text).await? {
        let count = unsigned(&row, 1)?;
        match row.integer(0)? {
            0 => progress.pending = count,
            1 => progress.done = count,
            2 => progress.refused = count,
            _ => return Err(row.wrong(0, "is no state of a command")),
        }
    }
    Ok(progress)
}

/// Takes a running batch: the one that this node works on, or the oldest that nobody works on.
pub(crate) async fn take(
    database: &SqlDatabase,
    node: &NodeName,
    lease: Duration,
) -> Result<Option<BatchRow>, StoreError> {
    for id in candidates(database, node).await? {
        let mut text = SqlText::new(database.dialect());
        text.sql("UPDATE batches SET worker = ").text(&node.0);
        text.sql(", worker_until_us = ");
        lease_until(&mut text, lease);
        text.sql(" WHERE id = ").number(id);
        text.sql(" AND ");
        is_free(&mut text, node);
        let taken = database.write(TAKING, text.finish()).await;
        if matched(&taken.map_err(|error| error.with_effect(TAKING))?) {
            return batch(database, id).await;
        }
    }
    Ok(None)
}

/// The running batches that this node may work on, its own first.
async fn candidates(database: &SqlDatabase, node: &NodeName) -> Result<Vec<u64>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("SELECT id, CASE WHEN worker = ")
        .text(&node.0)
        .sql(" THEN 0 ELSE 1 END AS others FROM batches WHERE ");
    is_free(&mut text, node);
    text.sql(" ORDER BY others, id LIMIT ")
        .number(CANDIDATES_MAX);
    let rows = rows(database, TAKING, text).await?;
    rows.iter().map(|row| unsigned(row, 0)).collect()
}

fn is_free(text: &mut SqlText, node: &NodeName) {
    let now_us = text.dialect().now_us();
    text.sql("state = 0 AND (worker = ").text(&node.0);
    text.sql(" OR worker_until_us <= ").sql(now_us).sql(")");
}

/// Notes how far a batch is, while this node works on it.
pub(crate) async fn advance(
    database: &SqlDatabase,
    node: &NodeName,
    id: u64,
    place: Option<&ListCursor>,
    submitted: u64,
    state: BatchState,
) -> Result<bool, StoreError> {
    let place = place.map(|place| json(place, ADVANCING)).transpose()?;
    let mut text = SqlText::new(database.dialect());
    text.sql("UPDATE batches SET place = ")
        .optional_text(place.as_deref())
        .sql(", submitted = ")
        .number(submitted)
        .sql(", state = ")
        .number(match state {
            BatchState::Running => 0,
            BatchState::Finished => 1,
            BatchState::Stopped => 2,
        });
    text.sql(" WHERE id = ").number(id);
    text.sql(" AND state = 0 AND worker = ").text(&node.0);
    text.sql(" AND worker_until_us > ")
        .sql(database.dialect().now_us());
    let advanced = database.write(ADVANCING, text.finish()).await;
    Ok(matched(
        &advanced.map_err(|error| error.with_effect(ADVANCING))?,
    ))
}

/// Stops a running batch.
pub(crate) async fn stop(database: &SqlDatabase, id: u64) -> Result<bool, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql("UPDATE batches SET state = 2 WHERE state = 0 AND id = ")
        .number(id);
    let stopped = database.write(STOPPING, text.finish()).await;
    Ok(matched(
        &stopped.map_err(|error| error.with_effect(STOPPING))?,
    ))
}

fn matched(outcomes: &[Outcome]) -> bool {
    outcomes.first().is_some_and(|outcome| outcome.matched == 1)
}

async fn first(
    database: &SqlDatabase,
    doing: &'static str,
    text: SqlText,
) -> Result<Option<BatchRow>, StoreError> {
    let rows = rows(database, doing, text).await?;
    rows.first().map(batch_row).transpose()
}

fn batch_row(row: &Row) -> Result<BatchRow, StoreError> {
    let place = match row.optional_text(8)? {
        Some(_) => Some(from_json(row, 8)?),
        None => None,
    };
    Ok(BatchRow {
        id: unsigned(row, 0)?,
        batch: NewBatch {
            key: row.text(1)?.to_owned(),
            filter: from_json(row, 2)?,
            verb: from_json(row, 3)?,
            by: By {
                actor: row.text(4)?.to_owned(),
                reason: row.text(5)?.to_owned(),
            },
            per_second: unsigned(row, 6)?,
            created_at: Timestamp(row.integer(10)?),
        },
        state: match row.integer(7)? {
            0 => BatchState::Running,
            1 => BatchState::Finished,
            2 => BatchState::Stopped,
            _ => return Err(row.wrong(7, "is no state of a batch")),
        },
        place,
        submitted: unsigned(row, 9)?,
    })
}
