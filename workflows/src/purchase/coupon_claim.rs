//! Step `coupon-claim`: takes one coupon of the purchase's campaign for the buyer, and gives exactly that one back.

use engine::definition::{Action, Attempt, Compensable, Durability, Outcome, Policy, Probed};
use engine::store::Change;
use engine::store::change::ChangeKind;
use engine::workflow::Refusal;
use serde::{Deserialize, Serialize};

use super::PurchaseRequest;
use super::gate::{self, Gate};
use crate::domain::ids::CampaignId;
use crate::ports::reservations::{ClaimRefusal, ClaimReply, ClaimRequest, ReleaseRequest};
use crate::tables::{CAMPAIGNS, COUPONS};

/// The step.
pub struct CouponClaim {
    /// The reservations.
    pub gate: Gate,
}

/// What the step took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The campaign whose coupon the buyer has now; absent when the purchase uses none.
    pub campaign: Option<CampaignId>,
}

impl CouponClaim {
    /// The step's name.
    pub const NAME: &'static str = "coupon-claim";

    async fn claim(
        &self,
        attempt: &Attempt,
        request: &PurchaseRequest,
        remember_refusal: bool,
    ) -> Outcome<Claim> {
        let Some(campaign) = request.campaign.clone() else {
            return Outcome::done(Claim { campaign: None });
        };
        let claim = ClaimRequest {
            sale: request.sale.clone(),
            campaign: campaign.clone(),
            buyer: request.buyer.clone(),
            operation: gate::coupon_operation(attempt.workflow),
            remember_refusal,
        };
        match self.gate.reservations.claim(&claim).await {
            Ok(ClaimReply::Held | ClaimReply::Used) => {
                let changes = taken(attempt, &campaign, request);
                Outcome::done_with(
                    Claim {
                        campaign: Some(campaign),
                    },
                    changes,
                )
            }
            Ok(ClaimReply::Refused {
                reason,
                buyer_holds,
            }) => Outcome::Refused(refusal(&reason, buyer_holds)),
            Err(error) => self.gate.failed(&error),
        }
    }
}

impl Action for CouponClaim {
    type Input = PurchaseRequest;
    type Output = Claim;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn policy(&self) -> Policy {
        gate::policy(Durability::Replayable)
    }

    async fn act(&self, attempt: &Attempt, request: PurchaseRequest) -> Outcome<Claim> {
        self.claim(attempt, &request, attempt.number > 1).await
    }

    /// Asks by doing it again: a claim of an earlier attempt is found, and a refusal is remembered against a late copy of it.
    async fn probe(&self, attempt: &Attempt, request: PurchaseRequest) -> Probed<Claim> {
        gate::probed(self.claim(attempt, &request, true).await)
    }
}

impl Compensable for CouponClaim {
    async fn compensate(
        &self,
        attempt: &Attempt,
        request: PurchaseRequest,
        output: Option<Claim>,
    ) -> Outcome<()> {
        if request.campaign.is_none() {
            return Outcome::done(());
        }
        let operation = gate::coupon_operation(attempt.workflow);
        let release = ReleaseRequest {
            sale: request.sale.clone(),
            operation,
            forget: attempt.forget,
        };
        match self.gate.reservations.release_claim(&release).await {
            // Whether it had been claimed or not: it is free now. The rows are there just when the output is.
            Ok(_) => Outcome::done_with(
                (),
                output.map_or_else(Vec::new, |claim| given_back(claim, &request)),
            ),
            Err(error) => self.gate.failed(&error),
        }
    }
}

fn taken(attempt: &Attempt, campaign: &CampaignId, request: &PurchaseRequest) -> Vec<Change> {
    let workflow = attempt.workflow.bytes().as_slice().into();
    vec![
        Change {
            table: &COUPONS,
            key: vec![campaign.as_str().into(), request.buyer.as_str().into()],
            kind: ChangeKind::Insert(vec![workflow, 0.into()]),
            refusal: refusal(&ClaimRefusal::CouponAlreadyUsed, false),
        },
        Change {
            table: &CAMPAIGNS,
            key: vec![campaign.as_str().into()],
            kind: ChangeKind::Add(vec![("issued", 1)]),
            refusal: refusal(&ClaimRefusal::CouponsExhausted, false),
        },
    ]
}

fn given_back(claim: Claim, request: &PurchaseRequest) -> Vec<Change> {
    let Some(campaign) = claim.campaign else {
        return Vec::new();
    };
    let not_there = Refusal::new(
        "coupon-rows-missing",
        "The rows of the claimed coupon are not there.",
    );
    vec![
        Change {
            table: &COUPONS,
            key: vec![campaign.as_str().into(), request.buyer.as_str().into()],
            kind: ChangeKind::Delete,
            refusal: not_there.clone(),
        },
        Change {
            table: &CAMPAIGNS,
            key: vec![campaign.as_str().into()],
            kind: ChangeKind::Add(vec![("issued", -1)]),
            refusal: not_there,
        },
    ]
}

fn refusal(reason: &ClaimRefusal, buyer_holds: bool) -> Refusal {
    let mut refusal = match reason {
        ClaimRefusal::CouponsExhausted => Refusal::new(
            "coupons-exhausted",
            "All coupons of this campaign are taken.",
        ),
        ClaimRefusal::CouponAlreadyUsed => Refusal::new(
            "coupon-already-used",
            "You have already taken a coupon of this campaign.",
        ),
        ClaimRefusal::SaleNotOpen { opens_at_ms } => gate::not_open(*opens_at_ms),
        ClaimRefusal::SaleClosed => gate::closed(),
        ClaimRefusal::UnknownCampaign => {
            Refusal::new("unknown-campaign", "The sale has no such campaign.")
        }
        ClaimRefusal::Released => gate::released(),
    };
    refusal.look_up = buyer_holds || *reason == ClaimRefusal::Released;
    refusal
}
