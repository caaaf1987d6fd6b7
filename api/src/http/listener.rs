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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::impatient::Impatient;
use crate::exit::{Code, Failure};

/// Connections beyond this wait in the system's backlog. Streams take one each, for as long as they last, and 10,000 at most:
/// the rest is for requests.
const CONNECTIONS_MAX: usize = 20_000;
/// The head of a request must have come after this; a connection that is idle for longer is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// A client that takes nothing of what it is sent for so long is cut off, where nothing else is set.
const STALLED_MAX: Duration = Duration::from_secs(30);
/// What a connection may have waiting in this process, read or to be written, in bytes: larger than any head, and small enough for
/// thousands that take nothing, or stop in the middle of a body.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// After this the system is asked again for a connection that it could not give (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address that is ours.
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
    stalled_max: Duration,
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
        Ok(Self {
            inner,
            address,
            stalled_max: STALLED_MAX,
        })
    }

    /// Clients that take nothing of what they are sent for so long are cut off.
    pub const fn cutting_off_after(mut self, stalled_max: Duration) -> Self {
        self.stalled_max = stalled_max;
        self
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
    let stalled_max = listener.stalled_max;
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener.inner, &permits) => {
                if let Some((stream, permit)) = accepted {
                    let stream = Impatient::new(stream, stalled_max);
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
        Ok((stream, _)) => {
            // Without it an answer may wait for the acknowledgement of the one before; a connection that is gone shows later.
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn serve_connection(
    stream: Impatient<TcpStream>,
    router: Router,
    stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    speak(stream, router, stop).await;
}

/// Speaks HTTP until either side has enough.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
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

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;

    /// A router that sends without end.
    fn endless() -> Router {
        let chunk = || Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 1_024]));
        let body = move || Body::from_stream(stream::repeat_with(chunk));
        Router::new().route("/", get(async move || body()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let (mut client, server) = duplex(4_096);
        let (_stop, stopping) = watch::channel(false);
        let begun = Instant::now();
        let server = Impatient::new(server, STALLED_MAX);
        let mut server = pin!(speak(server, endless(), stopping));
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .await
            .unwrap();
        // As long as it takes a little, it is served.
        let mut some = [0; 1_024];
        for _ in 0..10 {
            let early = timeout(STALLED_MAX / 2, server.as_mut()).await;
            assert!(early.is_err(), "cut off too early");
            client.read_exact(&mut some).await.unwrap();
        }
        timeout(2 * STALLED_MAX, server).await.expect("cut off");
        let took = begun.elapsed();
        assert!(took + Duration::from_secs(1) >= 6 * STALLED_MAX, "{took:?}");
        assert!(took <= 7 * STALLED_MAX, "{took:?}");
    }
}
