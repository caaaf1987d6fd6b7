//! The reconciler's own work: rounds over the sales, by itself and by command, and what becomes of what they find.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use engine::store::StoreError;
use engine::workflow::with_causes;
use tokio::sync::mpsc;

use super::finding::Finding;
use super::look::LookError;
use super::twice::Twice;
use super::{Asked, Order, ReconcileError, ReconcilerParts, Seen};
use crate::domain::ids::SaleId;
use crate::ports::reservations::{ReservationError, SaleCounts, StockCounts};
use crate::reconcile::difference::{Difference, Kind, NotLookedAt, ReconcileReport, Repair};

/// Sales whose names are read at a time.
const SALES_PAGE: u16 = 100;
/// After the gate was loaded anew, the round that looks for what other nodes had on their way begins so much later.
const AFTER_REBUILD: Duration = Duration::from_millis(500);
/// A sale that rests, nothing held and no figure changed since it was found to be right, is left out of so many rounds, and then
/// looked at all the same.
const RESTS_MAX: u32 = 30;

/// What tells a difference from others in the log.
type Told = (Kind, SaleId, String);

/// Who makes the rounds.
pub(super) struct Task {
    pub(super) parts: ReconcilerParts,
    seen: Arc<Seen>,
    /// Differences that were told of: each is logged once.
    known: BTreeSet<Told>,
    /// The figures of sales in which nothing is held and nothing differed, and how often they were left out since.
    resting: HashMap<SaleId, (SaleCounts, u32)>,
}

/// A round in the making.
struct Round {
    repair: bool,
    /// Sales that rest are left out.
    may_rest: bool,
    report: ReconcileReport,
    /// What is not mended.
    still: BTreeSet<Told>,
}

impl Task {
    pub(super) fn new(parts: ReconcilerParts, seen: Arc<Seen>) -> Self {
        Self {
            parts,
            seen,
            known: BTreeSet::new(),
            resting: HashMap::new(),
        }
    }

    /// Makes rounds until nobody can order one any more.
    pub(super) async fn work(mut self, mut orders: mpsc::Receiver<Asked>) {
        let runtime = self.parts.runtime.clone();
        let mut rebuilds = self.parts.keeper.rebuilds();
        let mut wait = self.parts.settings.every;
        loop {
            tokio::select! {
                asked = orders.recv() => match asked {
                    Some(Asked { order, done }) => {
                        let report = self.round(&order, false).await;
                        // Who asked may have gone away.
                        let _ = done.send(report);
                    }
                    None => return,
                },
                changed = rebuilds.changed() => {
                    // Without a keeper nothing can be mended.
                    if changed.is_err() {
                        return;
                    }
                    wait = AFTER_REBUILD;
                }
                () = runtime.sleep(wait) => {
                    wait = self.parts.settings.every;
                    self.by_itself().await;
                }
            }
        }
    }

    /// A round over all sales, if it is this node that makes it.
    async fn by_itself(&mut self) {
        let order = Order {
            sale: None,
            repair: true,
        };
        let result = match self.is_my_turn().await {
            Ok(false) => return,
            Ok(true) => self.round(&order, true).await.map(|_| ()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = result {
            tracing::warn!(error = %with_causes(&error), "the gate could not be compared with the database; that is tried again");
        }
    }

    /// Whether this node has the first of the partitions that somebody has.
    async fn is_my_turn(&self) -> Result<bool, StoreError> {
        let partitions = self.parts.database.store().partitions().await?;
        let first = partitions
            .into_iter()
            .filter(|row| !row.retired && row.lease_left_us > 0)
            .min_by_key(|row| row.id);
        Ok(first.is_some_and(|row| row.owner == self.parts.node))
    }

    async fn round(
        &mut self,
        order: &Order,
        may_rest: bool,
    ) -> Result<Arc<ReconcileReport>, ReconcileError> {
        let runtime = self.parts.runtime.clone();
        let mut round = Round {
            repair: order.repair,
            may_rest,
            report: ReconcileReport::begun(runtime.now(), order.repair),
            still: BTreeSet::new(),
        };
        match &order.sale {
            Some(sale) => {
                if !self.sale(sale, &mut round).await? {
                    return Err(ReconcileError::NoSuchSale(sale.clone()));
                }
            }
            None => self.all_sales(&mut round).await?,
        }
        let Round {
            mut report, still, ..
        } = round;
        report.finished_at = runtime.now();
        let report = Arc::new(report);
        let over_all = order.sale.is_none();
        self.seen.round(&report, over_all);
        if over_all {
            self.known = still;
        }
        Ok(report)
    }

    async fn all_sales(&mut self, round: &mut Round) -> Result<(), ReconcileError> {
        let mut last: Option<SaleId> = None;
        loop {
            let page = self
                .parts
                .catalogue
                .sales(last.as_ref(), SALES_PAGE)
                .await?;
            let is_full = page.len() == usize::from(SALES_PAGE);
            for sale in &page {
                if !(round.may_rest && self.rests(sale).await) {
                    self.sale(sale, round).await?;
                }
            }
            last = page.into_iter().next_back();
            if !is_full {
                return Ok(());
            }
        }
    }

    /// Whether nothing has changed in a sale since it was found to be right.
    async fn rests(&mut self, sale: &SaleId) -> bool {
        let Some((counts, times)) = self.resting.get_mut(sale) else {
            return false;
        };
        let now = self.parts.reservations.counts(sale).await;
        let is_same = now.is_ok_and(|now| now.as_ref() == Some(counts));
        *times += 1;
        let rests = is_same && *times <= RESTS_MAX;
        if !rests {
            self.resting.remove(sale);
        }
        rests
    }

    /// Compares one sale; whether there is one of this name.
    async fn sale(&mut self, sale: &SaleId, round: &mut Round) -> Result<bool, ReconcileError> {
        self.resting.remove(sale);
        let (look, findings) = match self.seen_twice(sale, &mut round.report).await {
            Ok(None) => return Ok(false),
            Ok(Some(Twice::Nothing(counts))) => {
                round.report.sales += 1;
                let is_held = |counts: &StockCounts| counts.held > 0;
                if !counts.products.values().any(is_held) {
                    self.resting.insert(sale.clone(), (counts, 0));
                }
                return Ok(true);
            }
            Ok(Some(Twice::Findings(look, findings))) => (look, findings),
            Err(LookError::Store(error)) => return Err(error.into()),
            Err(LookError::Reservations(error)) if error.is_unreadable() => {
                self.nonsense(sale, round, &error).await;
                return Ok(true);
            }
            Err(error) => {
                round.report.not_looked_at.push(NotLookedAt {
                    sale: sale.clone(),
                    why: with_causes(&error),
                });
                return Ok(true);
            }
        };
        round.report.sales += 1;
        let mut found: Vec<(Finding, Difference)> = findings
            .into_iter()
            .map(|finding| {
                let difference = finding.difference(sale);
                (finding, difference)
            })
            .collect();
        if round.repair {
            self.repair(&look, &mut found).await;
        }
        for (finding, difference) in found {
            self.tell(finding.same, &difference, &mut round.still);
            round.report.add(difference);
        }
        Ok(true)
    }

    /// The gate's figures can't even be read: the sale is loaded anew.
    async fn nonsense(&self, sale: &SaleId, round: &mut Round, error: &ReservationError) {
        let mut difference = Finding::about(Kind::CountersDoNotAddUp, "figures", Repair::Rebuild)
            .says(with_causes(error), "figures")
            .difference(sale);
        difference.item = None;
        if round.repair {
            match self.parts.keeper.rebuild(sale).await {
                Ok(()) => difference.repaired = true,
                Err(error) => difference.failed = Some(with_causes(&error)),
            }
        }
        self.tell("nonsense".to_owned(), &difference, &mut round.still);
        round.report.sales += 1;
        round.report.add(difference);
    }

    /// Logs a difference when it is new, and counts it.
    fn tell(&self, same: String, difference: &Difference, still: &mut BTreeSet<Told>) {
        self.seen.difference(difference);
        let Difference {
            kind,
            sale,
            workflow,
            repair,
            repaired,
            failed,
            ..
        } = difference;
        let told = (*kind, sale.clone(), same);
        if !self.known.contains(&told) {
            let workflow = workflow.map(|workflow| workflow.to_string());
            tracing::warn!(
                kind = kind.word(), %sale, workflow.id = workflow, repair = repair.word(), repaired, error = failed,
                "{}", difference.sentence()
            );
        }
        if !repaired {
            still.insert(told);
        }
    }
}
