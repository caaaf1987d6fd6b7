//! The node's pulse: renews leases, gives up what can't be renewed, takes partitions again, and clears what was lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Node;
use super::leftovers::Leftovers;
use crate::engine::Settings;
use crate::executor::Leftover;
use crate::runtime::Timestamp;
use crate::store::{Lease, StoreError};

/// How often a node without its partitions tries to get them back.
const RETRY: Duration = Duration::from_millis(500);

impl Node {
    /// Takes this node's partitions and opens them.
    pub(crate) async fn take_partitions(self: &Arc<Self>) -> Result<(), StoreError> {
        let Settings {
            node,
            partitions,
            lease,
            ..
        } = &self.settings;
        let until = self.runtime.now().after(*lease);
        let leases = self.store.acquire(node, *partitions, *lease).await?;
        self.open_all(leases, until).await
    }

    /// Takes over the partitions of nodes that have died.
    async fn adopt(self: &Arc<Self>) -> Result<(), StoreError> {
        let Settings { node, lease, .. } = &self.settings;
        let until = self.runtime.now().after(*lease);
        let leases = self.store.adopt_expired(node, *lease).await?;
        for lease in &leases {
            tracing::info!(partition.id = %lease.partition, epoch = lease.epoch.0, "taking over a partition");
        }
        self.open_all(leases, until).await
    }

    /// Opens all, so that all are renewed, and then recovers one after the other. One that fails does not stop the others; the
    /// first error is returned.
    async fn open_all(
        self: &Arc<Self>,
        leases: Vec<Lease>,
        until: Timestamp,
    ) -> Result<(), StoreError> {
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
            match self.open_partition(lease, until).await {
                Ok(partition) => opened.push(partition),
                Err(error) => result = result.and(Err(error)),
            }
        }
        for partition in opened {
            if let Err(error) = self.recover_partition(&partition).await {
                self.close_partition(&partition.lease);
                result = result.and(Err(error));
            }
        }
        result
    }

    /// Renews the leases until the node has given its partitions up, also while it recovers or drains.
    pub(crate) async fn keep_leases(self: Arc<Self>) {
        while !self.has_given_up() {
            self.runtime.sleep(self.settings.lease / 3).await;
            self.renew().await;
        }
    }

    /// Takes partitions and clears what was lost, until the node has given its partitions up.
    pub(crate) async fn beat(self: Arc<Self>, mut left: mpsc::UnboundedReceiver<Leftover>) {
        let mut leftovers = Leftovers::default();
        let mut last_at = self.runtime.now();
        while !self.has_given_up() {
            let wanted = usize::from(self.settings.partitions);
            let hurry = self.partitions().len() < wanted || !leftovers.is_empty();
            let pause = if hurry {
                RETRY
            } else {
                self.settings.lease / 3
            };
            let left_to_wait = last_at.after(pause).since(self.runtime.now());
            if let Some(Some(leftover)) = self.runtime.within(left_to_wait, left.recv()).await {
                leftovers.add(leftover, self.runtime.now());
                continue;
            }
            last_at = self.runtime.now();
            self.regain().await;
            self.clear(&mut leftovers).await;
        }
    }

    async fn renew(&self) {
        let partitions = self.partitions();
        if partitions.is_empty() {
            return;
        }
        let leases: Vec<Lease> = partitions
            .iter()
            .map(|partition| partition.lease.clone())
            .collect();
        let asked_at = self.runtime.now();
        let limit = self.settings.lease / 3;
        match self
            .runtime
            .within(limit, self.store.renew(&leases, self.settings.lease))
            .await
        {
            Some(Ok(lost)) => {
                for partition in &partitions {
                    if lost.contains(&partition.lease.partition) {
                        tracing::warn!(partition.id = %partition.lease.partition, "another node owns the partition");
                        self.close_partition(&partition.lease);
                    } else {
                        partition.extend_lease(asked_at.after(self.settings.lease));
                    }
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "the leases could not be renewed"),
            None => tracing::warn!("the leases could not be renewed in time"),
        }
        for partition in &partitions {
            if partition.committed.lease_has_ended(self.runtime.now()) {
                tracing::warn!(partition.id = %partition.lease.partition, "the lease has run out: everything in it stops");
                self.close_partition(&partition.lease);
            }
        }
    }

    /// Takes partitions back, or over, when this node has fewer than it should or another has died.
    async fn regain(self: &Arc<Self>) {
        if self.is_draining() {
            return;
        }
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
}
