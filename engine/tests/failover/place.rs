//! A site whose processes can be stopped, as SIGSTOP does, and go on: nothing in them runs meanwhile, while time passes and the
//! world goes on. Their clocks may stand still as well.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use engine::runtime::{Clock, SeededEntropy, Spawner};
use engine::store::{Lease, PartitionRow, Status, Store as _, UpkeepStore as _};
use engine::{Engine, NodeName, Parts, Runtime, Settings, Timestamp, WorkflowId};
use futures_util::future::BoxFuture;

use crate::support::effects::{Ahead, definition};
pub use crate::support::lives::on_paused_time;
use crate::support::lives::{SharedClock, Tasks};
use crate::support::site::{Life, Mix, Site};

/// The lease of these tests.
pub const LEASE: Duration = Duration::from_secs(10);
/// A node looks for partitions at least as often.
pub const LOOK: Duration = Duration::from_secs(1);

const QUIET: Mix = Mix::QUIET;

/// Where nodes live over one store.
pub struct Place {
    pub site: Site,
    clock: SharedClock,
    lives: AtomicI64,
}

impl Place {
    /// Nothing goes wrong here but what the test does. No time passes on the way: all clocks begin at the same instant.
    pub fn new() -> Self {
        let clock = SharedClock::new();
        let mut site = Site::new(1, QUIET);
        site.settings.lease = LEASE;
        assert_eq!(clock.now(), site.now());
        Self {
            site,
            clock,
            lives: AtomicI64::new(0),
        }
    }

    /// A node starts under this name.
    pub async fn open(&self, node: &str) -> Process {
        self.open_with(node, self.site.settings.clone()).await
    }

    /// The same, with settings of its own.
    pub async fn open_with(&self, node: &str, settings: Settings) -> Process {
        let number = u32::try_from(self.lives.fetch_add(1, Ordering::SeqCst)).unwrap() + 1;
        let tasks = Tasks::default();
        let stop = Arc::<Stop>::default();
        let clock = ProcessClock {
            shared: self.clock.clone(),
            stop: Arc::clone(&stop),
        };
        let spawner = StoppableTasks {
            tasks: tasks.clone(),
            stop: Arc::clone(&stop),
        };
        let entropy = SeededEntropy::new(u64::from(number));
        let parts = Parts {
            runtime: Runtime::new(Arc::new(clock), Arc::new(entropy), Arc::new(spawner)),
            store: Arc::new(self.site.store.clone()),
            bus: Arc::new(self.site.bus.clone()),
            definitions: vec![definition(&self.site.effects, number, Ahead::First)],
            settings: Settings {
                node: NodeName(node.into()),
                ..settings
            },
        };
        let engine = Engine::open(parts).await.expect("it opens");
        let life = Life {
            number,
            engine,
            tasks,
        };
        Process {
            name: node.to_owned(),
            life,
            stop,
            now: self.clock.clone(),
        }
    }

    /// `kill -9`.
    pub fn kill(&self, process: &Process) {
        self.site.kill(&process.life);
    }

    /// Starts so many workflows there; their keys begin with `prefix`.
    pub async fn start(&self, process: &Process, prefix: &str, count: usize) -> Vec<WorkflowId> {
        let mut ids = Vec::new();
        for number in 0..count {
            let key = format!("{prefix}{number}");
            let started = self.site.start(&process.life.engine, &key).await;
            ids.push(started.expect("it starts").view().id);
        }
        ids
    }

    /// The partitions that are in use, with or without a living owner.
    pub async fn partitions(&self) -> Vec<PartitionRow> {
        let mut rows = self.site.store.memory.partitions().await.unwrap();
        rows.retain(|row| !row.retired);
        rows
    }

    /// Those that this node holds.
    pub async fn held_by(&self, node: &str) -> Vec<PartitionRow> {
        let mut rows = self.partitions().await;
        rows.retain(|row| row.owner.0 == node && row.lease_left_us > 0);
        rows
    }

    /// Another takes this partition from its owner, for longer than any test takes.
    pub async fn is_stolen(&self, row: &PartitionRow) {
        let lease = Lease {
            partition: row.id,
            epoch: row.epoch,
        };
        let store = &self.site.store.memory;
        store.release(&[lease]).await.unwrap();
        let thief = NodeName(format!("thief of {}", row.id));
        let stolen = store
            .adopt_expired(&thief, &[], Duration::from_mins(10))
            .await;
        assert_eq!(stolen.unwrap()[0].partition, row.id);
    }

    /// How long it took until `holds`; panics after a minute.
    pub async fn until<F: Future<Output = bool>>(
        &self,
        what: &str,
        holds: impl Fn() -> F,
    ) -> Duration {
        let began = self.clock.now();
        while !holds().await {
            let waited = self.clock.now().since(began);
            assert!(
                waited < Duration::from_mins(1),
                "not within a minute: {what}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.clock.now().since(began)
    }

    /// All of these have been completed, whoever did it.
    pub async fn are_completed(&self, ids: &[WorkflowId]) -> bool {
        let heads = self.site.heads().await;
        let completed = |id: &WorkflowId| {
            heads
                .iter()
                .any(|head| head.id == *id && head.status == Status::Completed)
        };
        ids.iter().all(completed)
    }

    /// The last one alive ends in order, and everything is as it should be.
    pub async fn ends_well(&self, last: &Process) {
        self.site.settle(&last.life).await;
        self.site.check().await;
    }
}

/// One node.
pub struct Process {
    pub name: String,
    pub life: Life,
    stop: Arc<Stop>,
    now: SharedClock,
}

impl Process {
    /// From now on nothing in it runs.
    pub fn stop(&self) {
        self.stop.stopped.store(true, Ordering::SeqCst);
    }

    /// The same, and its clock stands still, as a suspended machine's may.
    pub fn stop_with_its_clock(&self) {
        let now = self.now.now().0 - self.stop.behind_us.load(Ordering::SeqCst);
        self.stop.stands_at_us.store(now, Ordering::SeqCst);
        self.stop();
    }

    /// It goes on where it stood.
    pub fn go_on(&self) {
        let stood_at = self.stop.stands_at_us.swap(0, Ordering::SeqCst);
        if stood_at > 0 {
            let behind = self.now.now().0 - stood_at;
            self.stop.behind_us.store(behind, Ordering::SeqCst);
        }
        self.stop.stopped.store(false, Ordering::SeqCst);
        for waker in self.stop.wakers.lock().unwrap().drain(..) {
            waker.wake();
        }
    }
}

/// Whether a process is stopped, and what its clock shows.
#[derive(Default)]
struct Stop {
    stopped: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    /// 0: the clock goes.
    stands_at_us: AtomicI64,
    behind_us: AtomicI64,
}

struct ProcessClock {
    shared: SharedClock,
    stop: Arc<Stop>,
}

impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        match self.stop.stands_at_us.load(Ordering::SeqCst) {
            0 => Timestamp(self.shared.now().0 - self.stop.behind_us.load(Ordering::SeqCst)),
            stands_at => Timestamp(stands_at),
        }
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let wait = instant.since(self.now());
        Box::pin(tokio::time::sleep(wait))
    }
}

struct StoppableTasks {
    tasks: Tasks,
    stop: Arc<Stop>,
}

impl Spawner for StoppableTasks {
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send + 'static>>) {
        let stop = Arc::clone(&self.stop);
        self.tasks.spawn(Box::pin(Stoppable { task, stop }));
    }
}

struct Stoppable {
    task: Pin<Box<dyn Future<Output = ()> + Send + 'static>>,
    stop: Arc<Stop>,
}

impl Future for Stoppable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.stop.stopped.load(Ordering::SeqCst) {
            self.stop
                .wakers
                .lock()
                .unwrap()
                .push(context.waker().clone());
            return Poll::Pending;
        }
        self.task.as_mut().poll(context)
    }
}
