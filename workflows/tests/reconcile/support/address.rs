//! One address, behind which a redis-server can be replaced by another.

use std::net::SocketAddr;

use engine::Runtime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::RedisServer;

/// One address, behind which the servers change.
pub struct Address {
    pub url: String,
    target: watch::Sender<u16>,
}

impl Address {
    pub async fn of(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (target, targets) = watch::channel(server.port());
        Runtime::system().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let targets = targets.clone();
                Runtime::system().spawn(forward(client, targets));
            }
        });
        Self { url, target }
    }

    /// From now on another server is there; who was connected is not any more.
    pub fn leads_to(&self, server: &RedisServer) {
        self.target.send_replace(server.port());
    }
}

async fn forward(mut client: TcpStream, mut targets: watch::Receiver<u16>) {
    let port = *targets.borrow_and_update();
    let target = SocketAddr::from(([127, 0, 0, 1], port));
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = targets.changed() => {}
    }
}
