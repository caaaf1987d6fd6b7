//! Step `gate-settle`: tells the gate what became of the held units and the coupon: sold and used, or free again after a refund.

use engine::definition::{Action, Attempt, Durability, Outcome, Policy};
use engine::workflow::StepError;
use serde::{Deserialize, Serialize};

use super::gate::{self, Gate};
use super::{Claim, Fulfilment, Ports, PurchaseRequest};
use crate::ports::reservations::{
    ConfirmReply, ConfirmRequest, OperationKey, ReleaseRequest, ReservationError,
};

/// The step.
pub struct GateSettle {
    /// The reservations.
    pub gate: Gate,
}

/// The class of the error when the gate has released what goods were issued for: its answer, about this purchase alone.
const LOST_HOLD: &str = "gate-lost-hold";

/// The gate goes by what became of the purchase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {}

impl GateSettle {
    /// The step's name.
    pub const NAME: &'static str = "gate-settle";

    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            gate: ports.gate.clone(),
        }
    }

    async fn confirm(
        &self,
        attempt: &Attempt,
        request: PurchaseRequest,
        claim: &Claim,
    ) -> Outcome<Settled> {
        let confirm = ConfirmRequest {
            sale: request.sale,
            operation: gate::stock_operation(attempt.workflow),
            claim: claim
                .campaign
                .as_ref()
                .map(|_| gate::coupon_operation(attempt.workflow)),
        };
        match self.gate.reservations.confirm(&confirm).await {
            // Unknown: the gate was rebuilt after the goods were issued, and the rebuild counted them as sold.
            Ok(ConfirmReply::Sold | ConfirmReply::Unknown) => Outcome::done(Settled {}),
            Ok(ConfirmReply::NotHeld) => Outcome::retry(StepError::new(
                LOST_HOLD,
                "the goods are issued, and the gate says that their hold was released: rebuild the gate",
            )),
            Err(error) => self.gate.failed(&error),
        }
    }

    async fn release(
        &self,
        attempt: &Attempt,
        request: &PurchaseRequest,
        claim: &Claim,
    ) -> Result<(), ReservationError> {
        let release = |operation: OperationKey| ReleaseRequest {
            sale: request.sale.clone(),
            operation,
            forget: false,
            only_under: None,
        };
        let reservations = &self.gate.reservations;
        // Whether the gate knew of it or was rebuilt since: it is free now.
        let stock = release(gate::stock_operation(attempt.workflow));
        reservations.release(&stock).await?;
        if claim.campaign.is_some() {
            let coupon = release(gate::coupon_operation(attempt.workflow));
            reservations.release_claim(&coupon).await?;
        }
        Ok(())
    }
}

impl Action for GateSettle {
    type Input = (PurchaseRequest, Claim, Fulfilment);
    type Output = Settled;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn policy(&self) -> Policy {
        gate::policy(Durability::Replayable)
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (request, claim, fulfilment): (PurchaseRequest, Claim, Fulfilment),
    ) -> Outcome<Settled> {
        match fulfilment {
            Fulfilment::Issued { .. } => self.confirm(attempt, request, &claim).await,
            Fulfilment::Refunded { .. } => match self.release(attempt, &request, &claim).await {
                Ok(()) => Outcome::done(Settled {}),
                Err(error) => self.gate.failed(&error),
            },
        }
    }

    fn is_answer(&self, error: &StepError) -> bool {
        gate::is_answer(error) || error.class == LOST_HOLD
    }
}
