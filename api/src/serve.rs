//! `holdfast serve`: both listeners over one system, until somebody says stop; then in order, within a stated time.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::Serve;
use crate::exit::Failure;
use crate::http::{self, Listener};
use crate::wiring::{Services, System};
use crate::{buyers, operators, shutdown};

/// Requests that are in flight at a stop may take this share of the time.
const LISTENERS_SHARE: u32 = 4;

/// Serves until SIGTERM or SIGINT.
pub async fn run(arguments: Serve, runtime: Runtime) -> Result<(), Failure> {
    let Serve { listen, backend } = arguments;
    let mut stop = shutdown::signals(&runtime)?;
    // Addresses first: a node that can't be reached should not take partitions.
    let listeners = Listeners::bind(listen.listen, listen.operators_listen).await?;
    let listeners = listeners.cutting_off_after(listen.stalled_max);
    let system = System::open(&backend, runtime).await?;
    let serving = Serving::start(listeners, system.services());
    system.send_webhooks_to(&serving.buyers_url())?;
    print!("{}", greeting(&serving, &system));
    http::stopped(&mut stop).await;
    stop_in_order(serving, system, listen.drain_timeout).await
}

fn greeting(serving: &Serving, system: &System) -> String {
    let mut text = format!(
        "holdfast {}, {}\n",
        env!("CARGO_PKG_VERSION"),
        system.description()
    );
    for (name, url) in [
        ("buyers", serving.buyers_url()),
        ("operators", serving.operators_url()),
        ("payments", system.gateway_url()),
    ] {
        writeln!(text, "{name:<10} {url}").expect("a String takes all");
    }
    let token = match system.operator_token_file() {
        Some(path) => format!("for operators, an admin's, in {}", path.display()),
        None => "for operators by `holdfast token --role ROLE --subject NAME`".to_owned(),
    };
    writeln!(text, "{:<10} {token}", "token").expect("a String takes all");
    text
}

/// The two addresses, taken.
pub struct Listeners {
    buyers: Listener,
    operators: Listener,
}

impl Listeners {
    /// Takes both, or neither.
    pub async fn bind(buyers: SocketAddr, operators: SocketAddr) -> Result<Self, Failure> {
        Ok(Self {
            buyers: Listener::bind(buyers, "--listen").await?,
            operators: Listener::bind(operators, "--operators-listen").await?,
        })
    }

    /// Clients that take nothing of what they are sent for so long are cut off.
    pub fn cutting_off_after(self, stalled_max: Duration) -> Self {
        Self {
            buyers: self.buyers.cutting_off_after(stalled_max),
            operators: self.operators.cutting_off_after(stalled_max),
        }
    }
}

/// Both listeners at work.
pub struct Serving {
    buyers: SocketAddr,
    operators: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Serving {
    /// Begins to serve.
    pub fn start(listeners: Listeners, services: Services) -> Self {
        let (stop, stopping) = watch::channel(false);
        let services = Arc::new(Services {
            stopping: stopping.clone(),
            ..services
        });
        let (buyers, operators) = (listeners.buyers.address(), listeners.operators.address());
        let mut tasks = JoinSet::new();
        let families = services.families.clone();
        tasks.spawn(families.sweep(services.runtime.clone(), stopping.clone()));
        tasks.spawn(http::serve(
            listeners.buyers,
            buyers::router(Arc::clone(&services)),
            stopping.clone(),
        ));
        tasks.spawn(http::serve(
            listeners.operators,
            operators::router(services),
            stopping,
        ));
        Self {
            buyers,
            operators,
            stop,
            tasks,
        }
    }

    /// Where buyers are served.
    pub fn buyers_url(&self) -> String {
        format!("http://{}", self.buyers)
    }

    /// Where operators are served.
    pub fn operators_url(&self) -> String {
        format!("http://{}", self.operators)
    }

    /// Takes no more requests, and waits for those in flight, at most this long.
    pub async fn stop(mut self, limit: Duration) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!("some requests did not end in time and are cut off");
        }
    }
}

/// Requests, then workflows, then events, then connections.
pub async fn stop_in_order(
    serving: Serving,
    system: System,
    limit: Duration,
) -> Result<(), Failure> {
    let deadline = system.services().runtime.now().after(limit);
    serving.stop(limit / LISTENERS_SHARE).await;
    system.close(deadline).await
}
