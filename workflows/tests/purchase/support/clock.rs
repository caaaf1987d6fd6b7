//! The system's clock, moved on by tests: a day passes when a test says so.

use std::sync::Arc;
use std::time::Duration;

use engine::runtime::{Clock, SeededEntropy, SystemClock, TokioSpawner};
use engine::{Runtime, Timestamp};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

/// A clock that is ahead of the system's by as much as tests say.
#[derive(Clone)]
pub struct MovableClock {
    ahead: Arc<watch::Sender<Duration>>,
}

impl MovableClock {
    pub fn new() -> Self {
        let (ahead, _) = watch::channel(Duration::ZERO);
        Self {
            ahead: Arc::new(ahead),
        }
    }

    /// So much time passes now: whoever sleeps until an instant that has come by then wakes up.
    pub fn advance(&self, by: Duration) {
        self.ahead.send_modify(|ahead| *ahead += by);
    }

    /// A runtime that goes by this clock.
    pub fn runtime(&self) -> Runtime {
        Runtime::new(
            Arc::new(self.clone()),
            Arc::new(SeededEntropy::from_system()),
            Arc::new(TokioSpawner),
        )
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().after(*self.ahead.borrow())
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let mut ahead = self.ahead.subscribe();
        Box::pin(async move {
            loop {
                ahead.mark_unchanged();
                let left = instant.since(clock.now());
                if left.is_zero() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    moved = ahead.changed() => moved.expect("the clock lives as long as who sleeps by it"),
                }
            }
        })
    }
}
