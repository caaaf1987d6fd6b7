//! A shop over a real Redis and a database, with nodes that run purchases, keep the gate and reconcile it.

#[path = "../../support/databases.rs"]
#[expect(
    unused_macros,
    unused_imports,
    reason = "each test here has one database"
)]
mod databases;
#[path = "../../support/node.rs"]
mod node;
#[path = "../../support/patience.rs"]
mod patience;
#[path = "../../support/redis_server.rs"]
mod redis_server;

mod address;
mod till;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use engine::store::{Change, Dialect, SqlDatabase, Value};
use engine::{NodeName, Runtime, StartError, View, WorkflowId};
use serde_json::json;
use workflows::adapters::catalogue::SqlCatalogue;
use workflows::adapters::embedded::EmbeddedReservations;
use workflows::adapters::redis::RedisReservations;
use workflows::adapters::serials::SqlSerials;
use workflows::campaign::ClaimAhead;
use workflows::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};
use workflows::domain::sale::Sale;
use workflows::domain::seed::SaleSeed;
use workflows::ports::catalogue::{Catalogue, Seeded};
use workflows::ports::payment_gateway::PaymentToken;
use workflows::ports::reservations::{
    OperationKey, OperationState, Reservations, SaleCounts, StockCounts,
};
use workflows::purchase::{
    Gate, GateAlarm, Order, OrderLine, PaymentMeans, Ports, PurchaseRequest, quote,
};
use workflows::reconcile::difference::ReconcileReport;
use workflows::reconcile::gate::GateState;
use workflows::reconcile::invariants::{Inputs, Ledger, verify};
use workflows::reconcile::reconciler::{self, Reconciler, ReconcilerParts};

use node::NodeParts;

pub use address::Address;
pub use databases::{Disposable, mysql, sqlite};
pub use patience::{PATIENCE, PAUSE, answer};
pub use redis_server::RedisServer;
pub use till::Till;

pub const CAMPAIGN: &str = "first";
/// Never by itself: a test says when.
const NEVER: Duration = Duration::from_hours(24);

/// A database of the test's own: on the server when there is one, in a file otherwise.
pub async fn database() -> Disposable {
    match mysql().await {
        Some(disposable) => disposable,
        None => sqlite().await,
    }
}

/// Several nodes can only share a server.
pub fn is_shared(database: &SqlDatabase) -> bool {
    database.dialect() == Dialect::MySql
}

/// `stock` mugs at 1,000 and as many caps; coupons of 10 %, which can be claimed ahead; 4 units a buyer; open from 1970 to 2100.
pub fn seed(stock: u32) -> SaleSeed {
    let json = json!({
        "sale": "drop", "name": "Spring drop", "currency": "KRW",
        "opens_at": "1970-01-02T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z", "per_buyer_limit": 4,
        "hold_seconds": 3600,
        "products": [
            {"product": "mug", "name": "Mug", "unit_price": 1000, "stock": stock},
            {"product": "cap", "name": "Cap", "unit_price": 1000, "stock": stock},
        ],
        "campaigns": [{
            "campaign": CAMPAIGN, "name": "First come", "size": stock, "discount": {"percent": 10},
            "claims_from": "1970-01-02T00:00:00Z",
        }],
    });
    serde_json::from_value(json).expect("a seed")
}

pub fn sale_id() -> SaleId {
    SaleId::parse("drop").expect("a slug")
}

pub fn product(name: &str) -> ProductId {
    ProductId::parse(name).expect("a slug")
}

pub fn buyer(name: &str) -> BuyerId {
    BuyerId::parse(name).expect("a slug")
}

pub fn campaign_id() -> CampaignId {
    CampaignId::parse(CAMPAIGN).expect("a slug")
}

/// A shop in a database; its nodes come to one address for their gate.
pub struct Shop {
    pub runtime: Runtime,
    pub database: SqlDatabase,
    pub catalogue: Arc<SqlCatalogue>,
    pub till: Arc<Till>,
    at: GateAt,
}

/// Where the gate is.
enum GateAt {
    Redis(String),
    /// In this process.
    Here(Arc<dyn Reservations>),
}

impl Shop {
    pub async fn open(database: &SqlDatabase, redis_url: &str, stock: u32) -> Self {
        Self::open_at(database, GateAt::Redis(redis_url.to_owned()), stock).await
    }

    /// The same with the scripts in this process.
    pub async fn embedded(database: &SqlDatabase, stock: u32) -> Self {
        let runtime = Runtime::system();
        let clock = Arc::new(move || runtime.now().0);
        let here = EmbeddedReservations::new("a test", clock).expect("the scripts load");
        Self::behind(database, Arc::new(here), stock).await
    }

    /// The same behind this gate.
    pub async fn behind(database: &SqlDatabase, gate: Arc<dyn Reservations>, stock: u32) -> Self {
        Self::open_at(database, GateAt::Here(gate), stock).await
    }

    async fn open_at(database: &SqlDatabase, at: GateAt, stock: u32) -> Self {
        let runtime = Runtime::system();
        let catalogue = Arc::new(SqlCatalogue::new(database.clone(), runtime.clone()));
        let seeded = catalogue.seed(&seed(stock)).await.expect("seeded");
        assert_eq!(seeded, Seeded::Created);
        Self {
            runtime,
            database: database.clone(),
            catalogue,
            till: Arc::default(),
            at,
        }
    }

    pub async fn sale(&self) -> Arc<Sale> {
        let sale = self.catalogue.sale_now(&sale_id()).await.expect("read");
        sale.expect("seeded")
    }

    /// A purchase of mugs that is paid at once, with a token.
    pub async fn request(&self, who: &str, mugs: i64, campaign: Option<&str>) -> PurchaseRequest {
        let token = PaymentToken::new("token-1");
        self.order(who, mugs, campaign, PaymentMeans::Stored { token })
            .await
    }

    pub async fn order(
        &self,
        who: &str,
        mugs: i64,
        campaign: Option<&str>,
        payment: PaymentMeans,
    ) -> PurchaseRequest {
        let line = OrderLine {
            product: "mug".to_owned(),
            quantity: mugs.into(),
        };
        let order = Order {
            buyer: buyer(who),
            lines: vec![line],
            campaign: campaign.map(str::to_owned),
            address: None,
            payment,
            accepted_at: self.runtime.now(),
        };
        let sale = self.catalogue.sale(&sale_id()).await.expect("read");
        quote(&sale.expect("seeded"), order).expect("a sound order")
    }

    /// The rows of a step, as the journal would write them.
    pub async fn write(&self, changes: &[Change]) {
        let written = self.database.transact("writing rows", changes).await;
        written.expect("written");
    }

    /// The one number that this query gives.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let none: &[Value] = &[];
        let rows = self.database.query("looking", sql, none).await;
        rows.expect("read")[0].integer(0).expect("a number")
    }

    /// A node of this name, whose gate is open.
    pub async fn node(&self, name: &str) -> Node {
        let node = self.node_with(name, NEVER).await;
        let state = node.keeper.ensure_open(PATIENCE).await;
        assert_eq!(state, GateState::Open);
        node
    }

    /// A node of this name that reconciles so often.
    pub async fn node_with(&self, name: &str, every: Duration) -> Node {
        let reservations: Arc<dyn Reservations> = match &self.at {
            GateAt::Redis(url) => {
                let reservations = answer(|| RedisReservations::connect(url)).await;
                Arc::new(reservations.expect("connected"))
            }
            GateAt::Here(here) => Arc::clone(here),
        };
        let gate = Gate {
            reservations: Arc::clone(&reservations),
            alarm: GateAlarm::default(),
        };
        let parts = NodeParts {
            name,
            runtime: self.runtime.clone(),
            database: self.database.clone(),
            ports: Ports {
                gate: gate.clone(),
                gateway: Arc::clone(&self.till) as _,
                catalogue: Arc::clone(&self.catalogue) as _,
                serials: Arc::new(SqlSerials::new(self.database.clone(), self.runtime.clone())),
            },
            rebuild_at_start: false,
        };
        let node = node::Node::open(parts).await;
        let settings = reconciler::Settings {
            every,
            ..reconciler::Settings::default()
        };
        let reconciler = Reconciler::start(ReconcilerParts {
            runtime: self.runtime.clone(),
            node: NodeName(name.into()),
            database: self.database.clone(),
            catalogue: Arc::clone(&self.catalogue) as _,
            reservations: Arc::clone(&reservations),
            keeper: node.keeper.clone(),
            settings,
        });
        Node {
            base: node,
            reservations,
            gate,
            reconciler,
        }
    }

    /// Nothing is broken: the gate, the database, the journal and the till agree.
    pub async fn is_sound(&self, node: &Node) {
        let (store, ledger) = (self.database.store(), self.till.ledger());
        let inputs = Inputs {
            runtime: &self.runtime,
            store: store.as_ref(),
            database: &self.database,
            catalogue: self.catalogue.as_ref(),
            reservations: node.reservations.as_ref(),
            reconciler: None,
            ledger: Ledger::Entries(&ledger),
            log: None,
            acknowledged: &[],
            retention: None,
            at_rest: true,
        };
        for report in verify(&inputs).await.expect("checked") {
            // Nobody was told of a start here, and open purchases are meant to be open.
            if !["I4", "I8"].contains(&report.id) {
                assert_eq!(report.violations, Vec::<String>::new(), "{report:?}");
            }
        }
    }
}

/// A node that reconciles.
pub struct Node {
    base: node::Node,
    pub reservations: Arc<dyn Reservations>,
    pub gate: Gate,
    pub reconciler: Reconciler,
}

impl Deref for Node {
    type Target = node::Node;

    fn deref(&self) -> &node::Node {
        &self.base
    }
}

impl Node {
    /// Starts a purchase and waits until it is settled. A gate that is closed, or late on a busy machine, is asked again under the
    /// same key, as buyers do.
    pub async fn buy(&self, request: &PurchaseRequest, key: &str) -> Result<View, StartError> {
        self.patiently(|| self.base.buy(request, key)).await
    }

    /// Claims a coupon ahead, as patiently, and waits until that is settled.
    pub async fn claim(&self, who: &str) -> View {
        let claim = ClaimAhead {
            buyer: buyer(who),
            sale: sale_id(),
            campaign: campaign_id(),
            accepted_at: self.runtime.now(),
        };
        let claimed = self.patiently(|| self.base.claim(&claim, "claim"));
        claimed.await.expect("claimed")
    }

    async fn patiently<T, F>(&self, start: impl Fn() -> F) -> Result<T, StartError>
    where
        F: Future<Output = Result<T, StartError>>,
    {
        let deadline = self.runtime.now().after(PATIENCE);
        loop {
            match start().await {
                Err(error) if self.runtime.now() < deadline && is_for_now(&error) => {
                    self.runtime.sleep(PAUSE).await;
                }
                answered => return answered,
            }
        }
    }

    /// A round over all sales, by command.
    pub async fn reconcile(&self, repair: bool) -> Arc<ReconcileReport> {
        let order = reconciler::Order { sale: None, repair };
        let report = self.reconciler.run(order, PATIENCE).await;
        report.expect("the round was made")
    }

    /// What the gate counts, as soon as it is open.
    pub async fn counts(&self) -> SaleCounts {
        let (sale, deadline) = (sale_id(), self.runtime.now().after(PATIENCE));
        loop {
            let counts = answer(|| self.reservations.counts(&sale)).await;
            if let Some(counts) = counts.expect("counted") {
                return counts;
            }
            assert!(self.runtime.now() < deadline, "the gate stays closed");
            self.runtime.sleep(PAUSE).await;
        }
    }

    pub async fn mugs(&self) -> StockCounts {
        self.counts().await.products[&product("mug")]
    }

    /// All that has something in the gate.
    pub async fn holdings(&self) -> BTreeMap<OperationKey, OperationState> {
        let mut found = BTreeMap::new();
        let mut cursor = None;
        loop {
            let page = self
                .reservations
                .operations(&sale_id(), cursor.as_deref(), 500)
                .await
                .expect("read");
            for stored in page.operations {
                if matches!(
                    stored.what,
                    OperationState::Holds { .. } | OperationState::Coupon { .. }
                ) {
                    found.insert(stored.operation, stored.what);
                }
            }
            let Some(next) = page.next else { return found };
            cursor = Some(next);
        }
    }

    /// Waits until the reconciler has made the round that follows each loading of the gate: from then on it makes only those that are
    /// ordered.
    pub async fn has_looked_after_loading(&self) {
        let deadline = self.runtime.now().after(PATIENCE);
        while self.reconciler.totals().rounds == 0 {
            assert!(self.runtime.now() < deadline, "no round is made");
            self.runtime.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the gate is open with a generation after this one.
    pub async fn open_again_after(&self, generation: u64) {
        let deadline = self.runtime.now().after(PATIENCE);
        loop {
            if let Ok(Some(counts)) = self.reservations.counts(&sale_id()).await
                && counts.generation > generation
                && self.keeper.state() == GateState::Open
                && self
                    .reservations
                    .operations(&sale_id(), None, 1)
                    .await
                    .is_ok()
            {
                return;
            }
            assert!(
                self.runtime.now() < deadline,
                "the gate stays closed: {:?}",
                self.keeper.state()
            );
            self.runtime.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Gives the partitions up.
    pub async fn close(self) {
        self.base.close().await;
    }
}

/// Whoever asks again may be told something else.
fn is_for_now(error: &StartError) -> bool {
    matches!(
        error,
        StartError::Unavailable(_) | StartError::Undecided(_) | StartError::NotServing(_)
    )
}

/// The epoch of the partition that this workflow is in, as the database has it.
pub async fn epoch_of(database: &SqlDatabase, workflow: WorkflowId) -> u64 {
    let rows = database.store().partitions().await.expect("read");
    let row = rows.iter().find(|row| row.id == workflow.partition());
    row.expect("a partition").epoch.0
}
