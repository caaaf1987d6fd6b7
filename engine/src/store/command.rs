//! Operators' commands and signals in the store: the inbox from which a workflow's owner takes them, and, once they are
//! answered, the record of who did what. A command is one row for its whole life; its answer is written in the transaction
//! of the event that it caused.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::command::Verb;
use crate::ids::{NodeName, PartitionId, WorkflowId};
use crate::runtime::Timestamp;
use crate::workflow::By;

/// A command's number, in the order in which commands were accepted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct CommandId(pub u64);

/// A command to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommand {
    /// To which workflow.
    pub workflow: WorkflowId,
    /// Its sender's name for it, at most 200 bytes: unique in the workflow.
    pub key: String,
    /// What to do.
    pub verb: Verb,
    /// Who and why.
    pub by: By,
    /// The number of the workflow's last record, if the command is to count only for the workflow as it then was.
    pub expected_seq: Option<u32>,
    /// The batch that it belongs to.
    pub batch: Option<u64>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

/// What became of a command so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandState {
    /// It is durable, and the workflow's owner has not answered yet.
    Pending,
    /// It was carried out, by the record of this number.
    Done {
        /// The record's number in the workflow.
        seq: u32,
    },
    /// It was not carried out, and won't be.
    Refused {
        /// Why, in words.
        why: String,
    },
}

/// A command as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRow {
    /// Its number.
    pub id: CommandId,
    /// What was accepted.
    pub command: NewCommand,
    /// What became of it.
    pub state: CommandState,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
}

/// The answer to a command, to be written with the event that it caused. A command that was answered before stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which command.
    pub id: CommandId,
    /// Never [`CommandState::Pending`].
    pub state: CommandState,
    /// When.
    pub at: Timestamp,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It was accepted under this number.
    New(CommandId),
    /// The workflow has a command of this key already: this one. Whether it asks for the same is for the caller to compare.
    Existing(Box<CommandRow>),
}

/// The inbox.
#[async_trait]
pub trait CommandStore: Send + Sync + 'static {
    /// Makes a command durable, once per workflow and key.
    async fn submit(&self, command: &NewCommand) -> Result<Submitted, StoreError>;

    /// The pending commands for the workflows of a partition, in their order, after `after`, at most `limit`.
    async fn pending_commands(
        &self,
        partition: PartitionId,
        after: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError>;

    /// The command of this number.
    async fn command(&self, id: CommandId) -> Result<Option<CommandRow>, StoreError>;

    /// The workflow's command of this key.
    async fn command_of_key(
        &self,
        workflow: WorkflowId,
        key: &str,
    ) -> Result<Option<CommandRow>, StoreError>;

    /// Commands, newest first, before `before`, at most `limit`; those to one workflow, or of one batch, if asked for.
    async fn commands(
        &self,
        workflow: Option<WorkflowId>,
        batch: Option<u64>,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError>;
}

/// A command to many workflows, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    /// Its number.
    pub id: u64,
    /// What was asked for.
    pub batch: NewBatch,
    /// Where it stands.
    pub state: BatchState,
    /// The place in the list up to which commands were submitted.
    pub place: Option<super::ListCursor>,
    /// How many commands were submitted.
    pub submitted: u64,
}

/// A command to many workflows, to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBatch {
    /// Its sender's name for it, at most 200 bytes: unique.
    pub key: String,
    /// Which workflows; never an empty filter.
    pub filter: super::ListFilter,
    /// What each of them is told.
    pub verb: Verb,
    /// Who and why.
    pub by: By,
    /// At most so many commands a second, at least 1.
    pub per_second: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BatchState {
    /// Commands are being submitted.
    Running,
    /// All were submitted.
    Finished,
    /// An operator stopped it: no more are submitted.
    Stopped,
}

/// How far the commands of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BatchProgress {
    /// Not answered yet.
    pub pending: u64,
    /// Carried out.
    pub done: u64,
    /// Refused.
    pub refused: u64,
}

/// Batches of commands.
#[async_trait]
pub trait BatchStore: Send + Sync + 'static {
    /// Makes a batch durable, once per key. Returns it, or the one that has this key, and whether it is new.
    async fn submit_batch(&self, batch: &NewBatch) -> Result<(BatchRow, bool), StoreError>;

    /// The batch of this number.
    async fn batch(&self, id: u64) -> Result<Option<BatchRow>, StoreError>;

    /// Batches, newest first, before `before`, at most `limit`.
    async fn batches(&self, before: Option<u64>, limit: u32) -> Result<Vec<BatchRow>, StoreError>;

    /// How far its commands are.
    async fn batch_progress(&self, id: u64) -> Result<BatchProgress, StoreError>;

    /// Takes a running batch that nobody works on, or that this node works on, for `lease` by the database's clock.
    async fn take_batch(
        &self,
        node: &NodeName,
        lease: Duration,
    ) -> Result<Option<BatchRow>, StoreError>;

    /// Notes how far a batch is. `false`: another node works on it, or it was stopped.
    async fn advance_batch(
        &self,
        node: &NodeName,
        id: u64,
        place: Option<&super::ListCursor>,
        submitted: u64,
        state: BatchState,
    ) -> Result<bool, StoreError>;

    /// Stops a running batch. `false`: it is not running.
    async fn stop_batch(&self, id: u64) -> Result<bool, StoreError>;
}
