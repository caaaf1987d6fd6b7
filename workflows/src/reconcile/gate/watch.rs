//! The keeper's own work: it checks the gate again and again, and loads what is closed or wrong.

use std::time::Duration;

use engine::workflow::with_causes;
use tokio::sync::{mpsc, watch};

use super::{GateError, GateParts, GateState, PAUSE_MAX, Quiesce, Warming, Why, reschedule};
use crate::domain::ids::SaleId;
use crate::ports::catalogue::Seeded;
use crate::ports::reservations::ReservationError;
use crate::reconcile::rebuild::{self, RebuildError};

/// The gate is checked so often when nobody rings.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The least time between two checks that were rung for.
const RING_GAP: Duration = Duration::from_millis(100);
/// After a failed check the next one follows after this, doubling to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A rebuild says so often that it is still at it: well within [`rebuild::LEASE`].
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Whoever waits for another node's rebuild looks again after this.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(200);
/// Names read by one query.
const SALES_PAGE: u16 = 500;

/// Who keeps watch.
pub(super) struct Watch {
    parts: GateParts,
    /// The incarnation that the reservations were opened on.
    attached: Option<String>,
    told: watch::Sender<GateState>,
    /// How often something was loaded.
    rebuilt: watch::Sender<u64>,
}

/// While it lives the engine holds still.
struct AtRest<'a>(&'a dyn Quiesce);

impl Drop for AtRest<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}

impl Watch {
    pub(super) fn new(
        parts: GateParts,
        told: watch::Sender<GateState>,
        rebuilt: watch::Sender<u64>,
    ) -> Self {
        Self {
            parts,
            attached: None,
            told,
            rebuilt,
        }
    }

    /// Keeps the gate open until nobody needs it any more.
    pub(super) async fn keep(mut self, mut warmings: mpsc::Receiver<Warming>) {
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
        let is_known = self.is_known(&incarnation).await?;
        let closed = if is_known {
            self.closed(sales).await?
        } else {
            sales
        };
        let is_attached = self.attached.as_ref() == Some(&incarnation);
        if is_known && closed.is_empty() {
            if rung || !is_attached {
                self.parts.reservations.attach_checked(&incarnation).await?;
            }
            if !is_attached {
                self.attached = Some(incarnation);
                self.rebuilt.send_modify(|times| *times += 1);
            }
            return Ok(());
        }
        self.attached = None;
        self.reopen(&closed, &incarnation).await?;
        self.attached = Some(incarnation);
        Ok(())
    }

    /// What it holds was loaded from the database in this run of the store, by this node or another, and no other run was
    /// loaded since.
    async fn is_known(&self, incarnation: &str) -> Result<bool, GateError> {
        if self.attached.is_none() && self.parts.rebuild_at_start {
            return Ok(false);
        }
        let last = rebuild::last_rebuilt(&self.parts.database).await?;
        Ok(last.as_deref() == Some(incarnation))
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

    /// The sales whose gate is closed. One that goes by an older schedule than the database's is told the new one.
    async fn closed(&self, sales: Vec<SaleId>) -> Result<Vec<SaleId>, GateError> {
        let mut closed = Vec::new();
        for name in sales {
            let Some(counts) = self.parts.reservations.counts(&name).await? else {
                closed.push(name);
                continue;
            };
            if let Some(sale) = self.parts.catalogue.sale(&name).await? {
                reschedule(self.parts.reservations.as_ref(), &sale, &counts).await?;
            }
        }
        Ok(closed)
    }

    /// Closes these sales, waits until everything that was held is durable or gone, and loads them: one node at a time.
    async fn reopen(&self, sales: &[SaleId], incarnation: &str) -> Result<(), GateError> {
        let generation = self.begin(incarnation).await?;
        self.renewing(generation, async {
            for sale in sales {
                self.parts.reservations.close_gate(sale).await?;
            }
            let _at_rest = self.at_rest().await?;
            self.load(sales, incarnation, generation).await
        })
        .await
    }

    async fn begin(&self, incarnation: &str) -> Result<u64, GateError> {
        let GateParts {
            runtime, database, ..
        } = &self.parts;
        Ok(rebuild::begin(database, incarnation, runtime.now()).await?)
    }

    /// Does the work of this generation, and says all the while that somebody is at it. When it fails, the next one need not
    /// wait.
    async fn renewing(
        &self,
        generation: u64,
        work: impl Future<Output = Result<(), GateError>> + Send,
    ) -> Result<(), GateError> {
        let GateParts {
            runtime, database, ..
        } = &self.parts;
        let mut work = std::pin::pin!(work);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                () = runtime.sleep(RENEW_EVERY) => rebuild::renew(database, generation, runtime.now()).await?,
            }
        };
        if result.is_err() {
            rebuild::give_up(database, generation).await?;
        }
        result
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
    async fn load(
        &self,
        sales: &[SaleId],
        incarnation: &str,
        generation: u64,
    ) -> Result<(), GateError> {
        let GateParts {
            database,
            catalogue,
            reservations,
            ..
        } = &self.parts;
        let mut failed = None;
        for name in sales {
            let Some(sale) = catalogue.sale_now(name).await? else {
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
        if let Some(error) = failed {
            return Err(error.into());
        }
        rebuild::finish(database, generation).await?;
        self.rebuilt.send_modify(|times| *times += 1);
        tracing::info!(sales = sales.len(), generation, "the gate was rebuilt");
        Ok(())
    }

    async fn warm(&mut self, Warming { sale, why, done }: Warming) {
        let result = loop {
            match self.try_warm(&sale, why).await {
                Err(GateError::Rebuild(RebuildError::Elsewhere { .. })) if !done.is_closed() => {
                    self.parts.runtime.sleep(ELSEWHERE_PAUSE).await;
                }
                result => break result,
            }
        };
        // The operator may have gone away.
        let _ = done.send(result);
    }

    async fn try_warm(&mut self, sale: &SaleId, why: Why) -> Result<(), GateError> {
        let Some(incarnation) = self.attached.clone() else {
            return self.check(true).await;
        };
        let sales = std::slice::from_ref(sale);
        match why {
            // No workflow can hold anything of it yet, so nobody need hold still.
            Why::Seeded(Seeded::Created) => {
                let generation = self.begin(&incarnation).await?;
                self.renewing(generation, self.load(sales, &incarnation, generation))
                    .await
            }
            Why::Seeded(Seeded::Unchanged)
                if self.parts.reservations.counts(sale).await?.is_some() =>
            {
                Ok(())
            }
            Why::Seeded(Seeded::Unchanged) | Why::Wrong => self.reopen(sales, &incarnation).await,
        }
    }
}
