//! One partition, open: its writer, its relay, and the workflows that were found in its journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use super::Node;
use crate::executor::{Command, Driver, DriverContext, Ends, Leftover, Origin, Resident, Stage};
use crate::ids::WorkflowId;
use crate::journal::{Committed, JournalHandle, Writer};
use crate::outbox::relay::{BATCHES_IN_MEMORY_MAX, Relay};
use crate::runtime::Timestamp;
use crate::store::{Head, Lease, StoreError};
use crate::workflow::{Record, WorkflowState};

/// Workflows that are read at once on the way in.
const RECOVERY_PAGE: u32 = 500;
/// Commands that wait for one workflow.
const COMMANDS_MAX: usize = 8;

/// What became of a request to drive a workflow.
pub(super) enum Driven {
    /// It is driven from now on.
    FromNow,
    /// It was driven already: here is the one, and the command that is still to be given to it.
    Already(Resident, Option<Command>),
}

/// An open partition.
pub(crate) struct OpenPartition {
    pub(crate) lease: Lease,
    journal: JournalHandle,
    closed: watch::Sender<bool>,
    pub(crate) committed: Arc<Committed>,
    pub(crate) writer_ended: watch::Receiver<bool>,
}

impl OpenPartition {
    /// Everything in it stops.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    pub(super) fn lease_until(&self) -> Timestamp {
        Timestamp(self.committed.lease_until.load(Ordering::Acquire))
    }

    pub(super) fn extend_lease(&self, until: Timestamp) {
        self.committed.lease_until.store(until.0, Ordering::Release);
    }
}

impl Node {
    /// Opens a leased partition: its journal, its writer, its relay, and then the workflows that are open in it.
    pub(super) async fn open_partition(
        self: &Arc<Self>,
        lease: Lease,
        lease_until: Timestamp,
    ) -> Result<(), StoreError> {
        let mut journal = self.store.open_journal(&lease).await?;
        let position = journal.position().await?;
        let committed = Arc::new(Committed {
            lease_until: AtomicI64::new(lease_until.0),
            durable_seq: AtomicU64::new(position.last_seq),
            published_seq: AtomicU64::new(position.published_seq),
        });
        self.metrics
            .unpublished
            .add(position.last_seq.saturating_sub(position.published_seq));
        let (entries, entries_out) = mpsc::channel(self.settings.in_flight_max.max(1));
        let (batches, batches_out) = mpsc::channel(BATCHES_IN_MEMORY_MAX);
        let (writer_end, writer_ended) = watch::channel(false);
        let partition = Arc::new(OpenPartition {
            lease: lease.clone(),
            journal: JournalHandle::new(entries),
            closed: watch::Sender::new(false),
            committed: Arc::clone(&committed),
            writer_ended,
        });
        let relay = Relay {
            runtime: self.runtime.clone(),
            partition: lease.partition,
            store: Arc::clone(&self.store),
            bus: Arc::clone(&self.bus),
            batches: batches_out,
            committed: Arc::clone(&committed),
            metrics: Arc::clone(&self.metrics),
            closed: partition.closed.subscribe(),
        };
        let metrics = Arc::clone(&self.metrics);
        let left = Arc::clone(&committed);
        self.runtime.spawn(async move {
            relay.run().await;
            // What is left is published, and counted, by the partition's next owner.
            let unpublished = left.durable_seq.load(Ordering::Acquire)
                - left.published_seq.load(Ordering::Acquire);
            metrics.unpublished.take(unpublished);
        });
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
        let id = lease.partition;
        self.runtime.spawn(async move {
            let lost = writer.run().await;
            if let (true, Some(node)) = (lost, node.upgrade()) {
                tracing::warn!(partition.id = %id, "the partition is lost");
                node.close_partition(id);
            }
            writer_end.send_replace(true);
        });
        let recovered = self.recover(&partition).await;
        match recovered {
            Ok(count) => {
                if count > 0 {
                    tracing::info!(partition.id = %id, epoch = lease.epoch.0, workflows = count, "open workflows go on");
                }
                self.add_partition(partition);
                Ok(())
            }
            Err(error) => {
                partition.close();
                Err(error)
            }
        }
    }

    /// Drives every open workflow of the partition. Returns how many.
    async fn recover(self: &Arc<Self>, partition: &Arc<OpenPartition>) -> Result<u64, StoreError> {
        let mut after = None;
        let mut count = 0;
        loop {
            let page = self
                .store
                .open_workflows(partition.lease.partition, after, RECOVERY_PAGE)
                .await?;
            let Some((last, _)) = page.last() else {
                return Ok(count);
            };
            after = Some(last.id.ident());
            for (head, records) in page {
                if self.recover_one(partition, head, &records) {
                    count += 1;
                }
            }
        }
    }

    /// Drives a workflow that was found in the journal. `false`: it is quarantined, or parked and so needs no driver.
    fn recover_one(
        self: &Arc<Self>,
        partition: &OpenPartition,
        head: Head,
        records: &[Record],
    ) -> bool {
        let Some(state) = self.fold(&head, records) else {
            return false;
        };
        if state.status() == crate::store::Status::Parked {
            return false;
        }
        // A workflow that is driven already is found again when a page is read twice.
        matches!(
            self.drive(partition, head, state, Origin::Journal, None),
            Driven::FromNow
        )
    }

    /// The state that these records fold to; `None` when this program can't tell, and says so in the log.
    pub(super) fn fold(&self, head: &Head, records: &[Record]) -> Option<WorkflowState> {
        let Some(definition) = self.definition(&head.definition) else {
            tracing::error!(workflow.id = %head.id, definition = %head.definition, "quarantined: this program has no such definition");
            return None;
        };
        match WorkflowState::fold(definition, records) {
            Ok(Some(state)) => Some(state),
            Ok(None) => {
                tracing::error!(workflow.id = %head.id, "quarantined: it has no records");
                None
            }
            Err(illegal) => {
                tracing::error!(workflow.id = %head.id, %illegal, "quarantined: its records do not fold");
                None
            }
        }
    }

    /// Starts a driver for a workflow whose resident is in the registry from now on, with a first command if there is one. When
    /// one is driven already, that one is returned, and the command with it.
    pub(super) fn drive(
        self: &Arc<Self>,
        partition: &OpenPartition,
        head: Head,
        state: WorkflowState,
        origin: Origin,
        command: Option<Command>,
    ) -> Driven {
        let (resident, ends) = resident(head.id, head.request_hash);
        if let Err(driven) = self.registry.revive(resident.clone()) {
            return Driven::Already(driven, command);
        }
        if let Some(command) = command {
            let sent = resident.commands.try_send(command);
            debug_assert!(sent.is_ok(), "a new channel has room");
        }
        let driver = Driver::new(
            self.driver_context(partition),
            head,
            state,
            origin,
            ends,
            None,
        );
        self.runtime.spawn(driver.run());
        Driven::FromNow
    }

    /// Undoes a start that was lost with its partition, unless the journal has it after all.
    pub(super) async fn clear_leftover(
        self: &Arc<Self>,
        leftover: &Leftover,
    ) -> Result<(), StoreError> {
        if self.store.find(&leftover.head.id.ident()).await?.is_some() {
            return Ok(());
        }
        let Some(partition) = self.partition(leftover.head.id.partition()) else {
            return Err(StoreError::Unavailable {
                doing: "clearing a lost start",
                cause: "its partition is not open here".to_owned(),
            });
        };
        let origin = Origin::Leftover(leftover.staged.clone());
        // When it is being driven, its client has repeated it, and it goes forward under the same keys.
        let _driven_already = self.drive(
            &partition,
            leftover.head.clone(),
            leftover.state.clone(),
            origin,
            None,
        );
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
            leftovers: self.leftovers.clone(),
        }
    }
}

/// A resident of which nothing is durable yet, and the driver's ends of its channels.
pub(super) fn resident(id: WorkflowId, request_hash: [u8; 32]) -> (Resident, Ends) {
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let (stage, stage_out) = watch::channel(Stage::Volatile);
    let resident = Resident {
        id,
        request_hash,
        stage: stage_out,
        commands: commands_in,
    };
    (resident, Ends { commands, stage })
}
