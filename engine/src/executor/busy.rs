//! How many workflows are in the middle of something: an attempt, or records that are not durable yet.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::runtime::{Runtime, Timestamp};

/// The number, and a way to wait until it is zero.
#[derive(Default)]
pub(crate) struct Busy {
    workflows: AtomicUsize,
    none: Notify,
}

impl Busy {
    pub(crate) fn enter(&self) {
        self.workflows.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn leave(&self) {
        if self.workflows.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.none.notify_waiters();
        }
    }

    /// Waits until nobody is busy; `false` when `deadline` came first.
    pub(crate) async fn none(&self, runtime: &Runtime, deadline: Timestamp) -> bool {
        loop {
            let notified = self.none.notified();
            if self.workflows.load(Ordering::SeqCst) == 0 {
                return true;
            }
            let left = deadline.since(runtime.now());
            if left.is_zero() || runtime.within(left, notified).await.is_none() {
                return self.workflows.load(Ordering::SeqCst) == 0;
            }
        }
    }
}
