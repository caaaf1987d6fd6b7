//! How differences are mended: by the calls that a step would make, or by loading the sale anew.

use engine::planted;
use engine::workflow::with_causes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use super::compare::claim_of;
use super::finding::{Finding, Restored};
use super::look::{Look, workflow_in};
use super::task::Task;
use crate::ports::reservations::{
    ClaimReply, ClaimRequest, ConfirmReply, ConfirmRequest, HoldState, OperationKey, ReleaseReply,
    ReleaseRequest, ReservationError, ReserveReply, ReserveRequest,
};
use crate::purchase::{StockReserve, stock_operation};
use crate::reconcile::difference::{Difference, Repair};
use crate::reconcile::gate;

/// Calls at a time.
const AT_A_TIME: usize = 16;
/// More differences than this are not mended one by one: the sale is loaded anew.
const ONE_BY_ONE_MAX: usize = 1_000;

/// What became of a repair.
enum Mended {
    Yes,
    /// There is nothing to mend any more: a start that was lost was repeated since the look, and has what it holds.
    NoMore,
    /// The gate does not do it: the sale must be loaded anew.
    NotSo,
    Failed(String),
}

impl Task {
    /// Mends what can be mended, and says so in the differences; what is none any more is left out from then on.
    pub(super) async fn repair(&self, look: &Look, found: &mut Vec<(Finding, Difference)>) {
        let needs_rebuild = |(finding, _): &(Finding, _)| finding.repair == Repair::Rebuild;
        let mut is_beyond_calls = found.len() > ONE_BY_ONE_MAX || found.iter().any(needs_rebuild);
        if !is_beyond_calls {
            let calls: Vec<BoxFuture<'_, Mended>> = found
                .iter()
                .map(|(finding, _)| self.mend(look, finding).boxed())
                .collect();
            let mended: Vec<Mended> = stream::iter(calls).buffered(AT_A_TIME).collect().await;
            is_beyond_calls = mended.iter().any(|mended| matches!(mended, Mended::NotSo));
            let mut mended = mended.into_iter();
            found.retain_mut(|(_, difference)| {
                match mended.next() {
                    Some(Mended::Yes) => difference.repaired = true,
                    Some(Mended::NoMore) => return false,
                    Some(Mended::Failed(why)) => difference.failed = Some(why),
                    Some(Mended::NotSo) | None => {}
                }
                true
            });
        }
        if is_beyond_calls {
            let rebuilt = self.parts.keeper.rebuild(&look.sale.sale).await;
            let differences = found.iter_mut().map(|(_, difference)| difference);
            for difference in differences.filter(|difference| !difference.repaired) {
                difference.repair = Repair::Rebuild;
                match &rebuilt {
                    Ok(()) => difference.repaired = true,
                    Err(error) => difference.failed = Some(with_causes(error)),
                }
            }
        }
    }

    async fn mend(&self, look: &Look, finding: &Finding) -> Mended {
        let mended = match (finding.repair, &finding.operation) {
            (Repair::Schedule, _) => {
                let gate = self.parts.reservations.as_ref();
                gate::reschedule(gate, &look.sale, &look.after)
                    .await
                    .map(|_| Mended::Yes)
            }
            (Repair::Release, Some(operation)) => self.release(look, operation).await,
            (Repair::Confirm, Some(operation)) => self.confirm(look, operation).await,
            (Repair::Restore, Some(operation)) => {
                self.restore(look, operation, finding.restored.as_ref())
                    .await
            }
            (Repair::Rebuild, _) | (_, None) => Ok(Mended::NotSo),
        };
        mended.unwrap_or_else(|error| match error {
            // The gate has something else there than it said.
            ReservationError::Misuse(_) => Mended::NotSo,
            error => Mended::Failed(with_causes(&error)),
        })
    }

    async fn release(
        &self,
        look: &Look,
        operation: &OperationKey,
    ) -> Result<Mended, ReservationError> {
        let request = ReleaseRequest {
            sale: look.sale.sale.clone(),
            operation: operation.clone(),
            forget: false,
            only_under: seen_under(look, operation),
        };
        let reservations = &self.parts.reservations;
        let released = if is_hold(operation) {
            reservations.release(&request).await?
        } else {
            reservations.release_claim(&request).await?
        };
        Ok(match released {
            ReleaseReply::Released | ReleaseReply::NothingHeld => Mended::Yes,
            ReleaseReply::MovedOn => Mended::NoMore,
            ReleaseReply::Used => Mended::NotSo,
        })
    }

    async fn confirm(
        &self,
        look: &Look,
        operation: &OperationKey,
    ) -> Result<Mended, ReservationError> {
        let hold = match workflow_in(operation) {
            Some((workflow, _)) => stock_operation(workflow),
            None => operation.clone(),
        };
        let request = ConfirmRequest {
            sale: look.sale.sale.clone(),
            operation: hold,
            claim: claim_of(look, operation),
        };
        Ok(match self.parts.reservations.confirm(&request).await? {
            ConfirmReply::Sold => Mended::Yes,
            ConfirmReply::Unknown | ConfirmReply::NotHeld => Mended::NotSo,
        })
    }

    async fn restore(
        &self,
        look: &Look,
        operation: &OperationKey,
        what: Option<&Restored>,
    ) -> Result<Mended, ReservationError> {
        let reservations = &self.parts.reservations;
        let partition = workflow_in(operation).map(|(workflow, _)| workflow.partition());
        let epoch = partition.and_then(|partition| look.epochs.get(&partition));
        let (sale, operation) = (look.sale.sale.clone(), operation.clone());
        let epoch = epoch.copied().unwrap_or_default();
        let is_there = match what {
            None => false,
            Some(Restored::Hold { buyer, lines }) => {
                let request = ReserveRequest {
                    sale,
                    buyer: buyer.clone(),
                    operation,
                    epoch,
                    lines: lines.clone(),
                    hold: HoldState::Held,
                    remember_refusal: false,
                };
                !matches!(
                    reservations.reserve(&request).await?,
                    ReserveReply::Refused { .. }
                )
            }
            Some(Restored::Coupon {
                campaign,
                buyer,
                purpose,
            }) => {
                let request = ClaimRequest {
                    sale,
                    campaign: campaign.clone(),
                    buyer: buyer.clone(),
                    operation,
                    epoch,
                    purpose: *purpose,
                    remember_refusal: false,
                };
                !matches!(
                    reservations.claim(&request).await?,
                    ClaimReply::Refused { .. }
                )
            }
        };
        Ok(if is_there { Mended::Yes } else { Mended::NotSo })
    }
}

/// The epoch of the operation that was found to be nobody's.
fn seen_under(look: &Look, operation: &OperationKey) -> Option<u64> {
    if planted::is_on("released-whoever-has-it-now") {
        return None;
    }
    look.gate.get(operation)?.epoch
}

fn is_hold(operation: &OperationKey) -> bool {
    workflow_in(operation).is_none_or(|(_, step)| step == StockReserve::NAME)
}
