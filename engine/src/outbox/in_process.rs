//! The event bus of a process that runs alone: every subscriber sees every event that is published while it listens.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{BusError, EventBus, Refused};
use crate::store::StoredEvent;

/// A slow subscriber holds publishing up for at most this long at a time.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Delivers events to the subscribers in this process, in order, with back-pressure: publishing waits for the slowest.
#[derive(Default)]
pub struct InProcessBus {
    subscribers: Mutex<Vec<mpsc::Sender<StoredEvent>>>,
}

impl InProcessBus {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Events that are published from now on. At most `capacity` wait for the subscriber; beyond that publishing waits.
    /// Dropping the receiver ends the subscription.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> mpsc::Receiver<StoredEvent> {
        let (sender, receiver) = mpsc::channel(capacity);
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        receiver
    }

    fn live_subscribers(&self) -> Vec<mpsc::Sender<StoredEvent>> {
        let mut subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| !subscriber.is_closed());
        subscribers.clone()
    }
}

#[async_trait]
impl EventBus for InProcessBus {
    async fn publish<'events>(
        &self,
        events: &'events [StoredEvent],
    ) -> Result<Vec<Refused<'events>>, BusError> {
        for subscriber in self.live_subscribers() {
            for event in events {
                match subscriber
                    .send_timeout(event.clone(), PUBLISH_TIMEOUT)
                    .await
                {
                    // A subscriber that has gone misses nothing that it wants.
                    Ok(()) | Err(mpsc::error::SendTimeoutError::Closed(_)) => {}
                    Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                        return Err(BusError::Unacknowledged(
                            "a subscriber does not keep up".into(),
                        ));
                    }
                }
            }
        }
        Ok(Vec::new())
    }
}
