//! The journal of a partition: a batch is checked as the database checks it, and then written as a whole.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Fault, MemoryStore, Owned, Rows};
use crate::ids::PartitionId;
use crate::store::{
    Batch, CommandState, CommitError, Journal, JournalPosition, Lease, ParkedRow, RefusedRows,
    StoreError, StoredEvent, rules,
};

const COMMITTING: &str = "committing a batch";

pub(super) struct MemoryJournal {
    pub store: MemoryStore,
    pub lease: Lease,
}

impl MemoryJournal {
    fn write(&self, batch: &Batch) -> Result<(), CommitError> {
        let now = self.store.runtime.now();
        let mut tables = self.store.up(COMMITTING)?;
        let tables = &mut *tables;
        let owned = tables.partitions.entry(self.lease.partition.0).or_default();
        if owned.epoch != self.lease.epoch.0 || owned.lease_until <= now {
            return Err(CommitError::Fenced {
                partition: self.lease.partition,
                epoch: self.lease.epoch,
            });
        }
        assert_eq!(
            batch.number,
            owned.position.batch + 1,
            "batches are numbered without a gap"
        );
        if let Some((rows, cause)) = refusal(tables, batch) {
            let cause = cause.to_owned();
            return Err(CommitError::RowRefused { rows, cause });
        }
        tables.write(self.lease.partition, batch);
        Ok(())
    }
}

impl Rows {
    /// Writes a batch that nothing speaks against.
    pub(super) fn write(&mut self, partition: PartitionId, batch: &Batch) {
        write_workflows(self, batch);
        answer_commands(self, batch);
        let written = batch
            .changes
            .iter()
            .map(|change| (change.table.name.to_owned(), format!("{:?}", change.kind)));
        self.changes.extend(written);
        write_events(self.partitions.entry(partition.0).or_default(), batch);
        self.history.push((partition, batch.clone()));
    }
}

/// The rows that the database would refuse.
fn refusal(tables: &Rows, batch: &Batch) -> Option<(RefusedRows, &'static str)> {
    let exists = |id: crate::WorkflowId| tables.workflows.contains_key(&id.ident());
    if batch.workflows.iter().any(|head| exists(head.id)) {
        return Some((RefusedRows::Workflows, "a workflow exists"));
    }
    let number_exists = |workflow: crate::WorkflowId, seq: u32| {
        let owned = tables.partitions.get(&workflow.partition().0);
        owned
            .and_then(|owned| owned.by_workflow.get(&workflow))
            .is_some_and(|numbers| numbers.contains_key(&seq))
    };
    if batch
        .events
        .iter()
        .any(|event| number_exists(event.workflow, event.seq))
    {
        return Some((RefusedRows::Events, "a record of this number exists"));
    }
    let is_new = |id| batch.workflows.iter().any(|head| head.id == id);
    if batch
        .heads
        .iter()
        .any(|head| !exists(head.id) && !is_new(head.id))
    {
        return Some((RefusedRows::Events, "a head is not there"));
    }
    let refused = batch
        .changes
        .iter()
        .find(|change| tables.refusing.contains(&change.table.name))?;
    Some((RefusedRows::Changes(refused.table.name), "a guard said no"))
}

fn write_workflows(tables: &mut Rows, batch: &Batch) {
    let stored =
        |reason: &Option<String>| rules::stored_reason(reason.as_deref()).map(ToOwned::to_owned);
    for head in &batch.workflows {
        let mut head = head.clone();
        head.reason = stored(&head.reason);
        tables.workflows.insert(head.id.ident(), head);
    }
    for (ident, update) in rules::heads(&batch.heads) {
        if let Some(head) = tables.workflows.get_mut(&ident) {
            head.status = update.status;
            head.reason = stored(&update.reason);
            head.wake_at = update.wake_at;
            head.updated_at = update.updated_at;
        }
    }
    let (parked, gone) = rules::parked(batch);
    for ident in gone {
        tables.parked.remove(&ident);
    }
    for row in parked {
        let stored = ParkedRow {
            class: rules::cut(&row.class, rules::REASON_CHARS_MAX).to_owned(),
            message: rules::cut(&row.message, rules::MESSAGE_CHARS_MAX).to_owned(),
            ..row.clone()
        };
        tables.parked.insert(row.id.ident(), stored);
    }
}

fn answer_commands(tables: &mut Rows, batch: &Batch) {
    for (id, answer) in rules::answers(&batch.answers) {
        let Some(row) = tables.commands.get_mut(&id.0) else {
            continue;
        };
        if row.state != CommandState::Pending {
            continue;
        }
        row.answered_at = Some(answer.at);
        row.state = match &answer.state {
            CommandState::Refused { why } => CommandState::Refused {
                why: rules::cut(why, rules::ANSWER_CHARS_MAX).to_owned(),
            },
            state => state.clone(),
        };
    }
}

fn write_events(owned: &mut Owned, batch: &Batch) {
    for event in &batch.events {
        owned.position.last_seq += 1;
        assert_eq!(
            event.partition_seq, owned.position.last_seq,
            "events are numbered without a gap"
        );
        let numbers = owned.by_workflow.entry(event.workflow).or_default();
        numbers.insert(event.seq, event.partition_seq);
        let stored = StoredEvent {
            workflow: event.workflow,
            seq: event.seq,
            partition_seq: event.partition_seq,
            kind: event.kind.to_owned(),
            at: event.at,
            payload: Arc::clone(&event.payload),
        };
        owned.events.insert(event.partition_seq, stored);
    }
    owned.written_under = owned.epoch;
    owned.position.batch = batch.number;
    owned.position.published_seq = batch.published_seq;
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        let fault = self.store.lock().faults.pop_front();
        let cause = || "set by the test".to_owned();
        let lost = || StoreError::Lost {
            doing: COMMITTING,
            cause: cause(),
        };
        match fault {
            None => self.write(batch),
            Some(Fault::Unavailable) => Err(StoreError::Unavailable {
                doing: COMMITTING,
                cause: cause(),
            }
            .into()),
            Some(Fault::Contended) => Err(CommitError::Contended(cause())),
            Some(Fault::LostBeforeCommit) => Err(lost().into()),
            Some(Fault::LostAfterCommit) => {
                self.write(batch)?;
                Err(lost().into())
            }
        }
    }

    async fn position(&mut self) -> Result<JournalPosition, StoreError> {
        const DOING: &str = "reading a journal's position";
        let tables = self.store.up(DOING)?;
        let Some(owned) = tables.partitions.get(&self.lease.partition.0) else {
            return Ok(JournalPosition::default());
        };
        // Once another owner has written, the position no longer tells whether a batch of ours was among its ancestors.
        if ![owned.epoch, owned.written_under].contains(&self.lease.epoch.0) {
            let cause = "another node has the partition".into();
            return Err(StoreError::Unavailable {
                doing: DOING,
                cause,
            });
        }
        Ok(owned.position)
    }
}
