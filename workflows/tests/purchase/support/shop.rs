//! A shop in a database: seeded, with its gate open; and a node that runs purchases in it.

use std::sync::Arc;
use std::time::Duration;

use engine::command::{Command, Verb};
use engine::store::{Change, CommitError, SqlDatabase, Value};
use engine::workflow::{By, Signal};
use engine::{CommandError, Commanded, Payload, Runtime, Timestamp, View, WorkflowId};
use workflows::adapters::catalogue::SqlCatalogue;
use workflows::adapters::serials::SqlSerials;
use workflows::domain::seed::SaleSeed;
use workflows::ports::catalogue::{Catalogue, Seeded};
use workflows::ports::reservations::{Reservations, SaleCounts};
use workflows::purchase::{AUTHORISATION, Authorisation, Gate, GateAlarm, Ports, Stage, stage};
use workflows::reconcile::gate::GateState;
use workflows::reconcile::invariants::{Acknowledged, Inputs, InvariantReport, Ledger, verify};
use workflows::reconcile::rebuild;

use super::node::NodeParts;
use super::{
    FaultyGate, MovableClock, Node, PATIENCE, RedisServer, ScriptedGateway, sale_id, seed,
};

/// Whoever waits for longer than this, by a clock that a test moves, waits for ever.
const MUCH_TIME: Duration = Duration::from_mins(10);
/// So much of it passes at once, whenever nothing has happened for a moment.
const STEP: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(50);

pub struct Shop {
    pub clock: MovableClock,
    pub runtime: Runtime,
    pub database: SqlDatabase,
    pub catalogue: Arc<SqlCatalogue>,
    pub serials: Arc<SqlSerials>,
    pub faulty: FaultyGate,
    pub gate: Gate,
    pub gateway: Arc<ScriptedGateway>,
}

impl Shop {
    /// The sale of [`seed`] in this database and in a gate of its own.
    pub async fn open(database: SqlDatabase) -> Self {
        Self::open_with(database, &seed()).await
    }

    /// This sale in this database and in a gate of its own. Tests look at it by the name of the sale of [`seed`].
    pub async fn open_with(database: SqlDatabase, seed: &SaleSeed) -> Self {
        let shop = Self::closed_with(database, seed).await;
        shop.rebuild().await;
        shop
    }

    /// The sale of [`seed`], with the gate still closed.
    pub async fn closed(database: SqlDatabase) -> Self {
        Self::closed_with(database, &seed()).await
    }

    /// The same, with the gate in this Redis.
    pub async fn open_on(database: SqlDatabase, seed: &SaleSeed, redis: &RedisServer) -> Self {
        let gate = FaultyGate::over(redis).await;
        let shop = Self::closed_at(database, seed, gate).await;
        shop.rebuild().await;
        shop
    }

    async fn closed_with(database: SqlDatabase, seed: &SaleSeed) -> Self {
        Self::closed_at(database, seed, FaultyGate::new()).await
    }

    async fn closed_at(database: SqlDatabase, seed: &SaleSeed, faulty: FaultyGate) -> Self {
        let clock = MovableClock::new();
        let runtime = clock.runtime();
        let catalogue = Arc::new(SqlCatalogue::new(database.clone(), runtime.clone()));
        let serials = Arc::new(SqlSerials::new(database.clone(), runtime.clone()));
        assert_eq!(catalogue.seed(seed).await.expect("seeded"), Seeded::Created);
        let gate = Gate {
            reservations: Arc::new(faulty.clone()),
            alarm: GateAlarm::default(),
        };
        Self {
            clock,
            runtime,
            database,
            catalogue,
            serials,
            faulty,
            gate,
            gateway: Arc::default(),
        }
    }

    /// What the purchase's steps need.
    pub fn ports(&self) -> Ports {
        Ports {
            gate: self.gate.clone(),
            gateway: Arc::clone(&self.gateway) as _,
            catalogue: Arc::clone(&self.catalogue) as _,
            serials: Arc::clone(&self.serials) as _,
        }
    }

    /// Loads the gate from the database.
    pub async fn rebuild(&self) {
        let sale = self
            .catalogue
            .sale(&sale_id())
            .await
            .expect("read")
            .expect("seeded");
        let generation = rebuild::begin(&self.database, "a test", Timestamp(1))
            .await
            .expect("begun");
        let gate = &self.faulty;
        rebuild::rebuild(&self.database, gate, &sale, generation)
            .await
            .expect("rebuilt");
        rebuild::finish(&self.database, generation)
            .await
            .expect("finished");
        gate.attach().await.expect("attached");
    }

    /// Loads the gate as it was before anything was held, claimed or sold: a gate that lies.
    pub async fn rebuild_empty(&self) {
        let sale = self
            .catalogue
            .sale(&sale_id())
            .await
            .expect("read")
            .expect("seeded");
        let generation = rebuild::begin(&self.database, "a test", Timestamp(1))
            .await
            .expect("begun");
        let mut snapshot = rebuild::snapshot(&self.database, &sale, generation)
            .await
            .expect("read");
        snapshot.holds.clear();
        snapshot.sold.clear();
        snapshot
            .products
            .iter_mut()
            .for_each(|product| product.sold = 0);
        snapshot
            .campaigns
            .iter_mut()
            .for_each(|campaign| campaign.claims.clear());
        self.faulty.rebuild(&snapshot).await.expect("rebuilt");
        rebuild::finish(&self.database, generation)
            .await
            .expect("finished");
        self.faulty.attach().await.expect("attached");
    }

    pub async fn counts(&self) -> SaleCounts {
        self.faulty
            .counts(&sale_id())
            .await
            .expect("counted")
            .expect("the gate is open")
    }

    /// Writes the rows of a step, as the journal would.
    pub async fn write(&self, changes: &[Change]) -> Result<(), CommitError> {
        self.database
            .transact("writing a step's rows", changes)
            .await
    }

    /// Waits until the gateway has captured so many orders.
    pub async fn captured(&self, orders: usize) {
        let deadline = self.runtime.now().after(PATIENCE);
        while self.gateway.ledger().len() < orders {
            assert!(self.runtime.now() < deadline, "not captured");
            tokio::task::yield_now().await;
        }
    }

    /// The one number that this query gives.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let none: &[Value] = &[];
        let rows = self
            .database
            .query("looking", sql, none)
            .await
            .expect("read");
        rows[0].integer(0).expect("a number")
    }

    /// Held and sold units of a product, in the database.
    pub async fn stock(&self, product: &str) -> (u64, u64) {
        let left = self.catalogue.stock_left(&sale_id()).await.expect("read");
        let left = left
            .iter()
            .find(|left| left.product.as_str() == product)
            .expect("a product");
        (left.held, left.sold)
    }

    pub async fn invariants(&self, acknowledged: &[Acknowledged]) -> Vec<InvariantReport> {
        let (store, ledger) = (self.database.store(), self.gateway.ledger());
        let inputs = Inputs {
            runtime: &self.runtime,
            store: store.as_ref(),
            database: &self.database,
            catalogue: self.catalogue.as_ref(),
            reservations: &self.faulty,
            reconciler: None,
            ledger: Ledger::Entries(&ledger),
            log: None,
            acknowledged,
            retention: None,
            at_rest: true,
        };
        verify(&inputs).await.expect("checked")
    }

    /// A node that runs purchases, with a keeper of the gate.
    pub async fn node(&self) -> Node {
        self.node_named("test").await
    }

    /// The same, beside others.
    pub async fn node_named(&self, name: &str) -> Node {
        let node = Node::open(NodeParts {
            name,
            runtime: self.runtime.clone(),
            database: self.database.clone(),
            ports: self.ports(),
            rebuild_at_start: true,
        })
        .await;
        assert_eq!(node.keeper.ensure_open(PATIENCE).await, GateState::Open);
        node
    }
}

/// Where a purchase stands for its buyer.
pub fn stage_of(view: &View) -> Stage {
    stage(view.state.as_ref().expect("its definition is here"))
}

impl Node {
    /// Tells a purchase what became of its authorisation, under this id.
    pub async fn tell(
        &self,
        id: WorkflowId,
        answer: &Authorisation,
        signal: &str,
    ) -> Result<Commanded, CommandError> {
        let signal = Signal {
            name: AUTHORISATION.to_owned(),
            id: signal.to_owned(),
            payload: Payload::of(answer).expect("it serialises"),
        };
        let key = signal.id.clone();
        self.command(id, Verb::Signal(signal), key).await
    }

    async fn command(
        &self,
        id: WorkflowId,
        verb: Verb,
        key: String,
    ) -> Result<Commanded, CommandError> {
        let command = Command {
            workflow: id,
            key,
            verb,
            by: By {
                actor: "a test".to_owned(),
                reason: "it says so".to_owned(),
            },
            expected_seq: None,
        };
        let deadline = self.runtime.now().after(PATIENCE);
        self.engine.command(command, deadline).await
    }

    /// Waits until a purchase is in this stage, or beyond hope.
    pub async fn reaches(&self, id: WorkflowId, word: &str) -> View {
        let deadline = self.runtime.now().after(PATIENCE);
        let is_there = |view: &View| stage_of(view).word() == word;
        let view = self
            .engine
            .wait_for(id, deadline, is_there)
            .await
            .expect("read")
            .expect("there");
        assert!(
            is_there(&view),
            "{id} is {:?} and not {word}",
            stage_of(&view)
        );
        view
    }

    /// An operator has a workflow try again.
    pub async fn retry(&self, id: WorkflowId) {
        let retried = self.command(id, Verb::Retry, "retry".to_owned()).await;
        retried.expect("it waited for that");
    }

    /// Waits until a workflow is settled by its own schedule, in a time that passes quickly.
    pub async fn settled_in_time(&self, clock: &MovableClock, id: WorkflowId) -> View {
        let deadline = self.runtime.now().after(MUCH_TIME);
        loop {
            let soon = self.runtime.now().after(SOON);
            let view = self.engine.wait(id, soon).await.expect("read");
            let view = view.expect("there");
            if view.is_settled() {
                return view;
            }
            assert!(
                self.runtime.now() < deadline,
                "not settled: {:?}",
                view.head
            );
            clock.advance(STEP);
        }
    }

    /// Waits until a workflow is settled, and has no patience between its attempts: an operator makes each of them at once.
    pub async fn settled_by_retries(&self, id: WorkflowId) -> View {
        let deadline = self.runtime.now().after(PATIENCE);
        for number in 0_u32.. {
            let view = self.engine.view(id).await.expect("read").expect("there");
            if view.is_settled() {
                return view;
            }
            assert!(
                self.runtime.now() < deadline,
                "not settled: {:?}",
                view.head
            );
            // A conflict: there is nothing to be retried at this moment.
            let _ = self
                .command(id, Verb::Retry, format!("retry {number}"))
                .await;
        }
        unreachable!("it is settled, or its time is over")
    }
}
