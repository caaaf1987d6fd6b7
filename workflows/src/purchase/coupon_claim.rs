//! Step `coupon-claim`: takes the coupon that the buyer claimed ahead, or claims one of the purchase's campaign, and gives exactly
//! that back.

use engine::definition::{Action, Attempt, Compensable, Durability, Outcome, Policy, Probed};
use engine::store::change::{ChangeKind, Value};
use engine::store::{Change, Key};
use engine::workflow::{Earlier, Refusal, StepError};
use serde::{Deserialize, Serialize};

use super::gate::{self, Gate};
use super::{Ports, PurchaseRequest};
use crate::domain::ids::CampaignId;
use crate::ports::catalogue::CouponState;
use crate::ports::reservations::{
    ClaimPurpose, ClaimRefusal, ClaimReply, ClaimRequest, ReleaseRequest,
};
use crate::tables::{CAMPAIGNS, COUPON_STATES, COUPONS};

/// The step.
pub struct CouponClaim {
    /// The reservations.
    pub gate: Gate,
}

/// What the step took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The campaign whose coupon the purchase has now; absent when it uses none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignId>,
    /// The buyer had the coupon before the purchase, and gets it back when the purchase comes to nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_claimed_ahead: bool,
}

impl CouponClaim {
    /// The step's name.
    pub const NAME: &'static str = "coupon-claim";

    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            gate: ports.gate.clone(),
        }
    }

    async fn claim(
        &self,
        attempt: &Attempt,
        request: &PurchaseRequest,
        remember_refusal: bool,
    ) -> Outcome<Claim> {
        let Some(campaign) = request.campaign.clone() else {
            return Outcome::done(Claim {
                campaign: None,
                was_claimed_ahead: false,
            });
        };
        let claim = ClaimRequest {
            sale: request.sale.clone(),
            campaign: campaign.clone(),
            buyer: request.buyer.clone(),
            operation: gate::coupon_operation(attempt.workflow),
            epoch: attempt.epoch.0,
            purpose: ClaimPurpose::Purchase,
            remember_refusal,
        };
        match self.gate.reservations.claim(&claim).await {
            Ok(ClaimReply::Held { taken_from } | ClaimReply::Used { taken_from }) => {
                let claim = Claim {
                    campaign: Some(campaign),
                    was_claimed_ahead: taken_from.is_some(),
                };
                let changes = taken(attempt, &claim, request);
                Outcome::done_with(claim, changes)
            }
            Ok(ClaimReply::Refused { reason, earlier }) => {
                Outcome::Refused(refusal(&reason, earlier))
            }
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

    fn is_answer(&self, error: &StepError) -> bool {
        gate::is_answer(error)
    }
}

impl Compensable for CouponClaim {
    fn has_effect(&self, request: &PurchaseRequest) -> bool {
        request.campaign.is_some()
    }

    async fn compensate(
        &self,
        attempt: &Attempt,
        request: PurchaseRequest,
        output: Option<Claim>,
    ) -> Outcome<()> {
        if request.campaign.is_none() {
            return Outcome::done(());
        }
        let release = ReleaseRequest {
            sale: request.sale.clone(),
            operation: gate::coupon_operation(attempt.workflow),
            forget: attempt.forget,
            only_under: None,
        };
        match self.gate.reservations.release_claim(&release).await {
            // Whether it had been claimed or not: it is free now. The rows are there just when the output is.
            Ok(_) => Outcome::done_with(
                (),
                output.map_or_else(Vec::new, |claim| given_back(&claim, &request)),
            ),
            Err(error) => self.gate.failed(&error),
        }
    }
}

/// The rows of a coupon that the purchase has now. Their keys are the second guard: a buyer has one coupon of a campaign, and one
/// purchase has it.
fn taken(attempt: &Attempt, claim: &Claim, request: &PurchaseRequest) -> Vec<Change> {
    let Some(campaign) = &claim.campaign else {
        return Vec::new();
    };
    let purchase = || Value::from(attempt.workflow.bytes().as_slice());
    let reserved = CouponState::Reserved.number();
    let used_already = refusal(&ClaimRefusal::CouponAlreadyUsed, Earlier::RuledOut);
    if claim.was_claimed_ahead {
        let mut key = coupon_key(campaign, request);
        key.push(CouponState::Issued.number().into());
        return vec![Change {
            table: &COUPON_STATES,
            key,
            kind: ChangeKind::Set(vec![
                ("purchase_id", purchase()),
                ("state", reserved.into()),
            ]),
            refusal: used_already,
        }];
    }
    let row = vec![
        purchase(),
        purchase(),
        reserved.into(),
        request.accepted_at.0.into(),
    ];
    vec![
        Change {
            table: &COUPONS,
            key: coupon_key(campaign, request),
            kind: ChangeKind::Insert(row),
            refusal: used_already,
        },
        issued(
            campaign,
            1,
            refusal(&ClaimRefusal::CouponsExhausted, Earlier::RuledOut),
        ),
    ]
}

/// The rows of a coupon that the purchase has no longer: by the compensation, or when the money was given back.
pub(super) fn given_back(claim: &Claim, request: &PurchaseRequest) -> Vec<Change> {
    let Some(campaign) = &claim.campaign else {
        return Vec::new();
    };
    let not_there = Refusal::new(
        "coupon-rows-missing",
        "The rows of the claimed coupon are not there.",
    );
    let change = |kind| Change {
        table: &COUPONS,
        key: coupon_key(campaign, request),
        kind,
        refusal: not_there.clone(),
    };
    if claim.was_claimed_ahead {
        return vec![change(ChangeKind::Set(vec![
            ("purchase_id", Value::Null),
            ("state", CouponState::Issued.number().into()),
        ]))];
    }
    vec![
        change(ChangeKind::Delete),
        issued(campaign, -1, not_there.clone()),
    ]
}

/// The row of a coupon that the purchase has used up.
pub(super) fn used(
    claim: &Claim,
    request: &PurchaseRequest,
    refusal: &Refusal,
) -> impl Iterator<Item = Change> {
    claim.campaign.iter().map(|campaign| Change {
        table: &COUPONS,
        key: coupon_key(campaign, request),
        kind: ChangeKind::Set(vec![("state", CouponState::Used.number().into())]),
        refusal: refusal.clone(),
    })
}

fn coupon_key(campaign: &CampaignId, request: &PurchaseRequest) -> Key {
    vec![campaign.as_str().into(), request.buyer.as_str().into()]
}

/// So many more coupons of a campaign are issued.
pub(crate) fn issued(campaign: &CampaignId, more: i64, refusal: Refusal) -> Change {
    Change {
        table: &CAMPAIGNS,
        key: vec![campaign.as_str().into()],
        kind: ChangeKind::Add(vec![("issued", more)]),
        refusal,
    }
}

/// What a buyer is told who gets no coupon.
pub(crate) fn refusal(reason: &ClaimRefusal, earlier: Earlier) -> Refusal {
    let mut refusal = match reason {
        ClaimRefusal::CouponsExhausted => Refusal::new(
            "coupons-exhausted",
            "All coupons of this campaign are taken.",
        ),
        ClaimRefusal::CouponAlreadyUsed => Refusal::new(
            "coupon-already-used",
            "You have already taken a coupon of this campaign.",
        ),
        ClaimRefusal::NoCoupon => Refusal::new(
            "no-coupon",
            "You have no coupon of this campaign, and it can only be claimed ahead of the purchase.",
        ),
        ClaimRefusal::ClaimsNotOpen { from_ms } => claims_not_open(*from_ms),
        ClaimRefusal::NotValidYet { from_ms } => {
            let from = gate::instant(*from_ms);
            let message = format!("Coupons of this campaign can be used from {from} on.");
            Refusal::new("coupon-not-valid-yet", message)
        }
        ClaimRefusal::Expired { until_ms } => {
            let until = gate::instant(*until_ms);
            let message = format!("Coupons of this campaign expired at {until}.");
            Refusal::new("coupon-expired", message)
        }
        ClaimRefusal::SaleNotOpen { opens_at_ms } => gate::not_open(*opens_at_ms),
        ClaimRefusal::SaleClosed => gate::closed(),
        ClaimRefusal::SaleCancelled => gate::cancelled(),
        ClaimRefusal::UnknownCampaign => {
            Refusal::new("unknown-campaign", "The sale has no such campaign.")
        }
        ClaimRefusal::Released => gate::released(),
    };
    refusal.earlier = earlier;
    refusal
}

fn claims_not_open(from_ms: Option<i64>) -> Refusal {
    let message = match from_ms {
        Some(from_ms) => format!(
            "Coupons of this campaign can be claimed from {} on.",
            gate::instant(from_ms)
        ),
        None => "Coupons of this campaign are claimed within a purchase.".to_owned(),
    };
    Refusal::new("claims-not-open", message)
}
