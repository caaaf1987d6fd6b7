//! The points of the store and of its journals. What only looks for an operator has none.

use std::time::Duration;

use async_trait::async_trait;
use engine::ids::Ident;
use engine::store::{
    Batch, BatchProgress, BatchRow, BatchState, BatchStore, CommandId, CommandRow, CommandStore,
    CommitError, ErrorGroup, Head, Journal, JournalPosition, Lease, ListCursor, ListFilter,
    NewBatch, NewCommand, OpenCursor, OpenRow, Page, PartitionRow, Purged, Status, Store,
    StoreError, StoredEvent, Submitted, UpkeepStore,
};
use engine::workflow::{DefinitionRef, Record};
use engine::{NodeName, PartitionId, Timestamp, WorkflowId};

use super::{Pointed, between};

const DOING: &str = "coming to a crash point";

/// Known to have had no effect.
fn not_sent() -> StoreError {
    StoreError::Unavailable {
        doing: DOING,
        cause: "it is told to fail".to_owned(),
    }
}

fn unheard() -> StoreError {
    StoreError::Lost {
        doing: DOING,
        cause: "it is told to fail".to_owned(),
    }
}

#[async_trait]
impl Store for Pointed<dyn Store> {
    async fn acquire(
        &self,
        node: &NodeName,
        wanted: u16,
        held: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        between!(
            self,
            "store",
            acquire(node, wanted, held, lease),
            not_sent(),
            unheard()
        )
    }

    async fn adopt_expired(
        &self,
        node: &NodeName,
        but: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        between!(
            self,
            "store",
            adopt_expired(node, but, lease),
            not_sent(),
            unheard()
        )
    }

    async fn retire(&self, lease: &Lease) -> Result<bool, StoreError> {
        between!(self, "store", retire(lease), not_sent(), unheard())
    }

    async fn renew(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<PartitionId>, StoreError> {
        between!(self, "store", renew(leases, lease), not_sent(), unheard())
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        between!(self, "store", release(leases), not_sent(), unheard())
    }

    async fn open_journal(&self, lease: &Lease) -> Result<Box<dyn Journal>, StoreError> {
        let opened = between!(self, "store", open_journal(lease), not_sent(), unheard());
        opened.map(|journal| Box::new(PointedJournal(journal)) as Box<dyn Journal>)
    }

    async fn find(&self, ident: &Ident) -> Result<Option<Head>, StoreError> {
        between!(self, "store", find(ident), not_sent(), unheard())
    }

    async fn records(
        &self,
        id: WorkflowId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        between!(
            self,
            "store",
            records(id, after, limit),
            not_sent(),
            unheard()
        )
    }

    async fn load(&self, idents: &[Ident]) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        between!(self, "store", load(idents), not_sent(), unheard())
    }

    async fn open_workflows(
        &self,
        partition: PartitionId,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<OpenRow>, StoreError> {
        between!(
            self,
            "store",
            open_workflows(partition, after, limit),
            not_sent(),
            unheard()
        )
    }

    async fn events_after(
        &self,
        partition: PartitionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        between!(
            self,
            "store",
            events_after(partition, after, limit),
            not_sent(),
            unheard()
        )
    }

    async fn list(&self, filter: &ListFilter) -> Result<Page<Head>, StoreError> {
        self.0.list(filter).await
    }

    async fn count_by_status(&self) -> Result<Vec<(Status, u64)>, StoreError> {
        self.0.count_by_status().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }
}

#[async_trait]
impl CommandStore for Pointed<dyn Store> {
    async fn submit(&self, command: &NewCommand) -> Result<Submitted, StoreError> {
        between!(self, "store", submit(command), not_sent(), unheard())
    }

    async fn pending_commands(
        &self,
        partition: PartitionId,
        after: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        between!(
            self,
            "store",
            pending_commands(partition, after, limit),
            not_sent(),
            unheard()
        )
    }

    async fn command(&self, id: CommandId) -> Result<Option<CommandRow>, StoreError> {
        self.0.command(id).await
    }

    async fn command_of_key(
        &self,
        workflow: WorkflowId,
        key: &str,
    ) -> Result<Option<CommandRow>, StoreError> {
        self.0.command_of_key(workflow, key).await
    }

    async fn commands(
        &self,
        workflow: Option<WorkflowId>,
        batch: Option<u64>,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        self.0.commands(workflow, batch, before, limit).await
    }
}

#[async_trait]
impl BatchStore for Pointed<dyn Store> {
    async fn submit_batch(&self, batch: &NewBatch) -> Result<(BatchRow, bool), StoreError> {
        between!(self, "store", submit_batch(batch), not_sent(), unheard())
    }

    async fn batch(&self, id: u64) -> Result<Option<BatchRow>, StoreError> {
        self.0.batch(id).await
    }

    async fn batches(&self, before: Option<u64>, limit: u32) -> Result<Vec<BatchRow>, StoreError> {
        self.0.batches(before, limit).await
    }

    async fn batch_progress(&self, id: u64) -> Result<BatchProgress, StoreError> {
        self.0.batch_progress(id).await
    }

    async fn take_batch(
        &self,
        node: &NodeName,
        lease: Duration,
    ) -> Result<Option<BatchRow>, StoreError> {
        between!(
            self,
            "store",
            take_batch(node, lease),
            not_sent(),
            unheard()
        )
    }

    async fn advance_batch(
        &self,
        node: &NodeName,
        id: u64,
        place: Option<&ListCursor>,
        submitted: u64,
        state: BatchState,
    ) -> Result<bool, StoreError> {
        between!(
            self,
            "store",
            advance_batch(node, id, place, submitted, state),
            not_sent(),
            unheard()
        )
    }

    async fn stop_batch(&self, id: u64) -> Result<bool, StoreError> {
        between!(self, "store", stop_batch(id), not_sent(), unheard())
    }
}

#[async_trait]
impl UpkeepStore for Pointed<dyn Store> {
    async fn register_definitions(
        &self,
        definitions: &[DefinitionRef],
    ) -> Result<Vec<DefinitionRef>, StoreError> {
        between!(
            self,
            "store",
            register_definitions(definitions),
            not_sent(),
            unheard()
        )
    }

    async fn partitions(&self) -> Result<Vec<PartitionRow>, StoreError> {
        self.0.partitions().await
    }

    async fn error_groups(&self, limit: u16) -> Result<Vec<ErrorGroup>, StoreError> {
        self.0.error_groups(limit).await
    }

    async fn purgeable(
        &self,
        before: Timestamp,
        limit: u16,
    ) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        between!(
            self,
            "store",
            purgeable(before, limit),
            not_sent(),
            unheard()
        )
    }

    async fn purge(&self, idents: &[Ident]) -> Result<Purged, StoreError> {
        between!(self, "store", purge(idents), not_sent(), unheard())
    }

    async fn open_everywhere(
        &self,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<(PartitionId, OpenRow)>, StoreError> {
        between!(
            self,
            "store",
            open_everywhere(after, limit),
            not_sent(),
            unheard()
        )
    }

    async fn reopen(&self, partition: PartitionId) -> Result<bool, StoreError> {
        between!(self, "store", reopen(partition), not_sent(), unheard())
    }
}

/// A journal with its points.
struct PointedJournal(Box<dyn Journal>);

#[async_trait]
impl Journal for PointedJournal {
    async fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        between!(self, "journal", commit(batch), not_sent(), unheard())
    }

    async fn position(&mut self) -> Result<JournalPosition, StoreError> {
        between!(self, "journal", position(), not_sent(), unheard())
    }
}
