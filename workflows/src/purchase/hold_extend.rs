//! Step `hold-extend`: reads the answer that was waited for, and tells the gate that the charge follows. Everything but an
//! authorisation that came in time ends the purchase here, before anything is charged.

use engine::definition::{Action, Attempt, Awaited, Durability, Outcome, Policy};
use engine::planted;
use engine::workflow::StepError;
use serde::{Deserialize, Serialize};

use super::authorisation::{Authorisation, charge_with};
use super::gate::{self, Gate};
use super::{Ports, PurchaseRequest};
use crate::ports::payment_gateway::PaymentToken;
use crate::ports::reservations::{ExtendReply, ExtendRequest};

/// The step.
pub struct HoldExtend {
    /// The reservations.
    pub gate: Gate,
}

/// The units are held for the charge that follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chargeable {
    /// What the buyer authorised.
    pub token: PaymentToken,
}

impl HoldExtend {
    /// The step's name.
    pub const NAME: &'static str = "hold-extend";
    /// The code of the refusal when the buyer took too long.
    pub const EXPIRED: &'static str = "hold-expired";
    /// The code of the refusal when the buyer cancelled.
    pub const CANCELLED: &'static str = "cancelled-by-buyer";

    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            gate: ports.gate.clone(),
        }
    }

    async fn extend(
        &self,
        attempt: &Attempt,
        request: PurchaseRequest,
        token: PaymentToken,
    ) -> Outcome<Chargeable> {
        let extend = ExtendRequest {
            sale: request.sale,
            operation: gate::stock_operation(attempt.workflow),
        };
        match self.gate.reservations.extend(&extend).await {
            Ok(ExtendReply::Paying) => Outcome::done(Chargeable { token }),
            Ok(ExtendReply::NotHeld) if planted::is_on("charged-without-a-hold") => {
                Outcome::done(Chargeable { token })
            }
            Ok(ExtendReply::NotHeld) => Outcome::refused(
                "hold-lost",
                "The units are no longer held for you; you were not charged.",
            ),
            Err(error) => self.gate.failed(&error),
        }
    }
}

impl Action for HoldExtend {
    type Input = (PurchaseRequest, Awaited<Authorisation>);
    type Output = Chargeable;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn policy(&self) -> Policy {
        gate::policy(Durability::Replayable)
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (request, answer): (PurchaseRequest, Awaited<Authorisation>),
    ) -> Outcome<Chargeable> {
        match charge_with(answer) {
            Ok(token) => self.extend(attempt, request, token).await,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn is_answer(&self, error: &StepError) -> bool {
        gate::is_answer(error)
    }
}
