//! A node that runs purchases and keeps the gate, and what buyers ask of it.

use std::sync::Arc;
use std::time::Duration;

use engine::outbox::in_process::InProcessBus;
use engine::store::SqlDatabase;
use engine::{
    Engine, NodeName, Parts, Payload, Runtime, Settings, Start, StartError, View, WorkflowId,
};
use workflows::campaign::{self, ClaimAhead};
use workflows::purchase::{self, Ports, PurchaseRequest};
use workflows::reconcile::gate::{GateKeeper, GateParts};

use super::patience::PATIENCE;

/// Longer than any test moves its clock on, and than any machine stands still: no lease ends by itself.
const LEASE: Duration = Duration::from_hours(1_000);

/// What a node is made of.
pub struct NodeParts<'a> {
    pub name: &'a str,
    pub runtime: Runtime,
    pub database: SqlDatabase,
    pub ports: Ports,
    pub rebuild_at_start: bool,
}

pub struct Node {
    pub runtime: Runtime,
    pub engine: Engine,
    /// Keeps watch as long as the node lives.
    pub keeper: GateKeeper,
}

impl Node {
    pub async fn open(parts: NodeParts<'_>) -> Self {
        let NodeParts {
            name,
            runtime,
            database,
            ports,
            rebuild_at_start,
        } = parts;
        let mut definitions = purchase::definitions(&ports).expect("sound sagas");
        definitions.push(campaign::definition(&ports.gate).expect("a sound saga"));
        let engine = Engine::open(Parts {
            runtime: runtime.clone(),
            store: database.store(),
            bus: Arc::new(InProcessBus::new()),
            definitions: definitions.into_iter().map(Arc::new).collect(),
            settings: Settings {
                node: NodeName(name.into()),
                lease: LEASE,
                ..Settings::default()
            },
        })
        .await
        .expect("opened");
        let keeper = GateKeeper::start(GateParts {
            runtime: runtime.clone(),
            engine: Arc::new(engine.clone()),
            database,
            catalogue: ports.catalogue,
            reservations: ports.gate.reservations,
            alarm: ports.gate.alarm,
            rebuild_at_start,
        });
        Self {
            runtime,
            engine,
            keeper,
        }
    }

    /// Starts a purchase under a key.
    pub async fn start(
        &self,
        request: &PurchaseRequest,
        key: &str,
    ) -> Result<WorkflowId, StartError> {
        let start = Start {
            definition: purchase::definition_name(request).to_owned(),
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

    /// Claims a coupon ahead of the sale, under a key, and waits until that is settled.
    pub async fn claim(&self, claim: &ClaimAhead, key: &str) -> Result<View, StartError> {
        let start = Start {
            definition: campaign::NAME.to_owned(),
            input: Payload::of(claim).expect("it serialises"),
            key: Some((claim.buyer.as_str().to_owned(), key.to_owned())),
            request_hash: [8; 32],
            label: Some(claim.sale.as_str().to_owned()),
        };
        let id = self.engine.start(start).await?.view().id;
        Ok(self.settled(id).await)
    }

    pub async fn settled(&self, id: WorkflowId) -> View {
        let deadline = self.runtime.now().after(PATIENCE);
        let view = self.engine.wait(id, deadline).await.expect("read");
        let view = view.expect("there");
        assert!(view.is_settled(), "{id} is not settled: {:?}", view.head);
        view
    }

    /// Gives the partitions up.
    pub async fn close(self) {
        self.close_within(Duration::from_secs(10)).await;
    }

    /// The same, and waits no longer than this for attempts that are under way.
    pub async fn close_within(self, limit: Duration) {
        let deadline = self.runtime.now().after(limit);
        self.engine.drain(deadline).await;
    }
}
