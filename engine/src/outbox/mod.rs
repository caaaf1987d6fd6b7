//! How journal events reach the world: the [`EventBus`] port, the relay that feeds it from each partition's journal, and its
//! two adapters (Kafka behind the feature `kafka`, and an in-process bus).

pub mod cloud_event;
pub mod in_process;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kafka")]
pub mod kafka_log;
pub mod log;
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

/// An event that the bus will never take, however often it is sent: it is too large, for example. A bus that is away, slow or
/// forbidden refuses nothing: it does not acknowledge.
#[derive(Clone, Debug)]
pub struct Refused<'events> {
    /// Which.
    pub event: &'events StoredEvent,
    /// Why, in the bus's words.
    pub reason: String,
}

/// Where events go. Delivery is at least once, in order per workflow; consumers deduplicate by `(workflow, seq)`.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Publishes these events of one partition, in order, and returns those that the bus refuses for good once all others are
    /// acknowledged. Bounded in time by the adapter.
    async fn publish<'events>(
        &self,
        events: &'events [StoredEvent],
    ) -> Result<Vec<Refused<'events>>, BusError>;

    /// Says where it is found, instead of publishing it, that the bus refuses this event for good, and returns once that is
    /// acknowledged. A bus that refuses nothing has no use for it.
    async fn publish_dead_letter(&self, refused: &Refused<'_>) -> Result<(), BusError> {
        let reason = &refused.reason;
        Err(BusError::Unacknowledged(format!(
            "it has no place for dead letters ({reason})"
        )))
    }
}
