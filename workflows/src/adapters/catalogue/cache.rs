//! What was read of sales a moment ago, so that a thousand purchases a second cost one query: bounded, at most a second old,
//! and of many who miss at once only one asks.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::store::StoreError;
use engine::{Runtime, Timestamp};
use tokio::sync::watch;

use crate::domain::ids::SaleId;
use crate::domain::sale::Sale;

/// How old an answer may be.
const AGE_MAX: Duration = Duration::from_secs(1);
/// Sales remembered, those that do not exist among them: names come from outside.
const SALES_MAX: usize = 1_000;

type Answer = Result<Option<Arc<Sale>>, StoreError>;

/// The cache.
pub struct SaleCache {
    runtime: Runtime,
    slots: Mutex<HashMap<SaleId, Slot>>,
}

enum Slot {
    Known {
        sale: Option<Arc<Sale>>,
        read_at: Timestamp,
    },
    /// Somebody is asking; the answer comes here. When it is dropped without one, the next in line asks.
    Asking(watch::Receiver<Option<Answer>>),
}

enum Turn {
    Known(Option<Arc<Sale>>),
    Wait(watch::Receiver<Option<Answer>>),
    Ask(watch::Sender<Option<Answer>>),
}

impl SaleCache {
    pub fn new(runtime: Runtime) -> Self {
        Self {
            runtime,
            slots: Mutex::default(),
        }
    }

    /// The sale as it was at most [`AGE_MAX`] ago; `read` is called when nobody knows and nobody else is asking.
    pub async fn get<F: Future<Output = Answer>>(
        &self,
        name: &SaleId,
        read: impl Fn() -> F,
    ) -> Answer {
        loop {
            match self.turn(name) {
                Turn::Known(sale) => return Ok(sale),
                Turn::Ask(sender) => return self.ask(name, sender, read()).await,
                Turn::Wait(mut answer) => {
                    if let Ok(answer) = answer.wait_for(Option::is_some).await
                        && let Some(answer) = answer.as_ref()
                    {
                        return answer.clone();
                    }
                }
            }
        }
    }

    /// Remembers a sale that was just written.
    pub fn put(&self, sale: Arc<Sale>) {
        let name = sale.sale.clone();
        let read_at = self.runtime.now();
        self.slots().insert(
            name,
            Slot::Known {
                sale: Some(sale),
                read_at,
            },
        );
    }

    fn turn(&self, name: &SaleId) -> Turn {
        let now = self.runtime.now();
        let mut slots = self.slots();
        match slots.get(name) {
            Some(Slot::Known { sale, read_at }) if fresh(now, *read_at) => {
                return Turn::Known(sale.clone());
            }
            // A sender that is gone without an answer was cancelled.
            Some(Slot::Asking(answer))
                if answer.has_changed().is_ok() || answer.borrow().is_some() =>
            {
                return Turn::Wait(answer.clone());
            }
            _ => {}
        }
        if slots.len() >= SALES_MAX {
            slots.retain(|_, slot| match slot {
                Slot::Known { read_at, .. } => fresh(now, *read_at),
                Slot::Asking(answer) => answer.has_changed().is_ok(),
            });
        }
        let (sender, receiver) = watch::channel(None);
        if slots.len() < SALES_MAX {
            slots.insert(name.clone(), Slot::Asking(receiver));
        }
        Turn::Ask(sender)
    }

    async fn ask(
        &self,
        name: &SaleId,
        sender: watch::Sender<Option<Answer>>,
        read: impl Future<Output = Answer>,
    ) -> Answer {
        let answer = read.await;
        let read_at = self.runtime.now();
        let mut slots = self.slots();
        // Only in its own slot: what was put there meanwhile is newer.
        let own = matches!(slots.get(name), Some(Slot::Asking(slot)) if slot.same_channel(&sender.subscribe()));
        if own {
            match &answer {
                Ok(sale) => slots.insert(
                    name.clone(),
                    Slot::Known {
                        sale: sale.clone(),
                        read_at,
                    },
                ),
                Err(_) => slots.remove(name),
            };
        }
        drop(slots);
        sender.send_replace(Some(answer.clone()));
        answer
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<SaleId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that was set back makes everything stale, never fresh for ever.
fn fresh(now: Timestamp, read_at: Timestamp) -> bool {
    now >= read_at && now.since(read_at) < AGE_MAX
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    fn name(text: &str) -> SaleId {
        SaleId::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_burst_of_misses_is_one_query() {
        let cache = SaleCache::new(Runtime::system());
        let (queries, gate) = (AtomicU32::new(0), Semaphore::new(0));
        let read = || async {
            queries.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            Ok(None)
        };
        let name = name("drop");
        let asked = futures_util::future::join_all((0..100).map(|_| cache.get(&name, read)));
        let (answers, ()) = futures_util::future::join(asked, async { gate.add_permits(1) }).await;
        assert_eq!((answers.len(), queries.load(Ordering::SeqCst)), (100, 1));
    }

    #[tokio::test]
    async fn when_the_one_who_asks_goes_away_the_next_one_asks() {
        let cache = SaleCache::new(Runtime::system());
        let name = name("drop");
        let mut first = Box::pin(cache.get(&name, std::future::pending));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(cache.get(&name, || async { Ok(None) }));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert!(matches!(second.await, Ok(None)));
    }

    #[tokio::test]
    async fn an_error_is_not_remembered_and_the_memory_is_bounded() {
        let cache = SaleCache::new(Runtime::system());
        let lost = || async {
            let (doing, cause) = ("testing", String::new());
            Err(StoreError::Unavailable { doing, cause })
        };
        assert!(cache.get(&name("drop"), lost).await.is_err());
        assert!(
            cache
                .get(&name("drop"), || async { Ok(None) })
                .await
                .is_ok()
        );
        for number in 0..2 * SALES_MAX {
            let found = cache
                .get(&name(&format!("sale-{number}")), || async { Ok(None) })
                .await;
            assert!(matches!(found, Ok(None)));
        }
        assert!(cache.slots().len() <= SALES_MAX);
    }
}
