//! How journal events reach the world: the [`EventBus`] port, the relay that feeds it from each partition's journal, and its
//! two adapters (Kafka behind the feature `kafka`, and an in-process bus).

pub mod cloud_event;
pub mod in_process;
#[cfg(feature = "kafka")]
pub mod kafka;
pub(crate) mod relay;

use async_trait::async_trait;

use crate::store::StoredEvent;

/// Publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The bus can't be reached or did not acknowledge in time. Some events may have been taken: all are sent again.
    #[error("the event bus did not acknowledge: {0}")]
    Unacknowledged(String),
    /// The settings make no sense.
    #[error("the event bus can't be set up: {0}")]
    Misconfigured(String),
}

/// Where events go. Delivery is at least once, in order per workflow; consumers deduplicate by `(workflow, seq)`.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Publishes these events of one partition, in order, and returns once all are acknowledged. Bounded in time by the
    /// adapter.
    async fn publish(&self, events: &[StoredEvent]) -> Result<(), BusError>;
}
