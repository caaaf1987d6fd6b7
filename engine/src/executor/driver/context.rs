//! What a driver is given: its surroundings, where its workflow comes from, and the ends of the channels to those who wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::leftover::Leftover;
use crate::executor::breaker::Breakers;
use crate::executor::busy::Busy;
use crate::executor::registry::{Registry, Resident, Stage};
use crate::ids::Epoch;
use crate::inbox::{Handed, Inbox};
use crate::journal::{Committed, JournalHandle};
use crate::metrics::Metrics;
use crate::node::timers::Timers;
use crate::runtime::Runtime;
use crate::store::Store;
use crate::workflow::Record;

/// What a driver needs of its partition and node.
#[derive(Clone)]
pub(crate) struct DriverContext {
    pub(crate) runtime: Runtime,
    pub(crate) epoch: Epoch,
    pub(crate) journal: JournalHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Arc<Registry>,
    /// Turns true when the partition is no longer ours.
    pub(crate) closed: watch::Receiver<bool>,
    /// While true, no attempt begins.
    pub(crate) paused: watch::Receiver<bool>,
    pub(crate) busy: Arc<Busy>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committed: Arc<Committed>,
    /// Where a workflow goes that was lost before it was durable.
    pub(crate) leftovers: mpsc::UnboundedSender<Leftover>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) breakers: Arc<Breakers>,
    /// Where a workflow goes that has nothing to do before an instant comes.
    pub(crate) timers: Arc<Timers>,
    /// A workflow that has nothing to do for longer than this leaves memory.
    pub(crate) rest_after: Duration,
}

/// Where a workflow comes from.
pub(crate) enum Origin {
    /// It is being started with this record: nothing is durable.
    Start(Record),
    /// It was folded from the journal: another life may have begun what comes next.
    Journal,
    /// It was folded from the journal, and left memory under this epoch with nothing under way.
    Rest,
    /// Its start was lost: nothing is durable, and it turns back.
    Leftover(Box<Leftover>),
}

/// The ends of a workflow's channels that its driver holds.
pub(crate) struct Ends {
    pub(crate) resident: Resident,
    pub(crate) commands: mpsc::Receiver<Handed>,
    pub(crate) stage: watch::Sender<Stage>,
}
