//! A sale, a database that does what a test says, a clock that stands still unless everybody waits, and clients.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Bytes;
use engine::runtime::{Clock, SeededEntropy, TokioSpawner};
use engine::{Runtime, Timestamp};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use workflows::domain::ids::{ProductId, SaleId};
use workflows::domain::money::Currency;
use workflows::domain::sale::Sale;

use super::picture::EventId;
use super::source::{Read, Source};
use super::stream::events;
use super::streams::Streams;

/// The stage of a test; its clock begins at 0.
pub struct Rehearsal {
    pub runtime: Runtime,
    pub source: Arc<Scripted>,
    pub streams: Streams,
    stop: watch::Sender<bool>,
}

/// What a test makes of the database.
pub struct Scripted(Mutex<Script>);

struct Script {
    database: Sale,
    memory: Sale,
    hangs: bool,
    left: u64,
}

struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let micros = self.0.elapsed().as_micros();
        Timestamp(i64::try_from(micros).expect("a short test"))
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let micros = u64::try_from(instant.0).expect("not before the test");
        Box::pin(tokio::time::sleep_until(
            self.0 + Duration::from_micros(micros),
        ))
    }
}

/// A sale with these opening hours, in milliseconds.
pub fn sale(opens_at_ms: i64, closes_at_ms: i64) -> Sale {
    Sale {
        sale: SaleId::parse("drop").expect("a slug"),
        name: "A drop".into(),
        currency: Currency::parse("KRW").expect("a currency"),
        opens_at: Timestamp(opens_at_ms * 1_000),
        closes_at: Timestamp(closes_at_ms * 1_000),
        revision: 1,
        is_cancelled: false,
        hold_for: Duration::from_mins(5),
        per_buyer_limit: 1,
        products: Vec::new(),
        campaigns: Vec::new(),
    }
}

impl Rehearsal {
    /// A sale with these opening hours, in milliseconds.
    pub fn new(opens_at_ms: i64, closes_at_ms: i64) -> Self {
        let sale = sale(opens_at_ms, closes_at_ms);
        let source = Arc::new(Scripted(Mutex::new(Script {
            database: sale.clone(),
            memory: sale,
            hangs: false,
            left: 10,
        })));
        let runtime = Runtime::new(
            Arc::new(PausedClock(Instant::now())),
            Arc::new(SeededEntropy::new(1)),
            Arc::new(TokioSpawner),
        );
        Self {
            streams: Streams::new(runtime.clone(), source.clone()),
            runtime,
            source,
            stop: watch::Sender::new(false),
        }
    }

    /// A client that says it knows this.
    pub fn client(&self, known: Option<EventId>) -> Client {
        let sale = Arc::new(self.source.script(|script| script.memory.clone()));
        let subscription = self.streams.follow(&sale).expect("a place");
        let stream = events(
            subscription,
            known,
            self.runtime.clone(),
            self.stop.subscribe(),
        );
        Client {
            runtime: self.runtime.clone(),
            stream: Box::pin(stream.map(|event| match event {
                Ok(event) => event,
                Err(never) => match never {},
            })),
        }
    }

    /// The listeners stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Scripted {
    fn script<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        act(&mut self.0.lock().expect("nobody panics with it"))
    }

    /// The schedule is changed; memory is old.
    pub fn in_database(&self, change: impl FnOnce(&mut Sale)) {
        self.script(|script| change(&mut script.database));
    }

    /// The schedule is changed, and memory knows.
    pub fn everywhere(&self, change: impl FnOnce(&mut Sale)) {
        self.script(|script| {
            change(&mut script.database);
            script.memory = script.database.clone();
        });
    }

    /// The database does not answer any more.
    pub fn hang(&self) {
        self.script(|script| script.hangs = true);
    }

    /// So many units fewer.
    pub fn sell(&self, units: u64) {
        self.script(|script| script.left -= units);
    }
}

impl Source for Scripted {
    fn sale<'a>(&'a self, _: &'a SaleId) -> Read<'a> {
        let sale = self.script(|script| script.memory.clone());
        Box::pin(async { Ok(Some(Arc::new(sale))) })
    }

    fn sale_now<'a>(&'a self, _: &'a SaleId) -> Read<'a> {
        let (sale, hangs) = self.script(|script| (script.database.clone(), script.hangs));
        if hangs {
            return Box::pin(pending());
        }
        self.script(|script| script.memory = sale.clone());
        Box::pin(async { Ok(Some(Arc::new(sale))) })
    }

    fn left<'a>(&'a self, _: &'a SaleId) -> BoxFuture<'a, Option<BTreeMap<ProductId, u64>>> {
        let left = self.script(|script| script.left);
        let mug = ProductId::parse("mug").expect("a slug");
        Box::pin(async move { Some(BTreeMap::from([(mug, left)])) })
    }
}

/// A client, and what it hears.
pub struct Client {
    runtime: Runtime,
    stream: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
}

impl Client {
    /// The next `event: sale`: when it came, in milliseconds, its revision and state.
    pub async fn sale(&mut self) -> (i64, u64, &'static str) {
        let (at, data) = self.event("sale").await;
        let states = ["scheduled", "open", "closed", "cancelled"];
        let state = states.into_iter().find(|state| data["state"] == *state);
        let revision = data["revision"].as_u64().expect("a revision");
        (at, revision, state.expect("a state"))
    }

    /// The next `event: stock`: when it came, in milliseconds, and what is left.
    pub async fn stock(&mut self) -> (i64, u64) {
        let (at, data) = self.event("stock").await;
        let left = data["products"][0]["stock_left"].as_u64();
        (at, left.expect("a count"))
    }

    async fn event(&mut self, name: &str) -> (i64, Value) {
        let begins = format!("event: {name}\n");
        let text = self.next(|text| text.starts_with(&begins)).await;
        let text = text.expect("the stream goes on");
        let data = text.lines().find_map(|line| line.strip_prefix("data: "));
        let data = serde_json::from_str(data.expect("data")).expect("JSON");
        (self.now(), data)
    }

    /// When the next heart-beat came, in milliseconds.
    pub async fn heart_beat(&mut self) -> i64 {
        let text = self.next(|text| text.starts_with(": heart-beat")).await;
        assert!(text.is_some(), "the stream goes on");
        self.now()
    }

    /// Nothing comes any more.
    pub async fn has_ended(&mut self) -> bool {
        self.next(|_| false).await.is_none()
    }

    async fn next(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        loop {
            let bytes = self.stream.next().await?;
            let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
            if wanted(&text) {
                return Some(text);
            }
        }
    }

    fn now(&self) -> i64 {
        self.runtime.now().0 / 1_000
    }
}
