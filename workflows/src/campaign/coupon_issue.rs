//! Step `coupon-issue`: gives a buyer a coupon to keep until a purchase takes it.

use engine::WorkflowId;
use engine::definition::{Action, Attempt, Compensable, Durability, Outcome, Policy, Probed};
use engine::store::Change;
use engine::store::change::{ChangeKind, Value};
use engine::workflow::{Earlier, Refusal, StepError};
use serde::{Deserialize, Serialize};

use super::ClaimAhead;
use crate::ports::catalogue::CouponState;
use crate::ports::reservations::{
    ClaimPurpose, ClaimRefusal, ClaimReply, ClaimRequest, OperationKey, ReleaseReply,
    ReleaseRequest,
};
use crate::purchase::{self, Gate, gate};
use crate::tables::{COUPON_STATES, COUPONS};

/// The step.
pub struct CouponIssue {
    /// The reservations.
    pub gate: Gate,
}

/// The buyer has a coupon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {}

/// The key under which `workflow` claimed a coupon ahead.
pub fn issue_operation(workflow: WorkflowId) -> OperationKey {
    gate::operation(workflow, CouponIssue::NAME)
}

impl CouponIssue {
    /// The step's name.
    pub const NAME: &'static str = "coupon-issue";

    async fn claim(
        &self,
        attempt: &Attempt,
        request: &ClaimAhead,
        remember_refusal: bool,
    ) -> Outcome<Issued> {
        let claim = ClaimRequest {
            sale: request.sale.clone(),
            campaign: request.campaign.clone(),
            buyer: request.buyer.clone(),
            operation: issue_operation(attempt.workflow),
            epoch: attempt.epoch.0,
            purpose: ClaimPurpose::Ahead,
            remember_refusal,
        };
        match self.gate.reservations.claim(&claim).await {
            Ok(ClaimReply::Held { .. } | ClaimReply::Used { .. }) => {
                Outcome::done_with(Issued {}, rows(attempt, request))
            }
            Ok(ClaimReply::Refused { reason, earlier }) => {
                Outcome::Refused(purchase::claim_refusal(&reason, earlier))
            }
            Err(error) => self.gate.failed(&error),
        }
    }
}

impl Action for CouponIssue {
    type Input = ClaimAhead;
    type Output = Issued;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn policy(&self) -> Policy {
        gate::policy(Durability::Replayable)
    }

    async fn act(&self, attempt: &Attempt, request: ClaimAhead) -> Outcome<Issued> {
        self.claim(attempt, &request, attempt.number > 1).await
    }

    /// Asks by doing it again: a claim of an earlier attempt is found, and a refusal is remembered against a late copy of it.
    async fn probe(&self, attempt: &Attempt, request: ClaimAhead) -> Probed<Issued> {
        gate::probed(self.claim(attempt, &request, true).await)
    }

    fn is_answer(&self, error: &StepError) -> bool {
        gate::is_answer(error)
    }
}

impl Compensable for CouponIssue {
    async fn compensate(
        &self,
        attempt: &Attempt,
        request: ClaimAhead,
        output: Option<Issued>,
    ) -> Outcome<()> {
        let release = ReleaseRequest {
            sale: request.sale.clone(),
            operation: issue_operation(attempt.workflow),
            forget: attempt.forget,
            only_under: None,
        };
        match self.gate.reservations.release_claim(&release).await {
            // The buyer has used what was claimed, so the rows are the purchase's.
            Ok(ReleaseReply::Used) => Outcome::done(()),
            // Whether it had been claimed or not: it is free now. The rows are there just when the output is.
            Ok(_) if output.is_some() => Outcome::done_with((), rows_removed(&request)),
            Ok(_) => Outcome::done(()),
            Err(error) => self.gate.failed(&error),
        }
    }
}

fn rows(attempt: &Attempt, request: &ClaimAhead) -> Vec<Change> {
    let refusal = |reason| purchase::claim_refusal(&reason, Earlier::RuledOut);
    let row = vec![
        attempt.workflow.bytes().as_slice().into(),
        Value::Null,
        CouponState::Issued.number().into(),
        request.accepted_at.0.into(),
    ];
    vec![
        Change {
            table: &COUPONS,
            key: vec![
                request.campaign.as_str().into(),
                request.buyer.as_str().into(),
            ],
            kind: ChangeKind::Insert(row),
            refusal: refusal(ClaimRefusal::CouponAlreadyUsed),
        },
        purchase::coupons_issued(
            &request.campaign,
            1,
            refusal(ClaimRefusal::CouponsExhausted),
        ),
    ]
}

/// Only a coupon that no purchase has can be taken back.
fn rows_removed(request: &ClaimAhead) -> Vec<Change> {
    let not_there = Refusal::new(
        "coupon-rows-missing",
        "The row of the coupon is not there, or a purchase has it.",
    );
    vec![
        Change {
            table: &COUPON_STATES,
            key: vec![
                request.campaign.as_str().into(),
                request.buyer.as_str().into(),
                CouponState::Issued.number().into(),
            ],
            kind: ChangeKind::Delete,
            refusal: not_there.clone(),
        },
        purchase::coupons_issued(&request.campaign, -1, not_there),
    ]
}
