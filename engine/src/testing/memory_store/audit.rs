//! What the auditor asks, and the rows that a test spoils for it by hand.

use super::store::{open_row, place};
use super::{MemoryStore, Owned};
use crate::ids::{PartitionId, WorkflowId};
use crate::runtime::Timestamp;
use crate::store::{Head, OpenCursor, OpenRow, StoreError};

impl MemoryStore {
    /// Changes a workflow's row as nobody should: its journal is what it was.
    pub fn spoil(&self, id: WorkflowId, change: impl FnOnce(&mut Head)) {
        if let Some(head) = self.lock().workflows.get_mut(&id.ident()) {
            change(head);
        }
    }

    /// Removes what operators see of a parked workflow.
    pub fn forget_parked(&self, id: WorkflowId) {
        self.lock().parked.remove(&id.ident());
    }

    /// Retires a partition, whatever is open in it.
    pub fn retire_by_hand(&self, partition: PartitionId) {
        if let Some(owned) = self.lock().partitions.get_mut(&partition.0) {
            owned.retired = true;
            owned.epoch += 1;
            owned.lease_until = Timestamp(0);
        }
    }
}

pub(super) fn open_everywhere(
    store: &MemoryStore,
    after: Option<&OpenCursor>,
    limit: u32,
) -> Result<Vec<(PartitionId, OpenRow)>, StoreError> {
    let tables = store.up("reading open workflows")?;
    let open = tables
        .workflows
        .values()
        .filter(|head| !head.status.is_terminal());
    let mut open: Vec<_> = open
        .map(|head| (head.id.partition(), open_row(head)))
        .collect();
    open.sort_by(|one, other| place(&one.1.cursor).cmp(&place(&other.1.cursor)));
    if let Some(after) = after {
        open.retain(|(_, row)| place(&row.cursor) > place(after));
    }
    open.truncate(limit as usize);
    Ok(open)
}

pub(super) fn reopen(store: &MemoryStore, partition: PartitionId) -> Result<bool, StoreError> {
    let mut tables = store.up("making a partition free")?;
    let owned = tables.partitions.entry(partition.0);
    owned.or_insert_with(Owned::default).retired = false;
    Ok(true)
}
