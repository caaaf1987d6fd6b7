//! Step `refund`, in the place of goods that can't be given: all of the money goes back, and with it the units, the coupon and the
//! serial numbers. What the gateway says about another amount is never taken for a refund: an operator decides.

use std::sync::Arc;

use engine::definition::{Action, Attempt, Outcome, Policy, Probed};
use engine::planted;
use engine::store::Change;
use engine::workflow::StepError;

use super::gateway::{self, Call, Class};
use super::goods_issue::{GoodsIssue, has_pool, recalled, sold};
use super::{Claim, Fulfilment, Paid, Ports, PurchaseRequest, coupon_claim, stock_reserve};
use crate::ports::catalogue::Catalogue;
use crate::ports::payment_gateway::{
    CancelRequest, GatewayError, PaymentGateway, PaymentId, PaymentRecord, PaymentStatus,
};
use crate::ports::serials::Serials;

/// The step.
pub struct Refund {
    /// The gateway.
    pub gateway: Arc<dyn PaymentGateway>,
    /// What is sold.
    pub catalogue: Arc<dyn Catalogue>,
    /// The pools.
    pub serials: Arc<dyn Serials>,
}

/// Where the money stands.
enum Money {
    /// All of it was given back.
    GivenBack,
    /// All of it is still captured.
    Captured,
}

impl Refund {
    /// The step's name.
    pub const NAME: &'static str = "refund";

    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            gateway: Arc::clone(&ports.gateway),
            catalogue: Arc::clone(&ports.catalogue),
            serials: Arc::clone(&ports.serials),
        }
    }

    /// Gives the serial numbers back, and says why there are no goods, as far as the catalogue tells by now.
    async fn give_up_goods(
        &self,
        attempt: &Attempt,
        request: &PurchaseRequest,
    ) -> Result<&'static str, StepError> {
        let sale = sold(self.catalogue.as_ref(), &request.sale).await?;
        let has_pools = request
            .lines
            .iter()
            .any(|line| has_pool(&sale, &line.product));
        if has_pools {
            let given = self.serials.give_back(&sale.sale, attempt.workflow).await;
            given.map_err(|error| StepError::caused_by("serials-unavailable", &error))?;
        }
        Ok(if recalled(&sale, request).is_some() {
            GoodsIssue::RECALLED
        } else if has_pools {
            GoodsIssue::EXHAUSTED
        } else {
            "goods-refused"
        })
    }

    async fn give_money_back(
        &self,
        attempt: &Attempt,
        payment: &PaymentId,
        paid: &Paid,
    ) -> Result<(), GatewayError> {
        let cancel = CancelRequest {
            payment_id: payment.clone(),
            idempotency_key: attempt.key(),
            amount: paid.captured,
            expected_rest: 0,
        };
        let done = self.gateway.cancel(&cancel).await?;
        done.payment
            .verify(&gateway::order_id(attempt), paid.captured)?;
        if done.amount == paid.captured && done.rest == 0 && done.payment.rest() == 0 {
            return Ok(());
        }
        Err(GatewayError::Mismatch {
            expected: format!("{} given back, nothing remaining", paid.captured),
            got: Box::new(done.payment),
        })
    }

    async fn look_up(
        &self,
        attempt: &Attempt,
        payment: &PaymentId,
        paid: &Paid,
    ) -> Result<Money, StepError> {
        let order = gateway::order_id(attempt);
        let found = self.gateway.inquire(&order).await;
        let found = found.map_err(|error| gateway::inquiry_failed(&error))?;
        let record = found.ok_or_else(|| {
            let message = format!("the gateway has no payment of order {order} any more");
            Class::PaymentMissing.because(message)
        })?;
        where_it_stands(&record, &order, payment, paid)
    }
}

impl Action for Refund {
    type Input = (PurchaseRequest, Claim, Paid);
    type Output = Fulfilment;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn policy(&self) -> Policy {
        gateway::policy()
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (request, claim, paid): (PurchaseRequest, Claim, Paid),
    ) -> Outcome<Fulfilment> {
        let reason = match self.give_up_goods(attempt, &request).await {
            Ok(reason) => reason,
            Err(error) => return Outcome::retry(error),
        };
        if let Some(payment) = &paid.payment
            && !planted::is_on("refund-skipped")
            && let Err(error) = self.give_money_back(attempt, payment, &paid).await
        {
            return Call::Cancel.failed(attempt, &error);
        }
        let changes = changes(attempt, &request, &claim);
        Outcome::done_with(refunded(paid, reason), changes)
    }

    /// A payment that somebody gave back in full in the meantime is refunded all the same.
    async fn probe(
        &self,
        attempt: &Attempt,
        (request, claim, paid): (PurchaseRequest, Claim, Paid),
    ) -> Probed<Fulfilment> {
        if let Some(payment) = &paid.payment {
            match self.look_up(attempt, payment, &paid).await {
                Ok(Money::GivenBack) => {}
                Ok(Money::Captured) => return Probed::NoEffect,
                Err(error) => return Probed::Unknown(error),
            }
        }
        match self.give_up_goods(attempt, &request).await {
            Ok(reason) => Probed::Done {
                output: refunded(paid, reason),
                changes: changes(attempt, &request, &claim),
            },
            Err(error) => Probed::Unknown(error),
        }
    }

    fn is_answer(&self, error: &StepError) -> bool {
        gateway::is_answer(error)
    }
}

/// All or nothing: anything in between is nobody's guess.
fn where_it_stands(
    record: &PaymentRecord,
    order: &str,
    payment: &PaymentId,
    paid: &Paid,
) -> Result<Money, StepError> {
    record
        .verify(order, paid.captured)
        .map_err(|error| Class::RefundMismatch.caused_by(&error))?;
    match record.status {
        PaymentStatus::Cancelled | PaymentStatus::Approved
            if record.payment_id == *payment && record.rest() == 0 =>
        {
            Ok(Money::GivenBack)
        }
        PaymentStatus::Approved if record.payment_id == *payment && record.refunded == 0 => {
            Ok(Money::Captured)
        }
        _ => {
            let message = format!(
                "payment {payment} is to be given back in full, and the gateway has {record}"
            );
            Err(Class::RefundMismatch.because(message))
        }
    }
}

/// The purchase's units and its coupon are free again: what both compensations would write.
fn changes(attempt: &Attempt, request: &PurchaseRequest, claim: &Claim) -> Vec<Change> {
    let mut changes = stock_reserve::given_back(attempt, request);
    changes.extend(coupon_claim::given_back(claim, request));
    changes
}

fn refunded(paid: Paid, reason: &str) -> Fulfilment {
    Fulfilment::Refunded {
        payment: paid.payment,
        amount: paid.captured,
        reason: reason.to_owned(),
    }
}
