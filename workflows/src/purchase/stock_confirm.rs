//! Step `stock-confirm`: tells the gate that the held units are sold and the coupon is used.

use engine::definition::{Action, Attempt, Durability, Outcome, Policy};
use engine::workflow::StepError;
use serde::{Deserialize, Serialize};

use super::gate::{self, Gate};
use super::{Claim, PurchaseRequest};
use crate::ports::reservations::{ConfirmReply, ConfirmRequest};

/// The step.
pub struct StockConfirm {
    /// The reservations.
    pub gate: Gate,
}

/// The gate counts the units as sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {}

impl StockConfirm {
    /// The step's name.
    pub const NAME: &'static str = "stock-confirm";
}

impl Action for StockConfirm {
    type Input = (PurchaseRequest, Claim);
    type Output = Confirmed;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn policy(&self) -> Policy {
        gate::policy(Durability::Replayable)
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (request, claim): (PurchaseRequest, Claim),
    ) -> Outcome<Confirmed> {
        let confirm = ConfirmRequest {
            sale: request.sale,
            operation: gate::stock_operation(attempt.workflow),
            claim: claim
                .campaign
                .map(|_| gate::coupon_operation(attempt.workflow)),
        };
        match self.gate.reservations.confirm(&confirm).await {
            // Unknown: the gate was rebuilt after the goods were issued, and the rebuild counted them as sold.
            Ok(ConfirmReply::Sold | ConfirmReply::Unknown) => Outcome::done(Confirmed {}),
            Ok(ConfirmReply::NotHeld) => Outcome::retry(StepError::new(
                "gate-lost-hold",
                "the goods are issued, and the gate says that their hold was released: rebuild the gate",
            )),
            Err(error) => self.gate.failed(&error),
        }
    }
}
