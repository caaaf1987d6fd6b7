//! A batch from entries: numbers the events and gathers the rows.

use std::sync::Arc;

use super::{AppendError, Entry, Parking, Staged};
use crate::ids::WorkflowId;
use crate::planted;
use crate::store::{
    Answer, Batch, CommandState, EventRow, JournalPosition, RefusedRows, StoredEvent,
};
use crate::workflow::{Refusal, StepError};

/// What `entries` write as the batch after `position`.
pub(super) fn gather(entries: &[Entry], position: JournalPosition, published_seq: u64) -> Batch {
    let mut batch = Batch {
        number: position.batch + 1,
        published_seq,
        ..Batch::default()
    };
    let mut partition_seq = position.last_seq;
    for entry in entries {
        batch.workflows.extend(entry.start.clone());
        batch.heads.extend(entry.head.clone());
        match &entry.parking {
            Some(Parking::Parked(row)) => batch.parked.push(row.clone()),
            Some(Parking::Over) => batch.unparked.push(entry.workflow),
            None => {}
        }
        batch.answers.extend(entry.answers.iter().cloned());
        for staged in &entry.staged {
            partition_seq += 1;
            batch
                .answers
                .extend(answer(staged).filter(|_| !planted::is_on("command-left-unanswered")));
            batch
                .events
                .push(row(entry.workflow, partition_seq, staged));
            batch.changes.extend(staged.changes.iter().cloned());
        }
    }
    batch
}

/// The answer to the command that this record carries out.
pub(crate) fn answer(staged: &Staged) -> Option<Answer> {
    let command = staged.command.as_ref()?;
    Some(Answer {
        id: command.id(),
        state: CommandState::Done {
            seq: staged.record.seq,
        },
        at: staged.record.at,
    })
}

fn row(workflow: WorkflowId, partition_seq: u64, staged: &Staged) -> EventRow {
    let payload = serde_json::to_string(&staged.record).expect("a record is always JSON");
    EventRow {
        workflow,
        seq: staged.record.seq,
        partition_seq,
        kind: staged.record.kind(),
        at: staged.record.at,
        payload: Arc::from(payload),
    }
}

/// How many rows the batch writes.
pub(super) fn rows_in(batch: &Batch) -> u64 {
    let rows = batch.workflows.len()
        + batch.events.len()
        + batch.heads.len()
        + batch.parked.len()
        + batch.unparked.len()
        + batch.answers.len()
        + batch.changes.len();
    rows as u64
}

/// The events of a committed batch, for the relay.
pub(super) fn published_form(batch: Batch) -> Vec<StoredEvent> {
    let stored = |row: EventRow| StoredEvent {
        workflow: row.workflow,
        seq: row.seq,
        partition_seq: row.partition_seq,
        kind: row.kind.to_owned(),
        at: row.at,
        payload: row.payload,
    };
    batch.events.into_iter().map(stored).collect()
}

/// Why an entry that was refused all by itself can't be written.
pub(super) fn verdict(entry: &Entry, rows: &RefusedRows, cause: &str) -> AppendError {
    match rows {
        RefusedRows::Workflows => AppendError::Exists,
        RefusedRows::Events => AppendError::Poisoned(StepError::new("journal-refused", cause)),
        RefusedRows::Changes(table) => match refused_change(entry, table) {
            Some((staged, refusal)) => AppendError::Refused { staged, refusal },
            None => AppendError::Poisoned(StepError::new("rows-refused", cause)),
        },
    }
}

/// The first change of the entry to this table.
fn refused_change(entry: &Entry, table: &str) -> Option<(usize, Refusal)> {
    entry.staged.iter().enumerate().find_map(|(index, staged)| {
        let change = staged
            .changes
            .iter()
            .find(|change| change.table.name == table)?;
        Some((index, change.refusal.clone()))
    })
}
