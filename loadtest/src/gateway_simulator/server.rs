//! Starting and stopping the simulator: its address, its ledger, and the task that serves it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::journal::{self, LedgerFileError};
use super::ledger::Ledger;
use super::routes;
use super::rules::{BadRules, Rules};
use super::simulator::Simulator;

/// The time, in microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a simulator needs to start.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The ledger's file; `None` keeps the ledger in memory.
    pub ledger: Option<PathBuf>,
    /// The rules until somebody changes them.
    pub rules: Rules,
    /// New payments and refunds are refused when the ledger has this many entries (about half a kilobyte each).
    pub entries_max: u64,
    /// The time of the entries.
    pub clock: Clock,
}

impl Settings {
    /// A free port of the loopback, a ledger in memory, no faults, two million entries.
    pub fn new(clock: Clock) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ledger: None,
            rules: Rules::default(),
            entries_max: 2_000_000,
            clock,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            ledger,
            rules,
            entries_max,
            ..
        } = self;
        f.debug_struct("Settings")
            .field("address", address)
            .field("ledger", ledger)
            .field("rules", rules)
            .field("entries_max", entries_max)
            .finish_non_exhaustive()
    }
}

/// The simulator can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error(
        "the payment gateway simulator can't listen on {address}: free it, or choose another address or port 0"
    )]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The ledger's file can't be used.
    #[error(transparent)]
    Ledger(#[from] LedgerFileError),
    /// The rules contradict their bounds.
    #[error("the payment gateway simulator's rules are wrong")]
    Rules(#[from] BadRules),
    /// Reading the ledger panicked.
    #[error("reading the payment gateway simulator's ledger failed")]
    Replay(#[from] JoinError),
}

/// The simulator did not stop in time; dropping what is left stops it all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payment gateway simulator did not stop within {deadline:?}")]
pub struct ShutdownError {
    deadline: Duration,
}

/// The payment gateway simulator.
#[derive(Clone, Copy, Debug)]
pub struct GatewaySimulator;

impl GatewaySimulator {
    /// Replays the ledger, listens, and serves until [`Running::shutdown`] or until the result is dropped.
    pub async fn bind(settings: Settings) -> Result<Running, StartError> {
        let Settings {
            address,
            ledger,
            rules,
            entries_max,
            clock,
        } = settings;
        rules.check()?;
        let ledger = match ledger {
            None => Ledger::in_memory(entries_max),
            Some(path) => {
                let (book, writer) = spawn_blocking(move || journal::open(&path)).await??;
                Ledger::in_file(book, writer, entries_max)
            }
        };
        let (closing, closed) = watch::channel(false);
        // From here on dropping `running` closes the ledger, also when listening fails.
        let simulator = Arc::new(Simulator::new(ledger, rules, clock, closed.clone()));
        let mut running = Running {
            address,
            closing,
            serving: JoinSet::new(),
            simulator,
        };
        let failed = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        running.address = listener.local_addr().map_err(failed)?;
        running.serve(listener, closed);
        Ok(running)
    }
}

/// A simulator that serves. Dropping it is its `kill -9`: only what was answered is sure to be in the ledger's file.
pub struct Running {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    serving: JoinSet<()>,
    simulator: Arc<Simulator>,
}

impl Running {
    fn serve(&mut self, listener: TcpListener, mut closed: watch::Receiver<bool>) {
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps its delay");
            }
        });
        let stop = async move {
            // An error means that the sender is gone, which is as good a reason.
            let _ = closed.wait_for(|closing| *closing).await;
        };
        let serving = axum::serve(listener, routes::router(Arc::clone(&self.simulator)))
            .with_graceful_shutdown(stop);
        self.serving.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the payment gateway simulator stopped serving");
            }
        });
    }

    /// The address it listens on, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for a client on this machine.
    pub fn url(&self) -> String {
        let mut address = self.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("http://{address}")
    }

    /// Stops accepting, ends what is in flight (answers held back by a rule become a 500), and closes the ledger.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<(), ShutdownError> {
        self.closing.send_replace(true);
        let stopped = timeout(deadline, async {
            while self.serving.join_next().await.is_some() {}
            let simulator = Arc::clone(&self.simulator);
            spawn_blocking(move || simulator.ledger.close()).await
        });
        match stopped.await {
            Ok(_) => Ok(()),
            Err(_) => Err(ShutdownError { deadline }),
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.serving.abort_all();
        self.simulator.ledger.close();
    }
}
