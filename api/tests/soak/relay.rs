//! What goes over a link: every packet of the node's to the server and back, unless it meets what was ordered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::wire::{Answer, end_of_answer, is_batch, take_packet};
use crate::support::PATIENCE;

const BYTES_AT_ONCE: usize = 64 * 1024;

/// What the next batch meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It reaches the server, and its answer is cut.
    Cut,
    /// It is kept back.
    KeepBack,
}

/// Where a batch is that is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nowhere.
    Nothing,
    /// It waits.
    Here,
    /// It goes on to the server.
    LetGo,
    /// What the server said to it; `None` when it could not be asked.
    Answered(Option<Answer>),
}

/// What the network does at the moment, and what it has done.
pub struct State {
    server: String,
    /// Nothing comes through, and nobody is told. Whatever is connected or tries to be is closed when this is over.
    pub dark: watch::Sender<bool>,
    /// Everything comes so much later, each way.
    pub delay_ms: AtomicU64,
    /// Taken by the next batch.
    pub order: watch::Sender<Option<Order>>,
    /// Where the batch is that is kept back.
    pub kept: watch::Sender<Kept>,
    /// Answers to a COMMIT that were cut, all of batches that the server had written.
    pub cut: watch::Sender<u64>,
    /// Requests and connections that came to nothing in the dark.
    pub lost: AtomicU64,
    /// Pieces that came late.
    pub delayed: AtomicU64,
}

/// Takes the node's connections, each to the server.
pub async fn accept(state: Arc<State>, listener: TcpListener) {
    let mut relays = JoinSet::new();
    while let Ok((node, _)) = listener.accept().await {
        while relays.try_join_next().is_some() {}
        let state = Arc::clone(&state);
        relays.spawn(async move {
            // An end of either side is an end of both, and each notices by itself.
            let _ = state.relay(node).await;
        });
    }
}

impl State {
    /// A network to this server that does nothing yet.
    pub fn of(server: String) -> Self {
        Self {
            server,
            dark: watch::Sender::new(false),
            delay_ms: AtomicU64::new(0),
            order: watch::Sender::new(None),
            kept: watch::Sender::new(Kept::Nothing),
            cut: watch::Sender::new(0),
            lost: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        }
    }

    async fn relay(&self, mut node: TcpStream) -> std::io::Result<()> {
        if self.is_dark() {
            self.lost.fetch_add(1, Ordering::SeqCst);
            return self.until_light(&mut node).await;
        }
        let mut server = TcpStream::connect(&self.server).await?;
        server.set_nodelay(true)?;
        node.set_nodelay(true)?;
        let (mut asked, mut answered) = (Vec::new(), vec![0; BYTES_AT_ONCE]);
        loop {
            tokio::select! {
                biased;
                () = self.until_dark_is(true) => {
                    return self.until_light(&mut node).await;
                }
                read = node.read_buf(&mut asked) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.comes_late().await;
                    while let Some(packet) = take_packet(&mut asked) {
                        self.pass(&packet, &mut node, &mut server).await?;
                    }
                }
                read = server.read(&mut answered) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    self.comes_late().await;
                    node.write_all(&answered[..read]).await?;
                }
            }
        }
    }

    /// One packet of the node's reaches the server, or meets what was ordered.
    async fn pass(
        &self,
        packet: &[u8],
        node: &mut TcpStream,
        server: &mut TcpStream,
    ) -> std::io::Result<()> {
        match self.order_for(packet) {
            None => server.write_all(packet).await,
            Some(Order::Cut) => {
                let (answer, bytes) = ask(server, packet).await?;
                if answer == Answer::Committed {
                    self.cut.send_modify(|cut| *cut += 1);
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                node.write_all(&bytes).await
            }
            Some(Order::KeepBack) => {
                let mut kept = self.kept.subscribe();
                let let_go = kept.wait_for(|kept| *kept == Kept::LetGo);
                let let_go = timeout(PATIENCE, let_go).await.is_ok();
                let asked = if let_go {
                    ask(server, packet).await
                } else {
                    Err(std::io::ErrorKind::TimedOut.into())
                };
                let answer = asked.as_ref().ok().map(|(answer, _)| *answer);
                self.kept.send_replace(Kept::Answered(answer));
                node.write_all(&asked?.1).await
            }
        }
    }

    /// Takes the order, if there is one and this packet is what it is for.
    fn order_for(&self, packet: &[u8]) -> Option<Order> {
        if self.order.borrow().is_none() || !is_batch(packet) {
            return None;
        }
        let mut taken = None;
        self.order.send_if_modified(|order| {
            taken = order.take();
            if taken == Some(Order::KeepBack) {
                // Whoever finds the order taken finds the batch here.
                self.kept.send_replace(Kept::Here);
            }
            taken.is_some()
        });
        taken
    }

    fn is_dark(&self) -> bool {
        *self.dark.borrow()
    }

    async fn until_dark_is(&self, wanted: bool) {
        let mut dark = self.dark.subscribe();
        // Whoever asks has the sender.
        let _ = dark.wait_for(|dark| *dark == wanted).await;
    }

    async fn comes_late(&self) {
        let delay_ms = self.delay_ms.load(Ordering::SeqCst);
        if delay_ms > 0 {
            self.delayed.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(delay_ms)).await;
        }
    }

    /// What the node says in the dark is lost, and its connection with it.
    async fn until_light(&self, node: &mut TcpStream) -> std::io::Result<()> {
        let mut lost = vec![0; BYTES_AT_ONCE];
        loop {
            tokio::select! {
                () = self.until_dark_is(false) => return Ok(()),
                read = node.read(&mut lost) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.lost.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }
}

/// Sends a batch, and waits until the server has said all it has to say to it.
async fn ask(server: &mut TcpStream, batch: &[u8]) -> std::io::Result<(Answer, Vec<u8>)> {
    server.write_all(batch).await?;
    let (mut come, mut whole) = (Vec::new(), Vec::new());
    loop {
        if server.read_buf(&mut come).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        while let Some(packet) = take_packet(&mut come) {
            whole.extend_from_slice(&packet);
            if let Some(answer) = end_of_answer(&packet) {
                return Ok((answer, whole));
            }
        }
    }
}
