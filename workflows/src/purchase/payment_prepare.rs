//! Step `payment-prepare`: opens the payment at the gateway, where the buyer is sent to authorise it. It captures nothing.

use std::sync::Arc;

use engine::definition::{Action, Attempt, Outcome, Policy};
use engine::workflow::StepError;

use super::gateway::{self, Call};
use super::{Ports, PurchaseRequest};
use crate::ports::payment_gateway::{PaymentGateway, PrepareRequest, Prepared};

/// The step.
pub struct PaymentPrepare {
    /// The gateway.
    pub gateway: Arc<dyn PaymentGateway>,
}

impl PaymentPrepare {
    /// The step's name.
    pub const NAME: &'static str = "payment-prepare";

    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            gateway: Arc::clone(&ports.gateway),
        }
    }
}

impl Action for PaymentPrepare {
    type Input = PurchaseRequest;
    type Output = Prepared;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn policy(&self) -> Policy {
        gateway::policy()
    }

    /// A repeat under the same key gets the same page, so what is unknown is simply asked for again.
    async fn act(&self, attempt: &Attempt, request: PurchaseRequest) -> Outcome<Prepared> {
        let prepare = PrepareRequest {
            order_id: gateway::order_id(attempt),
            idempotency_key: attempt.key(),
            amount: request.total,
            expires_at: request.hold_until,
        };
        match self.gateway.prepare(&prepare).await {
            Ok(prepared) => Outcome::done(prepared),
            Err(error) => Call::Prepare.failed(attempt, &error),
        }
    }

    fn is_answer(&self, error: &StepError) -> bool {
        gateway::is_answer(error)
    }
}
