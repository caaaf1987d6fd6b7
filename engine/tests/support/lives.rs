//! One life of a process: the tasks that its engine spawned, which die together as they do under `kill -9`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use engine::runtime::{Clock, SeededEntropy, Spawner, SystemClock};
use engine::{Runtime, Timestamp};
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use super::PausedClock;

/// A clock that several lives share.
#[derive(Clone)]
pub struct SharedClock(Arc<PausedClock>);

impl SharedClock {
    pub fn new() -> Self {
        Self(Arc::new(PausedClock(tokio::time::Instant::now())))
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        self.0.sleep_until(instant)
    }
}

/// The tasks of one life.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Spawner for Tasks {
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send + 'static>>) {
        self.0.lock().unwrap().spawn(task);
    }
}

impl Tasks {
    /// A runtime whose tasks these are.
    pub fn runtime(&self, clock: &SharedClock, seed: u64) -> Runtime {
        Runtime::new(
            Arc::new(clock.clone()),
            Arc::new(SeededEntropy::new(seed)),
            Arc::new(self.clone()),
        )
    }

    /// A runtime whose tasks these are, by the system's clock.
    pub fn real_runtime(&self) -> Runtime {
        Runtime::new(
            Arc::new(SystemClock),
            Arc::new(SeededEntropy::new(7)),
            Arc::new(self.clone()),
        )
    }

    /// Ends every task where it stands.
    pub fn kill(&self) {
        self.assert_none_panicked();
        self.0.lock().unwrap().abort_all();
    }

    /// How many tasks have not ended.
    pub fn alive(&self) -> usize {
        self.assert_none_panicked();
        self.0.lock().unwrap().len()
    }

    /// No task of the engine has panicked: a step's panic is an outcome, the engine's own is a defect.
    pub fn assert_none_panicked(&self) {
        let mut tasks = self.0.lock().unwrap();
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                assert!(!error.is_panic(), "a task of the engine panicked: {error}");
            }
        }
    }
}

/// Runs a test on a paused clock of its own: one runtime a seed, so that each begins alike.
pub fn on_paused_time<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}
