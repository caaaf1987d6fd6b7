//! [`Store`] by the rows in memory.

use std::time::Duration;

use async_trait::async_trait;

use super::journal::MemoryJournal;
use super::{MemoryStore, leases, listing};
use crate::ids::{Ident, NodeName, PartitionId, WorkflowId};
use crate::store::{
    Head, Journal, Lease, ListFilter, OpenCursor, OpenRow, Page, Status, Store, StoreError,
    StoredEvent,
};
use crate::workflow::Record;

#[async_trait]
impl Store for MemoryStore {
    async fn acquire(
        &self,
        node: &NodeName,
        wanted: u16,
        held: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        leases::acquire(self, node, wanted, held, lease)
    }

    async fn adopt_expired(
        &self,
        node: &NodeName,
        but: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        leases::adopt_expired(self, node, but, lease)
    }

    async fn retire(&self, lease: &Lease) -> Result<bool, StoreError> {
        leases::retire(self, lease)
    }

    async fn renew(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<PartitionId>, StoreError> {
        leases::renew(self, leases, lease)
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        leases::release(self, leases)
    }

    async fn open_journal(&self, lease: &Lease) -> Result<Box<dyn Journal>, StoreError> {
        drop(self.up("opening a journal")?);
        Ok(Box::new(MemoryJournal {
            store: self.clone(),
            lease: lease.clone(),
        }))
    }

    async fn find(&self, ident: &Ident) -> Result<Option<Head>, StoreError> {
        Ok(self.up("finding a workflow")?.workflows.get(ident).cloned())
    }

    async fn records(
        &self,
        id: WorkflowId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        const DOING: &str = "reading records";
        self.up(DOING)?.records(id, after, limit as usize, DOING)
    }

    async fn load(&self, idents: &[Ident]) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        const DOING: &str = "loading workflows";
        let tables = self.up(DOING)?;
        let heads = idents
            .iter()
            .filter_map(|ident| tables.workflows.get(ident));
        tables.with_records(heads.collect(), DOING)
    }

    async fn open_workflows(
        &self,
        partition: PartitionId,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<OpenRow>, StoreError> {
        let tables = self.up("reading open workflows")?;
        let open = tables
            .workflows
            .values()
            .filter(|head| head.id.partition() == partition && !head.status.is_terminal());
        let mut open: Vec<OpenRow> = open.map(open_row).collect();
        open.sort_by(|one, other| place(&one.cursor).cmp(&place(&other.cursor)));
        if let Some(after) = &after {
            open.retain(|row| place(&row.cursor) > place(after));
        }
        open.truncate(limit as usize);
        Ok(open)
    }

    async fn events_after(
        &self,
        partition: PartitionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.up("reading events")?;
        let Some(owned) = tables.partitions.get(&partition.0) else {
            return Ok(Vec::new());
        };
        let later = owned.events.range(after.saturating_add(1)..);
        let later = later.map(|(_, event)| event.clone());
        Ok(later.take(limit as usize).collect())
    }

    async fn list(&self, filter: &ListFilter) -> Result<Page<Head>, StoreError> {
        listing::list(self, filter)
    }

    async fn count_by_status(&self) -> Result<Vec<(Status, u64)>, StoreError> {
        listing::count_by_status(self)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.up("asking whether the database answers").map(|_| ())
    }
}

pub(super) fn open_row(head: &Head) -> OpenRow {
    OpenRow {
        ident: head.id.ident(),
        status: head.status,
        version: head.definition.version,
        wake_at: head.wake_at,
        cursor: OpenCursor {
            status: head.status,
            definition: head.definition.name.clone(),
            created_at: head.created_at,
            ident: head.id.ident(),
        },
    }
}

/// What the index of open workflows orders by: statuses as text.
pub(super) fn place(cursor: &OpenCursor) -> (&str, &str, i64, Ident) {
    (
        cursor.status.as_str(),
        &cursor.definition,
        cursor.created_at.0,
        cursor.ident,
    )
}
