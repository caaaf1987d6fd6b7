//! Step `payment`, the pivot: captures the purchase's total once. Unknown is never taken for no: it is asked about, by order,
//! until it is resolved, or waits for an operator.

use std::sync::Arc;
use std::time::Duration;

use engine::definition::{Action, Attempt, Durability, Outcome, Policy, Probed, RetryPolicy};
use engine::workflow::{Refusal, StepError};
use serde::{Deserialize, Serialize};

use super::{PaymentMeans, PurchaseRequest};
use crate::domain::money::Money;
use crate::ports::payment_gateway::{
    Approval, ApproveRequest, Decline, GatewayError, PaymentGateway, PaymentId, PaymentRecord,
    PaymentStatus,
};

/// The step.
pub struct Payment {
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
    /// The step's name.
    pub const NAME: &'static str = "payment";
}

impl Action for Payment {
    type Input = PurchaseRequest;
    type Output = Paid;

    fn name(&self) -> &str {
        Self::NAME
    }

    /// Longer than the client's own limit of 10 s, so that the client's verdict is heard; ten attempts are about 40 s.
    fn policy(&self) -> Policy {
        Policy {
            attempt_timeout: Duration::from_secs(15),
            retry: RetryPolicy {
                first_delay: Duration::from_millis(200),
                delay_max: Duration::from_secs(10),
                attempts_max: 10,
                elapsed_max: None,
            },
            port: Some("payment-gateway"),
            durability: Durability::Barrier,
        }
    }

    async fn act(&self, attempt: &Attempt, request: PurchaseRequest) -> Outcome<Paid> {
        if request.total.amount == 0 {
            return Outcome::done(nothing_to_pay(&request));
        }
        let PaymentMeans::Stored { token } = &request.payment;
        let approve = ApproveRequest {
            order_id: order_id(attempt),
            idempotency_key: attempt.key(),
            amount: request.total,
            payment_token: token.clone(),
        };
        match self.gateway.approve(&approve).await {
            Ok(Approval::Approved(record)) => match paid(&record, attempt, &request) {
                Ok(paid) => Outcome::done(paid),
                Err(error) => Outcome::Unknown(error),
            },
            Ok(Approval::Declined { code, message }) => {
                Outcome::Refused(declined(&Decline { code, message }))
            }
            Err(error) => failed(attempt, &error),
        }
    }

    async fn probe(&self, attempt: &Attempt, request: PurchaseRequest) -> Probed<Paid> {
        if request.total.amount == 0 {
            return Probed::Done {
                output: nothing_to_pay(&request),
                changes: Vec::new(),
            };
        }
        match self.gateway.inquire(&order_id(attempt)).await {
            Ok(Some(record)) if record.status == PaymentStatus::Declined => {
                Probed::Refused(declined_record(&record))
            }
            Ok(Some(record)) => match paid(&record, attempt, &request) {
                Ok(paid) => Probed::Done {
                    output: paid,
                    changes: Vec::new(),
                },
                Err(error) => Probed::Unknown(error),
            },
            Ok(None) => Probed::NoEffect,
            Err(error) => Probed::Unknown(StepError::caused_by("payment-inquiry-failed", &error)),
        }
    }
}

/// The gateway's name of the purchase: the workflow's id.
fn order_id(attempt: &Attempt) -> String {
    attempt.workflow.to_string()
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
        .map_err(|error| StepError::caused_by("payment-mismatch", &error))?;
    if record.status != PaymentStatus::Approved || record.rest() != request.total.amount {
        let message = format!("the payment was given back at the gateway: {record}");
        return Err(StepError::new("payment-given-back", message));
    }
    Ok(Paid {
        payment: Some(record.payment_id.clone()),
        captured: record.amount,
    })
}

/// What a failed approval means. What is not known to have had no effect is unknown.
fn failed(attempt: &Attempt, error: &GatewayError) -> Outcome<Paid> {
    let caused_by = |class: &str| StepError::caused_by(class, error);
    match error {
        GatewayError::NotSent(_) => Outcome::retry(caused_by("gateway-unreachable")),
        GatewayError::Busy { retry_after } => Outcome::Retry {
            error: caused_by("gateway-busy"),
            after: *retry_after,
        },
        GatewayError::InProgress => Outcome::Unknown(caused_by("payment-in-progress")),
        GatewayError::MaybeSent(_) => Outcome::Unknown(caused_by("gateway-unanswered")),
        GatewayError::Conflict { .. } => Outcome::Unknown(caused_by("payment-conflict")),
        GatewayError::Mismatch { .. } => Outcome::Unknown(caused_by("payment-mismatch")),
        // This request had no effect. An earlier one may have had: then the rejection says nothing about the money.
        GatewayError::Rejected { .. } if attempt.number > 1 => {
            Outcome::Unknown(caused_by("payment-rejected"))
        }
        GatewayError::Rejected { .. } => Outcome::Refused(rejected(error)),
    }
}

fn declined(decline: &Decline) -> Refusal {
    Refusal::new(
        "payment-declined",
        format!("The payment was declined: {}", decline.message),
    )
}

fn declined_record(record: &PaymentRecord) -> Refusal {
    let unexplained = || Decline {
        code: "unexplained".to_owned(),
        message: "the gateway gives no reason".to_owned(),
    };
    declined(&record.decline.clone().unwrap_or_else(unexplained))
}

/// Our mistake or the configuration's: the buyer is told no more than that, the log has the rest.
fn rejected(error: &GatewayError) -> Refusal {
    tracing::error!(error = %error, "the payment gateway refuses our requests");
    Refusal::new(
        "payment-rejected",
        "The payment could not be made; you were not charged.",
    )
}
