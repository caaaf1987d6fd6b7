//! One life of a node: an engine and the tasks that it spawned, which die together as they do under `kill -9`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::clock::JumpingClock;
use crate::definition::Definition;
use crate::engine::{Engine, Parts, Settings};
use crate::ids::NodeName;
use crate::outbox::in_process::InProcessBus;
use crate::runtime::{Runtime, SeededEntropy, Spawner};
use crate::testing::MemoryStore;

/// No lease runs out in a case: what a lost lease does is the engine's business, not the saga's.
const LEASE: Duration = Duration::from_hours(24 * 365 * 100);
/// A start is durable or gone after this long, whatever its first steps wait for.
const START_TIMEOUT: Duration = Duration::from_hours(24 * 365);
/// Where the cases' randomness begins: the same every time.
const SEED: u64 = 1;

/// The tasks of a life.
#[derive(Clone)]
struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    clock: JumpingClock,
}

impl Spawner for Tasks {
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send + 'static>>) {
        let watched = self.clock.watched(task);
        self.set
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(watched);
    }
}

/// A runtime on the kit's clock. Its tasks are the world's: they outlive every node.
pub(super) struct WorldTime {
    pub(super) runtime: Runtime,
    _tasks: Tasks,
}

impl WorldTime {
    pub(super) fn new(clock: &JumpingClock) -> Self {
        let tasks = Tasks::new(clock);
        Self {
            runtime: tasks.runtime(),
            _tasks: tasks,
        }
    }
}

/// A life.
pub(super) struct Life {
    pub(super) engine: Engine,
    tasks: Tasks,
}

impl Life {
    /// A node that takes up what the store has.
    pub(super) async fn begin(
        definition: Definition,
        store: &MemoryStore,
        clock: &JumpingClock,
    ) -> Result<Self, String> {
        let tasks = Tasks::new(clock);
        let parts = Parts {
            runtime: tasks.runtime(),
            store: Arc::new(store.clone()),
            bus: Arc::new(InProcessBus::new()),
            definitions: vec![Arc::new(definition)],
            settings: Settings {
                node: NodeName("kit".into()),
                partitions: 1,
                lease: LEASE,
                start_timeout: START_TIMEOUT,
                ..Settings::default()
            },
        };
        let engine = Engine::open(parts)
            .await
            .map_err(|error| format!("the engine did not open: {error}"))?;
        Ok(Self { engine, tasks })
    }

    /// Ends every task where it stands.
    pub(super) async fn end(self) -> Result<(), String> {
        drop(self.engine);
        let mut set = std::mem::take(
            &mut *self
                .tasks
                .set
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        set.abort_all();
        let mut panicked = None;
        while let Some(ended) = set.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                panicked = Some(format!("a task of the engine panicked: {error}"));
            }
        }
        panicked.map_or(Ok(()), Err)
    }
}

impl Tasks {
    fn new(clock: &JumpingClock) -> Self {
        Self {
            set: Arc::default(),
            clock: clock.clone(),
        }
    }

    fn runtime(&self) -> Runtime {
        Runtime::new(
            Arc::new(self.clock.clone()),
            Arc::new(SeededEntropy::new(SEED)),
            Arc::new(self.clone()),
        )
    }
}
