//! The orderly end: finish what can be finished, make the rest durable, publish it, and hand the partitions over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Node, OpenPartition};
use crate::engine::Drained;
use crate::runtime::Timestamp;

/// How often a condition is looked at that nobody announces.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Node {
    /// See [`crate::Engine::drain`]. Two thirds of the time are for finishing, the rest for recording and publishing.
    pub(crate) async fn drain(self: &Arc<Self>, deadline: Timestamp) -> Drained {
        self.draining.store(true, Ordering::SeqCst);
        let total = deadline.since(self.runtime.now());
        let finish_until = self.runtime.now().after(total * 2 / 3);
        self.until(finish_until, || self.registry.driven() == 0)
            .await;
        self.paused.send_replace(true);
        self.busy.none(&self.runtime, deadline).await;
        self.until(deadline, || self.unpublished() == 0).await;
        let drained = Drained {
            open: self.registry.driven() as u64,
            unpublished: self.unpublished(),
        };
        self.give_up_partitions(deadline).await;
        drained
    }

    async fn give_up_partitions(&self, deadline: Timestamp) {
        let partitions = self.partitions();
        let leases: Vec<_> = partitions
            .iter()
            .map(|partition| partition.lease.clone())
            .collect();
        let ends: Vec<_> = partitions
            .iter()
            .map(|partition: &Arc<OpenPartition>| partition.writer_ended.clone())
            .collect();
        drop(partitions);
        self.give_up();
        // The writer ends when the last handle to it is gone, after it has written the relay's watermark.
        for mut ended in ends {
            let left = deadline
                .since(self.runtime.now())
                .max(Duration::from_millis(500));
            if self
                .runtime
                .within(left, ended.wait_for(|ended| *ended))
                .await
                .is_none()
            {
                tracing::warn!("a journal writer did not end in time");
            }
        }
        let left = deadline
            .since(self.runtime.now())
            .max(Duration::from_millis(500));
        match self.runtime.within(left, self.store.release(&leases)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "the partitions were not released: others wait for the lease to end");
            }
            None => tracing::warn!(
                "the partitions were not released in time: others wait for the lease to end"
            ),
        }
    }

    async fn until(&self, deadline: Timestamp, holds: impl Fn() -> bool) {
        while !holds() && self.runtime.now() < deadline {
            self.runtime.sleep(LOOK_AGAIN).await;
        }
    }
}
