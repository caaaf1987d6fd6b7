//! The store in memory, method by method, with a delay and a failure before what is read and around what is written.

use std::time::Duration;

use async_trait::async_trait;
use engine::ids::Ident;
use engine::store::{
    BatchProgress, BatchRow, BatchState, BatchStore, CommandId, CommandRow, CommandStore,
    ErrorGroup, Head, Journal, Lease, ListCursor, ListFilter, NewBatch, NewCommand, OpenCursor,
    OpenRow, Page, PartitionRow, Purged, Status, Store, StoreError, StoredEvent, Submitted,
    UpkeepStore,
};
use engine::workflow::{DefinitionRef, Record};
use engine::{NodeName, PartitionId, Timestamp, WorkflowId};

use super::{FlakyJournal, FlakyStore};

#[async_trait]
impl Store for FlakyStore {
    async fn acquire(
        &self,
        node: &NodeName,
        wanted: u16,
        held: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        self.ready("taking partitions").await?;
        self.memory.acquire(node, wanted, held, lease).await
    }

    async fn adopt_expired(
        &self,
        node: &NodeName,
        but: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        self.ready("adopting partitions").await?;
        self.memory.adopt_expired(node, but, lease).await
    }

    async fn retire(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.write("retiring a partition", self.memory.retire(lease))
            .await
    }

    async fn renew(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<PartitionId>, StoreError> {
        self.ready("renewing leases").await?;
        self.memory.renew(leases, lease).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        self.ready("releasing leases").await?;
        self.memory.release(leases).await
    }

    async fn open_journal(&self, lease: &Lease) -> Result<Box<dyn Journal>, StoreError> {
        self.ready("opening a journal").await?;
        let memory = self.memory.open_journal(lease).await?;
        let opened = self.opened(lease.partition);
        Ok(Box::new(FlakyJournal {
            store: self.clone(),
            lease: lease.clone(),
            memory,
            opened,
        }))
    }

    async fn find(&self, ident: &Ident) -> Result<Option<Head>, StoreError> {
        let found = self.memory.find(ident).await;
        // The answer takes time: what it says may be old when it comes.
        self.ready("finding a workflow").await?;
        found
    }

    async fn records(
        &self,
        id: WorkflowId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.memory.records(id, after, limit).await;
        self.ready("reading records").await?;
        records
    }

    async fn load(&self, idents: &[Ident]) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        let loaded = self.memory.load(idents).await;
        self.ready("loading workflows").await?;
        loaded
    }

    async fn open_workflows(
        &self,
        partition: PartitionId,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<OpenRow>, StoreError> {
        self.ready("reading open workflows").await?;
        self.memory.open_workflows(partition, after, limit).await
    }

    async fn events_after(
        &self,
        partition: PartitionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.ready("reading events").await?;
        self.memory.events_after(partition, after, limit).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Page<Head>, StoreError> {
        self.ready("listing workflows").await?;
        self.memory.list(filter).await
    }

    async fn count_by_status(&self) -> Result<Vec<(Status, u64)>, StoreError> {
        self.ready("counting workflows").await?;
        self.memory.count_by_status().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ready("asking whether the database answers").await
    }
}

#[async_trait]
impl CommandStore for FlakyStore {
    async fn submit(&self, command: &NewCommand) -> Result<Submitted, StoreError> {
        self.write("submitting a command", self.memory.submit(command))
            .await
    }

    async fn pending_commands(
        &self,
        partition: PartitionId,
        after: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let pending = self.memory.pending_commands(partition, after, limit).await;
        // The answer takes time: what it says may be old when it comes.
        self.ready("reading pending commands").await?;
        pending
    }

    async fn command(&self, id: CommandId) -> Result<Option<CommandRow>, StoreError> {
        self.ready("reading a command").await?;
        self.memory.command(id).await
    }

    async fn command_of_key(
        &self,
        workflow: WorkflowId,
        key: &str,
    ) -> Result<Option<CommandRow>, StoreError> {
        self.ready("reading a command").await?;
        self.memory.command_of_key(workflow, key).await
    }

    async fn commands(
        &self,
        workflow: Option<WorkflowId>,
        batch: Option<u64>,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        self.ready("reading commands").await?;
        self.memory.commands(workflow, batch, before, limit).await
    }
}

#[async_trait]
impl BatchStore for FlakyStore {
    async fn submit_batch(&self, batch: &NewBatch) -> Result<(BatchRow, bool), StoreError> {
        self.write("submitting a batch", self.memory.submit_batch(batch))
            .await
    }

    async fn batch(&self, id: u64) -> Result<Option<BatchRow>, StoreError> {
        self.ready("reading batches").await?;
        self.memory.batch(id).await
    }

    async fn batches(&self, before: Option<u64>, limit: u32) -> Result<Vec<BatchRow>, StoreError> {
        self.ready("reading batches").await?;
        BatchStore::batches(&self.memory, before, limit).await
    }

    async fn batch_progress(&self, id: u64) -> Result<BatchProgress, StoreError> {
        self.ready("reading batches").await?;
        self.memory.batch_progress(id).await
    }

    async fn take_batch(
        &self,
        node: &NodeName,
        lease: Duration,
    ) -> Result<Option<BatchRow>, StoreError> {
        self.write("taking a batch", self.memory.take_batch(node, lease))
            .await
    }

    async fn advance_batch(
        &self,
        node: &NodeName,
        id: u64,
        place: Option<&ListCursor>,
        submitted: u64,
        state: BatchState,
    ) -> Result<bool, StoreError> {
        let advance = self.memory.advance_batch(node, id, place, submitted, state);
        self.write("advancing a batch", advance).await
    }

    async fn stop_batch(&self, id: u64) -> Result<bool, StoreError> {
        self.write("stopping a batch", self.memory.stop_batch(id))
            .await
    }
}

#[async_trait]
impl UpkeepStore for FlakyStore {
    async fn register_definitions(
        &self,
        definitions: &[DefinitionRef],
    ) -> Result<Vec<DefinitionRef>, StoreError> {
        let register = self.memory.register_definitions(definitions);
        self.write("registering definitions", register).await
    }

    async fn partitions(&self) -> Result<Vec<PartitionRow>, StoreError> {
        self.ready("reading the partitions").await?;
        self.memory.partitions().await
    }

    async fn error_groups(&self, limit: u16) -> Result<Vec<ErrorGroup>, StoreError> {
        self.ready("reading error groups").await?;
        self.memory.error_groups(limit).await
    }

    async fn purgeable(
        &self,
        before: Timestamp,
        limit: u16,
    ) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        self.ready("reading what is old").await?;
        self.memory.purgeable(before, limit).await
    }

    async fn purge(&self, idents: &[Ident]) -> Result<Purged, StoreError> {
        self.write("removing what is old", self.memory.purge(idents))
            .await
    }

    async fn open_everywhere(
        &self,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<(PartitionId, OpenRow)>, StoreError> {
        self.ready("reading open workflows").await?;
        self.memory.open_everywhere(after, limit).await
    }

    async fn reopen(&self, partition: PartitionId) -> Result<bool, StoreError> {
        self.write("making a partition free", self.memory.reopen(partition))
            .await
    }
}
