//! The engine's [`Store`] in SQL, the same for every dialect: each method is a function of the module that is about it.

use std::time::Duration;

use async_trait::async_trait;

use super::database::SqlDatabase;
use super::journal::SqlJournal;
use super::{audit, batches, commands, definitions, leases, listing, open, reads, upkeep};
use crate::ids::{Ident, NodeName, PartitionId, WorkflowId};
use crate::runtime::Timestamp;
use crate::store::{
    BatchProgress, BatchRow, BatchState, BatchStore, CommandId, CommandRow, CommandStore,
    ErrorGroup, Head, Journal, Lease, ListCursor, ListFilter, NewBatch, NewCommand, OpenCursor,
    OpenRow, Page, PartitionRow, Purged, Status, Store, StoreError, StoredEvent, Submitted,
    UpkeepStore,
};
use crate::workflow::{DefinitionRef, Record};

/// The engine's store in a database.
pub(crate) struct SqlStore {
    database: SqlDatabase,
}

impl SqlStore {
    pub const fn new(database: SqlDatabase) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn acquire(
        &self,
        node: &NodeName,
        wanted: u16,
        held: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        leases::acquire(&self.database, node, wanted, held, lease).await
    }

    async fn adopt_expired(
        &self,
        node: &NodeName,
        but: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        leases::adopt_expired(&self.database, node, but, lease).await
    }

    async fn retire(&self, lease: &Lease) -> Result<bool, StoreError> {
        leases::retire(&self.database, lease).await
    }

    async fn renew(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<PartitionId>, StoreError> {
        leases::renew(&self.database, leases, lease).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        leases::release(&self.database, leases).await
    }

    async fn open_journal(&self, lease: &Lease) -> Result<Box<dyn Journal>, StoreError> {
        Ok(Box::new(
            SqlJournal::open_new(self.database.clone(), lease.clone()).await?,
        ))
    }

    async fn find(&self, ident: &Ident) -> Result<Option<Head>, StoreError> {
        reads::find(&self.database, ident).await
    }

    async fn records(
        &self,
        id: WorkflowId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        reads::records(&self.database, id, after, limit).await
    }

    async fn load(&self, idents: &[Ident]) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        reads::load(&self.database, idents).await
    }

    async fn open_workflows(
        &self,
        partition: PartitionId,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<OpenRow>, StoreError> {
        open::open_workflows(&self.database, partition, after, limit).await
    }

    async fn events_after(
        &self,
        partition: PartitionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        reads::events_after(&self.database, partition, after, limit).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Page<Head>, StoreError> {
        listing::list(&self.database, filter).await
    }

    async fn count_by_status(&self) -> Result<Vec<(Status, u64)>, StoreError> {
        listing::count_by_status(&self.database).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.database
            .read("asking for a sign of life", "SELECT 1".to_owned())
            .await
            .map(|_| ())
    }
}

#[async_trait]
impl CommandStore for SqlStore {
    async fn submit(&self, command: &NewCommand) -> Result<Submitted, StoreError> {
        commands::submit(&self.database, command).await
    }

    async fn pending_commands(
        &self,
        partition: PartitionId,
        after: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        commands::pending(&self.database, partition, after, limit).await
    }

    async fn command(&self, id: CommandId) -> Result<Option<CommandRow>, StoreError> {
        commands::command(&self.database, id).await
    }

    async fn command_of_key(
        &self,
        workflow: WorkflowId,
        key: &str,
    ) -> Result<Option<CommandRow>, StoreError> {
        commands::of_key(&self.database, "reading a command", workflow, key).await
    }

    async fn commands(
        &self,
        workflow: Option<WorkflowId>,
        batch: Option<u64>,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        commands::commands(&self.database, workflow, batch, before, limit).await
    }
}

#[async_trait]
impl BatchStore for SqlStore {
    async fn submit_batch(&self, batch: &NewBatch) -> Result<(BatchRow, bool), StoreError> {
        batches::submit(&self.database, batch).await
    }

    async fn batch(&self, id: u64) -> Result<Option<BatchRow>, StoreError> {
        batches::batch(&self.database, id).await
    }

    async fn batches(&self, before: Option<u64>, limit: u32) -> Result<Vec<BatchRow>, StoreError> {
        batches::batches(&self.database, before, limit).await
    }

    async fn batch_progress(&self, id: u64) -> Result<BatchProgress, StoreError> {
        batches::progress(&self.database, id).await
    }

    async fn take_batch(
        &self,
        node: &NodeName,
        lease: Duration,
    ) -> Result<Option<BatchRow>, StoreError> {
        batches::take(&self.database, node, lease).await
    }

    async fn advance_batch(
        &self,
        node: &NodeName,
        id: u64,
        place: Option<&ListCursor>,
        submitted: u64,
        state: BatchState,
    ) -> Result<bool, StoreError> {
        batches::advance(&self.database, node, id, place, submitted, state).await
    }

    async fn stop_batch(&self, id: u64) -> Result<bool, StoreError> {
        batches::stop(&self.database, id).await
    }
}

#[async_trait]
impl UpkeepStore for SqlStore {
    async fn register_definitions(
        &self,
        definitions: &[DefinitionRef],
    ) -> Result<Vec<DefinitionRef>, StoreError> {
        definitions::register(&self.database, definitions).await
    }

    async fn partitions(&self) -> Result<Vec<PartitionRow>, StoreError> {
        definitions::partitions(&self.database).await
    }

    async fn error_groups(&self, limit: u16) -> Result<Vec<ErrorGroup>, StoreError> {
        upkeep::error_groups(&self.database, limit).await
    }

    async fn purgeable(
        &self,
        before: Timestamp,
        limit: u16,
    ) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        upkeep::purgeable(&self.database, before, limit).await
    }

    async fn purge(&self, idents: &[Ident]) -> Result<Purged, StoreError> {
        upkeep::purge(&self.database, idents).await
    }

    async fn open_everywhere(
        &self,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<(PartitionId, OpenRow)>, StoreError> {
        open::open_anywhere(&self.database, None, after, limit).await
    }

    async fn reopen(&self, partition: PartitionId) -> Result<bool, StoreError> {
        audit::reopen(&self.database, partition).await
    }
}
