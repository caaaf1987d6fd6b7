//! The statements that write a batch: the fence first, then rows in bulk, the hot rows of the domain last.

use std::collections::BTreeMap;

use super::changes;
use super::dialect::Dialect;
use super::grouping::Malformed;
use super::statement::{Part, Statement, insert_rows};
use super::text::SqlText;
use crate::ids::Ident;
use crate::planted;
use crate::store::rules::{self, ANSWER_CHARS_MAX, MESSAGE_CHARS_MAX, REASON_CHARS_MAX, cut};
use crate::store::{
    Answer, Batch, CommandState, EventRow, Head, HeadUpdate, Lease, ParkedRow, Status,
};

/// At most so many rows in one UPDATE: its CASE is searched from the start for each row.
const ROWS_MAX: usize = 64;

/// Who writes: a lease, and which opening of its journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    /// The lease.
    pub lease: &'a Lease,
    /// How often this partition's journal had been opened when this writer opened it. What an earlier opening sent and
    /// the network kept back is refused by it.
    pub opened: i64,
}

/// All of the batch, in order.
pub(crate) fn statements(
    dialect: Dialect,
    writer: Writer<'_>,
    batch: &Batch,
) -> Result<Vec<Statement>, Malformed> {
    let mut statements = vec![fence(dialect, writer, batch)];
    insert_workflows(&mut statements, dialect, &batch.workflows);
    insert_events(&mut statements, dialect, &batch.events);
    update_heads(&mut statements, dialect, &batch.heads);
    write_parked(&mut statements, dialect, batch);
    answer_commands(&mut statements, dialect, &batch.answers);
    changes::append(&mut statements, dialect, &batch.changes)?;
    Ok(statements)
}

/// Moves the journal on by one batch. Fails with NULL in `epoch` when the lease is not held by the database's clock, and
/// with NULL in `batch_no` when the batch does not continue the journal. The lease's row stays locked in share mode, so
/// that no take-over comes between.
fn fence(dialect: Dialect, Writer { lease, opened }: Writer<'_>, batch: &Batch) -> Statement {
    let partition = lease.partition.0;
    let last_seq = batch.events.last().map_or(0, |event| event.partition_seq);
    let mut text = SqlText::new(dialect);
    text.sql("INSERT INTO journals (partition_id, epoch, opened, batch_no, last_seq, published_seq) VALUES (")
        .number(partition)
        .sql(", (SELECT epoch FROM partitions WHERE id = ")
        .number(partition)
        .sql(" AND epoch")
        .sql(planted::either("fence-takes-later-epochs", " = ", " >= "))
        .number(lease.epoch.0)
        .sql(" AND lease_until_us")
        .sql(planted::either("fence-takes-ended-leases", " > ", " <> "))
        .sql(dialect.now_us())
        .sql(dialect.share_lock())
        .sql("), ");
    for number in [i128::from(opened), batch.number.into(), last_seq.into()] {
        text.number(number).sql(", ");
    }
    text.number(batch.published_seq);
    text.sql(match dialect {
        Dialect::MySql => ") ON DUPLICATE KEY UPDATE epoch = VALUES(epoch), batch_no = ",
        Dialect::Sqlite => {
            ") ON CONFLICT (partition_id) DO UPDATE SET epoch = excluded.epoch, batch_no = "
        }
    });
    text.sql("CASE WHEN opened")
        .sql(planted::either("earlier-openings-write", " = ", " >= "))
        .number(opened)
        .sql(" AND batch_no + 1 = ")
        .number(batch.number);
    if let Some(first) = batch.events.first() {
        text.sql(" AND last_seq + 1 = ").number(first.partition_seq);
    }
    text.sql(" THEN ").number(batch.number).sql(" END");
    if last_seq > 0 {
        text.sql(", last_seq = ").number(last_seq);
    }
    text.sql(", published_seq = ").number(batch.published_seq);
    Statement {
        text: text.finish(),
        part: Part::Fence,
        matched: None,
    }
}

fn insert_workflows(statements: &mut Vec<Statement>, dialect: Dialect, workflows: &[Head]) {
    let head = |text: &mut SqlText| {
        text.sql(
            "INSERT INTO workflows (ident, partition_id, definition, version, hash, status, reason, \
             label, wake_us, request_hash, created_us, updated_us)",
        );
    };
    insert_rows(
        statements,
        dialect,
        Part::Workflows,
        head,
        workflows,
        |text, workflow| {
            text.bytes(&workflow.id.ident())
                .sql(", ")
                .number(workflow.id.partition().0)
                .sql(", ");
            text.text(&workflow.definition.name).sql(", ");
            text.number(workflow.definition.version).sql(", ");
            // The hash is 64 bits of noise; the column is signed.
            text.number(workflow.definition.hash.cast_signed())
                .sql(", ");
            text.text(workflow.status.as_str()).sql(", ");
            let reason = rules::stored_reason(workflow.reason.as_deref());
            text.optional_text(reason).sql(", ");
            text.optional_text(workflow.label.as_deref()).sql(", ");
            let wake_us = workflow.wake_at.map(|at| at.0);
            text.optional_number(wake_us).sql(", ");
            text.bytes(&workflow.request_hash).sql(", ");
            text.number(workflow.created_at.0)
                .sql(", ")
                .number(workflow.updated_at.0);
        },
    );
}

fn insert_events(statements: &mut Vec<Statement>, dialect: Dialect, events: &[EventRow]) {
    let head = |text: &mut SqlText| {
        text.sql(
            "INSERT INTO events (partition_id, partition_seq, workflow_id, seq, kind, at_us, payload)",
        );
    };
    insert_rows(
        statements,
        dialect,
        Part::Events,
        head,
        events,
        |text, event| {
            text.number(event.workflow.partition().0).sql(", ");
            text.number(event.partition_seq).sql(", ");
            text.bytes(event.workflow.bytes())
                .sql(", ")
                .number(event.seq)
                .sql(", ");
            text.text(event.kind)
                .sql(", ")
                .number(event.at.0)
                .sql(", ")
                .text(&event.payload);
        },
    );
}

/// One UPDATE for the heads that get the same status and reason.
fn update_heads(statements: &mut Vec<Statement>, dialect: Dialect, heads: &[HeadUpdate]) {
    let mut alike: BTreeMap<(&str, Option<&str>), Vec<&HeadUpdate>> = BTreeMap::new();
    // By ident: all writers lock in the same order.
    for head in rules::heads(heads).into_values() {
        let reason = rules::stored_reason(head.reason.as_deref());
        let key = (Status::as_str(head.status), reason);
        alike.entry(key).or_default().push(head);
    }
    for ((status, reason), heads) in alike {
        statements.extend(
            heads
                .chunks(ROWS_MAX)
                .map(|heads| update_alike(dialect, status, reason, heads)),
        );
    }
}

fn update_alike(
    dialect: Dialect,
    status: &str,
    reason: Option<&str>,
    heads: &[&HeadUpdate],
) -> Statement {
    let mut text = SqlText::new(dialect);
    text.sql("UPDATE workflows SET status = ").text(status);
    text.sql(", reason = ").optional_text(reason);
    let row = |text: &mut SqlText, head: &&HeadUpdate| {
        text.bytes(&head.id.ident());
    };
    text.sql(", wake_us = ");
    by_row(&mut text, "ident", heads, row, |head| {
        head.wake_at.map(|at| at.0)
    });
    text.sql(", updated_us = ");
    by_row(&mut text, "ident", heads, row, |head| {
        Some(head.updated_at.0)
    });
    text.sql(" WHERE ident IN (").list(heads, row).sql(")");
    Statement {
        text: text.finish(),
        part: Part::Events,
        matched: Some(heads.len() as u64),
    }
}

/// The number that each of the rows gets: as it is where they all get the same, and by a CASE of their key otherwise.
fn by_row<T>(
    text: &mut SqlText,
    key: &'static str,
    rows: &[T],
    row: impl Fn(&mut SqlText, &T),
    number: impl Fn(&T) -> Option<i64>,
) {
    let mut numbers = rows.iter().map(&number);
    let first = numbers.next().flatten();
    if numbers.all(|number| number == first) {
        text.optional_number(first);
        return;
    }
    text.sql("CASE ").sql(key);
    for one in rows {
        text.sql(" WHEN ");
        row(text, one);
        text.sql(" THEN ").optional_number(number(one));
    }
    text.sql(" END");
}

/// The rows of what is parked from now on, and of what no longer is.
fn write_parked(statements: &mut Vec<Statement>, dialect: Dialect, batch: &Batch) {
    let (rows, gone) = rules::parked(batch);
    let gone: Vec<Ident> = gone.into_iter().collect();
    for idents in gone.chunks(ROWS_MAX) {
        let mut text = SqlText::new(dialect);
        text.sql("DELETE FROM parked WHERE ident IN (");
        text.list(idents, |text, ident| {
            text.bytes(ident);
        });
        text.sql(")");
        statements.push(uncounted(text));
    }
    // A chunk a statement: what becomes of a row that is there is said once a statement.
    for rows in rows.chunks(ROWS_MAX) {
        statements.push(park(dialect, rows));
    }
}

fn park(dialect: Dialect, rows: &[&ParkedRow]) -> Statement {
    let mut text = SqlText::new(dialect);
    text.sql(
        "INSERT INTO parked (ident, partition_id, definition, step, class, message, since_us, created_us) VALUES\n",
    );
    text.list(rows, |text, row| {
        text.sql("(").bytes(&row.id.ident()).sql(", ");
        text.number(row.id.partition().0).sql(", ");
        text.text(&row.definition).sql(", ");
        text.text(row.step.as_deref().unwrap_or_default()).sql(", ");
        text.text(cut(&row.class, REASON_CHARS_MAX)).sql(", ");
        text.text(cut(&row.message, MESSAGE_CHARS_MAX)).sql(", ");
        text.number(row.since.0);
        // Lists go by it.
        text.sql(", COALESCE((SELECT created_us FROM workflows WHERE ident = ");
        text.bytes(&row.id.ident()).sql("), ");
        text.number(row.since.0).sql("))");
    });
    text.sql(match dialect {
        Dialect::MySql => {
            "\nON DUPLICATE KEY UPDATE step = VALUES(step), class = VALUES(class), \
             message = VALUES(message), since_us = VALUES(since_us)"
        }
        Dialect::Sqlite => {
            "\nON CONFLICT (ident) DO UPDATE SET step = excluded.step, class = excluded.class, \
             message = excluded.message, since_us = excluded.since_us"
        }
    });
    uncounted(text)
}

/// The answers to commands, those that were carried out and those that were refused; a command that has its answer keeps it.
fn answer_commands(statements: &mut Vec<Statement>, dialect: Dialect, answers: &[Answer]) {
    let first = rules::answers(answers).into_values();
    let (done, refused): (Vec<_>, Vec<_>) =
        first.partition(|answer| matches!(answer.state, CommandState::Done { .. }));
    let row = |text: &mut SqlText, answer: &&Answer| {
        text.number(answer.id.0);
    };
    for answers in done.chunks(ROWS_MAX) {
        let mut text = SqlText::new(dialect);
        text.sql("UPDATE commands SET state = 1, seq = ");
        by_row(&mut text, "id", answers, row, |answer| match answer.state {
            CommandState::Done { seq } => Some(i64::from(seq)),
            CommandState::Pending | CommandState::Refused { .. } => None,
        });
        statements.push(answered(text, answers));
    }
    // Each may say a thousand characters.
    for answers in refused.chunks(ROWS_MAX / 4) {
        let mut text = SqlText::new(dialect);
        text.sql("UPDATE commands SET state = 2, answer = CASE id");
        for answer in answers {
            text.sql(" WHEN ").number(answer.id.0).sql(" THEN ");
            text.text(match &answer.state {
                CommandState::Refused { why } => cut(why, ANSWER_CHARS_MAX),
                CommandState::Pending | CommandState::Done { .. } => "",
            });
        }
        text.sql(" END");
        statements.push(answered(text, answers));
    }
}

/// Ends the statement that answers these commands.
fn answered(mut text: SqlText, answers: &[&Answer]) -> Statement {
    let row = |text: &mut SqlText, answer: &&Answer| {
        text.number(answer.id.0);
    };
    text.sql(", answered_us = ");
    by_row(&mut text, "id", answers, row, |answer| Some(answer.at.0));
    text.sql(" WHERE id IN (")
        .list(answers, row)
        .sql(planted::either(
            "second-answer-counts",
            ") AND state = 0",
            ")",
        ));
    uncounted(text)
}

/// A statement that may match fewer rows than it names.
fn uncounted(text: SqlText) -> Statement {
    Statement {
        text: text.finish(),
        part: Part::Events,
        matched: None,
    }
}
