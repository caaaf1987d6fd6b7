//! The port to the database: leases, the journal, and the reads. One implementation speaks SQL to MySQL and to SQLite
//! (features `mysql` and `sqlite`) and passes the contract suite on both.

pub mod change;
pub mod command;
pub(crate) mod rules;
pub mod upkeep;

#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Ident, NodeName, PartitionId, WorkflowId};
use crate::runtime::Timestamp;
use crate::workflow::{DefinitionRef, Record};
pub use change::{Change, Column, Key, Table, Value};
pub use command::{
    Answer, BatchProgress, BatchRow, BatchState, BatchStore, CommandId, CommandRow, CommandState,
    CommandStore, NewBatch, NewCommand, Submitted,
};
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub use sql::{
    connect::{ConnectError, ConnectOptions, Durability},
    database::SqlDatabase,
    dialect::Dialect,
    migration::{MigrateError, Migration, MigrationReport, migrations},
    row::Row,
};
pub use upkeep::{ErrorGroup, OpenCursor, OpenRow, PartitionRow, Purged, UpkeepStore};

/// A store failed. The variant says what is known about the effect.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database can't be reached, or refused before anything was written: nothing happened.
    #[error("the database is unavailable while {doing}: {cause}")]
    Unavailable {
        /// What was being done, such as `reading the journal`.
        doing: &'static str,
        /// What the driver said.
        cause: String,
    },
    /// The connection broke in the middle: it may or may not have happened.
    #[error("the connection was lost while {doing}: {cause}")]
    Lost {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        cause: String,
    },
    /// The database holds something that this program can't read, or refused a statement of ours: a defect or another
    /// schema version. Trying again won't help.
    #[error("the database refused or returned nonsense while {doing}: {cause}")]
    Corrupt {
        /// What was being done.
        doing: &'static str,
        /// What was wrong, naming table and row.
        cause: String,
    },
}

/// Why a batch was not committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Another node owns the partition, or the lease has run out: nothing was written and nothing ever will be under this
    /// epoch.
    #[error("partition {partition} is no longer held under epoch {}", epoch.0)]
    Fenced {
        /// Which partition.
        partition: PartitionId,
        /// The epoch that has passed.
        epoch: Epoch,
    },
    /// The database refused one of the rows: nothing of the batch was written.
    #[error("a row was refused: {cause}")]
    RowRefused {
        /// Which rows it was among.
        rows: RefusedRows,
        /// What the database said.
        cause: String,
    },
    /// A dead-lock or a lock time-out: nothing was written; the same batch may be tried again.
    #[error("the batch lost a race for locks: {0}")]
    Contended(String),
    /// Anything else; [`StoreError::Lost`] means that the batch may have been committed: ask [`Journal::position`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The group of rows in which the database refused one. The writer splits the batch until one workflow is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusedRows {
    /// New workflows: one exists already.
    Workflows,
    /// Events or heads.
    Events,
    /// The changes of this table: a guard said no.
    Changes(&'static str),
}

/// The right to write a partition's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch that every write must carry.
    pub epoch: Epoch,
}

/// Where a partition's journal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalPosition {
    /// The number of the last committed batch; 0 when there is none.
    pub batch: u64,
    /// The partition sequence of the last committed event; 0 when there is none.
    pub last_seq: u64,
    /// Every event up to this one has been acknowledged by the event bus.
    pub published_seq: u64,
}

/// Where a workflow stands, as lists show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Going forward.
    Running,
    /// Going back.
    Compensating,
    /// Nothing is to be done before an instant comes or a signal: it is not in memory.
    Waiting,
    /// Waiting for an operator, with a reason.
    Parked,
    /// Done (terminal).
    Completed,
    /// Undone (terminal).
    Compensated,
    /// Given up by an operator as it was (terminal).
    Abandoned,
}

impl Status {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Running,
        Self::Compensating,
        Self::Waiting,
        Self::Parked,
        Self::Completed,
        Self::Compensated,
        Self::Abandoned,
    ];

    /// Nothing follows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated | Self::Abandoned)
    }

    /// The stored and shown form, such as `RUNNING`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Compensating => "COMPENSATING",
            Self::Waiting => "WAITING",
            Self::Parked => "PARKED",
            Self::Completed => "COMPLETED",
            Self::Compensated => "COMPENSATED",
            Self::Abandoned => "ABANDONED",
        }
    }

    /// The status with this stored form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A workflow's row: written when it starts, updated only when its status, its reason or its waking time changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Which workflow.
    pub id: WorkflowId,
    /// What it runs.
    pub definition: DefinitionRef,
    /// Where it stands.
    pub status: Status,
    /// Why it was refused, turned back or parked: a code, for lists.
    pub reason: Option<String>,
    /// For [`Status::Waiting`]: when it is woken; absent when only a signal wakes it.
    pub wake_at: Option<Timestamp>,
    /// The label that it was started with, such as a sale: lists can filter by it.
    pub label: Option<String>,
    /// The SHA-256 of the request that started it: another request under the same key is noticed.
    pub request_hash: [u8; 32],
    /// When it was started.
    pub created_at: Timestamp,
    /// When its status last changed.
    pub updated_at: Timestamp,
}

/// A change of status to be written to a workflow's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadUpdate {
    /// Which workflow.
    pub id: WorkflowId,
    /// Where it stands now.
    pub status: Status,
    /// Why, if there is a reason.
    pub reason: Option<String>,
    /// For [`Status::Waiting`]: when it is woken.
    pub wake_at: Option<Timestamp>,
    /// Since when.
    pub updated_at: Timestamp,
}

/// What operators look for in the workflows that wait for them: a row for as long as the workflow is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRow {
    /// Which workflow.
    pub id: WorkflowId,
    /// What it runs, by name.
    pub definition: String,
    /// The step that it is parked on, if it is parked on one.
    pub step: Option<String>,
    /// The error's class: the head's reason.
    pub class: String,
    /// What the error says without what differs from one to the next: see [`upkeep::normalised`].
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// An event in its journal row, ready to be stored and published.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// Which workflow.
    pub workflow: WorkflowId,
    /// The record's number in its workflow.
    pub seq: u32,
    /// The record's number in its partition, gapless, in commit order.
    pub partition_seq: u64,
    /// [`crate::workflow::Event::kind`].
    pub kind: &'static str,
    /// When it happened.
    pub at: Timestamp,
    /// The whole [`Record`] as JSON.
    pub payload: Arc<str>,
}

/// An event as it was read back from the journal, for the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Which workflow.
    pub workflow: WorkflowId,
    /// The record's number in its workflow.
    pub seq: u32,
    /// The record's number in its partition.
    pub partition_seq: u64,
    /// The event's type.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// The whole [`Record`] as JSON.
    pub payload: Arc<str>,
}

/// What one transaction writes, whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The batch's number in its partition: one more than the last one that was committed.
    pub number: u64,
    /// New workflows.
    pub workflows: Vec<Head>,
    /// Events, in order of `partition_seq`, which continues where the last committed batch ended.
    pub events: Vec<EventRow>,
    /// Workflows whose status changed; none of them is new in this batch.
    pub heads: Vec<HeadUpdate>,
    /// Workflows that are parked from now on.
    pub parked: Vec<ParkedRow>,
    /// Workflows that were parked and no longer are.
    pub unparked: Vec<WorkflowId>,
    /// What became of commands.
    pub answers: Vec<Answer>,
    /// The rows of the domain that go with the events, in the order in which they are to be applied.
    pub changes: Vec<Change>,
    /// The relay's watermark.
    pub published_seq: u64,
}

/// One partition's journal, over a connection of its own. Its methods must run to their end: a caller that may be
/// cancelled hands the journal to a task that is not.
#[async_trait]
pub trait Journal: Send {
    /// Writes the whole batch, or nothing, in one transaction that checks the lease by the database's clock.
    async fn commit(&mut self, batch: &Batch) -> Result<(), CommitError>;

    /// The journal's position, read afresh on a working connection (reconnecting if need be). This answers "did my commit
    /// happen?" after [`StoreError::Lost`].
    async fn position(&mut self) -> Result<JournalPosition, StoreError>;
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<ListCursor>,
}

/// Where a page of workflows begins: right after this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListCursor {
    /// The last item's start.
    pub created_at: Timestamp,
    /// The last item.
    pub ident: Ident,
}

/// Which workflows to list, newest first. All that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFilter {
    /// Only with this status.
    pub status: Option<Status>,
    /// Only of this definition, by name.
    pub definition: Option<String>,
    /// Only with this reason: a refusal's code or an error's class.
    pub reason: Option<String>,
    /// Only with this label.
    pub label: Option<String>,
    /// Only those that are parked on this step.
    pub step: Option<String>,
    /// Only those that were started at this instant or later.
    pub created_from: Option<Timestamp>,
    /// Only those that were started before this instant.
    pub created_before: Option<Timestamp>,
    /// Begin after this one.
    pub after: Option<ListCursor>,
    /// At most this many, 1 to 500.
    pub limit: u16,
}

/// The port to the database: leases, journals and workflows here, commands in [`CommandStore`] and
/// [`BatchStore`], the rest in [`UpkeepStore`].
#[async_trait]
pub trait Store: CommandStore + BatchStore + UpkeepStore + Send + Sync + 'static {
    /// Takes partitions for this node: those that it owned before (under the same name) at once, then those whose lease has
    /// run out, then retired ones, then new ones, until it has at least `wanted` with those that it says it `held` already.
    /// Each comes with a new epoch. What it holds and partitions with an owner whose lease still runs are left alone.
    async fn acquire(
        &self,
        node: &NodeName,
        wanted: u16,
        held: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError>;

    /// Takes over this node's share of the partitions whose lease has run out, with a new epoch each: an equal part of them for
    /// each node that holds a lease which has not, rounded up. Those that it names in `but` it leaves to the others. Returns the
    /// new leases.
    async fn adopt_expired(
        &self,
        node: &NodeName,
        but: &[PartitionId],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError>;

    /// Retires a partition that this node holds: it has no open workflow and nothing unpublished, and from now on nobody owns
    /// it. `false`: it is not held under this epoch, or not empty, and stays as it is.
    async fn retire(&self, lease: &Lease) -> Result<bool, StoreError>;

    /// Extends these leases by the database's clock. Returns the partitions that are lost (another epoch).
    async fn renew(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<PartitionId>, StoreError>;

    /// Ends these leases now, so that others may take the partitions at once.
    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError>;

    /// Opens the journal of a leased partition on a connection of its own.
    async fn open_journal(&self, lease: &Lease) -> Result<Box<dyn Journal>, StoreError>;

    /// The row of this workflow, wherever it was born.
    async fn find(&self, ident: &Ident) -> Result<Option<Head>, StoreError>;

    /// The records of a workflow with `seq > after`, in order, at most `limit`.
    async fn records(
        &self,
        id: WorkflowId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError>;

    /// These workflows, each with all its records, or with none where one of them can't be read: that is no reason to keep the
    /// others. Those that do not exist are left out. At most 500.
    async fn load(&self, idents: &[Ident]) -> Result<Vec<(Head, Vec<Record>)>, StoreError>;

    /// The workflows of a partition that are not terminal, in the order of their index, after `after`, at most `limit`. What
    /// recovery and the auditor go by: one pass over an index of what is open.
    async fn open_workflows(
        &self,
        partition: PartitionId,
        after: Option<OpenCursor>,
        limit: u32,
    ) -> Result<Vec<OpenRow>, StoreError>;

    /// The events of a partition with `partition_seq > after`, in order, at most `limit`.
    async fn events_after(
        &self,
        partition: PartitionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Workflows, newest first. `limit` is clamped to 1..=500. A page may hold fewer although more follow: no call reads more
    /// than a bounded part of an index.
    async fn list(&self, filter: &ListFilter) -> Result<Page<Head>, StoreError>;

    /// How many workflows have each status: for tests, summaries and metrics; it scans an index.
    async fn count_by_status(&self) -> Result<Vec<(Status, u64)>, StoreError>;

    /// The database answers. Used by readiness checks; bounded by the caller.
    async fn ping(&self) -> Result<(), StoreError>;
}
