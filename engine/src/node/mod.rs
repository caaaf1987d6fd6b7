//! Who owns what: a node holds partitions by lease, opens their journals, recovers their open workflows, and gives them up
//! when a lease can't be renewed. What it finds on the way in is what a crash would have left: there is no other path.

mod partition;

mod starts;

mod commands;
mod deliveries;
pub(crate) mod timers;

mod heartbeat;

mod leftovers;

mod retirement;

mod versions;

mod auditor;

mod batches;

mod retention;

mod drain;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::definition::Definition;
use crate::engine::{Parts, Settings};
use crate::executor::{Breakers, Busy, Leftover, Registry};
use crate::ids::{Ident, PartitionId};
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::outbox::EventBus;
use crate::runtime::Runtime;
use crate::store::{Lease, Store};
use crate::workflow::DefinitionRef;
use auditor::Auditor;
use batches::WORKERS;
pub(crate) use partition::OpenPartition;
use versions::PassedOnPartitions;

/// A node: everything that the tasks of one process share.
pub(crate) struct Node {
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) settings: Settings,
    pub(crate) definitions: Vec<Arc<Definition>>,
    newest: HashMap<String, Arc<Definition>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) busy: Arc<Busy>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) breakers: Arc<Breakers>,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) paused: watch::Sender<bool>,
    pub(crate) draining: AtomicBool,
    given_up: AtomicBool,
    leftovers: mpsc::UnboundedSender<Leftover>,
    partitions: Mutex<Vec<Arc<OpenPartition>>>,
    auditor: Auditor,
    passed_on: PassedOnPartitions,
    /// A batch of commands was started.
    new_batch: Notify,
}

impl Node {
    /// A node without partitions, and the leftovers that its drivers will hand back.
    pub(crate) fn new(parts: Parts) -> (Arc<Self>, mpsc::UnboundedReceiver<Leftover>) {
        // Bounded by the workflows in flight: each is left over at most once.
        let (leftovers, left) = mpsc::unbounded_channel();
        let mut newest: HashMap<String, Arc<Definition>> = HashMap::new();
        for definition in &parts.definitions {
            let known = newest
                .entry(definition.pinned().name.clone())
                .or_insert_with(|| Arc::clone(definition));
            if known.pinned().version < definition.pinned().version {
                *known = Arc::clone(definition);
            }
        }
        let node = Self {
            runtime: parts.runtime,
            store: parts.store,
            bus: parts.bus,
            in_flight: Arc::new(Semaphore::new(parts.settings.in_flight_max)),
            settings: parts.settings,
            definitions: parts.definitions,
            newest,
            metrics: Arc::default(),
            registry: Arc::default(),
            busy: Arc::default(),
            inbox: Arc::default(),
            breakers: Arc::default(),
            paused: watch::Sender::new(false),
            draining: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            leftovers,
            partitions: Mutex::default(),
            auditor: Auditor::default(),
            passed_on: PassedOnPartitions::default(),
            new_batch: Notify::new(),
        };
        (Arc::new(node), left)
    }

    /// The definition that a workflow is pinned to, if this program has it.
    pub(crate) fn definition(&self, pinned: &DefinitionRef) -> Option<&Arc<Definition>> {
        self.definitions
            .iter()
            .find(|definition| definition.pinned() == pinned)
    }

    /// The newest version of a saga.
    pub(crate) fn newest(&self, name: &str) -> Option<&Arc<Definition>> {
        self.newest.get(name)
    }

    /// The partitions that are held, by id, whether or not they are recovered.
    pub(crate) fn partitions(&self) -> Vec<Arc<OpenPartition>> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The partition of this id, if it is held and recovered.
    pub(crate) fn partition(&self, id: PartitionId) -> Option<Arc<OpenPartition>> {
        self.partitions()
            .into_iter()
            .find(|partition| partition.lease.partition == id && partition.is_recovered())
    }

    /// The partition in which a workflow of this ident is born: the same one for as long as the node's own partitions stay. One
    /// that was taken over serves only where there is no other: it is to become empty.
    fn birthplace(&self, ident: &Ident) -> Option<Arc<OpenPartition>> {
        let mut partitions = self.partitions();
        partitions.retain(|partition| partition.is_recovered());
        if partitions.iter().any(|partition| partition.is_own()) {
            partitions.retain(|partition| partition.is_own());
        }
        let spread = ident.iter().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
        });
        let place = spread.checked_rem(partitions.len())?;
        Some(Arc::clone(&partitions[place]))
    }

    /// Whether this node has as many partitions of its own as it is to have, with all that was open in them.
    fn has_all_its_partitions(&self) -> bool {
        let partitions = self.partitions();
        let is_there =
            |partition: &&Arc<OpenPartition>| partition.is_own() && partition.is_recovered();
        partitions.iter().filter(is_there).count() >= usize::from(self.settings.partitions)
    }

    fn add_partition(&self, partition: Arc<OpenPartition>) {
        let mut partitions = self
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        partitions.push(partition);
        partitions.sort_by_key(|partition| partition.lease.partition);
    }

    /// Stops everything that goes on in a partition under this lease. Its drivers end at their next step; nothing more is
    /// written. Under a newer lease the partition stays open.
    pub(crate) fn close_partition(&self, lease: &Lease) {
        let mut partitions = self
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let held = partitions.len();
        partitions.retain(|partition| {
            let keep = partition.lease != *lease;
            if !keep {
                partition.close();
            }
            keep
        });
        let closed = partitions.len() < held;
        drop(partitions);
        if closed {
            self.registry.forget(lease.partition);
        }
    }

    /// Timers that are set for workflows outside memory, whether or not they still wait.
    pub(crate) fn waiting(&self) -> u64 {
        let partitions = self.partitions();
        partitions.iter().map(|it| it.timers.len() as u64).sum()
    }

    /// Events that are durable and not yet acknowledged by the bus. What a lost partition has is published by its next owner.
    pub(crate) fn unpublished(&self) -> u64 {
        let partitions = self.partitions();
        partitions
            .iter()
            .map(|partition| partition.unpublished())
            .sum()
    }

    /// Begins what goes on by itself besides the heartbeat: the auditor, batches of commands, the removal of what is old.
    pub(crate) fn keep_up(self: &Arc<Self>) {
        let node = || Arc::clone(self);
        self.runtime.spawn(node().audit_for_ever());
        self.runtime.spawn(node().pass_partitions_on());
        for worker in 0..WORKERS {
            self.runtime.spawn(node().work_on_batches(worker));
        }
        self.runtime.spawn(node().purge_for_ever());
    }

    /// Ends what goes on by itself: nothing is taken or renewed any more, and whatever is held is closed.
    pub(crate) fn give_up(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.given_up.store(true, Ordering::SeqCst);
        for partition in self.partitions() {
            self.close_partition(&partition.lease);
        }
    }

    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn is_serving(&self) -> bool {
        !self.is_draining()
            && !*self.paused.borrow()
            && self
                .partitions()
                .iter()
                .any(|partition| partition.is_recovered())
    }
}
