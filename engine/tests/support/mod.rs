//! One-line set-up for tests of the engine: a saga of scripted steps over a store in memory, on Tokio's paused clock.
#![expect(dead_code, reason = "each test file uses a part of this")]

pub mod dice;
pub mod effects;
pub mod flaky;
pub mod lives;
pub mod operator;
pub mod site;
pub mod untyped;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::definition::{
    Action, Attempt, Compensable, Definition, Durability, Outcome, Policy, RetryPolicy, Saga,
};
use engine::outbox::in_process::InProcessBus;
use engine::runtime::{Clock, SeededEntropy, TokioSpawner};
use engine::store::{Change, Status};
use engine::testing::MemoryStore;
use engine::workflow::StepError;
use engine::{
    Engine, NodeName, Parts, Payload, Runtime, Settings, Start, StartError, Started, Timestamp,
    View,
};
use futures_util::future::BoxFuture;

/// Longer than anything takes that is waited for, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until it is so, for a bounded time by Tokio's clock, be it paused or not.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = tokio::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until nothing is driven there any more: what waits for something has left memory.
pub async fn out_of_memory(engine: &Engine) {
    let is_empty = async || engine.counters().in_flight == 0;
    until("everything leaves memory", is_empty).await;
}

/// What a scripted attempt does.
#[derive(Clone)]
pub enum Script {
    Done,
    DoneWith(Vec<Change>),
    Refuse(&'static str),
    Unknown,
    Retry,
    Panic,
    Hang,
}

/// What the steps of a test do, and what they did.
#[derive(Clone, Default)]
pub struct World(Arc<Mutex<WorldInner>>);

#[derive(Default)]
struct WorldInner {
    scripts: HashMap<String, Vec<Script>>,
    log: Vec<String>,
    forgotten: Vec<&'static str>,
}

impl World {
    /// The next attempts at `name` (`step` or `undo step`) do this; later ones are done.
    pub fn script(&self, name: &str, scripts: impl IntoIterator<Item = Script>) {
        let mut scripts: Vec<Script> = scripts.into_iter().collect();
        scripts.reverse();
        self.0
            .lock()
            .unwrap()
            .scripts
            .insert(name.to_owned(), scripts);
    }

    /// What was attempted, in order: `step` and `undo step`.
    pub fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.clone()
    }

    /// The steps whose compensation was told that the world may forget the attempt.
    pub fn forgotten(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().forgotten.clone()
    }

    /// Waits, for a bounded number of turns, until exactly this was attempted: no time passes on the way.
    pub async fn has_attempted(&self, log: &[&str]) {
        for _ in 0..100_000 {
            if self.log() == log {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{:?} was attempted, and not {log:?}", self.log());
    }

    fn next(&self, name: &str) -> Script {
        let mut inner = self.0.lock().unwrap();
        inner.log.push(name.to_owned());
        inner
            .scripts
            .get_mut(name)
            .and_then(Vec::pop)
            .unwrap_or(Script::Done)
    }

    async fn play(&self, name: &str) -> Outcome<u32> {
        let error = StepError::new("scripted", name);
        match self.next(name) {
            Script::Done => Outcome::done(1),
            Script::DoneWith(changes) => Outcome::done_with(1, changes),
            Script::Refuse(code) => Outcome::refused(code, "the script says no"),
            Script::Unknown => Outcome::Unknown(error),
            Script::Retry => Outcome::retry(error),
            Script::Panic => panic!("the script panics"),
            Script::Hang => std::future::pending().await,
        }
    }
}

pub struct Scripted {
    pub name: &'static str,
    pub world: World,
    pub durability: Durability,
}

impl Action for Scripted {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.name
    }

    fn policy(&self) -> Policy {
        Policy {
            attempt_timeout: Duration::from_secs(1),
            retry: RetryPolicy {
                first_delay: Duration::from_millis(10),
                delay_max: Duration::from_millis(100),
                attempts_max: 3,
                elapsed_max: None,
            },
            port: None,
            durability: self.durability,
        }
    }

    async fn act(&self, _: &Attempt, _: u32) -> Outcome<u32> {
        self.world.play(self.name).await
    }
}

impl Compensable for Scripted {
    async fn compensate(&self, attempt: &Attempt, _: u32, output: Option<u32>) -> Outcome<()> {
        if attempt.forget {
            self.world.0.lock().unwrap().forgotten.push(self.name);
        }
        let name = match output {
            Some(_) => format!("undo {}", self.name),
            None => format!("undo {}?", self.name),
        };
        match self.world.play(&name).await {
            Outcome::Done { changes, .. } => Outcome::done_with((), changes),
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Unknown(error) => Outcome::Unknown(error),
            Outcome::Retry { error, after } => Outcome::Retry { error, after },
        }
    }
}

/// `a` then `b` (compensable), `pivot`, `last` (retriable).
pub fn chain(world: &World, durability: Durability) -> Arc<Definition> {
    let step = |name| Scripted {
        name,
        world: world.clone(),
        durability,
    };
    let mut saga = Saga::<u32>::new("chain", 1);
    let a = saga.compensable(step("a"), &saga.input());
    let b = saga.compensable(step("b"), &a);
    let barrier = Scripted {
        durability: Durability::Barrier,
        ..step("pivot")
    };
    let (mut saga, pivot) = saga.pivot(barrier, &b);
    let last = saga.retriable(step("last"), &pivot);
    Arc::new(saga.finish(&last).unwrap())
}

/// Tokio's clock, which tests pause: it jumps to the next timer when nothing else is to do.
pub struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp(0).after(self.0.elapsed() + Duration::from_secs(1_000_000))
    }
    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(instant.since(self.now())))
    }
}

/// The same on a machine that is so busy that time passes between any two looks at the clock.
pub struct RestlessClock {
    clock: PausedClock,
    looks: AtomicU32,
}

impl RestlessClock {
    const BETWEEN_LOOKS: Duration = Duration::from_micros(300);

    pub fn new() -> Self {
        Self {
            clock: PausedClock(tokio::time::Instant::now()),
            looks: AtomicU32::new(0),
        }
    }
}

impl Clock for RestlessClock {
    fn now(&self) -> Timestamp {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        self.clock.now().after(Self::BETWEEN_LOOKS * looks)
    }
    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(instant.since(self.now())))
    }
}

pub struct Harness {
    pub world: World,
    pub runtime: Runtime,
    pub store: MemoryStore,
    pub bus: Arc<InProcessBus>,
    pub definition: Arc<Definition>,
    pub settings: Settings,
}

impl Harness {
    pub fn new(durability: Durability) -> Self {
        let clock = PausedClock(tokio::time::Instant::now());
        Self::on(Arc::new(clock), durability)
    }

    pub fn on(clock: Arc<dyn Clock>, durability: Durability) -> Self {
        let world = World::default();
        let runtime = Runtime::new(
            clock,
            Arc::new(SeededEntropy::new(7)),
            Arc::new(TokioSpawner),
        );
        Self {
            definition: chain(&world, durability),
            store: MemoryStore::new(runtime.clone()),
            bus: Arc::default(),
            settings: Settings {
                node: NodeName("test".into()),
                ..Settings::default()
            },
            world,
            runtime,
        }
    }

    pub async fn open(&self) -> Engine {
        self.open_as(&self.settings.node.0).await
    }

    /// A node of this name, beside whatever other nodes there are.
    pub async fn open_as(&self, node: &str) -> Engine {
        Engine::open(Parts {
            runtime: self.runtime.clone(),
            store: Arc::new(self.store.clone()),
            bus: self.bus.clone(),
            definitions: vec![self.definition.clone()],
            settings: Settings {
                node: NodeName(node.into()),
                ..self.settings.clone()
            },
        })
        .await
        .unwrap()
    }

    pub fn start(&self, key: &str) -> Start {
        Start {
            definition: self.definition.pinned().name.clone(),
            input: Payload::of(&1).unwrap(),
            key: Some(("tester".into(), key.into())),
            request_hash: [1; 32],
            label: None,
        }
    }

    /// Starts a workflow and waits until it is settled.
    pub async fn run(&self, engine: &Engine, key: &str) -> Result<View, StartError> {
        let started = engine.start(self.start(key)).await?;
        Ok(self.settled(engine, &started).await)
    }

    pub async fn settled(&self, engine: &Engine, started: &Started) -> View {
        let deadline = self.runtime.now().after(Duration::from_mins(1));
        let view = engine
            .wait(started.view().id, deadline)
            .await
            .unwrap()
            .unwrap();
        assert!(
            view.is_settled(),
            "not settled within a minute: {:?}",
            view.state
        );
        view
    }

    /// The event types of the only workflow, in order.
    pub fn kinds(&self) -> Vec<String> {
        self.store
            .events()
            .into_iter()
            .map(|event| event.kind)
            .collect()
    }
}

pub fn status(view: &View) -> (Status, Option<&str>) {
    (view.head.status, view.head.reason.as_deref())
}
