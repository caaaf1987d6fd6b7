//! The removal of what is old, a few workflows at a time, by one node, while that node has little to do. With an archive set,
//! nothing is removed that was not exported before.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use crate::ids::Ident;
use crate::retention::ArchiveError;
use crate::runtime::Timestamp;
use crate::store::StoreError;

/// So many workflows are removed at a time.
const AT_ONCE: u16 = 200;
/// The pause between one lot and the next.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether something is old, unless it is old sooner.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A node removes nothing while more than this part of the workflows that it takes on are in memory.
const BUSY_PART: usize = 4;

/// What is old was not removed, and will be later.
#[derive(Debug, thiserror::Error)]
enum PurgeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Node {
    /// Removes what is older than the retention, if one is set, until the node has given its partitions up.
    pub(crate) async fn purge_for_ever(self: Arc<Self>) {
        let Some(retention) = self.settings.retention else {
            return;
        };
        let look_every = LOOK_EVERY.min(retention);
        let mut pause = look_every;
        while !self.has_given_up() {
            self.runtime.sleep(pause).await;
            let retention_us = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
            let before = Timestamp(self.runtime.now().0.saturating_sub(retention_us));
            // What is only remembered here must not outlive its row.
            self.registry.forget_settled(before);
            let busy = self.registry.driven() > self.settings.in_flight_max / BUSY_PART;
            pause = look_every;
            if self.is_draining() || busy {
                continue;
            }
            match self.purge_some(before).await {
                Ok(true) => pause = PAUSE,
                Ok(false) => {}
                Err(error) => {
                    let error = crate::workflow::with_causes(&error);
                    tracing::warn!(error, "what is old is not removed yet");
                }
            }
        }
    }

    /// Removes some of what is old. `false`: there is nothing to do for this node.
    async fn purge_some(&self, before: Timestamp) -> Result<bool, PurgeError> {
        if !self.is_first_node().await? {
            return Ok(false);
        }
        let old = self.store.purgeable(before, AT_ONCE).await?;
        if old.is_empty() {
            return Ok(false);
        }
        if let Some(archive) = &self.settings.archive {
            archive.export(&old).await?;
        }
        let idents: Vec<Ident> = old.iter().map(|(head, _)| head.id.ident()).collect();
        let purged = self.store.purge(&idents).await?;
        self.metrics.purged.add(purged.workflows);
        tracing::debug!(
            workflows = purged.workflows,
            events = purged.events,
            "what is old was removed"
        );
        Ok(purged.workflows > 0)
    }

    /// One node is enough: the one that owns the partition with the lowest number. Two at once, while it changes hands, do no harm.
    async fn is_first_node(&self) -> Result<bool, StoreError> {
        let rows = self.store.partitions().await?;
        let first = rows
            .iter()
            .find(|row| !row.retired && row.lease_left_us > 0);
        Ok(first.is_some_and(|row| row.owner == self.settings.node))
    }
}
