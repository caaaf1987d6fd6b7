//! One-line set-up: seeds, a clock that is set by hand, and nodes that run openings and can be killed.

#[path = "../support/databases.rs"]
mod databases;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::outbox::in_process::InProcessBus;
use engine::runtime::{Clock, SeededEntropy, Spawner, SystemClock};
use engine::store::{Lease, SqlDatabase, Status};
use engine::{Engine, NodeName, Parts, Runtime, Settings, Timestamp, WorkflowId};
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use workflows::adapters::catalogue::SqlCatalogue;
use workflows::domain::ids::{ProductId, SaleId};
use workflows::domain::seed::SaleSeed;
use workflows::opening::{self, Openings};
use workflows::ports::catalogue::Catalogue as _;

pub(crate) use databases::on_both_databases;
pub use databases::{Disposable, mysql, sqlite};

/// Long enough for anything that is going to happen.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// No lease ends by itself, however long the machine stands still.
const LEASE: Duration = Duration::from_hours(1);

pub fn sale_id(name: &str) -> SaleId {
    SaleId::parse(name).unwrap()
}

pub fn product(name: &str) -> ProductId {
    ProductId::parse(name).unwrap()
}

/// The instant so many seconds after 2026-01-01T00:00:00Z.
pub fn second(seconds: i64) -> Timestamp {
    Timestamp((1_767_225_600 + seconds) * 1_000_000)
}

pub fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).unwrap().to_string()
}

/// 10 mugs and a campaign of the sale's own name, open between these instants.
pub fn seed(sale: &str, opens_at: Timestamp, closes_at: Timestamp) -> SaleSeed {
    let json = json!({
        "sale": sale, "name": "A drop", "currency": "KRW",
        "opens_at": rfc3339(opens_at), "closes_at": rfc3339(closes_at), "per_buyer_limit": 4,
        "products": [{"product": "mug", "name": "Mug", "unit_price": 1000, "stock": 10, "serials": "pool"}],
        "campaigns": [{"campaign": sale, "name": "First come", "size": 3, "discount": {"percent": 10}}],
    });
    serde_json::from_value(json).unwrap()
}

pub fn catalogue(database: &SqlDatabase, runtime: &Runtime) -> SqlCatalogue {
    SqlCatalogue::new(database.clone(), runtime.clone())
}

/// A clock that is set by hand. Clones are the same clock.
#[derive(Clone)]
pub struct HandClock(watch::Sender<Timestamp>);

impl HandClock {
    pub fn at(now: Timestamp) -> Self {
        Self(watch::Sender::new(now))
    }

    pub fn set(&self, now: Timestamp) {
        self.0.send_replace(now);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= instant).await;
        })
    }
}

/// The tasks of one process.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Spawner for Tasks {
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send + 'static>>) {
        self.0.lock().unwrap().spawn(task);
    }
}

/// A process that runs openings.
pub struct Node {
    pub engine: Engine,
    pub openings: Openings,
    pub catalogue: SqlCatalogue,
    tasks: Tasks,
}

impl Node {
    /// By a clock of the test's.
    pub async fn by(database: &SqlDatabase, clock: HandClock) -> Self {
        Self::open(database, "node", Arc::new(clock)).await
    }

    /// By the system's clock.
    pub async fn real(database: &SqlDatabase, name: &str) -> Self {
        Self::open(database, name, Arc::new(SystemClock)).await
    }

    async fn open(database: &SqlDatabase, name: &str, clock: Arc<dyn Clock>) -> Self {
        let tasks = Tasks::default();
        let entropy = Arc::new(SeededEntropy::new(7));
        let runtime = Runtime::new(clock, entropy, Arc::new(tasks.clone()));
        let definition = opening::definition(database, &runtime).unwrap();
        let engine = Engine::open(Parts {
            runtime: runtime.clone(),
            store: database.store(),
            bus: Arc::new(InProcessBus::new()),
            definitions: vec![Arc::new(definition)],
            settings: Settings {
                node: NodeName(name.to_owned()),
                lease: LEASE,
                ..Settings::default()
            },
        })
        .await
        .unwrap();
        Self {
            openings: Openings::start(engine.clone(), database.clone()),
            catalogue: catalogue(database, &runtime),
            engine,
            tasks,
        }
    }

    /// `kill -9`, and its leases end: nothing of it runs any more, and what it had is free.
    pub async fn dies(&self, database: &SqlDatabase) {
        self.tasks.0.lock().unwrap().abort_all();
        eventually("nothing of it to run", async || {
            let mut tasks = self.tasks.0.lock().unwrap();
            while tasks.try_join_next().is_some() {}
            tasks.is_empty()
        })
        .await;
        let rows = database.store().partitions().await.unwrap();
        let leases: Vec<Lease> = (rows.into_iter())
            .map(|row| Lease {
                partition: row.id,
                epoch: row.epoch,
            })
            .collect();
        database.store().release(&leases).await.unwrap();
    }

    /// Seeds these sales and waits until their openings wait.
    pub async fn seeded(&self, seeds: &[SaleSeed]) {
        self.catalogue.seed_all(seeds).await.unwrap();
        self.openings.ensure().await.unwrap();
        for seed in seeds {
            self.waits(&seed.sale, 1).await;
        }
    }

    pub async fn opening(&self, sale: &str, revision: u32) -> Option<WorkflowId> {
        self.openings.find(&sale_id(sale), revision).await.unwrap()
    }

    pub async fn status(&self, sale: &str, revision: u32) -> Option<Status> {
        let id = self.opening(sale, revision).await?;
        let view = self.engine.view(id).await.unwrap()?;
        Some(view.head.status)
    }

    pub async fn waits(&self, sale: &str, revision: u32) {
        eventually("the opening to wait", async || {
            self.status(sale, revision).await == Some(Status::Waiting)
        })
        .await;
    }

    pub async fn completed(&self, sale: &str, revision: u32) {
        eventually("the opening to be over", async || {
            self.status(sale, revision).await == Some(Status::Completed)
        })
        .await;
    }

    /// When the opening and the closing were recorded.
    pub async fn recorded(&self, sale: &str) -> (Option<Timestamp>, Option<Timestamp>) {
        let recorded = self.catalogue.recorded(&sale_id(sale)).await.unwrap();
        (recorded.opened_at, recorded.closed_at)
    }

    pub async fn opened(&self, sale: &str) -> Timestamp {
        eventually("the sale to be opened", async || {
            self.recorded(sale).await.0.is_some()
        })
        .await;
        self.recorded(sale).await.0.unwrap()
    }
}

/// Waits, by the system's clock, until it is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let runtime = Runtime::system();
    let deadline = runtime.now().after(PATIENCE);
    while !is_so().await {
        assert!(runtime.now() < deadline, "waited too long for {what}");
        runtime.sleep(Duration::from_millis(5)).await;
    }
}
