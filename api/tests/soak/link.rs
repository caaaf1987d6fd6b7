//! The network between one node and MySQL: it cuts the answer to a COMMIT, keeps a batch back until it is stale, is slow, or lets
//! nothing through. The node knows it as the address in its `DATABASE_URL`, and nothing else of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::relay::{Kept, Order, State, accept};
use super::wire::Answer;
use crate::support::PATIENCE;

/// A link. Ends with whoever holds it.
pub struct Link {
    state: Arc<State>,
    address: String,
    _relay: JoinSet<()>,
}

impl Link {
    /// To the server at this address.
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let state = Arc::new(State::of(server));
        let mut relay = JoinSet::new();
        relay.spawn(accept(Arc::clone(&state), listener));
        Self {
            state,
            address,
            _relay: relay,
        }
    }

    /// What the node takes for MySQL.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many answers to a COMMIT were cut so far, all of batches that the server had written.
    pub fn cut(&self) -> u64 {
        *self.state.cut.borrow()
    }

    /// Cuts the answer to the next batch that is written, if one comes within this time. Whether it happened.
    pub async fn cut_next(&self, limit: Duration) -> bool {
        let before = self.cut();
        self.state.order.send_replace(Some(Order::Cut));
        let mut order = self.state.order.subscribe();
        let is_taken = timeout(limit, order.wait_for(Option::is_none))
            .await
            .is_ok();
        // It may have been taken at this very moment.
        if !is_taken && self.state.order.send_replace(None).is_some() {
            return false;
        }
        let mut cut = self.state.cut.subscribe();
        timeout(limit, cut.wait_for(|cut| *cut > before))
            .await
            .is_ok()
    }

    /// Keeps the next batch back, if there is one within this time. Whether there is.
    pub async fn keep_back(&self, limit: Duration) -> bool {
        self.state.kept.send_replace(Kept::Nothing);
        self.state.order.send_replace(Some(Order::KeepBack));
        let mut kept = self.state.kept.subscribe();
        let is_here = timeout(limit, kept.wait_for(|kept| *kept == Kept::Here))
            .await
            .is_ok();
        self.state.order.send_replace(None);
        is_here || *self.state.kept.borrow() == Kept::Here
    }

    /// Lets go what was kept back: what the server says to it, if it could be asked.
    pub async fn let_go(&self) -> Option<Answer> {
        self.state.kept.send_replace(Kept::LetGo);
        let mut kept = self.state.kept.subscribe();
        let answered = kept.wait_for(|kept| matches!(kept, Kept::Answered(_)));
        match timeout(PATIENCE, answered).await {
            Ok(Ok(kept)) => match *kept {
                Kept::Answered(answer) => answer,
                _ => None,
            },
            _ => panic!("a batch that was kept back was never answered"),
        }
    }

    /// Lets nothing through for so long. Whether anything was lost by it.
    pub async fn is_dark_for(&self, time: Duration) -> bool {
        let before = self.state.lost.load(Ordering::SeqCst);
        self.state.dark.send_replace(true);
        sleep(time).await;
        self.state.dark.send_replace(false);
        self.state.lost.load(Ordering::SeqCst) > before
    }

    /// Everything comes so much later, for so long. Whether anything did.
    pub async fn is_slow_for(&self, time: Duration, delay_ms: u64) -> bool {
        let before = self.state.delayed.load(Ordering::SeqCst);
        self.state.delay_ms.store(delay_ms, Ordering::SeqCst);
        sleep(time).await;
        self.state.delay_ms.store(0, Ordering::SeqCst);
        self.state.delayed.load(Ordering::SeqCst) > before
    }
}
