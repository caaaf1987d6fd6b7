//! The statements that write a batch: the fence first, then rows in bulk, the hot rows of the domain last.

use std::collections::{BTreeMap, HashMap};

use super::changes;
use super::dialect::Dialect;
use super::grouping::Malformed;
use super::statement::{Part, Statement, insert_rows};
use super::text::SqlText;
use crate::ids::WorkflowId;
use crate::store::{Batch, EventRow, Head, HeadUpdate, Lease, Status};

/// At most so many heads in one UPDATE: its CASE is searched from the start for each row.
const HEADS_MAX: usize = 64;

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
        .sql(" AND epoch = ")
        .number(lease.epoch.0)
        .sql(" AND lease_until_us > ")
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
    text.sql("CASE WHEN opened = ")
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
             label, request_hash, created_us, updated_us)",
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
            text.optional_text(workflow.reason.as_deref()).sql(", ");
            text.optional_text(workflow.label.as_deref()).sql(", ");
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
    // The last word on a workflow counts.
    let last: HashMap<WorkflowId, &HeadUpdate> = heads.iter().map(|head| (head.id, head)).collect();
    let mut alike: BTreeMap<(&str, Option<&str>), Vec<&HeadUpdate>> = BTreeMap::new();
    for head in last.into_values() {
        let key = (Status::as_str(head.status), head.reason.as_deref());
        alike.entry(key).or_default().push(head);
    }
    for ((status, reason), mut heads) in alike {
        heads.sort_by_key(|head| head.id.ident());
        statements.extend(
            heads
                .chunks(HEADS_MAX)
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
    text.sql(", updated_us = CASE ident");
    for head in heads {
        text.sql(" WHEN ")
            .bytes(&head.id.ident())
            .sql(" THEN ")
            .number(head.updated_at.0);
    }
    text.sql(" END WHERE ident IN (");
    text.list(heads, |text, head| {
        text.bytes(&head.id.ident());
    });
    text.sql(")");
    Statement {
        text: text.finish(),
        part: Part::Events,
        matched: Some(heads.len() as u64),
    }
}
