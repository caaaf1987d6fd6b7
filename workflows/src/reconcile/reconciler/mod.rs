//! The reconciler: compares the gate with the database, again and again and by command, names each difference, and mends it.
//!
//! A difference counts when two looks, at least [`Settings::second_look_after`] apart, both see it: what is just being done is none.
//! The gate is never trusted and never asked for permission: the database is right, and every repair is a call that a step could have
//! made, or a rebuild. All of them can be made twice, so two nodes that reconcile at once, one by command, do no harm. By itself
//! just one node does it: the owner of the first partition, so that its work costs the same however many nodes there are.
//!
//! Its bounds: one sale at a time (and by itself none that rests, as long as its figures stay the same), whose holds and coupons it
//! has in memory as a rebuild of that sale has; the gate is read in pages with pauses; so many repairs a round, and beyond that the
//! sale is rebuilt.

mod task;

mod look;
mod twice;

mod compare;
mod figures;
mod finding;

mod repair;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engine::store::{SqlDatabase, StoreError};
use engine::{NodeName, Runtime};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::difference::{Difference, Kind, ReconcileReport};
use super::gate::GateKeeper;
use crate::domain::ids::SaleId;
use crate::ports::catalogue::Catalogue;
use crate::ports::reservations::Reservations;
use task::Task;

/// Rounds that may be waiting.
const ORDERS_MAX: usize = 16;

/// When it looks.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The pause between two rounds.
    pub every: Duration,
    /// The time between the two looks of a round; at least a second.
    pub second_look_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            second_look_after: Duration::from_secs(1),
        }
    }
}

/// What the reconciler works with.
pub struct ReconcilerParts {
    /// Time and spawning.
    pub runtime: Runtime,
    /// This node.
    pub node: NodeName,
    /// The truth.
    pub database: SqlDatabase,
    /// The sales.
    pub catalogue: Arc<dyn Catalogue>,
    /// The gate.
    pub reservations: Arc<dyn Reservations>,
    /// Who rebuilds it.
    pub keeper: GateKeeper,
    /// When it looks.
    pub settings: Settings,
}

/// What is to be looked at, and whether it is to be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// One sale; all of them otherwise.
    pub sale: Option<SaleId>,
    /// Whether what is found is to be mended.
    pub repair: bool,
}

/// A round was not finished.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// There is no such sale.
    #[error("there is no sale {0}")]
    NoSuchSale(SaleId),
    /// The database failed.
    #[error("the database failed while the gate was compared with it")]
    Store(#[from] StoreError),
    /// The reconciler is busy or gone.
    #[error("the reconciler did not answer in time")]
    NoAnswer,
}

/// What the reconciler of this node has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Rounds, its own and those by command.
    pub rounds: u64,
    /// Differences by kind, a difference that is seen in several rounds once in each.
    pub found: BTreeMap<Kind, u64>,
    /// Differences that were mended.
    pub repaired: u64,
}

/// The reconciler, as others see it. It goes on as long as a clone of this lives.
#[derive(Clone)]
pub struct Reconciler {
    runtime: Runtime,
    orders: mpsc::Sender<Asked>,
    seen: Arc<Seen>,
}

/// A round that somebody waits for.
struct Asked {
    order: Order,
    done: oneshot::Sender<Result<Arc<ReconcileReport>, ReconcileError>>,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    last: RwLock<Option<Arc<ReconcileReport>>>,
    totals: RwLock<Totals>,
    rounds: AtomicU64,
}

impl Seen {
    /// A round has ended.
    fn round(&self, report: &Arc<ReconcileReport>, over_all_sales: bool) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        if over_all_sales {
            let last = self.last.write();
            *last.unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(report));
        }
    }

    /// A round has found this.
    fn difference(&self, difference: &Difference) {
        let totals = self.totals.write();
        let mut totals = totals.unwrap_or_else(PoisonError::into_inner);
        *totals.found.entry(difference.kind).or_default() += 1;
        totals.repaired += u64::from(difference.repaired);
    }
}

impl Reconciler {
    /// Begins.
    #[must_use]
    pub fn start(parts: ReconcilerParts) -> Self {
        let runtime = parts.runtime.clone();
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        let seen = Arc::<Seen>::default();
        runtime.spawn(Task::new(parts, Arc::clone(&seen)).work(waiting));
        Self {
            runtime,
            orders,
            seen,
        }
    }

    /// Makes a round now, after those that are waiting, and waits for it, at most `limit`.
    pub async fn run(
        &self,
        order: Order,
        limit: Duration,
    ) -> Result<Arc<ReconcileReport>, ReconcileError> {
        let (done, answer) = oneshot::channel();
        self.orders
            .try_send(Asked { order, done })
            .map_err(|_| ReconcileError::NoAnswer)?;
        match self.runtime.within(limit, answer).await {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(ReconcileError::NoAnswer),
        }
    }

    /// What the last round over all sales on this node saw; `None` before the first one, and always where another node makes them.
    #[must_use]
    pub fn last(&self) -> Option<Arc<ReconcileReport>> {
        let last = self.seen.last.read();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was counted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let totals = self.seen.totals.read();
        let mut totals = totals.unwrap_or_else(PoisonError::into_inner).clone();
        totals.rounds = self.seen.rounds.load(Ordering::Relaxed);
        totals
    }
}
