//! The engine as its users see it: start a workflow, look at it, wait for it, and operate it.

mod answers;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::AuditReport;
use crate::batch::{BatchError, BatchPreview, BatchRequest};
use crate::command::Command;
use crate::definition::Definition;
use crate::ids::{NodeName, WorkflowId};
use crate::node::Node;
use crate::outbox::EventBus;
use crate::retention::Archive;
use crate::runtime::{Runtime, Timestamp};
use crate::store::{
    BatchProgress, BatchRow, CommandId, CommandRow, ErrorGroup, Head, ListFilter, Page,
    PartitionRow, Store, StoreError,
};
use crate::workflow::Record;
pub use answers::{
    CommandError, Commanded, Counters, Drained, Preview, Start, StartError, Started, View,
};

/// How much a node takes on, and how long it waits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name under which this node owns partitions.
    pub node: NodeName,
    /// How many partitions it owns at least, each with a journal writer and a connection of its own.
    pub partitions: u16,
    /// How long a lease runs without being renewed. It is renewed three times as often.
    pub lease: Duration,
    /// Workflows in memory at most; a start beyond that is [`StartError::Busy`].
    pub in_flight_max: usize,
    /// Entries in a batch at most.
    pub batch_entries_max: usize,
    /// Committed batches that wait in memory to be published, for each partition; what comes beyond that is read from the table.
    pub unpublished_batches_max: usize,
    /// From so many events on, nothing more is added to what is handed to the bus at once.
    pub publish_events_max: u32,
    /// A start that is not durable after this long is [`StartError::Undecided`].
    pub start_timeout: Duration,
    /// A workflow that has nothing to do for longer than this leaves memory.
    pub rest_after: Duration,
    /// How often the auditor goes through the open workflows of this node's partitions.
    pub audit_every: Duration,
    /// How long workflows that have ended are kept, and their start keys remembered; for ever when absent. It must be longer than
    /// any client goes on repeating a start. See [`crate::retention`].
    pub retention: Option<Duration>,
    /// Where workflows go before they are removed.
    pub archive: Option<Arc<dyn Archive>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: NodeName("node".into()),
            partitions: 2,
            lease: Duration::from_secs(10),
            in_flight_max: 4096,
            batch_entries_max: 512,
            unpublished_batches_max: 64,
            publish_events_max: 2_000,
            start_timeout: Duration::from_secs(5),
            rest_after: Duration::from_secs(1),
            audit_every: Duration::from_secs(30),
            retention: None,
            archive: None,
        }
    }
}

/// What an engine is made of.
pub struct Parts {
    /// Time, randomness, spawning.
    pub runtime: Runtime,
    /// The database.
    pub store: Arc<dyn Store>,
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// The sagas that it can run.
    pub definitions: Vec<Arc<Definition>>,
    /// How much it takes on.
    pub settings: Settings,
}

/// The engine did not open: it holds nothing and runs nothing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two definitions have the same name and version.
    #[error("two definitions are `{0}`: give one of them another version")]
    DuplicateDefinition(String),
    /// A definition was changed and kept its version: workflows that run the old one could not go on.
    #[error(
        "`{name_version}` is known with another graph (hash {known:016x}, here {here:016x}): give the changed definition version \
         {next_version}, and keep the old one in the program for as long as workflows run it"
    )]
    DefinitionChanged {
        /// Its name and version, such as `purchase v1`.
        name_version: String,
        /// The hash of the graph that the store knows.
        known: u64,
        /// The hash of the graph in this program.
        here: u64,
        /// The version that would be free, if it is.
        next_version: u32,
    },
    /// The store failed.
    #[error("the node could not take its partitions")]
    Store(#[from] StoreError),
}

/// A durable saga engine: cheap to clone, shared by everyone in the process.
#[derive(Clone)]
pub struct Engine {
    node: Arc<Node>,
}

impl Engine {
    /// Takes partitions, recovers their open workflows, and runs.
    pub async fn open(parts: Parts) -> Result<Self, OpenError> {
        let mut seen = HashSet::new();
        for definition in &parts.definitions {
            let pinned = definition.pinned();
            if !seen.insert((&pinned.name, pinned.version)) {
                return Err(OpenError::DuplicateDefinition(pinned.to_string()));
            }
        }
        let (node, leftovers) = Node::new(parts);
        node.register_definitions().await?;
        node.runtime.spawn(Arc::clone(&node).keep_leases());
        if let Err(error) = node.take_partitions().await {
            node.give_up();
            return Err(error.into());
        }
        node.runtime.spawn(Arc::clone(&node).beat(leftovers));
        node.keep_up();
        Ok(Self { node })
    }

    /// Starts a workflow, once per key. Returns when it is durable.
    pub async fn start(&self, start: Start) -> Result<Started, StartError> {
        self.node.start(start).await
    }

    /// The workflow as it durably is; `None` when there is none.
    pub async fn view(&self, id: WorkflowId) -> Result<Option<View>, StoreError> {
        self.node.view(id).await
    }

    /// Like [`Engine::view`], but waits, at most until `deadline`, for the workflow to be settled.
    pub async fn wait(
        &self,
        id: WorkflowId,
        deadline: Timestamp,
    ) -> Result<Option<View>, StoreError> {
        self.wait_for(id, deadline, |_| false).await
    }

    /// Like [`Engine::wait`], but ends as well as soon as `predicate` holds for what is durable. It is asked each time that more of
    /// the workflow is durable, and holds that up meanwhile: it must be quick.
    pub async fn wait_for(
        &self,
        id: WorkflowId,
        deadline: Timestamp,
        predicate: impl Fn(&View) -> bool + Send + Sync,
    ) -> Result<Option<View>, StoreError> {
        let limit = deadline.since(self.node.runtime.now());
        self.node.wait(id, limit, &predicate).await
    }

    /// A workflow's records after number `after`, at most `limit`.
    pub async fn records(
        &self,
        id: WorkflowId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        self.node.store.records(id, after, limit).await
    }

    /// Workflows, newest first, a page at a time: pass [`Page::next`] on as [`ListFilter::after`].
    pub async fn list(&self, filter: &ListFilter) -> Result<Page<Head>, StoreError> {
        self.node.store.list(filter).await
    }

    /// Makes a command durable, whichever node owns the workflow, and waits until `deadline` for its answer.
    pub async fn command(
        &self,
        command: Command,
        deadline: Timestamp,
    ) -> Result<Commanded, CommandError> {
        self.node.command(command, None, deadline).await
    }

    /// What a command would do to the workflow as it now is. Nothing is written.
    pub async fn preview(&self, command: &Command) -> Result<Preview, CommandError> {
        self.node.preview(command).await
    }

    /// Commands, newest first, before `before`, at most `limit`; those to one workflow if asked for: who did what, and why.
    pub async fn commands(
        &self,
        workflow: Option<WorkflowId>,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        self.node
            .store
            .commands(workflow, None, before, limit)
            .await
    }

    /// Its time, randomness and spawning.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.node.runtime
    }

    /// All partitions, with their owners and where their journals stand.
    pub async fn partitions(&self) -> Result<Vec<PartitionRow>, StoreError> {
        self.node.store.partitions().await
    }

    /// The reasons for which workflows are parked, those with most workflows first, at most `limit`.
    pub async fn error_groups(&self, limit: u16) -> Result<Vec<ErrorGroup>, StoreError> {
        self.node.store.error_groups(limit).await
    }

    /// Makes a command to many workflows durable, once per key. `true`: it is new. Some node submits it to each of them.
    pub async fn start_batch(&self, batch: BatchRequest) -> Result<(BatchRow, bool), BatchError> {
        self.node.start_batch(batch).await
    }

    /// How many workflows a batch would come to now, and what it would do to the first `sample` of them. Nothing is written.
    pub async fn preview_batch(
        &self,
        batch: &BatchRequest,
        sample: u16,
    ) -> Result<BatchPreview, BatchError> {
        self.node.preview_batch(batch, sample).await
    }

    /// A batch, and how far its commands are.
    pub async fn batch(&self, id: u64) -> Result<Option<(BatchRow, BatchProgress)>, StoreError> {
        let Some(row) = self.node.store.batch(id).await? else {
            return Ok(None);
        };
        let progress = self.node.store.batch_progress(id).await?;
        Ok(Some((row, progress)))
    }

    /// Batches, newest first, before number `before`, at most `limit`.
    pub async fn batches(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<BatchRow>, StoreError> {
        self.node.store.batches(before, limit).await
    }

    /// The commands of a batch, newest first, before `before`, at most `limit`: what became of each.
    pub async fn batch_commands(
        &self,
        id: u64,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        self.node
            .store
            .commands(None, Some(id), before, limit)
            .await
    }

    /// Stops a running batch: within a second or so no more commands are submitted. `false`: it is not running.
    pub async fn stop_batch(&self, id: u64) -> Result<bool, StoreError> {
        self.node.store.stop_batch(id).await
    }

    /// The last complete pass of this node's auditor.
    #[must_use]
    pub fn audit(&self) -> AuditReport {
        self.node.audit_report()
    }

    /// Makes a pass of the auditor now.
    pub async fn audit_now(&self) -> Result<AuditReport, StoreError> {
        self.node.audit().await
    }

    /// The sagas that it can run.
    #[must_use]
    pub fn definitions(&self) -> &[Arc<Definition>] {
        &self.node.definitions
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let metrics = &self.node.metrics;
        Counters {
            in_flight: self.node.registry.driven() as u64,
            commits: metrics.commits.get(),
            rows: metrics.rows.get(),
            splits: metrics.splits.get(),
            fenced: metrics.fenced.get(),
            unpublished: self.node.unpublished(),
            settled: metrics.settled.get(),
            waiting: self.node.waiting(),
            quarantined: self.node.quarantined(),
            orphans: metrics.orphans.get(),
            healed: metrics.healed.get(),
            purged: metrics.purged.get(),
            dead_letters: metrics.dead_letters.get(),
        }
    }

    /// How long workflows that have ended are kept at least; `None`: for ever.
    #[must_use]
    pub fn retention(&self) -> Option<Duration> {
        self.node.settings.retention
    }

    /// It holds partitions and takes starts.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.node.is_serving()
    }

    /// Stops taking starts and making attempts, and returns `true` once every start that came before is durable or gone and
    /// every attempt that was under way is durably recorded, or `false` at the `deadline`. [`Engine::resume`] ends it.
    pub async fn pause(&self, deadline: Timestamp) -> bool {
        self.node.paused.send_replace(true);
        self.node.busy.none(&self.node.runtime, deadline).await
    }

    /// Takes starts and makes attempts again.
    pub fn resume(&self) {
        self.node.paused.send_replace(false);
    }

    /// Stops taking starts, finishes what it can until `deadline`, publishes what is durable, and gives its partitions up.
    /// What is still open is durable, and goes on where its partition is taken up next.
    pub async fn drain(&self, deadline: Timestamp) -> Drained {
        self.node.drain(deadline).await
    }
}
