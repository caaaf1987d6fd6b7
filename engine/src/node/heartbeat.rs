//! The node's pulse: renews leases, gives up what can't be renewed, takes partitions again, and clears what was lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Node;
use crate::executor::Leftover;
use crate::store::{Lease, StoreError};

/// How often a node without its partitions tries to get them back.
const RETRY: Duration = Duration::from_millis(500);

impl Node {
    /// Takes this node's partitions and opens them.
    pub(crate) async fn take_partitions(self: &Arc<Self>) -> Result<(), StoreError> {
        let asked_at = self.runtime.now();
        let open: Vec<_> = self
            .partitions()
            .iter()
            .map(|partition| partition.lease.partition)
            .collect();
        let leases = self
            .store
            .acquire(
                &self.settings.node,
                self.settings.partitions,
                self.settings.lease,
            )
            .await?;
        for lease in leases {
            // Whoever takes a partition anew has passed the epoch under which it was open.
            if open.contains(&lease.partition) {
                self.close_partition(lease.partition);
            }
            self.open_partition(lease, asked_at.after(self.settings.lease))
                .await?;
        }
        Ok(())
    }

    /// Beats until the node drains.
    pub(crate) async fn beat(self: Arc<Self>, mut left: mpsc::UnboundedReceiver<Leftover>) {
        let mut uncleared: Vec<Leftover> = Vec::new();
        while !self.is_draining() {
            let wanted = usize::from(self.settings.partitions);
            let pause = if self.partitions().len() < wanted {
                RETRY
            } else {
                self.settings.lease / 3
            };
            if let Some(Some(leftover)) = self.runtime.within(pause, left.recv()).await {
                uncleared.push(leftover);
                while let Ok(leftover) = left.try_recv() {
                    uncleared.push(leftover);
                }
            }
            self.renew().await;
            self.regain().await;
            self.clear(&mut uncleared).await;
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
                        self.close_partition(partition.lease.partition);
                    } else {
                        partition.extend_lease(asked_at.after(self.settings.lease));
                    }
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "the leases could not be renewed"),
            None => tracing::warn!("the leases could not be renewed in time"),
        }
        for partition in &partitions {
            if self.runtime.now() >= partition.lease_until() {
                tracing::warn!(partition.id = %partition.lease.partition, "the lease has run out: everything in it stops");
                self.close_partition(partition.lease.partition);
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

    async fn adopt(self: &Arc<Self>) -> Result<(), StoreError> {
        let asked_at = self.runtime.now();
        for lease in self
            .store
            .adopt_expired(&self.settings.node, self.settings.lease)
            .await?
        {
            tracing::info!(partition.id = %lease.partition, epoch = lease.epoch.0, "taking over a partition");
            self.close_partition(lease.partition);
            self.open_partition(lease, asked_at.after(self.settings.lease))
                .await?;
        }
        Ok(())
    }

    async fn clear(self: &Arc<Self>, uncleared: &mut Vec<Leftover>) {
        let mut still = Vec::new();
        for leftover in uncleared.drain(..) {
            if let Err(error) = self.clear_leftover(&leftover).await {
                tracing::debug!(workflow.id = %leftover.head.id, %error, "a lost start is still to be cleared");
                still.push(leftover);
            }
        }
        *uncleared = still;
    }
}
