//! The connections that wait for work. One that was dropped in the middle of something never comes back: only a user
//! that knows its state gives it back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::driver::{CONNECT_TIMEOUT, DriverError, ErrorKind};

/// At most so many connections wait for work; others are closed.
const IDLE_MAX: usize = 8;

/// Connections of one kind, and the right to open so many.
pub(crate) struct Pool<C> {
    idle: Mutex<Vec<(Instant, C)>>,
    permits: Option<Arc<Semaphore>>,
}

impl<C> Pool<C> {
    /// A pool for at most `connections_max` users at a time; `None` when others bound them.
    pub fn new(connections_max: Option<usize>) -> Arc<Self> {
        let permits = connections_max.map(|most| Arc::new(Semaphore::new(most)));
        Arc::new(Self {
            idle: Mutex::default(),
            permits,
        })
    }

    /// The right to use a connection; waits for as long as opening one may take.
    pub async fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, DriverError> {
        let Some(permits) = &self.permits else {
            return Ok(None);
        };
        let permit = Arc::clone(permits).acquire_owned();
        if let Ok(Ok(permit)) = tokio::time::timeout(CONNECT_TIMEOUT, permit).await {
            return Ok(Some(permit));
        }
        let cause = format!(
            "all connections were busy for {} s",
            CONNECT_TIMEOUT.as_secs()
        );
        Err(DriverError::new(ErrorKind::Unavailable, cause))
    }

    /// The connection that was used last, and how long ago that was.
    pub fn take(&self) -> Option<(Duration, C)> {
        let (since, connection) = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()?;
        Some((since.elapsed(), connection))
    }

    /// Keeps a connection for the next user.
    pub fn put(&self, connection: C) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((Instant::now(), connection));
        }
    }
}
