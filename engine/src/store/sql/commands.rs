//! The inbox in SQL: a command is one row. Every write is one statement of its own, so that a caller that goes away leaves
//! nothing open.

use super::database::SqlDatabase;
use super::dialect::Dialect;
use super::driver::{ErrorKind, Outcome};
use super::reads::{fixed, rows, unsigned};
use super::row::Row;
use super::text::SqlText;
use crate::command::Verb;
use crate::ids::{PartitionId, WorkflowId};
use crate::runtime::Timestamp;
use crate::store::{CommandId, CommandRow, CommandState, NewCommand, StoreError, Submitted};
use crate::workflow::By;

const SUBMITTING: &str = "submitting a command";
const READING_PENDING: &str = "reading pending commands";
const READING: &str = "reading commands";

/// A row that was refused and is not there to be read was removed in between, once at most.
const SUBMIT_ATTEMPTS_MAX: u32 = 2;

/// What [`command_row`] reads.
const SELECT: &str = "SELECT id, workflow_id, name, body, actor, reason, expected_seq, batch_id, accepted_us, state, answer, \
     seq, answered_us FROM commands";

/// Makes a command durable. After a lost reply the same command finds itself.
pub(crate) async fn submit(
    database: &SqlDatabase,
    command: &NewCommand,
) -> Result<Submitted, StoreError> {
    let mut attempt = 1;
    loop {
        let error = match database.write(SUBMITTING, insert(database, command)?).await {
            Ok(outcomes) => return Ok(Submitted::New(CommandId(new_id(&outcomes, SUBMITTING)?))),
            Err(error) => error,
        };
        if error.kind != ErrorKind::Refused {
            return Err(error.with_effect(SUBMITTING));
        }
        let existing = of_key(database, SUBMITTING, command.workflow, &command.key).await?;
        if let Some(existing) = existing {
            return Ok(Submitted::Existing(Box::new(existing)));
        }
        if attempt == SUBMIT_ATTEMPTS_MAX {
            return Err(error.without_effect(SUBMITTING));
        }
        attempt += 1;
    }
}

fn insert(database: &SqlDatabase, command: &NewCommand) -> Result<String, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql(
        "INSERT INTO commands (partition_id, workflow_id, name, verb, body, actor, reason, expected_seq, batch_id, \
         accepted_us, state) VALUES (",
    );
    text.number(command.workflow.partition().0).sql(", ");
    text.bytes(command.workflow.bytes()).sql(", ");
    text.text(&command.key).sql(", ");
    text.text(command.verb.name()).sql(", ");
    text.text(&json(&command.verb, SUBMITTING)?).sql(", ");
    text.text(&command.by.actor).sql(", ");
    text.text(&command.by.reason).sql(", ");
    text.optional_number(command.expected_seq).sql(", ");
    text.optional_number(command.batch).sql(", ");
    text.number(command.accepted_at.0).sql(", 0)");
    text.sql(last_id(database.dialect()));
    Ok(text.finish())
}

/// The command that a workflow has under this key.
pub(crate) async fn of_key(
    database: &SqlDatabase,
    doing: &'static str,
    workflow: WorkflowId,
    key: &str,
) -> Result<Option<CommandRow>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql(SELECT).sql(" WHERE workflow_id = ");
    text.bytes(workflow.bytes()).sql(" AND name = ").text(key);
    first(database, doing, text).await
}

/// The command of this number.
pub(crate) async fn command(
    database: &SqlDatabase,
    id: CommandId,
) -> Result<Option<CommandRow>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql(SELECT).sql(" WHERE id = ").number(id.0);
    first(database, READING, text).await
}

/// The pending commands of a partition, by the index of its inbox.
pub(crate) async fn pending(
    database: &SqlDatabase,
    partition: PartitionId,
    after: Option<CommandId>,
    limit: u32,
) -> Result<Vec<CommandRow>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql(SELECT).sql(match database.dialect() {
        Dialect::MySql => " FORCE INDEX (commands_by_state)",
        Dialect::Sqlite => " INDEXED BY commands_by_state",
    });
    text.sql(" WHERE partition_id = ")
        .number(partition.0)
        .sql(" AND state = 0");
    if let Some(after) = after {
        text.sql(" AND id > ").number(after.0);
    }
    text.sql(" ORDER BY id LIMIT ").number(limit);
    let rows = rows(database, READING_PENDING, text).await?;
    rows.iter().map(command_row).collect()
}

/// Commands, newest first. Those of one workflow are few and sorted; all others come in the order of their index.
pub(crate) async fn commands(
    database: &SqlDatabase,
    workflow: Option<WorkflowId>,
    batch: Option<u64>,
    before: Option<CommandId>,
    limit: u32,
) -> Result<Vec<CommandRow>, StoreError> {
    let mut text = SqlText::new(database.dialect());
    text.sql(SELECT)
        .sql(match (database.dialect(), workflow, batch) {
            (_, None, None) => "",
            (Dialect::MySql, Some(_), _) => " FORCE INDEX (commands_by_name)",
            (Dialect::MySql, None, Some(_)) => " FORCE INDEX (commands_by_batch)",
            (Dialect::Sqlite, Some(_), _) => " INDEXED BY commands_by_name",
            (Dialect::Sqlite, None, Some(_)) => " INDEXED BY commands_by_batch",
        });
    let mut joint = " WHERE ";
    if let Some(workflow) = workflow {
        text.sql(joint)
            .sql("workflow_id = ")
            .bytes(workflow.bytes());
        joint = " AND ";
    }
    if let Some(batch) = batch {
        text.sql(joint).sql("batch_id = ").number(batch);
        joint = " AND ";
    }
    if let Some(before) = before {
        text.sql(joint).sql("id < ").number(before.0);
    }
    text.sql(" ORDER BY id DESC LIMIT ").number(limit);
    let rows = rows(database, READING, text).await?;
    rows.iter().map(command_row).collect()
}

/// Follows an INSERT in the same text: the number that its row got.
pub(crate) const fn last_id(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => ";\nSELECT LAST_INSERT_ID()",
        Dialect::Sqlite => ";\nSELECT last_insert_rowid()",
    }
}

/// What [`last_id`] gave.
pub(crate) fn new_id(outcomes: &[Outcome], doing: &'static str) -> Result<u64, StoreError> {
    let mut rows = outcomes.iter().flat_map(|outcome| &outcome.rows);
    // The row is there, and a repeat finds it.
    let lost = || StoreError::Lost {
        doing,
        cause: "the new row's number is missing".to_owned(),
    };
    unsigned(rows.next().ok_or_else(lost)?, 0)
}

/// The value as JSON.
pub(crate) fn json<T: serde::Serialize>(
    value: &T,
    doing: &'static str,
) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt {
        doing,
        cause: format!("it can't be written as JSON: {error}"),
    })
}

/// The value of which this column holds the JSON.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(
    row: &Row,
    column: usize,
) -> Result<T, StoreError> {
    serde_json::from_str(row.text(column)?)
        .map_err(|error| row.wrong(column, &format!("is not what it should be: {error}")))
}

async fn first(
    database: &SqlDatabase,
    doing: &'static str,
    text: SqlText,
) -> Result<Option<CommandRow>, StoreError> {
    let rows = rows(database, doing, text).await?;
    rows.first().map(command_row).transpose()
}

fn command_row(row: &Row) -> Result<CommandRow, StoreError> {
    let verb: Verb = from_json(row, 3)?;
    let command = NewCommand {
        workflow: WorkflowId::from_bytes(fixed(row, 1)?),
        key: row.text(2)?.to_owned(),
        verb,
        by: By {
            actor: row.text(4)?.to_owned(),
            reason: row.text(5)?.to_owned(),
        },
        expected_seq: optional_unsigned(row, 6)?,
        batch: optional_unsigned(row, 7)?,
        accepted_at: Timestamp(row.integer(8)?),
    };
    let state = match row.integer(9)? {
        0 => CommandState::Pending,
        1 => CommandState::Done {
            seq: unsigned(row, 11)?,
        },
        2 => CommandState::Refused {
            why: row.text(10)?.to_owned(),
        },
        _ => return Err(row.wrong(9, "is no state of a command")),
    };
    Ok(CommandRow {
        id: CommandId(unsigned(row, 0)?),
        command,
        state,
        answered_at: row.optional_integer(12)?.map(Timestamp),
    })
}

fn optional_unsigned<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<Option<T>, StoreError> {
    match row.optional_integer(column)? {
        Some(_) => unsigned(row, column).map(Some),
        None => Ok(None),
    }
}
