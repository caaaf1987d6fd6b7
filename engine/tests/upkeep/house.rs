//! One-line set-up: nodes that come and go over one store in memory, and a saga that waits in every way.

use std::sync::Arc;
use std::time::Duration;

use engine::command::Verb;
use engine::definition::{Awaited, Definition, Durability, Saga};
use engine::outbox::EventBus;
use engine::outbox::in_process::InProcessBus;
use engine::store::{Head, Status, Store};
use engine::testing::MemoryStore;
use engine::{
    Engine, NodeName, OpenError, Parts, Payload, Runtime, Settings, Start, Timestamp, WorkflowId,
};

use crate::support::lives::{SharedClock, Tasks};
use crate::support::operator::{Operator as _, command, signal};
use crate::support::{Scripted, World, out_of_memory};

pub const MINUTE: Duration = Duration::from_mins(1);

/// A node: its engine, and the tasks that die with it.
pub struct Node {
    pub engine: Engine,
    tasks: Tasks,
}

impl Node {
    /// It dies where it stands.
    pub fn kill(self) {
        self.tasks.kill();
    }

    /// No task of it has panicked.
    pub fn check(&self) {
        self.tasks.assert_none_panicked();
    }
}

/// Where nodes live.
pub struct House {
    pub world: World,
    pub memory: MemoryStore,
    pub store: Arc<dyn Store>,
    pub bus: Arc<dyn EventBus>,
    pub settings: Settings,
    pub runtime: Runtime,
    clock: SharedClock,
}

impl House {
    pub fn new() -> Self {
        let clock = SharedClock::new();
        let runtime = Tasks::default().runtime(&clock, 7);
        let memory = MemoryStore::new(runtime.clone());
        Self {
            world: World::default(),
            store: Arc::new(memory.clone()),
            memory,
            bus: Arc::<InProcessBus>::default(),
            // No pass of the auditor comes by itself: a test asks for each.
            settings: Settings {
                audit_every: Duration::from_hours(1_000),
                ..Settings::default()
            },
            runtime,
            clock,
        }
    }

    /// A node with these versions of the saga.
    pub async fn open(&self, node: &str, versions: &[u32]) -> Node {
        self.try_open(node, versions).await.unwrap()
    }

    pub async fn try_open(&self, node: &str, versions: &[u32]) -> Result<Node, OpenError> {
        let trips = versions.iter().map(|version| trip(&self.world, *version));
        self.open_with(node, trips.collect()).await
    }

    pub async fn open_with(
        &self,
        node: &str,
        definitions: Vec<Arc<Definition>>,
    ) -> Result<Node, OpenError> {
        let tasks = Tasks::default();
        let engine = Engine::open(Parts {
            runtime: tasks.runtime(&self.clock, 7),
            store: Arc::clone(&self.store),
            bus: Arc::clone(&self.bus),
            definitions,
            settings: Settings {
                node: NodeName(node.into()),
                ..self.settings.clone()
            },
        })
        .await?;
        Ok(Node { engine, tasks })
    }

    pub fn after(&self, duration: Duration) -> Timestamp {
        self.runtime.now().after(duration)
    }

    /// Starts a workflow of the newest version that the node has.
    pub async fn start(&self, node: &Node, key: &str) -> WorkflowId {
        let started = node.engine.start(start(key)).await;
        started.unwrap().view().id
    }

    /// A workflow that has left memory, to wait for `go`.
    pub async fn waiting(&self, node: &Node, key: &str) -> WorkflowId {
        let id = self.start(node, key).await;
        self.becomes(id, Status::Waiting).await;
        out_of_memory(&node.engine).await;
        id
    }

    /// A workflow that has left memory, to rest for two minutes.
    pub async fn sleeping(&self, node: &Node, key: &str) -> WorkflowId {
        let id = self.waiting(node, key).await;
        self.go(node, id).await;
        let has_time = |house: &Self| house.head(id).wake_at.is_some();
        self.until("it sleeps", has_time).await;
        out_of_memory(&node.engine).await;
        id
    }

    /// Sends the signal that it waits for.
    pub async fn go(&self, node: &Node, id: WorkflowId) {
        let told = node.engine.tell(id, go(), "tester", "go on").await;
        told.unwrap();
    }

    /// Sends the signal, and does not wait for an answer.
    pub async fn send_go(&self, node: &Node, id: WorkflowId) {
        let command = command(id, go(), "tester", "go on");
        node.engine
            .command(command, self.runtime.now())
            .await
            .unwrap();
    }

    pub fn head(&self, id: WorkflowId) -> Head {
        let mut heads = self.memory.heads().into_iter();
        heads.find(|head| head.id == id).unwrap()
    }

    pub async fn becomes(&self, id: WorkflowId, status: Status) {
        let is = |house: &Self| house.head(id).status == status;
        self.until(&format!("{id} is {status}"), is).await;
    }

    /// Waits, for a bounded time, until `holds`.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..100_000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: {what}; {:#?}", self.memory.heads());
    }
}

pub fn go() -> Verb {
    signal("go", "one", &1)
}

pub fn start(key: &str) -> Start {
    Start {
        definition: "trip".into(),
        input: Payload::of(&1).unwrap(),
        key: Some(("tester".into(), key.into())),
        request_hash: [1; 32],
        label: Some("summer".into()),
    }
}

/// `book`, then `go` (a signal, for as long as it takes), then `pay` (the pivot), then `rest` (two minutes), then `send`. The steps of
/// every version but the first have its number in their names.
pub fn trip(world: &World, version: u32) -> Arc<Definition> {
    let names = match version {
        1 => ["book", "pay", "send"],
        2 => ["book-2", "pay-2", "send-2"],
        _ => ["book-n", "pay-n", "send-n"],
    };
    let [book, pay, send] = names.map(|name| Scripted {
        name,
        world: world.clone(),
        durability: Durability::Barrier,
    });
    let mut saga = Saga::<u32>::new("trip", version);
    let booked = saga.compensable(book, &saga.input());
    let told = saga.await_signal::<u32, _>("go", &booked, |_, _| None);
    saga.order(&booked, &told);
    let paying = saga.without_compensation(Said, &told, "it only reads");
    let (mut saga, paid) = saga.pivot(pay, &paying);
    let rested = saga.sleep_until("rest", &paid, |_, now| now.after(2 * MINUTE));
    let done = saga.retriable(send, &paid);
    saga.order(&rested, &done);
    Arc::new(saga.finish(&done).unwrap())
}

/// What the signal said.
struct Said;

impl engine::definition::Action for Said {
    type Input = Awaited<u32>;
    type Output = u32;

    fn name(&self) -> &'static str {
        "said"
    }

    async fn act(
        &self,
        _: &engine::definition::Attempt,
        said: Awaited<u32>,
    ) -> engine::definition::Outcome<u32> {
        match said {
            Awaited::Arrived(number) => engine::definition::Outcome::done(number),
            Awaited::TimedOut => engine::definition::Outcome::refused("nobody", "nobody said so"),
        }
    }
}
