//! The end of a partition that was taken over: no workflow is born in it, and once nothing in it is open, driven, left over or
//! unpublished it is retired, so that partitions do not pile up as nodes come and go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::leftovers::Leftovers;
use super::{Node, OpenPartition};
use crate::ids::PartitionId;
use crate::runtime::Timestamp;

/// The pause after the store has said that a partition is not empty; it doubles with each time.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause: what waits for an operator may wait for days.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// When the store is asked again about which partition, and the pause that comes after that.
#[derive(Default)]
pub(super) struct Retirement(HashMap<PartitionId, (Timestamp, Duration)>);

impl Retirement {
    fn is_due(&self, partition: PartitionId, now: Timestamp) -> bool {
        self.0.get(&partition).is_none_or(|(at, _)| *at <= now)
    }

    fn postpone(&mut self, partition: PartitionId, now: Timestamp) {
        let (at, pause) = self.0.entry(partition).or_insert((now, PAUSE));
        *at = now.after(*pause);
        *pause = (*pause * 2).min(PAUSE_MAX);
    }
}

impl Node {
    /// Retires what was taken over and is empty.
    pub(super) async fn retire_empty(&self, retirement: &mut Retirement, leftovers: &Leftovers) {
        if self.is_draining() {
            return;
        }
        let partitions = self.partitions();
        retirement
            .0
            .retain(|id, _| partitions.iter().any(|held| held.lease.partition == *id));
        // As long as none of its own is open, workflows are born in the others.
        if !partitions
            .iter()
            .any(|partition| partition.is_own() && partition.is_recovered())
        {
            return;
        }
        for partition in partitions {
            let id = partition.lease.partition;
            let now = self.runtime.now();
            if self.looks_empty(&partition, leftovers)
                && retirement.is_due(id, now)
                && !self.retire(&partition).await
            {
                retirement.postpone(id, now);
            }
        }
    }

    /// As far as this node knows nothing goes on in the partition.
    fn looks_empty(&self, partition: &OpenPartition, leftovers: &Leftovers) -> bool {
        let id = partition.lease.partition;
        !partition.is_own()
            && partition.is_recovered()
            && partition.unpublished() == 0
            && !leftovers.has(id)
            && !self.registry.drives(id)
    }

    /// Retires the partition if the store finds it empty, too.
    async fn retire(&self, partition: &Arc<OpenPartition>) -> bool {
        let lease = &partition.lease;
        match self.store.retire(lease).await {
            Ok(true) => {
                tracing::info!(partition.id = %lease.partition, "the partition is empty and retired");
                self.close_partition(lease);
                true
            }
            Ok(false) => false,
            // If it is retired after all, its lease is found to be gone.
            Err(error) => {
                tracing::warn!(partition.id = %lease.partition, %error, "a partition can't be retired");
                false
            }
        }
    }
}
