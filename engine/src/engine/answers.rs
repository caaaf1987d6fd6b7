//! What the engine is asked and what it answers: starts, views, commands, counters.

use std::sync::Arc;

use crate::ids::WorkflowId;
use crate::payload::Payload;
use crate::store::{CommandId, CommandState, Head, Status, StoreError};
use crate::workflow::{Record, Refusal, StepError, WorkflowState};

/// A request to start a workflow, for [`Engine::start`](crate::Engine::start).
#[derive(Clone, Debug)]
pub struct Start {
    /// The saga, by name: its newest version in this program.
    pub definition: String,
    /// What it is given.
    pub input: Payload,
    /// Who asks and under which key: a repeat names the same workflow. Without a key every start is a new workflow.
    pub key: Option<(String, String)>,
    /// The SHA-256 of the request: another request under the same key is refused.
    pub request_hash: [u8; 32],
    /// What lists can filter by, such as the sale.
    pub label: Option<String>,
}

/// An accepted start. The workflow is durable.
#[derive(Clone, Debug)]
pub enum Started {
    /// This call started it.
    New(View),
    /// An earlier call with the same key and the same request did.
    Existing(View),
}

impl Started {
    /// The workflow, whoever started it.
    #[must_use]
    pub const fn view(&self) -> &View {
        match self {
            Self::New(view) | Self::Existing(view) => view,
        }
    }
}

/// A start was not accepted. The variant says whether there is a workflow, and whether trying again makes sense.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// A step said no before anything was durable: there is no workflow.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// A step could not be attempted, and nothing is durable: there is no workflow. Try again.
    #[error("unavailable: {0}")]
    Unavailable(StepError),
    /// The key was used for another request.
    #[error("the key was used for another request, workflow {0}")]
    KeyReused(WorkflowId),
    /// As many workflows are in flight as this node takes on. Try again.
    #[error("as many workflows are in flight as this node takes on")]
    Busy,
    /// The node is draining or holds no partition at the moment. Try again, elsewhere or later.
    #[error("this node does not take starts at the moment: {0}")]
    NotServing(&'static str),
    /// It is not known yet whether the workflow is durable. Try again with the same key to find out.
    #[error("workflow {0} is not known to be durable yet")]
    Undecided(WorkflowId),
    /// This program has no saga of that name.
    #[error("there is no saga `{0}`")]
    UnknownDefinition(String),
    /// The saga's first wait can't read the input.
    #[error("the input does not fit the saga: {0}")]
    Input(String),
    /// The store failed while the key was looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A workflow as it durably is: what is still on its way to the journal does not show.
#[derive(Clone, Debug)]
pub struct View {
    /// Which one.
    pub id: WorkflowId,
    /// Its row.
    pub head: Head,
    /// Its state; absent when this program does not have its definition (it is quarantined).
    pub state: Option<Arc<WorkflowState>>,
}

impl View {
    /// Nothing more will happen by itself: it has ended or waits for an operator.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.head.status.is_terminal() || matches!(self.head.status, Status::Parked)
    }
}

/// A command was not accepted: nothing is durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError {
    /// There is no such workflow.
    #[error("there is no workflow {0}")]
    NotFound(WorkflowId),
    /// The workflow is not in a state in which this makes sense; the sentence says why.
    #[error("{0}")]
    Conflict(String),
    /// The workflow is no longer as the command expects it.
    #[error("the workflow has moved on: its version is {now}, not {expected}")]
    MovedOn {
        /// The version that the command names.
        expected: u32,
        /// The workflow's.
        now: u32,
    },
    /// Something that the command carries is wrong; the sentence names it.
    #[error("{0}")]
    Invalid(String),
    /// The key was used for another command to this workflow.
    #[error("the key was used for another command, number {}", .0.0)]
    KeyReused(CommandId),
    /// The store did not answer in time: send the command again under the same key to find out.
    #[error("it is not known yet whether the command is durable")]
    Undecided,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An accepted command. It is durable, and will be answered once whatever happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commanded {
    /// Its number; 0 when it was a signal that the workflow has received by other means.
    pub id: CommandId,
    /// What became of it so far; [`CommandState::Pending`] when the time to wait was over first.
    pub state: CommandState,
}

/// What a command would do, according to [`Engine::preview`](crate::Engine::preview).
#[derive(Clone, Debug)]
pub struct Preview {
    /// The workflow's version now: the number of its last record.
    pub version: u32,
    /// Where it would stand.
    pub status: Status,
    /// What would be recorded, with the attempts that would begin.
    pub record: Record,
}

/// What the engine has done since it opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Workflows in memory now.
    pub in_flight: u64,
    /// Batches committed.
    pub commits: u64,
    /// Rows written: workflows, events, heads and changes.
    pub rows: u64,
    /// Batches that were split because of one row.
    pub splits: u64,
    /// Batches that were refused because the lease was gone.
    pub fenced: u64,
    /// Events that are durable but not acknowledged by the event bus.
    pub unpublished: u64,
    /// Workflows that ended or were parked.
    pub settled: u64,
    /// Timers that are set for workflows outside memory, now: also those whose workflow went on earlier, by a signal or a command,
    /// and that find nothing to do when their time comes.
    pub waiting: u64,
    /// Open workflows of this node's partitions that this program can't run, now: see [`View::state`].
    pub quarantined: u64,
    /// Open workflows of which nobody took care, found by the auditor. Anything but 0 is a defect, or somebody's hand in the store.
    pub orphans: u64,
    /// Those of them that were healed.
    pub healed: u64,
    /// Workflows that were removed because they were older than the retention.
    pub purged: u64,
    /// Events that the event bus refused for good, such as those that are too large for it, and for which it took a dead letter.
    pub dead_letters: u64,
}

/// What [`Engine::drain`](crate::Engine::drain) left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Workflows that were still open: durable, and taken up again by the next node that owns their partition.
    pub open: u64,
    /// Events that are durable and still to be published by the next owner.
    pub unpublished: u64,
}
