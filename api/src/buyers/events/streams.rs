//! Who listens to which sale. The first listener of a sale brings its watcher to life, and the last one takes it along.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use workflows::domain::ids::SaleId;
use workflows::domain::sale::Sale;

use super::picture::Picture;
use super::source::Source;
use super::watcher::{Watcher, first_picture};

/// Listeners of a node at the same time.
const STREAMS_MAX: usize = 10_000;

/// The open streams of this node. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    runtime: Runtime,
    source: Arc<dyn Source>,
    permits: Arc<Semaphore>,
    watched: Watched,
}

/// The sales that somebody listens to.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<HashMap<SaleId, watch::Sender<Picture>>>>);

/// A place among the listeners, and what there is to hear.
pub struct Subscription {
    /// Always the latest: who is slow misses what came between.
    pub pictures: watch::Receiver<Picture>,
    /// The place, free again when this is dropped.
    pub permit: OwnedSemaphorePermit,
}

impl Streams {
    /// Nobody listens.
    pub fn new(runtime: Runtime, source: Arc<dyn Source>) -> Self {
        Self::with_places(STREAMS_MAX, runtime, source)
    }

    fn with_places(streams_max: usize, runtime: Runtime, source: Arc<dyn Source>) -> Self {
        Self {
            runtime,
            source,
            permits: Arc::new(Semaphore::new(streams_max)),
            watched: Watched::default(),
        }
    }

    /// Listens to this sale; `None` when as many listen as may.
    pub fn follow(&self, sale: &Arc<Sale>) -> Option<Subscription> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let mut sales = self.watched.lock();
        if let Some(sender) = sales.get(&sale.sale) {
            let pictures = sender.subscribe();
            return Some(Subscription { pictures, permit });
        }
        let (sender, pictures) = watch::channel(first_picture(sale, self.runtime.now()));
        sales.insert(sale.sale.clone(), sender.clone());
        drop(sales);
        let watcher = Watcher {
            runtime: self.runtime.clone(),
            source: Arc::clone(&self.source),
            watched: self.watched.clone(),
            sender,
        };
        self.runtime.spawn(watcher.run(Arc::clone(sale)));
        Some(Subscription { pictures, permit })
    }
}

impl Watched {
    /// Forgets the sale if nobody listens to it. `false`: somebody came at the last moment.
    pub fn forget_unheard(&self, sale: &SaleId) -> bool {
        let mut watched = self.lock();
        let is_unheard = watched.get(sale).is_none_or(watch::Sender::is_closed);
        if is_unheard {
            watched.remove(sale);
        }
        is_unheard
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SaleId, watch::Sender<Picture>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rehearsal::{Rehearsal, sale};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_listen_than_may_and_a_place_is_free_again() {
        let stage = Rehearsal::new(0, 1_000);
        let streams = Streams::with_places(2, stage.runtime.clone(), stage.source.clone());
        let sale = Arc::new(sale(0, 1_000));
        let first = streams.follow(&sale).unwrap();
        let _second = streams.follow(&sale).unwrap();
        assert!(streams.follow(&sale).is_none());
        drop(first);
        assert!(streams.follow(&sale).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_listener_takes_the_watcher_along() {
        let stage = Rehearsal::new(0, 1_000);
        let (streams, sale) = (&stage.streams, Arc::new(sale(0, 1_000)));
        let listeners: Vec<_> = (0..3).filter_map(|_| streams.follow(&sale)).collect();
        assert_eq!((listeners.len(), streams.watched.lock().len()), (3, 1));
        drop(listeners);
        while !streams.watched.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(streams.follow(&sale).is_some());
    }
}
