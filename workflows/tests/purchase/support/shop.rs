//! A shop in a database: seeded, with its gate open; and a node that runs purchases in it.

use std::sync::Arc;
use std::time::Duration;

use engine::outbox::in_process::InProcessBus;
use engine::store::{Change, CommitError, SqlDatabase, Value};
use engine::{
    Engine, NodeName, Parts, Payload, Runtime, Settings, Start, StartError, Timestamp, View,
    WorkflowId,
};
use workflows::adapters::catalogue::SqlCatalogue;
use workflows::ports::catalogue::{Catalogue, Seeded};
use workflows::ports::payment_gateway::PaymentGateway;
use workflows::ports::reservations::{Reservations, SaleCounts};
use workflows::purchase::{self, Gate, GateAlarm, PurchaseRequest};
use workflows::reconcile::gate::{GateKeeper, GateParts, GateState};
use workflows::reconcile::invariants::{Acknowledged, Inputs, InvariantReport, verify};
use workflows::reconcile::rebuild;

use super::{FaultyGate, ScriptedGateway, sale_id, seed};

/// A purchase is settled after this long, or something is wrong.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);

pub struct Shop {
    pub runtime: Runtime,
    pub database: SqlDatabase,
    pub catalogue: Arc<SqlCatalogue>,
    pub faulty: FaultyGate,
    pub gate: Gate,
    pub gateway: Arc<ScriptedGateway>,
}

impl Shop {
    /// The sale of [`seed`] in this database and in a gate of its own.
    pub async fn open(database: SqlDatabase) -> Self {
        let shop = Self::closed(database).await;
        shop.rebuild().await;
        shop
    }

    /// The same, with the gate still closed.
    pub async fn closed(database: SqlDatabase) -> Self {
        let runtime = Runtime::system();
        let catalogue = Arc::new(SqlCatalogue::new(database.clone(), runtime.clone()));
        assert_eq!(
            catalogue.seed(&seed()).await.expect("seeded"),
            Seeded::Created
        );
        let faulty = FaultyGate::new();
        let gate = Gate {
            reservations: Arc::new(faulty.clone()),
            alarm: GateAlarm::default(),
        };
        Self {
            runtime,
            database,
            catalogue,
            faulty,
            gate,
            gateway: Arc::default(),
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
            store: store.as_ref(),
            database: &self.database,
            catalogue: self.catalogue.as_ref(),
            reservations: &self.faulty,
            ledger: &ledger,
            acknowledged,
        };
        verify(&inputs).await.expect("checked")
    }

    /// A node that runs purchases, with a keeper of the gate.
    pub async fn node(&self) -> Node {
        let gateway: Arc<dyn PaymentGateway> = Arc::clone(&self.gateway) as _;
        let definition = purchase::definition(&self.gate, &gateway).expect("a sound saga");
        let engine = Engine::open(Parts {
            runtime: self.runtime.clone(),
            store: self.database.store(),
            bus: Arc::new(InProcessBus::new()),
            definitions: vec![Arc::new(definition)],
            settings: Settings {
                node: NodeName("test".into()),
                ..Settings::default()
            },
        })
        .await
        .expect("opened");
        let keeper = GateKeeper::start(GateParts {
            runtime: self.runtime.clone(),
            engine: Arc::new(engine.clone()),
            database: self.database.clone(),
            catalogue: Arc::clone(&self.catalogue) as _,
            reservations: Arc::new(self.faulty.clone()),
            alarm: self.gate.alarm.clone(),
            rebuild_at_start: true,
        });
        assert_eq!(
            keeper.ensure_open(Duration::from_secs(30)).await,
            GateState::Open
        );
        Node {
            runtime: self.runtime.clone(),
            engine,
            _keeper: keeper,
        }
    }
}

pub struct Node {
    runtime: Runtime,
    pub engine: Engine,
    /// Keeps watch as long as the node lives.
    _keeper: GateKeeper,
}

impl Node {
    /// Starts a purchase under a key.
    pub async fn start(
        &self,
        request: &PurchaseRequest,
        key: &str,
    ) -> Result<WorkflowId, StartError> {
        let start = Start {
            definition: purchase::NAME.to_owned(),
            input: Payload::of(request).expect("it serialises"),
            key: Some((request.buyer.as_str().to_owned(), key.to_owned())),
            request_hash: [7; 32],
            label: Some(request.sale.as_str().to_owned()),
        };
        Ok(self.engine.start(start).await?.view().id)
    }

    /// Starts a purchase and waits until it is settled.
    pub async fn buy(&self, request: &PurchaseRequest, key: &str) -> Result<View, StartError> {
        let id = self.start(request, key).await?;
        Ok(self.settled(id).await)
    }

    pub async fn settled(&self, id: WorkflowId) -> View {
        let deadline = self.runtime.now().after(SETTLED_WITHIN);
        let view = self
            .engine
            .wait(id, deadline)
            .await
            .expect("read")
            .expect("there");
        assert!(view.is_settled(), "{id} is not settled: {:?}", view.head);
        view
    }

    /// Gives the partitions up.
    pub async fn close(self) {
        let deadline = self.runtime.now().after(Duration::from_secs(10));
        self.engine.drain(deadline).await;
    }
}
