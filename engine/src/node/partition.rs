//! One partition, open: its writer, its relay, and the workflows that were found in its journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use super::Node;
use super::timers::Timers;
use super::versions::Quarantine;
use crate::executor::{Driver, DriverContext, Ends, NotRevived, Origin, Resident, Seen, Stage};
use crate::ids::{Ident, WorkflowId};
use crate::inbox::Handed;
use crate::journal::{Committed, JournalHandle, Writer};
use crate::outbox::relay::Relay;
use crate::planted;
use crate::runtime::Timestamp;
use crate::store::{Head, Lease, Status, StoreError, StoredEvent};
use crate::workflow::WorkflowState;

/// Open workflows that are looked at at once on the way in.
const RECOVERY_PAGE: u32 = 500;
/// Commands that wait for one workflow.
const COMMANDS_MAX: usize = 8;

/// An open partition.
pub(crate) struct OpenPartition {
    pub(crate) lease: Lease,
    pub(super) journal: JournalHandle,
    /// Those of its workflows that wait outside memory for an instant.
    pub(crate) timers: Arc<Timers>,
    /// Those that can't be run here.
    pub(super) quarantine: Quarantine,
    pub(super) closed: watch::Sender<bool>,
    pub(crate) committed: Arc<Committed>,
    pub(crate) writer_ended: watch::Receiver<bool>,
    /// What was open in it is being driven again: workflows may be born in it.
    recovered: AtomicBool,
    /// One of those that the node is to have: workflows are born in it. The others it has taken over, until they are empty.
    own: AtomicBool,
}

impl OpenPartition {
    /// Everything in it stops.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Does this until it ends or the partition is closed, whichever comes first; `None` when it was closed.
    pub(super) async fn while_open<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => None,
            done = work => Some(done),
        }
    }

    pub(super) fn is_recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    pub(super) fn is_own(&self) -> bool {
        self.own.load(Ordering::Acquire)
    }

    pub(super) fn make_own(&self) {
        self.own.store(true, Ordering::Release);
    }

    /// How many of its events are durable and not yet acknowledged by the bus.
    pub(super) fn unpublished(&self) -> u64 {
        let published = self.committed.published_seq.load(Ordering::Acquire);
        let durable = self.committed.durable_seq.load(Ordering::Acquire);
        durable.saturating_sub(published)
    }

    /// Until when this node may act on it, by its own clock.
    pub(super) fn lease_until(&self) -> Timestamp {
        Timestamp(self.committed.lease_until.load(Ordering::Acquire))
    }

    /// `false`: it had ended before, by this node's clock.
    pub(super) fn extend_lease(&self, now: Timestamp, until: Timestamp) -> bool {
        self.committed.extend_lease(now, until)
    }
}

impl Node {
    /// Opens a leased partition: its journal, its writer, its relay. From now on its lease is renewed.
    ///
    /// A take-over goes in this order. The epoch was raised when the lease was taken. To open the journal waits for the last
    /// batch of the dead owner, and shuts out every later one: the position is where that owner ended. The relay begins at what
    /// was acknowledged last and publishes the rest in the journal's order, before anything that this node adds to it. What is
    /// open is loaded only then, by [`Node::recover_partition`].
    pub(super) async fn open_partition(
        self: &Arc<Self>,
        lease: Lease,
        lease_until: Timestamp,
    ) -> Result<Arc<OpenPartition>, StoreError> {
        let mut journal = self.store.open_journal(&lease).await?;
        let mut position = journal.position().await?;
        if planted::is_on("take-over-publishes-from-the-end") {
            position.published_seq = position.last_seq;
        }
        let committed = Arc::new(Committed {
            lease_until: AtomicI64::new(lease_until.0),
            durable_seq: AtomicU64::new(position.last_seq),
            published_seq: AtomicU64::new(position.published_seq),
        });
        let (entries, entries_out) = mpsc::channel(self.settings.in_flight_max.max(1));
        let (batches, batches_out) = mpsc::channel(self.settings.unpublished_batches_max.max(1));
        let (writer_end, writer_ended) = watch::channel(false);
        let partition = Arc::new(OpenPartition {
            lease: lease.clone(),
            journal: JournalHandle::new(entries),
            timers: Arc::default(),
            quarantine: Quarantine::default(),
            closed: watch::Sender::new(false),
            committed: Arc::clone(&committed),
            writer_ended,
            recovered: AtomicBool::new(false),
            own: AtomicBool::new(false),
        });
        self.add_partition(Arc::clone(&partition));
        let watched = Arc::clone(&partition);
        self.runtime.spawn(Arc::clone(self).watch_lease(watched));
        self.runtime
            .spawn(self.relay(&partition, batches_out).run());
        let writer = Writer {
            runtime: self.runtime.clone(),
            lease: lease.clone(),
            journal,
            position,
            entries: entries_out,
            relay: batches,
            committed,
            metrics: Arc::clone(&self.metrics),
            batch_entries_max: self.settings.batch_entries_max,
        };
        let node = Arc::downgrade(self);
        let held = lease.clone();
        self.runtime.spawn(async move {
            let lost = writer.run().await;
            if let (true, Some(node)) = (lost, node.upgrade()) {
                tracing::warn!(partition.id = %held.partition, "the partition is lost");
                node.close_partition(&held);
            }
            writer_end.send_replace(true);
        });
        if self.has_given_up() {
            self.close_partition(&lease);
        }
        Ok(partition)
    }

    fn relay(&self, partition: &OpenPartition, batches: mpsc::Receiver<Vec<StoredEvent>>) -> Relay {
        Relay {
            runtime: self.runtime.clone(),
            partition: partition.lease.partition,
            store: Arc::clone(&self.store),
            bus: Arc::clone(&self.bus),
            batches,
            events_max: self.settings.publish_events_max.max(1),
            committed: Arc::clone(&partition.committed),
            closed: partition.closed.subscribe(),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Drives the workflows that are open in the partition: from then on others may be born in it.
    pub(super) async fn recover_partition(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
    ) -> Result<(), StoreError> {
        let count = self.recover(partition).await?;
        let Lease {
            partition: id,
            epoch,
        } = partition.lease;
        if count > 0 {
            tracing::info!(partition.id = %id, epoch = epoch.0, workflows = count, "open workflows go on");
        }
        partition.recovered.store(true, Ordering::Release);
        let node = || Arc::clone(self);
        self.runtime.spawn(node().keep_time(Arc::clone(partition)));
        self.runtime
            .spawn(node().deliver_commands(Arc::clone(partition)));
        Ok(())
    }

    /// Drives every workflow of the partition that has something to do, and sets the clock for those that wait. Returns how many
    /// are driven.
    async fn recover(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
    ) -> Result<usize, StoreError> {
        let mut after = None;
        let mut count = 0;
        while !planted::is_on("take-over-loads-nothing") {
            let page = self
                .store
                .open_workflows(partition.lease.partition, after, RECOVERY_PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(count);
            };
            after = Some(last.cursor.clone());
            let mut to_do: Vec<Ident> = Vec::new();
            for row in self.those_it_can_run(partition, page) {
                match (row.status, row.wake_at) {
                    (Status::Running | Status::Compensating, _) => to_do.push(row.ident),
                    (Status::Waiting, Some(wake_at)) => partition.timers.add(wake_at, row.ident),
                    _ => {}
                }
            }
            count += self.recover_these(partition, &to_do).await?;
        }
        Ok(count)
    }

    async fn recover_these(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
        idents: &[Ident],
    ) -> Result<usize, StoreError> {
        let mut count = 0;
        for (head, records) in self.store.load(idents).await? {
            let Some(state) = self.fold_or_quarantine(partition, &head, &records) else {
                continue;
            };
            // A workflow that is driven already is found again when its status changed between two pages.
            let origin = Origin::Journal;
            let driven = self.drive(partition, head, state, origin, &Seen::Whatever, None);
            count += usize::from(driven.is_ok());
        }
        Ok(count)
    }

    /// Starts a driver for a workflow whose resident is in the registry from now on, with a first command if there is one, which
    /// comes back when the driver is not started.
    pub(super) fn drive(
        self: &Arc<Self>,
        partition: &OpenPartition,
        head: Head,
        state: WorkflowState,
        origin: Origin,
        seen: &Seen,
        command: Option<Handed>,
    ) -> Result<(), (NotRevived, Option<Handed>)> {
        let (resident, ends) = resident(head.id, head.request_hash, partition);
        if let Err(why) = self.registry.revive(resident.clone(), seen) {
            return Err((why, command));
        }
        if let Some(command) = command {
            let sent = resident.commands.try_send(command);
            debug_assert!(sent.is_ok(), "a new channel has room");
        }
        let origin = match origin {
            Origin::Journal if partition.timers.rested(&head.id.ident()) => Origin::Rest,
            other => other,
        };
        let context = self.driver_context(partition);
        let driver = Driver::new(context, head, state, origin, ends, None);
        self.runtime.spawn(driver.run());
        Ok(())
    }

    pub(super) fn driver_context(&self, partition: &OpenPartition) -> DriverContext {
        DriverContext {
            runtime: self.runtime.clone(),
            epoch: partition.lease.epoch,
            journal: partition.journal.clone(),
            metrics: Arc::clone(&self.metrics),
            registry: Arc::clone(&self.registry),
            closed: partition.closed.subscribe(),
            paused: self.paused.subscribe(),
            busy: Arc::clone(&self.busy),
            store: Arc::clone(&self.store),
            committed: Arc::clone(&partition.committed),
            leftovers: self.leftovers.clone(),
            inbox: Arc::clone(&self.inbox),
            breakers: Arc::clone(&self.breakers),
            timers: Arc::clone(&partition.timers),
            rest_after: self.settings.rest_after,
        }
    }
}

/// A resident of which nothing is durable yet, and the driver's ends of its channels.
pub(super) fn resident(
    id: WorkflowId,
    request_hash: [u8; 32],
    partition: &OpenPartition,
) -> (Resident, Ends) {
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let (stage, stage_out) = watch::channel(Stage::Volatile);
    let resident = Resident {
        id,
        request_hash,
        stage: stage_out,
        commands: commands_in,
        closed: partition.closed.subscribe(),
    };
    let ends = Ends {
        resident: resident.clone(),
        commands,
        stage,
    };
    (resident, ends)
}
