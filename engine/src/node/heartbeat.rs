//! The node's pulse: renews leases, gives up what can't be renewed, takes the partitions that it is to have and its share of
//! those that nobody has, and clears what was lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::leftovers::Leftovers;
use super::retirement::Retirement;
use super::{Node, OpenPartition};
use crate::engine::Settings;
use crate::executor::Leftover;
use crate::ids::PartitionId;
use crate::planted;
use crate::runtime::Timestamp;
use crate::store::{Lease, StoreError};

/// How often a node looks for partitions that it lacks or that nobody has, whatever the lease: one read of a small table. What
/// is handed over in order is taken up within about this time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A lease is renewed after this part of it.
const RENEW_PART: u32 = 3;
/// A renewal that takes longer than this part of the lease is given up.
const RENEWAL_LIMIT_PART: u32 = 4;
/// A renewal that failed is tried again after this part of the lease.
const RENEW_AGAIN_PART: u32 = 12;
/// A node stops acting when this part of its lease is left: its clock may run slower than the database's, and what it has
/// begun in the world takes a moment to end.
const MARGIN_PART: u32 = 10;

impl Node {
    /// Takes the partitions that this node lacks, and opens them. What it has stays as it is.
    pub(crate) async fn take_partitions(self: &Arc<Self>) -> Result<(), StoreError> {
        let Settings {
            node,
            partitions: wanted,
            lease,
            ..
        } = &self.settings;
        let held: Vec<PartitionId> = ids(&self.partitions());
        let asked_at = self.runtime.now();
        let leases = self.store.acquire(node, *wanted, &held, *lease).await?;
        self.open_all(leases, asked_at).await
    }

    /// Takes over this node's share of the partitions whose owners have died or left, but for those that it has passed on.
    async fn adopt(self: &Arc<Self>) -> Result<(), StoreError> {
        let Settings { node, lease, .. } = &self.settings;
        let asked_at = self.runtime.now();
        let leases = self
            .store
            .adopt_expired(node, &self.stays_away_from(), *lease)
            .await?;
        for lease in &leases {
            tracing::info!(partition.id = %lease.partition, epoch = lease.epoch.0, "taking over a partition");
        }
        self.open_all(leases, asked_at).await
    }

    /// Opens all, so that all are renewed, and then recovers one after the other. One that fails does not stop the others, and
    /// is given back for whoever looks next; the first error is returned.
    async fn open_all(
        self: &Arc<Self>,
        leases: Vec<Lease>,
        asked_at: Timestamp,
    ) -> Result<(), StoreError> {
        let until = self.acts_until(asked_at);
        let mut result = Ok(());
        let mut opened = Vec::new();
        for lease in leases {
            // Whoever takes a partition anew has passed the epoch under which it was open.
            let held = self.partitions();
            for older in held
                .iter()
                .filter(|held| held.lease.partition == lease.partition)
            {
                self.close_partition(&older.lease);
            }
            match self.open_partition(lease.clone(), until).await {
                Ok(partition) => opened.push(partition),
                Err(error) => {
                    result = result.and(Err(error));
                    self.give_back(&lease).await;
                }
            }
        }
        self.choose_own();
        for partition in opened {
            if let Err(error) = self.recover_partition(&partition).await {
                result = result.and(Err(error));
                self.close_partition(&partition.lease);
                self.give_back(&partition.lease).await;
            }
        }
        result
    }

    /// Ends the lease of a partition that could not be opened. Where that fails, too, it runs out by itself.
    pub(super) async fn give_back(&self, lease: &Lease) {
        let limit = self.settings.lease / RENEWAL_LIMIT_PART;
        let released = self.store.release(std::slice::from_ref(lease));
        if !matches!(self.runtime.within(limit, released).await, Some(Ok(()))) {
            tracing::debug!(partition.id = %lease.partition, "a lease is left to run out");
        }
    }

    /// Until when a lease that was asked for at this instant may be relied on.
    fn acts_until(&self, asked_at: Timestamp) -> Timestamp {
        let lease = self.settings.lease;
        let margin = planted::either("lease-without-margin", lease / MARGIN_PART, Duration::ZERO);
        asked_at.after(lease.saturating_sub(margin))
    }

    /// Renews the leases until the node has given its partitions up, also while it recovers or drains.
    pub(crate) async fn keep_leases(self: Arc<Self>) {
        let lease = self.settings.lease;
        let mut pause = lease / RENEW_PART;
        while !self.has_given_up() {
            self.runtime.sleep(pause).await;
            pause = if self.renew().await {
                lease / RENEW_PART
            } else {
                lease / RENEW_AGAIN_PART
            };
        }
    }

    /// Closes a partition once its lease has run out by this node's clock, whatever else the node is doing: from then on another
    /// may have it.
    pub(super) async fn watch_lease(self: Arc<Self>, partition: Arc<OpenPartition>) {
        let ran_out = partition.while_open(self.lease_runs_out(&partition)).await;
        if ran_out.is_some() {
            tracing::warn!(partition.id = %partition.lease.partition, "the lease has run out: everything in it stops");
            self.close_partition(&partition.lease);
        }
    }

    async fn lease_runs_out(&self, partition: &OpenPartition) {
        loop {
            let until = partition.lease_until();
            // A clock that was set back makes no lease longer.
            let left = until.since(self.runtime.now()).min(self.settings.lease);
            self.runtime.sleep(left).await;
            if partition.lease_until() == until {
                return;
            }
        }
    }

    /// Takes partitions, clears what was lost and retires what is empty, until the node has given its partitions up.
    pub(crate) async fn beat(self: Arc<Self>, mut left: mpsc::UnboundedReceiver<Leftover>) {
        let mut leftovers = Leftovers::default();
        let mut retirement = Retirement::default();
        let mut next_at = self.runtime.now().after(LOOK_EVERY);
        while !self.has_given_up() {
            // A clock that was set back makes nobody wait for longer.
            let left_to_wait = next_at.since(self.runtime.now()).min(LOOK_EVERY);
            if let Some(Some(leftover)) = self.runtime.within(left_to_wait, left.recv()).await {
                leftovers.add(leftover, self.runtime.now());
                continue;
            }
            self.regain().await;
            self.clear(&mut leftovers).await;
            self.retire_empty(&mut retirement, &leftovers).await;
            next_at = self.runtime.now().after(LOOK_EVERY);
        }
    }

    /// Extends the leases. `false`: the database did not answer, in time or at all.
    async fn renew(&self) -> bool {
        let partitions = self.partitions();
        if partitions.is_empty() {
            return true;
        }
        let leases: Vec<Lease> = partitions
            .iter()
            .map(|partition| partition.lease.clone())
            .collect();
        let asked_at = self.runtime.now();
        let lease = self.settings.lease;
        let renewed = self.store.renew(&leases, lease);
        let lost = match self
            .runtime
            .within(lease / RENEWAL_LIMIT_PART, renewed)
            .await
        {
            Some(Ok(lost)) => lost,
            Some(Err(error)) => {
                tracing::warn!(%error, "the leases could not be renewed");
                return false;
            }
            None => {
                tracing::warn!("the leases could not be renewed in time");
                return false;
            }
        };
        for partition in &partitions {
            if lost.contains(&partition.lease.partition) {
                tracing::warn!(partition.id = %partition.lease.partition, "another node owns the partition");
                self.close_partition(&partition.lease);
            } else if !partition.extend_lease(self.runtime.now(), self.acts_until(asked_at)) {
                tracing::warn!(partition.id = %partition.lease.partition, "the lease was renewed too late: some of what goes on in it has stopped");
                self.close_partition(&partition.lease);
                self.give_back(&partition.lease).await;
            }
        }
        true
    }

    /// Takes the partitions that this node lacks, or its share of those that nobody has.
    async fn regain(self: &Arc<Self>) {
        if self.is_draining() {
            return;
        }
        self.choose_own();
        let wanted = usize::from(self.settings.partitions);
        let result = if self.partitions().len() < wanted {
            self.take_partitions().await
        } else {
            self.adopt().await
        };
        if let Err(error) = result {
            tracing::warn!(%error, "partitions could not be taken");
        }
    }

    /// Workflows are born in as many partitions as this node is to have: where own ones were lost, those that it has taken over
    /// are as good.
    fn choose_own(&self) {
        let partitions = self.partitions();
        let (own, others): (Vec<_>, Vec<_>) =
            partitions.iter().partition(|partition| partition.is_own());
        let missing = usize::from(self.settings.partitions).saturating_sub(own.len());
        others
            .into_iter()
            .take(missing)
            .for_each(|partition| partition.make_own());
    }
}

fn ids(partitions: &[Arc<OpenPartition>]) -> Vec<PartitionId> {
    partitions
        .iter()
        .map(|partition| partition.lease.partition)
        .collect()
}
