//! What was published, read back from its beginning, for those who compare it with the journal. A bus that keeps nothing has none.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::BusError;
use crate::ids::WorkflowId;
use crate::runtime::Timestamp;

/// An event as it lies in the log, a dead letter among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Whose event it is, and its number there; what else it is, in words, when it says nothing of the kind.
    pub event: Result<(WorkflowId, u32), String>,
    /// Which of the [`Reading::parts`] it lies in.
    pub part: usize,
    /// When it happened, as the log has it.
    pub at: Option<Timestamp>,
}

/// A part of a log, in which order is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// Such as `holdfast.events/3`.
    pub name: String,
    /// What it began with is not there any more.
    pub is_cut: bool,
    /// Messages that it held, at most, when the reading began.
    pub messages: u64,
}

/// Everything that was there when it began, a page at a time.
#[derive(Debug)]
pub struct Reading {
    /// The parts of the log, those of dead letters first.
    pub parts: Vec<LogPart>,
    /// The events, part by part in order; it ends with an error or at the end.
    pub pages: mpsc::Receiver<Result<Vec<Published>, BusError>>,
}

/// Where what was published can be read again.
#[async_trait]
pub trait PublishedLog: Send + Sync + 'static {
    /// Begins to read everything that is there now. Dropping the reading ends it.
    async fn read(&self) -> Result<Reading, BusError>;
}
