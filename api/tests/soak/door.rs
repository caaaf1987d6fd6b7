//! The shop's front door: one address for buyers and for webhooks. Each connection goes to the next node that takes it, so that whoever
//! tries again, or twice, is at another node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The door. Ends with whoever holds it.
pub struct Door {
    port: u16,
    _doorman: JoinSet<()>,
}

impl Door {
    /// To nodes that serve buyers on these ports, or will.
    pub async fn to(nodes: Vec<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let mut doorman = JoinSet::new();
        doorman.spawn(accept(listener, nodes.into()));
        Self {
            port,
            _doorman: doorman,
        }
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn accept(listener: TcpListener, nodes: Arc<[u16]>) {
    let turn = Arc::new(AtomicUsize::new(0));
    let mut visits = JoinSet::new();
    while let Ok((mut buyer, _)) = listener.accept().await {
        while visits.try_join_next().is_some() {}
        let (nodes, turn) = (Arc::clone(&nodes), Arc::clone(&turn));
        visits.spawn(async move {
            let first = turn.fetch_add(1, Ordering::Relaxed);
            for next in 0..nodes.len() {
                let port = nodes[(first + next) % nodes.len()];
                if let Ok(mut node) = TcpStream::connect(("127.0.0.1", port)).await {
                    // Either side may leave at any time, and the other one sees that.
                    let _ = copy_bidirectional(&mut buyer, &mut node).await;
                    return;
                }
            }
        });
    }
}
