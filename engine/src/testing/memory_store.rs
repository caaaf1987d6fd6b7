//! A store in memory that keeps to the contract of [`Store`] and fails when a test tells it to. It outlives the engines that
//! use it, as a database does.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{Epoch, Ident, NodeName, PartitionId, WorkflowId};
use crate::runtime::{Runtime, Timestamp};
use crate::store::{
    Batch, CommitError, Head, Journal, JournalPosition, Lease, ListCursor, ListFilter, Page,
    RefusedRows, Status, Store, StoreError, StoredEvent,
};
use crate::workflow::Record;

/// What goes wrong with the next commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written.
    Unavailable,
    /// It is written, and the answer is lost.
    LostAfterCommit,
    /// It is not written, and the answer is lost.
    LostBeforeCommit,
    /// It loses a race for locks.
    Contended,
}

#[derive(Default)]
struct Owned {
    owner: String,
    epoch: u64,
    lease_until: Timestamp,
    position: JournalPosition,
    /// The epoch of the last batch.
    written_under: u64,
    events: Vec<StoredEvent>,
    /// The records that there are: a workflow has each number once.
    numbers: HashSet<(WorkflowId, u32)>,
}

#[derive(Default)]
struct Rows {
    partitions: BTreeMap<u32, Owned>,
    workflows: BTreeMap<Ident, Head>,
    faults: VecDeque<Fault>,
    refusing: Vec<&'static str>,
    changes: Vec<(String, String)>,
    down: bool,
}

/// The store. Clones share the same rows.
#[derive(Clone)]
pub struct MemoryStore {
    runtime: Runtime,
    tables: Arc<Mutex<Rows>>,
}

impl MemoryStore {
    /// An empty store whose clock is the runtime's.
    #[must_use]
    pub fn new(runtime: Runtime) -> Self {
        Self {
            runtime,
            tables: Arc::default(),
        }
    }

    /// The next commits fail like this, in order.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults);
    }

    /// From now on every change of this table is refused.
    pub fn refuse_changes(&self, table: &'static str) {
        self.lock().refusing.push(table);
    }

    /// Whether the database answers at all.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// The changes that were written: table and kind.
    #[must_use]
    pub fn changes(&self) -> Vec<(String, String)> {
        self.lock().changes.clone()
    }

    /// Every event of every partition, in commit order.
    #[must_use]
    pub fn events(&self) -> Vec<StoredEvent> {
        self.lock()
            .partitions
            .values()
            .flat_map(|owned| owned.events.clone())
            .collect()
    }

    /// How many workflows there are.
    #[must_use]
    pub fn workflows(&self) -> usize {
        self.lock().workflows.len()
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn up(&self, doing: &'static str) -> Result<MutexGuard<'_, Rows>, StoreError> {
        let tables = self.lock();
        if tables.down {
            return Err(StoreError::Unavailable {
                doing,
                cause: "it is down".into(),
            });
        }
        Ok(tables)
    }

    fn take(owned: &mut Owned, id: u32, node: &NodeName, until: Timestamp) -> Lease {
        owned.owner.clone_from(&node.0);
        owned.epoch += 1;
        owned.lease_until = until;
        Lease {
            partition: PartitionId(id),
            epoch: Epoch(owned.epoch),
        }
    }
}

struct MemoryJournal {
    store: MemoryStore,
    lease: Lease,
}

impl MemoryJournal {
    fn write(&self, batch: &Batch) -> Result<(), CommitError> {
        let now = self.store.runtime.now();
        let mut tables = self.store.up("committing a batch")?;
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
        if batch
            .workflows
            .iter()
            .any(|head| tables.workflows.contains_key(&head.id.ident()))
        {
            let cause = "a workflow exists".to_owned();
            return Err(CommitError::RowRefused {
                rows: RefusedRows::Workflows,
                cause,
            });
        }
        let refused = batch
            .changes
            .iter()
            .find(|change| tables.refusing.contains(&change.table.name));
        if let Some(change) = refused {
            let rows = RefusedRows::Changes(change.table.name);
            return Err(CommitError::RowRefused {
                rows,
                cause: "a guard said no".into(),
            });
        }
        if batch
            .events
            .iter()
            .any(|event| owned.numbers.contains(&(event.workflow, event.seq)))
        {
            let cause = "a record of this number exists".to_owned();
            return Err(CommitError::RowRefused {
                rows: RefusedRows::Events,
                cause,
            });
        }
        for head in &batch.workflows {
            tables.workflows.insert(head.id.ident(), head.clone());
        }
        for update in &batch.heads {
            let head = tables
                .workflows
                .get_mut(&update.id.ident())
                .expect("a head that exists");
            head.status = update.status;
            head.reason.clone_from(&update.reason);
            head.updated_at = update.updated_at;
        }
        for event in &batch.events {
            owned.position.last_seq += 1;
            assert_eq!(
                event.partition_seq, owned.position.last_seq,
                "events are numbered without a gap"
            );
            owned.numbers.insert((event.workflow, event.seq));
            owned.events.push(StoredEvent {
                workflow: event.workflow,
                seq: event.seq,
                partition_seq: event.partition_seq,
                kind: event.kind.to_owned(),
                at: event.at,
                payload: Arc::clone(&event.payload),
            });
        }
        let written = batch
            .changes
            .iter()
            .map(|change| (change.table.name.to_owned(), format!("{:?}", change.kind)));
        tables.changes.extend(written);
        owned.written_under = owned.epoch;
        owned.position.batch = batch.number;
        owned.position.published_seq = batch.published_seq;
        Ok(())
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        let fault = self.store.lock().faults.pop_front();
        let lost = || StoreError::Lost {
            doing: "committing a batch",
            cause: "set by the test".into(),
        };
        match fault {
            None => self.write(batch),
            Some(Fault::Unavailable) => {
                let cause = "set by the test".into();
                Err(StoreError::Unavailable {
                    doing: "committing a batch",
                    cause,
                }
                .into())
            }
            Some(Fault::Contended) => Err(CommitError::Contended("set by the test".into())),
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

#[async_trait]
impl Store for MemoryStore {
    async fn acquire(
        &self,
        node: &NodeName,
        wanted: u16,
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let now = self.runtime.now();
        let mut tables = self.up("taking partitions")?;
        let mut leases = Vec::new();
        for (id, owned) in &mut tables.partitions {
            if owned.owner == node.0 || owned.lease_until <= now {
                leases.push(Self::take(owned, *id, node, now.after(lease)));
            }
        }
        while leases.len() < usize::from(wanted) {
            let id = tables.partitions.keys().last().map_or(1, |last| last + 1);
            let owned = tables.partitions.entry(id).or_default();
            leases.push(Self::take(owned, id, node, now.after(lease)));
        }
        Ok(leases)
    }

    async fn adopt_expired(
        &self,
        node: &NodeName,
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let now = self.runtime.now();
        let mut tables = self.up("adopting partitions")?;
        let expired = tables
            .partitions
            .iter_mut()
            .filter(|(_, owned)| owned.lease_until <= now);
        Ok(expired
            .map(|(id, owned)| Self::take(owned, *id, node, now.after(lease)))
            .collect())
    }

    async fn renew(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<PartitionId>, StoreError> {
        let until = self.runtime.now().after(lease);
        let mut tables = self.up("renewing leases")?;
        let mut lost = Vec::new();
        for held in leases {
            match tables.partitions.get_mut(&held.partition.0) {
                Some(owned) if owned.epoch == held.epoch.0 => owned.lease_until = until,
                _ => lost.push(held.partition),
            }
        }
        Ok(lost)
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let mut tables = self.up("releasing leases")?;
        for held in leases {
            if let Some(owned) = tables.partitions.get_mut(&held.partition.0)
                && owned.epoch == held.epoch.0
            {
                owned.lease_until = Timestamp(0);
            }
        }
        Ok(())
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
        let tables = self.up("reading records")?;
        let mut records = Vec::new();
        for event in tables.partitions.values().flat_map(|owned| &owned.events) {
            if event.workflow == id && event.seq > after && records.len() < limit as usize {
                let record =
                    serde_json::from_str(&event.payload).map_err(|error| StoreError::Corrupt {
                        doing: "reading records",
                        cause: error.to_string(),
                    })?;
                records.push(record);
            }
        }
        Ok(records)
    }

    async fn open_workflows(
        &self,
        partition: PartitionId,
        after: Option<Ident>,
        limit: u32,
    ) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        let heads: Vec<Head> = {
            let tables = self.up("reading open workflows")?;
            let open = tables.workflows.values().filter(|head| {
                head.id.partition() == partition
                    && !head.status.is_terminal()
                    && after.is_none_or(|after| head.id.ident() > after)
            });
            open.take(limit as usize).cloned().collect()
        };
        let mut open = Vec::new();
        for head in heads {
            let records = self.records(head.id, 0, u32::MAX).await?;
            open.push((head, records));
        }
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
        let later = owned
            .events
            .iter()
            .filter(|event| event.partition_seq > after);
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn list(&self, filter: &ListFilter) -> Result<Page<Head>, StoreError> {
        let tables = self.up("listing workflows")?;
        let mut heads: Vec<&Head> = tables.workflows.values().collect();
        heads.sort_by_key(|head| std::cmp::Reverse((head.created_at, head.id.ident())));
        let wanted = |head: &&&Head| {
            filter.status.is_none_or(|status| head.status == status)
                && filter
                    .definition
                    .as_ref()
                    .is_none_or(|name| head.definition.name == *name)
                && filter.after.as_ref().is_none_or(|after| {
                    (head.created_at, head.id.ident()) < (after.created_at, after.ident)
                })
        };
        let limit = usize::from(filter.limit.clamp(1, 500));
        let mut items: Vec<Head> = heads
            .iter()
            .filter(wanted)
            .take(limit + 1)
            .map(|head| (*head).clone())
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|head| ListCursor {
            created_at: head.created_at,
            ident: head.id.ident(),
        });
        Ok(Page { items, next })
    }

    async fn count_by_status(&self) -> Result<Vec<(Status, u64)>, StoreError> {
        let tables = self.up("counting workflows")?;
        let count = |status| {
            tables
                .workflows
                .values()
                .filter(|head| head.status == status)
                .count() as u64
        };
        Ok(Status::ALL
            .into_iter()
            .map(|status| (status, count(status)))
            .collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.up("asking whether the database answers").map(|_| ())
    }
}
