//! The orderly end: finish what can be finished, make the rest durable, publish it, and hand the partitions over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Node, OpenPartition};
use crate::engine::Drained;
use crate::runtime::Timestamp;

/// How often a condition is looked at that nobody announces.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// With another node there, what is under way may take so long to end: it goes on there, which is sooner than here.
const HAND_OVER: Duration = Duration::from_millis(600);
/// So long is waited to hear whether there is another node.
const ASK_LIMIT: Duration = Duration::from_millis(200);
/// A writer may take so long to end, and the store to hear of it, also where the time is up.
const END_LIMIT: Duration = Duration::from_millis(500);

impl Node {
    /// See [`crate::Engine::drain`]. Two thirds of the time are for finishing, the rest for recording and publishing. With another
    /// node there it takes little time, whatever the deadline: buyers wait for what is neither finished here nor taken up there.
    pub(crate) async fn drain(self: &Arc<Self>, deadline: Timestamp) -> Drained {
        self.draining.store(true, Ordering::SeqCst);
        let deadline = if self.has_company().await {
            deadline.min(self.runtime.now().after(HAND_OVER))
        } else {
            deadline
        };
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

    /// Whether another node is alive to take over what is left here.
    pub(super) async fn has_company(&self) -> bool {
        let asked = self.runtime.within(ASK_LIMIT, self.store.partitions());
        let Some(Ok(partitions)) = asked.await else {
            return false;
        };
        partitions.iter().any(|partition| {
            !partition.retired
                && partition.lease_left_us > 0
                && partition.owner != self.settings.node
        })
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
            let left = deadline.since(self.runtime.now()).max(END_LIMIT);
            if self
                .runtime
                .within(left, ended.wait_for(|ended| *ended))
                .await
                .is_none()
            {
                tracing::warn!("a journal writer did not end in time");
            }
        }
        let left = deadline.since(self.runtime.now()).max(END_LIMIT);
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
