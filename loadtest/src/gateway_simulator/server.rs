//! Starting and stopping the simulator: its address, its ledger, and the task that serves it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::book::Book;
use super::connection::{Acceptor, Reset};
use super::desk::Desk;
use super::input::is_web_address;
use super::journal::{self, LedgerFileError};
use super::ledger::{Ledger, Register};
use super::routes;
use super::rules::{BadRules, Rules};
use super::simulator::Simulator;
use super::webhooks::{Sender, WebhookCounts, WebhookTarget, Webhooks};

/// The time, in microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a simulator needs to start.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The ledger's file; reservations go into one beside it, whose name ends in `.reservations`. `None` keeps both in memory.
    pub ledger: Option<PathBuf>,
    /// The rules until somebody changes them.
    pub rules: Rules,
    /// Where webhooks go; `None` sends none. It can be set later: [`Running::set_webhooks`].
    pub webhooks: Option<WebhookTarget>,
    /// What buyers' browsers reach the simulator by; `None`: [`Running::url`].
    pub public_url: Option<String>,
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
            webhooks: None,
            public_url: None,
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
            webhooks,
            public_url,
            entries_max,
            ..
        } = self;
        f.debug_struct("Settings")
            .field("address", address)
            .field("ledger", ledger)
            .field("rules", rules)
            .field("webhooks", webhooks)
            .field("public_url", public_url)
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
    /// A browser could not follow it.
    #[error("the payment gateway simulator's public URL must be an absolute http or https URL")]
    PublicUrl,
    /// The client that sends webhooks could not be set up.
    #[error("the payment gateway simulator can't send webhooks")]
    Webhooks(#[source] reqwest::Error),
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
            webhooks,
            public_url,
            entries_max,
            clock,
        } = settings;
        rules.check()?;
        if public_url
            .as_deref()
            .is_some_and(|url| !is_web_address(url))
        {
            return Err(StartError::PublicUrl);
        }
        let reservations = ledger.as_deref().map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".reservations");
            PathBuf::from(name)
        });
        let ledger: Ledger<Book> = open(ledger, entries_max).await?;
        let desk: Ledger<Desk> = match open(reservations, entries_max).await {
            Ok(desk) => desk,
            Err(error) => {
                ledger.close();
                return Err(error);
            }
        };
        let (closing, closed) = watch::channel(false);
        let (ended, routes_ended) = watch::channel(false);
        let (webhooks, sender) =
            Webhooks::new(webhooks, Arc::clone(&clock), closed.clone(), routes_ended)
                .map_err(StartError::Webhooks)?;
        // From here on dropping `running` closes the ledger, also when listening fails.
        let simulator = Arc::new(Simulator::new(
            ledger,
            desk,
            webhooks,
            rules,
            clock,
            closed.clone(),
        ));
        let mut running = Running {
            address,
            closing,
            ended,
            serving: JoinSet::new(),
            sending: JoinSet::new(),
            simulator,
        };
        let failed = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        running.address = listener.local_addr().map_err(failed)?;
        running.publish(public_url.unwrap_or_else(|| running.url()));
        running.serve(listener, closed, sender);
        Ok(running)
    }
}

async fn open<R: Register>(
    path: Option<PathBuf>,
    entries_max: u64,
) -> Result<Ledger<R>, StartError> {
    let Some(path) = path else {
        return Ok(Ledger::in_memory(entries_max));
    };
    let (register, writer) = spawn_blocking(move || journal::open(&path)).await??;
    Ok(Ledger::in_file(register, writer, entries_max))
}

/// A simulator that serves. Dropping it is its `kill -9`: only what was answered is sure to be in the ledger's file.
pub struct Running {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    serving: JoinSet<()>,
    sending: JoinSet<()>,
    simulator: Arc<Simulator>,
}

impl Running {
    fn publish(&self, mut url: String) {
        url.truncate(url.trim_end_matches('/').len());
        let simulator = &self.simulator;
        *simulator
            .public_url
            .write()
            .unwrap_or_else(PoisonError::into_inner) = url;
    }

    fn serve(&mut self, listener: TcpListener, mut closed: watch::Receiver<bool>, sender: Sender) {
        self.sending.spawn(sender.run());
        let stop = async move {
            // An error means that the sender is gone, which is as good a reason.
            let _ = closed.wait_for(|closing| *closing).await;
        };
        let routes = routes::router(Arc::clone(&self.simulator));
        let routes = routes.into_make_service_with_connect_info::<Reset>();
        let serving = axum::serve(Acceptor(listener), routes).with_graceful_shutdown(stop);
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

    /// Sends webhooks there from now on; `None` sends none. For a shop that knows its own address only later.
    pub fn set_webhooks(&self, target: Option<WebhookTarget>) {
        self.simulator.webhooks.set_target(target);
    }

    /// Follows these rules from the next request on.
    pub fn set_rules(&self, rules: Rules) -> Result<(), BadRules> {
        self.simulator.set_rules(rules)
    }

    /// What became of the webhooks so far.
    pub fn webhook_counts(&self) -> WebhookCounts {
        self.simulator.webhooks.counts()
    }

    /// Stops accepting, ends what is in flight (answers held back by a rule become a 500), sends the webhooks that wait once,
    /// and closes the ledger.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<(), ShutdownError> {
        self.closing.send_replace(true);
        let stopped = timeout(deadline, async {
            while self.serving.join_next().await.is_some() {}
            self.ended.send_replace(true);
            while self.sending.join_next().await.is_some() {}
            let simulator = Arc::clone(&self.simulator);
            spawn_blocking(move || simulator.close()).await
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
        self.sending.abort_all();
        self.simulator.close();
    }
}
