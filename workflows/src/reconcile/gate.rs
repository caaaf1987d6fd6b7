//! The keeper of the gate: notices that the reservations' store was emptied, restarted or replaced, and rebuilds it from the
//! database while nothing is half done. Until then the gate is closed, and says so: it never guesses.

mod reschedule;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::store::{SqlDatabase, StoreError};
use engine::{Engine, Runtime, Timestamp};
use tokio::sync::{mpsc, oneshot, watch as channel};

use super::rebuild::RebuildError;
use crate::domain::ids::SaleId;
use crate::ports::catalogue::{Catalogue, Seeded};
use crate::ports::reservations::{ReservationError, Reservations};
use crate::purchase::GateAlarm;
pub(super) use reschedule::reschedule;
use watch::Watch;

/// Longer than any attempt of a step may take.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Sales waiting to be loaded.
const WARMINGS_MAX: usize = 64;
/// A sale that is not loaded after this long is told to its operator.
const WARMING_MAX: Duration = Duration::from_mins(1);

/// What holds still while the gate is rebuilt: the engine.
#[async_trait]
pub trait Quiesce: Send + Sync {
    /// As [`Engine::pause`].
    async fn pause(&self, deadline: Timestamp) -> bool;
    /// As [`Engine::resume`].
    fn resume(&self);
}

#[async_trait]
impl Quiesce for Engine {
    async fn pause(&self, deadline: Timestamp) -> bool {
        Self::pause(self, deadline).await
    }

    fn resume(&self) {
        Self::resume(self);
    }
}

/// What the keeper works with.
pub struct GateParts {
    /// Time and spawning.
    pub runtime: Runtime,
    /// What makes reservations durable.
    pub engine: Arc<dyn Quiesce>,
    /// The truth.
    pub database: SqlDatabase,
    /// The sales.
    pub catalogue: Arc<dyn Catalogue>,
    /// The gate.
    pub reservations: Arc<dyn Reservations>,
    /// The bell that the steps ring.
    pub alarm: GateAlarm,
    /// Rebuild at the start whatever is there. It frees what a crashed process held and did not make durable; only a node
    /// that is alone may do it, because it forgets what others hold and have not made durable yet.
    pub rebuild_at_start: bool,
}

/// Where the gate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateState {
    /// Every sale is loaded.
    Open,
    /// Some sale is not, for this reason. Purchases in it are turned away as unavailable.
    Closed(String),
}

/// The gate could not be opened, for now.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The rebuild failed.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The reservations failed.
    #[error("the gate could not be checked")]
    Reservations(#[from] ReservationError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something was still being made durable after [`PAUSE_MAX`].
    #[error("workflows did not come to rest within {} s", PAUSE_MAX.as_secs())]
    NotAtRest,
    /// The keeper is busy or gone.
    #[error("the gate's keeper did not answer in time")]
    NoAnswer,
}

/// The keeper, as others see it. It keeps watch as long as a clone of this lives.
#[derive(Clone)]
pub struct GateKeeper {
    runtime: Runtime,
    warmings: mpsc::Sender<Warming>,
    state: channel::Receiver<GateState>,
    rebuilds: channel::Receiver<u64>,
}

/// A sale that somebody waits for.
struct Warming {
    sale: SaleId,
    why: Why,
    done: oneshot::Sender<Result<(), GateError>>,
}

/// Why a sale is to be loaded.
#[derive(Clone, Copy)]
enum Why {
    /// It was just seeded.
    Seeded(Seeded),
    /// What the gate has of it is wrong.
    Wrong,
}

impl GateKeeper {
    /// Begins to keep watch; the first thing it does is to open the gate.
    #[must_use]
    pub fn start(parts: GateParts) -> Self {
        let runtime = parts.runtime.clone();
        let (warmings, waiting) = mpsc::channel(WARMINGS_MAX);
        let (told, state) =
            channel::channel(GateState::Closed("the gate was not checked yet".to_owned()));
        let (rebuilt, rebuilds) = channel::channel(0);
        runtime.spawn(Watch::new(parts, told, rebuilt).keep(waiting));
        Self {
            runtime,
            warmings,
            state,
            rebuilds,
        }
    }

    /// Where the gate stands now.
    #[must_use]
    pub fn state(&self) -> GateState {
        self.state.borrow().clone()
    }

    /// Waits until the gate is open, at most `limit`. Otherwise says why it is not.
    pub async fn ensure_open(&self, limit: Duration) -> GateState {
        let mut state = self.state.clone();
        let open = state.wait_for(|state| *state == GateState::Open);
        let _ = self.runtime.within(limit, open).await;
        self.state()
    }

    /// Changes whenever this node has opened the gate on a store that it had not seen, or has loaded a sale anew.
    #[must_use]
    pub fn rebuilds(&self) -> channel::Receiver<u64> {
        self.rebuilds.clone()
    }

    /// Loads a sale that was just seeded. One that was there already is loaded only if its gate is closed.
    pub async fn warm(&self, sale: &SaleId, seeded: Seeded) -> Result<(), GateError> {
        self.ask(sale, Why::Seeded(seeded)).await
    }

    /// Loads a sale of which the gate has something wrong: its gate is closed meanwhile.
    pub async fn rebuild(&self, sale: &SaleId) -> Result<(), GateError> {
        self.ask(sale, Why::Wrong).await
    }

    async fn ask(&self, sale: &SaleId, why: Why) -> Result<(), GateError> {
        let (done, answer) = oneshot::channel();
        let warming = Warming {
            sale: sale.clone(),
            why,
            done,
        };
        self.warmings
            .try_send(warming)
            .map_err(|_| GateError::NoAnswer)?;
        match self.runtime.within(WARMING_MAX, answer).await {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(GateError::NoAnswer),
        }
    }
}
