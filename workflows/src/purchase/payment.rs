//! Step `payment`, the pivot of both sagas: captures the purchase's total once, with the token that the buyer stored or the
//! authorisation that the buyer gave. Unknown is never taken for no: it is asked about, by order, until it is resolved, or waits
//! for an operator.

use std::sync::Arc;

use engine::definition::{Action, Attempt, Outcome, Policy, Probed};
use engine::planted;
use engine::workflow::{Refusal, StepError};
use serde::{Deserialize, Serialize};

use super::gateway::{self, Call, Class, order_id};
use super::{Chargeable, PaymentMeans, Ports, PurchaseRequest};
use crate::domain::money::Money;
use crate::ports::payment_gateway::{
    Approval, ApproveRequest, PaymentGateway, PaymentId, PaymentRecord, PaymentStatus, PaymentToken,
};

/// The step of a purchase with stored means of payment.
pub struct Payment {
    /// The gateway.
    pub gateway: Arc<dyn PaymentGateway>,
}

/// The step of a purchase that the buyer authorised at the gateway.
pub struct AuthorisedPayment {
    /// The gateway.
    pub gateway: Arc<dyn PaymentGateway>,
}

/// What was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// The gateway's name of the payment; absent when a coupon left nothing to pay, and so nobody was asked.
    pub payment: Option<PaymentId>,
    /// What was captured: the purchase's total, to the unit.
    pub captured: Money,
}

impl Payment {
    /// The step's name, in both sagas.
    pub const NAME: &'static str = "payment";

    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            gateway: Arc::clone(&ports.gateway),
        }
    }
}

impl AuthorisedPayment {
    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            gateway: Arc::clone(&ports.gateway),
        }
    }
}

impl Action for Payment {
    type Input = PurchaseRequest;
    type Output = Paid;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn policy(&self) -> Policy {
        gateway::policy()
    }

    async fn act(&self, attempt: &Attempt, request: PurchaseRequest) -> Outcome<Paid> {
        if request.total.amount == 0 {
            return Outcome::done(nothing_to_pay(&request));
        }
        match &request.payment {
            PaymentMeans::Stored { token } => {
                capture(self.gateway.as_ref(), attempt, &request, token.clone()).await
            }
            PaymentMeans::Redirect => Outcome::refused(
                "payment-not-authorised",
                "The payment was not authorised; you were not charged.",
            ),
        }
    }

    async fn probe(&self, attempt: &Attempt, request: PurchaseRequest) -> Probed<Paid> {
        look_up(self.gateway.as_ref(), attempt, &request).await
    }

    fn is_answer(&self, error: &StepError) -> bool {
        gateway::is_answer(error)
    }
}

impl Action for AuthorisedPayment {
    type Input = (PurchaseRequest, Chargeable);
    type Output = Paid;

    fn name(&self) -> &str {
        Payment::NAME
    }

    fn policy(&self) -> Policy {
        gateway::policy()
    }

    async fn act(
        &self,
        attempt: &Attempt,
        (request, charge): (PurchaseRequest, Chargeable),
    ) -> Outcome<Paid> {
        capture(self.gateway.as_ref(), attempt, &request, charge.token).await
    }

    async fn probe(
        &self,
        attempt: &Attempt,
        (request, _): (PurchaseRequest, Chargeable),
    ) -> Probed<Paid> {
        look_up(self.gateway.as_ref(), attempt, &request).await
    }

    fn is_answer(&self, error: &StepError) -> bool {
        gateway::is_answer(error)
    }
}

/// Every attempt has the step's key: the gateway captures once, whatever is repeated.
async fn capture(
    payments: &dyn PaymentGateway,
    attempt: &Attempt,
    request: &PurchaseRequest,
    payment_token: PaymentToken,
) -> Outcome<Paid> {
    let approve = ApproveRequest {
        order_id: order_id(attempt),
        idempotency_key: if planted::is_on("charged-under-another-key") {
            format!("{}/{}", attempt.key(), attempt.number)
        } else {
            attempt.key()
        },
        amount: request.total,
        payment_token,
    };
    match payments.approve(&approve).await {
        Ok(Approval::Approved(record)) => match paid(&record, attempt, request) {
            Ok(paid) => Outcome::done(paid),
            Err(error) => Outcome::Unknown(error),
        },
        Ok(Approval::Declined { message, .. }) => Outcome::Refused(declined(&message)),
        Err(error) => Call::Approve.failed(attempt, &error),
    }
}

async fn look_up(
    payments: &dyn PaymentGateway,
    attempt: &Attempt,
    request: &PurchaseRequest,
) -> Probed<Paid> {
    if request.total.amount == 0 {
        return Probed::Done {
            output: nothing_to_pay(request),
            changes: Vec::new(),
        };
    }
    match payments.inquire(&order_id(attempt)).await {
        Ok(Some(record)) if record.status == PaymentStatus::Declined => {
            Probed::Refused(declined_record(&record))
        }
        Ok(Some(record)) => match paid(&record, attempt, request) {
            Ok(paid) => Probed::Done {
                output: paid,
                changes: Vec::new(),
            },
            Err(error) => Probed::Unknown(error),
        },
        Ok(None) => Probed::NoEffect,
        Err(error) => Probed::Unknown(gateway::inquiry_failed(&error)),
    }
}

fn nothing_to_pay(request: &PurchaseRequest) -> Paid {
    Paid {
        payment: None,
        captured: request.total,
    }
}

/// The one way to "paid": this order, this amount, and none of it given back.
fn paid(
    record: &PaymentRecord,
    attempt: &Attempt,
    request: &PurchaseRequest,
) -> Result<Paid, StepError> {
    record
        .verify(&order_id(attempt), request.total)
        .map_err(|error| Class::PaymentMismatch.caused_by(&error))?;
    if record.status != PaymentStatus::Approved || record.rest() != request.total.amount {
        let message = format!("the payment was given back at the gateway: {record}");
        return Err(Class::PaymentGivenBack.because(message));
    }
    Ok(Paid {
        payment: Some(record.payment_id.clone()),
        captured: record.amount,
    })
}

/// What a buyer is told whose payment the gateway does not make, with the gateway's own sentence.
pub(super) fn declined(message: &str) -> Refusal {
    Refusal::new(
        "payment-declined",
        format!("The payment was declined: {message}"),
    )
}

fn declined_record(record: &PaymentRecord) -> Refusal {
    let message = record
        .decline
        .as_ref()
        .map_or("the gateway gives no reason", |decline| &decline.message);
    declined(message)
}
