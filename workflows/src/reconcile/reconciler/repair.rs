//! How differences are mended: by the calls that a step would make, or by loading the sale anew.

use engine::workflow::with_causes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use super::compare::claim_of;
use super::finding::{Finding, Restored};
use super::look::{Look, workflow_in};
use super::task::Task;
use crate::ports::reservations::{
    ClaimReply, ClaimRequest, ConfirmReply, ConfirmRequest, HoldState, OperationKey,
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
    /// The gate does not do it: the sale must be loaded anew.
    NotSo,
    Failed(String),
}

impl Task {
    /// Mends what can be mended, and says so in the differences.
    pub(super) async fn repair(
        &self,
        look: &Look,
        findings: &[Finding],
        differences: &mut [Difference],
    ) {
        let needs_rebuild = |finding: &Finding| finding.repair == Repair::Rebuild;
        let mut is_beyond_calls =
            findings.len() > ONE_BY_ONE_MAX || findings.iter().any(needs_rebuild);
        if !is_beyond_calls {
            let calls: Vec<BoxFuture<'_, Mended>> = findings
                .iter()
                .map(|finding| self.mend(look, finding).boxed())
                .collect();
            let mended: Vec<Mended> = stream::iter(calls).buffered(AT_A_TIME).collect().await;
            is_beyond_calls = mended.iter().any(|mended| matches!(mended, Mended::NotSo));
            for (difference, mended) in differences.iter_mut().zip(mended) {
                match mended {
                    Mended::Yes => difference.repaired = true,
                    Mended::NotSo => {}
                    Mended::Failed(why) => difference.failed = Some(why),
                }
            }
        }
        if is_beyond_calls {
            let rebuilt = self.parts.keeper.rebuild(&look.sale.sale).await;
            let open = differences
                .iter_mut()
                .filter(|difference| !difference.repaired);
            for difference in open {
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
        };
        let reservations = &self.parts.reservations;
        if is_hold(operation) {
            reservations.release(&request).await?;
        } else {
            reservations.release_claim(&request).await?;
        }
        Ok(Mended::Yes)
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

fn is_hold(operation: &OperationKey) -> bool {
    workflow_in(operation).is_none_or(|(_, step)| step == StockReserve::NAME)
}
