//! The engine's [`Store`] in SQL, the same for every dialect.

use std::time::Duration;

use async_trait::async_trait;

use super::database::SqlDatabase;
use super::journal::SqlJournal;
use super::{leases, listing, reads};
use crate::ids::{Ident, NodeName, PartitionId, WorkflowId};
use crate::store::{
    Head, Journal, Lease, ListFilter, Page, Status, Store, StoreError, StoredEvent,
};
use crate::workflow::Record;

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
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        leases::acquire(&self.database, node, wanted, lease).await
    }

    async fn adopt_expired(
        &self,
        node: &NodeName,
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        leases::adopt_expired(&self.database, node, lease).await
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

    async fn open_workflows(
        &self,
        partition: PartitionId,
        after: Option<Ident>,
        limit: u32,
    ) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        reads::open_workflows(&self.database, partition, after, limit).await
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
