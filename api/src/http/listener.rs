//! A listener whose connections are bounded: how many there are, and how long the head of a request may take.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::exit::{Code, Failure};

/// Connections beyond this wait in the system's backlog.
const CONNECTIONS_MAX: usize = 16_384;
/// The head of a request must have come after this; a connection that is idle for longer is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// After this the system is asked again for a connection that it could not give (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address that is ours.
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes the address; port 0 takes a free one. `setting` is how the user chooses another.
    pub async fn bind(address: SocketAddr, setting: &str) -> Result<Self, Failure> {
        let taken = |error: io::Error| {
            let why = match error.kind() {
                io::ErrorKind::AddrInUse => "it is in use".to_owned(),
                _ => error.to_string(),
            };
            Failure::new(
                Code::InUse,
                format!(
                    "can't listen on {address}: {why}; free it, or choose another address by {setting}"
                ),
            )
        };
        let inner = TcpListener::bind(address).await.map_err(taken)?;
        let address = inner.local_addr().map_err(taken)?;
        Ok(Self { inner, address })
    }

    /// The address, with the port that it got.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves until `stop` turns true, then lets the requests that are in flight end. Dropping the future cuts them off.
pub async fn serve(listener: Listener, router: Router, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener.inner, &permits) => {
                if let Some((stream, permit)) = accepted {
                    connections.spawn(serve_connection(stream, router.clone(), stop.clone(), permit));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    mut stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    // Without it an answer may wait for the acknowledgement of the one before; a connection that is gone shows below.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Completes once `stop` is true, or once nobody can say so any more.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
