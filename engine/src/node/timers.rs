//! A partition's alarm clock: which workflows are to be woken when. A workflow that waits is nothing but an entry here; its row
//! says the same, so that the next owner of the partition can set its own clock by it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Node;
use super::partition::OpenPartition;
use crate::executor::{Origin, Resident, Seen};
use crate::ids::Ident;
use crate::runtime::Timestamp;
use crate::store::{Status, StoreError};

/// So many are read and woken at a time.
const WAKE_AT_ONCE: usize = 256;
/// The pause after the store could not be read, or while as much is in memory as may be.
const PAUSE: Duration = Duration::from_millis(100);

/// The clock. Locked for look-ups only, never over an await.
#[derive(Default)]
pub(crate) struct Timers {
    /// An entry may be out of date: whoever is woken for nothing goes back to sleep.
    entries: Mutex<BinaryHeap<Reverse<(Timestamp, Ident)>>>,
    earlier: Notify,
    /// Those that left memory with nothing under way, under this epoch: the attempt that their journal names next has not begun.
    at_rest: Mutex<HashSet<Ident>>,
    /// When it was last seen to who is due.
    turned_at: AtomicI64,
}

impl Timers {
    /// Wakes this workflow at `instant`.
    pub(crate) fn add(&self, instant: Timestamp, ident: Ident) {
        let mut entries = self.lock();
        let is_first = entries.peek().is_none_or(|first| instant < first.0.0);
        entries.push(Reverse((instant, ident)));
        drop(entries);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// This workflow leaves memory with nothing under way.
    pub(crate) fn rests(&self, ident: Ident) {
        self.at_rest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(ident);
    }

    /// This workflow is in memory again. Whether nothing was under way when it left.
    pub(super) fn rested(&self, ident: &Ident) -> bool {
        self.at_rest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(ident)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Those of these overdue workflows that nobody is going to wake: there is no entry by which they are due, or nobody has seen
    /// to who is due for as long as `grace`.
    pub(crate) fn forgotten(
        &self,
        overdue: &[Ident],
        now: Timestamp,
        grace: Duration,
    ) -> HashSet<Ident> {
        let mut forgotten: HashSet<Ident> = overdue.iter().copied().collect();
        let turned_at = Timestamp(self.turned_at.load(Ordering::Relaxed));
        if !forgotten.is_empty() && now <= turned_at.after(grace) {
            let entries = self.lock();
            let due = entries.iter().filter(|entry| entry.0.0 <= now);
            for entry in due {
                forgotten.remove(&entry.0.1);
            }
        }
        forgotten
    }

    fn turns(&self, now: Timestamp) {
        self.turned_at.store(now.0, Ordering::Relaxed);
    }

    fn next(&self) -> Option<Timestamp> {
        self.lock().peek().map(|first| first.0.0)
    }

    /// Takes out those that are due, at most as many as are woken at once.
    fn due(&self, now: Timestamp) -> Vec<Ident> {
        let mut entries = self.lock();
        let mut due = Vec::new();
        while due.len() < WAKE_AT_ONCE && entries.peek().is_some_and(|first| first.0.0 <= now) {
            due.extend(entries.pop().map(|entry| entry.0.1));
        }
        due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BinaryHeap<Reverse<(Timestamp, Ident)>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Wakes the partition's workflows when their time comes, until the partition is closed.
    pub(super) async fn keep_time(self: Arc<Self>, partition: Arc<OpenPartition>) {
        partition.while_open(self.wake_for_ever(&partition)).await;
    }

    async fn wake_for_ever(self: &Arc<Self>, partition: &Arc<OpenPartition>) {
        let timers = &partition.timers;
        loop {
            let earlier = timers.earlier.notified();
            match timers.next() {
                Some(instant) => {
                    let left = instant.since(self.runtime.now());
                    if self.runtime.within(left, earlier).await.is_some() {
                        continue;
                    }
                }
                None => earlier.await,
            }
            while self.registry.driven() >= self.settings.in_flight_max {
                timers.turns(self.runtime.now());
                self.runtime.sleep(PAUSE).await;
            }
            timers.turns(self.runtime.now());
            let due = timers.due(self.runtime.now());
            if due.is_empty() {
                continue;
            }
            if let Err(error) = self.wake(partition, &due).await {
                tracing::warn!(partition.id = %partition.lease.partition, %error, "those whose time has come can't be read");
                let again = self.runtime.now().after(PAUSE);
                for ident in due {
                    timers.add(again, ident);
                }
                self.runtime.sleep(PAUSE).await;
            }
        }
    }

    /// Brings these workflows back into memory, those that are open and not there already.
    pub(super) async fn wake(
        self: &Arc<Self>,
        partition: &Arc<OpenPartition>,
        idents: &[Ident],
    ) -> Result<usize, StoreError> {
        let seen: Vec<Option<Resident>> = idents
            .iter()
            .map(|ident| self.registry.get(ident))
            .collect();
        let mut woken = 0;
        for (head, records) in self.store.load(idents).await? {
            let place = idents.iter().position(|ident| *ident == head.id.ident());
            let foreign = head.id.partition() != partition.lease.partition;
            if foreign || head.status.is_terminal() || head.status == Status::Parked {
                continue;
            }
            let Some(state) = self.fold_or_quarantine(partition, &head, &records) else {
                continue;
            };
            let seen = Seen::Exactly(place.and_then(|place| seen[place].clone()));
            if self
                .drive(partition, head, state, Origin::Journal, &seen, None)
                .is_ok()
            {
                woken += 1;
            }
        }
        Ok(woken)
    }
}
