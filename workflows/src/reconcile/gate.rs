//! The keeper of the gate: notices that the reservations' store was emptied, restarted or replaced, and rebuilds it from the
//! database while nothing is half done. Until then the gate is closed, and says so: it never guesses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::store::{SqlDatabase, StoreError};
use engine::workflow::event::with_causes;
use engine::{Engine, Runtime, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

use super::rebuild::{self, RebuildError};
use crate::domain::ids::SaleId;
use crate::ports::catalogue::{Catalogue, Seeded};
use crate::ports::reservations::{ReservationError, Reservations};
use crate::purchase::GateAlarm;

/// The gate is checked so often when nobody rings.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The least time between two checks that were rung for.
const RING_GAP: Duration = Duration::from_millis(100);
/// After a failed check the next one follows after this, doubling to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Longer than any attempt of a step may take.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Sales waiting to be loaded.
const WARMINGS_MAX: usize = 64;
/// A sale that is not loaded after this long is told to its operator.
const WARMING_MAX: Duration = Duration::from_mins(1);
/// Names read by one query.
const SALES_PAGE: u16 = 500;

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
    state: watch::Receiver<GateState>,
}

struct Warming {
    sale: SaleId,
    seeded: Seeded,
    done: oneshot::Sender<Result<(), GateError>>,
}

impl GateKeeper {
    /// Begins to keep watch; the first thing it does is to open the gate.
    #[must_use]
    pub fn start(parts: GateParts) -> Self {
        let runtime = parts.runtime.clone();
        let (warmings, waiting) = mpsc::channel(WARMINGS_MAX);
        let (told, state) =
            watch::channel(GateState::Closed("the gate was not checked yet".to_owned()));
        let watch = Watch {
            parts,
            attached: None,
            told,
        };
        runtime.spawn(watch.keep(waiting));
        Self {
            runtime,
            warmings,
            state,
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

    /// Loads a sale that was just seeded. One that was there already is loaded only if its gate is closed.
    pub async fn warm(&self, sale: &SaleId, seeded: Seeded) -> Result<(), GateError> {
        let (done, answer) = oneshot::channel();
        let warming = Warming {
            sale: sale.clone(),
            seeded,
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

/// The task.
struct Watch {
    parts: GateParts,
    /// The incarnation that the reservations were opened on.
    attached: Option<String>,
    told: watch::Sender<GateState>,
}

/// While it lives the engine holds still.
struct AtRest<'a>(&'a dyn Quiesce);

impl Drop for AtRest<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}

impl Watch {
    async fn keep(mut self, mut warmings: mpsc::Receiver<Warming>) {
        let runtime = self.parts.runtime.clone();
        let alarm = self.parts.alarm.clone();
        let (mut rung, mut retry) = (false, RETRY_FIRST);
        loop {
            let checked = self.check(rung).await;
            let open = checked.is_ok();
            self.tell(checked);
            if rung {
                runtime.sleep(RING_GAP).await;
            }
            let wait = if open { CHECK_EVERY } else { retry };
            retry = if open {
                RETRY_FIRST
            } else {
                (retry * 2).min(RETRY_MAX)
            };
            tokio::select! {
                warming = warmings.recv() => match warming {
                    Some(warming) => self.warm(warming).await,
                    None => return,
                },
                () = alarm.rung(), if open => rung = true,
                () = runtime.sleep(wait) => rung = !open,
            }
        }
    }

    fn tell(&self, checked: Result<(), GateError>) {
        let state = match checked {
            Ok(()) => GateState::Open,
            Err(error) => GateState::Closed(with_causes(&error)),
        };
        self.told.send_if_modified(|told| {
            let changed = *told != state;
            if changed {
                match &state {
                    GateState::Open => tracing::info!("the gate is open"),
                    GateState::Closed(why) => tracing::warn!(error = %why, "the gate is closed"),
                }
                *told = state;
            }
            changed
        });
    }

    /// Opens what is closed. `rung`: somebody could not use the store although it may look right.
    async fn check(&mut self, rung: bool) -> Result<(), GateError> {
        let incarnation = self.parts.reservations.incarnation().await?;
        let sales = self.sales().await?;
        let closed = if self.is_known(&incarnation).await? {
            self.closed(sales).await?
        } else {
            sales
        };
        let attached = self.attached.as_ref() == Some(&incarnation);
        if !attached {
            self.attached = None;
        }
        if !closed.is_empty() || self.attached.is_none() {
            let result = self.reopen(&closed, &incarnation).await;
            self.attached = result.is_ok().then_some(incarnation);
            return result;
        }
        if rung {
            self.parts.reservations.attach_checked(&incarnation).await?;
        }
        Ok(())
    }

    /// What it holds was loaded from the database in this run of the store, by this node or another.
    async fn is_known(&self, incarnation: &str) -> Result<bool, GateError> {
        if self.attached.as_deref() == Some(incarnation) {
            return Ok(true);
        }
        if self.attached.is_none() && self.parts.rebuild_at_start {
            return Ok(false);
        }
        Ok(rebuild::last_rebuilt(&self.parts.database)
            .await?
            .as_deref()
            == Some(incarnation))
    }

    async fn sales(&self) -> Result<Vec<SaleId>, GateError> {
        let mut sales: Vec<SaleId> = Vec::new();
        loop {
            let page = self.parts.catalogue.sales(sales.last(), SALES_PAGE).await?;
            let full = page.len() == usize::from(SALES_PAGE);
            sales.extend(page);
            if !full {
                return Ok(sales);
            }
        }
    }

    async fn closed(&self, sales: Vec<SaleId>) -> Result<Vec<SaleId>, GateError> {
        let mut closed = Vec::new();
        for sale in sales {
            if self.parts.reservations.counts(&sale).await?.is_none() {
                closed.push(sale);
            }
        }
        Ok(closed)
    }

    /// Closes these sales, waits until everything that was held is durable or gone, and loads them.
    async fn reopen(&self, sales: &[SaleId], incarnation: &str) -> Result<(), GateError> {
        for sale in sales {
            self.parts.reservations.close_gate(sale).await?;
        }
        let _at_rest = self.at_rest().await?;
        self.load(sales, incarnation).await
    }

    async fn at_rest(&self) -> Result<AtRest<'_>, GateError> {
        let deadline = self.parts.runtime.now().after(PAUSE_MAX);
        let at_rest = AtRest(self.parts.engine.as_ref());
        if at_rest.0.pause(deadline).await {
            Ok(at_rest)
        } else {
            Err(GateError::NotAtRest)
        }
    }

    /// Loads these sales and opens the store for business. A sale that can't be loaded stays closed and does not keep the
    /// others closed.
    async fn load(&self, sales: &[SaleId], incarnation: &str) -> Result<(), GateError> {
        let GateParts {
            runtime,
            database,
            catalogue,
            reservations,
            ..
        } = &self.parts;
        let generation = rebuild::begin(database, incarnation, runtime.now()).await?;
        let mut failed = None;
        for name in sales {
            let Some(sale) = catalogue.sale(name).await? else {
                continue;
            };
            let loaded = rebuild::rebuild(database, reservations.as_ref(), &sale, generation).await;
            match loaded {
                Ok(()) => {}
                Err(error @ RebuildError::Reservations(ReservationError::Misuse(_))) => {
                    tracing::error!(sale = %name, error = %with_causes(&error), "a sale can't be loaded");
                    failed = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        reservations.attach_checked(incarnation).await?;
        rebuild::remember_ended(database, reservations.as_ref(), sales).await?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        rebuild::finish(database, generation).await?;
        tracing::info!(sales = sales.len(), generation, "the gate was rebuilt");
        Ok(())
    }

    async fn warm(&mut self, Warming { sale, seeded, done }: Warming) {
        let result = self.try_warm(sale, seeded).await;
        // The operator may have gone away.
        let _ = done.send(result);
    }

    async fn try_warm(&mut self, sale: SaleId, seeded: Seeded) -> Result<(), GateError> {
        let Some(incarnation) = self.attached.clone() else {
            return self.check(true).await;
        };
        match seeded {
            // No workflow can hold anything of it yet, so nobody need hold still.
            Seeded::Created => self.load(&[sale], &incarnation).await,
            Seeded::Unchanged if self.parts.reservations.counts(&sale).await?.is_none() => {
                self.reopen(&[sale], &incarnation).await
            }
            Seeded::Unchanged => Ok(()),
        }
    }
}
