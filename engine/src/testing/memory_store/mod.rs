//! A store in memory that keeps to the contract of [`Store`](crate::store::Store) and fails when a test tells it to. It
//! outlives the engines that use it, as a database does.

mod audit;
mod batches;
mod commands;
mod history;
mod journal;
mod leases;
mod listing;
mod store;
mod upkeep;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::batches::Line;
use crate::ids::{Ident, PartitionId, WorkflowId};
use crate::runtime::{Runtime, Timestamp};
use crate::store::{Batch, CommandRow, Head, JournalPosition, ParkedRow, StoreError, StoredEvent};
use crate::workflow::{DefinitionRef, Record};

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

/// A partition with its journal.
#[derive(Default)]
struct Owned {
    owner: String,
    epoch: u64,
    lease_until: Timestamp,
    retired: bool,
    position: JournalPosition,
    /// The epoch of the last batch.
    written_under: u64,
    /// Its events, by their number in the partition.
    events: BTreeMap<u64, StoredEvent>,
    /// Each workflow's records: their numbers in the partition by their numbers in the workflow, which has each once.
    by_workflow: HashMap<WorkflowId, BTreeMap<u32, u64>>,
}

#[derive(Default)]
struct Rows {
    partitions: BTreeMap<u32, Owned>,
    workflows: BTreeMap<Ident, Head>,
    parked: BTreeMap<Ident, ParkedRow>,
    commands: BTreeMap<u64, CommandRow>,
    batches: BTreeMap<u64, Line>,
    definitions: BTreeMap<(String, u32), DefinitionRef>,
    faults: VecDeque<Fault>,
    refusing: Vec<&'static str>,
    changes: Vec<(String, String)>,
    /// Every batch, in commit order.
    history: Vec<(PartitionId, Batch)>,
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
        let tables = self.lock();
        let events = tables
            .partitions
            .values()
            .flat_map(|owned| owned.events.values());
        events.cloned().collect()
    }

    /// How many workflows there are.
    #[must_use]
    pub fn workflows(&self) -> usize {
        self.lock().workflows.len()
    }

    /// Every workflow's row, by ident.
    #[must_use]
    pub fn heads(&self) -> Vec<Head> {
        self.lock().workflows.values().cloned().collect()
    }

    /// What waits for an operator, by ident.
    #[must_use]
    pub fn parked(&self) -> Vec<ParkedRow> {
        self.lock().parked.values().cloned().collect()
    }

    /// Every command, answered or not, in the order in which they were accepted.
    #[must_use]
    pub fn all_commands(&self) -> Vec<CommandRow> {
        self.lock().commands.values().cloned().collect()
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
}

impl Rows {
    /// The records of a workflow after `after`.
    fn records(
        &self,
        id: WorkflowId,
        after: u32,
        limit: usize,
        doing: &'static str,
    ) -> Result<Vec<Record>, StoreError> {
        let Some(owned) = self.partitions.get(&id.partition().0) else {
            return Ok(Vec::new());
        };
        let numbers = owned.by_workflow.get(&id).into_iter().flatten();
        let numbers = numbers.filter(|(seq, _)| **seq > after).take(limit);
        numbers
            .map(|(_, number)| {
                let payload = &owned.events[number].payload;
                serde_json::from_str(payload).map_err(|error| StoreError::Corrupt {
                    doing,
                    cause: error.to_string(),
                })
            })
            .collect()
    }

    /// The row and all the records of each of these.
    fn with_records(
        &self,
        heads: Vec<&Head>,
        doing: &'static str,
    ) -> Result<Vec<(Head, Vec<Record>)>, StoreError> {
        heads
            .into_iter()
            .map(|head| {
                let records = self.records(head.id, 0, usize::MAX, doing)?;
                Ok((head.clone(), records))
            })
            .collect()
    }
}

/// The next free number of a table.
fn next_id<T>(rows: &BTreeMap<u64, T>) -> u64 {
    rows.keys().last().map_or(1, |last| last + 1)
}
