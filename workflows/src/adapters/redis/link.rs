//! The one connection that all callers share, and its replacement when it fails.
//!
//! A connection is made by whoever needs it first, and everyone else waits for the same attempt. After a failed attempt
//! everyone is told so at once, and the next one is made no sooner than [`RECONNECT_PAUSE`] later: an outage costs a few
//! attempts a second, however many callers there are.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

/// How long a connection may take, greeting included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer may take. The call may run on the server all the same.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause after a failed attempt to connect.
pub const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Calls that may wait to be written.
const WRITE_QUEUE_LENGTH: usize = 1_024;

/// Why there is no connection. The address is named without its password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL can't be read.
    #[error("REDIS_URL is not of the form redis://[user:password@]host:port[/database]: {0}")]
    BadUrl(String),
    /// The server wants another password, or one at all.
    #[error("Redis refused the credentials: check the user and password in REDIS_URL ({0})")]
    Password(String),
    /// Nothing answers at the address.
    #[error("Redis does not answer at {address}: check that it runs there ({cause})")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What happened.
        cause: String,
    },
}

type Attempt = Shared<BoxFuture<'static, Result<MultiplexedConnection, ConnectError>>>;

/// A connection, and which one it is.
#[derive(Debug)]
pub struct Connected {
    pub id: u64,
    pub connection: MultiplexedConnection,
}

struct Slot {
    id: u64,
    attempt: Attempt,
    /// Set when the attempt failed: the next one is made then.
    retry_at: Option<Instant>,
}

pub struct Link {
    client: Client,
    slot: Mutex<Slot>,
}

impl std::fmt::Debug for Link {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Reads the URL; the first caller connects.
    pub fn open(url: &str) -> Result<Self, ConnectError> {
        let bad_url = |error: RedisError| ConnectError::BadUrl(error.to_string());
        let info = url.into_connection_info().map_err(bad_url)?;
        // Small writes that wait for each other's acknowledgement would cost a delay each.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).map_err(bad_url)?;
        let slot = Slot {
            id: 0,
            attempt: attempt(client.clone()),
            retry_at: None,
        };
        Ok(Self {
            client,
            slot: Mutex::new(slot),
        })
    }

    /// The shared connection; connects if there is none.
    pub async fn connection(&self) -> Result<Connected, ConnectError> {
        let (id, attempt) = self.current();
        match attempt.await {
            Ok(connection) => Ok(Connected { id, connection }),
            Err(error) => {
                self.pause(id);
                Err(error)
            }
        }
    }

    /// The connection `id` has failed: the next caller makes another. Calls that still wait on it keep it until they end.
    pub fn give_up(&self, id: u64) {
        let mut slot = self.lock();
        if slot.id == id {
            *slot = self.next(id);
        }
    }

    fn current(&self) -> (u64, Attempt) {
        let mut slot = self.lock();
        if slot
            .retry_at
            .is_some_and(|retry_at| Instant::now() >= retry_at)
        {
            *slot = self.next(slot.id);
        }
        (slot.id, slot.attempt.clone())
    }

    fn pause(&self, id: u64) {
        let mut slot = self.lock();
        if slot.id == id && slot.retry_at.is_none() {
            slot.retry_at = Some(Instant::now() + RECONNECT_PAUSE);
        }
    }

    fn next(&self, id: u64) -> Slot {
        Slot {
            id: id + 1,
            attempt: attempt(self.client.clone()),
            retry_at: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attempt(client: Client) -> Attempt {
    let connect = async move {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_pipeline_buffer_size(WRITE_QUEUE_LENGTH);
        let connected = client
            .get_multiplexed_async_connection_with_config(&config)
            .await;
        connected.map_err(|error| {
            if error.kind() == ErrorKind::AuthenticationFailed {
                ConnectError::Password(error.to_string())
            } else {
                let address = client.get_connection_info().addr().to_string();
                ConnectError::Unreachable {
                    address,
                    cause: error.to_string(),
                }
            }
        })
    };
    connect.boxed().shared()
}
