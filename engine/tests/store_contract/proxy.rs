//! A network that fails when it is told to: it stands between the store and the MySQL server and loses either a request
//! or the reply to one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use engine::runtime::Runtime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const HEALTHY: u8 = 0;
const LOSE_REPLY: u8 = 1;
const LOSE_REQUEST: u8 = 2;

/// What to look for in a request before it is lost.
#[derive(Clone)]
pub struct Proxy {
    mode: Arc<AtomicU8>,
    word: &'static [u8],
    address: String,
}

impl Proxy {
    /// Stands before `server` (host:port). Only connections whose request holds `word` are ever cut.
    pub async fn start(server: String, word: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let proxy = Self {
            mode: Arc::new(AtomicU8::new(HEALTHY)),
            word: word.as_bytes(),
            address,
        };
        let relay = proxy.clone();
        // Ends with the test's runtime.
        Runtime::system().spawn(async move { relay.accept(listener, server).await });
        proxy
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next request with the word reaches the server; its reply is lost with the connection.
    pub fn lose_reply(&self) {
        self.mode.store(LOSE_REPLY, Ordering::SeqCst);
    }

    /// The next request with the word is lost with the connection.
    pub fn lose_request(&self) {
        self.mode.store(LOSE_REQUEST, Ordering::SeqCst);
    }

    /// The loss that was asked for has happened.
    pub fn has_struck(&self) -> bool {
        self.mode.load(Ordering::SeqCst) == HEALTHY
    }

    async fn accept(self, listener: TcpListener, server: String) {
        let mut relays = tokio::task::JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let (relay, server) = (self.clone(), server.clone());
            relays.spawn(async move {
                let server = TcpStream::connect(server)
                    .await
                    .expect("the server answers");
                // An end of either side is an end of both.
                let _ = relay.relay(client, server).await;
            });
        }
    }

    async fn relay(&self, mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
        let (mut request, mut reply) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        let mut tail = Vec::new();
        loop {
            tokio::select! {
                read = client.read(&mut request) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    tail.extend_from_slice(&request[..read]);
                    let struck = contains(&tail, self.word).then(|| self.strike()).flatten();
                    let keep = tail.len().saturating_sub(self.word.len());
                    tail.drain(..keep);
                    match struck {
                        Some(LOSE_REQUEST) => return Ok(()),
                        Some(_) => {
                            server.write_all(&request[..read]).await?;
                            // The server carries the request out, finds no further one, and closes.
                            server.shutdown().await?;
                            reply.clear();
                            server.read_to_end(&mut reply).await?;
                            return Ok(());
                        }
                        None => server.write_all(&request[..read]).await?,
                    }
                }
                read = server.read(&mut reply) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    client.write_all(&reply[..read]).await?;
                }
            }
        }
    }

    /// Takes the order to lose something, once.
    fn strike(&self) -> Option<u8> {
        let mode = self.mode.swap(HEALTHY, Ordering::SeqCst);
        (mode != HEALTHY).then_some(mode)
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
