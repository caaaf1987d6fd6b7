//! How events become durable: workflows hand entries to their partition's writer, which commits what has come in while it
//! was busy as one batch. Under load that is one commit for hundreds of workflows; an idle writer commits at once.

mod batch;
mod writer;

use tokio::sync::{mpsc, oneshot};

use crate::ids::WorkflowId;
use crate::inbox::Handed;
use crate::store::{Answer, Change, Head, HeadUpdate, ParkedRow};
use crate::workflow::{Record, Refusal, StepError};

pub(crate) use batch::answer;
pub(crate) use writer::{Committed, Writer};

/// A record and the rows of the domain that go with it.
#[derive(Debug, Clone)]
pub struct Staged {
    /// What happened.
    pub record: Record,
    /// The rows that are written in the same transaction.
    pub changes: Vec<Change>,
    /// The command that the record carries out: it is answered in the same transaction.
    pub command: Option<Handed>,
}

impl Staged {
    /// A record that goes alone.
    #[must_use]
    pub const fn alone(record: Record) -> Self {
        Self {
            record,
            changes: Vec::new(),
            command: None,
        }
    }
}

/// What an entry changes about what waits for an operator.
#[derive(Debug, Clone)]
pub enum Parking {
    /// The workflow is parked from now on, or for another reason than before.
    Parked(ParkedRow),
    /// It is no longer parked.
    Over,
}

/// What one workflow wants written, whole or not at all.
#[derive(Debug)]
pub struct Entry {
    /// Which workflow.
    pub workflow: WorkflowId,
    /// Its row, when this entry starts it.
    pub start: Option<Head>,
    /// Its records, in order.
    pub staged: Vec<Staged>,
    /// Its new standing, when that changed and `start` is absent.
    pub head: Option<HeadUpdate>,
    /// Whether it is parked, when that changed.
    pub parking: Option<Parking>,
    /// Commands that are answered without a record.
    pub answers: Vec<Answer>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<(), AppendError>>,
}

/// An entry was not written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The workflow exists already: another start with its key was first.
    #[error("the workflow exists already")]
    Exists,
    /// A change was refused by the store; nothing of the entry was written.
    #[error("record {staged} of the entry was refused: {refusal}")]
    Refused {
        /// Whose change it was: the place in [`Entry::staged`].
        staged: usize,
        /// The change's refusal.
        refusal: Refusal,
    },
    /// The store refuses this entry, for no reason that the domain foresaw.
    #[error("the store refuses the entry: {0}")]
    Poisoned(StepError),
    /// The partition was lost before the entry was written: it never will be.
    #[error("the partition is no longer owned by this node")]
    Lost,
    /// The partition was lost while the entry was being written: nobody knows whether it was, until the journal is read.
    #[error("the partition was lost while the entry was being written")]
    Undecided,
}

/// The way to a partition's writer.
#[derive(Clone, Debug)]
pub(crate) struct JournalHandle(mpsc::Sender<Entry>);

impl JournalHandle {
    pub(crate) const fn new(entries: mpsc::Sender<Entry>) -> Self {
        Self(entries)
    }

    /// Hands the entry over. The queue holds one entry for each workflow in flight, so this waits only when the writer is far
    /// behind. The answer comes on `reply`; when the writer has ended, the reply is dropped.
    pub(crate) async fn append(&self, entry: Entry) -> Result<(), AppendError> {
        self.0.send(entry).await.map_err(|_| AppendError::Lost)
    }
}
