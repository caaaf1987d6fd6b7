//! What the model answers about coupons.

use std::collections::BTreeSet;

use workflows::ports::reservations::{
    ClaimRefusal, ClaimReply, ClaimRequest, OperationKey, ReleaseReply,
};

use crate::harness::{Failure, Outcome};

use super::{Fate, Model, Operation, mismatch, same_buyer_and_campaign};

impl Model {
    pub fn claim(&mut self, request: &ClaimRequest) -> Outcome<ClaimReply> {
        self.check_open()?;
        let claims: BTreeSet<_> = self.live_claims().map(same_buyer_and_campaign).collect();
        let has_coupon = claims.contains(&(&request.buyer, &request.campaign));
        let as_reserve = self.units_of_buyer(&request.buyer) > 0;
        let buyer_holds = has_coupon || as_reserve;
        let refused = |reason| {
            Ok(ClaimReply::Refused {
                reason,
                buyer_holds,
            })
        };
        match self.operations.get(&request.operation) {
            None => {}
            Some(Operation::EmptyClaim(None)) => return refused(ClaimRefusal::Released),
            Some(Operation::EmptyClaim(Some((first, reason)))) if same_claim(first, request) => {
                return refused(reason.clone());
            }
            Some(Operation::Claimed(first, fate)) if same_claim(first, request) => {
                return match fate {
                    Fate::Held => Ok(ClaimReply::Held),
                    Fate::Final => Ok(ClaimReply::Used),
                    Fate::Released => refused(ClaimRefusal::Released),
                };
            }
            Some(_) => return mismatch(),
        }
        let campaign = self
            .base
            .campaigns
            .iter()
            .find(|campaign| campaign.campaign == request.campaign);
        let reason = match campaign {
            None => Some(ClaimRefusal::UnknownCampaign),
            Some(_) if has_coupon => Some(ClaimRefusal::CouponAlreadyUsed),
            Some(campaign) if self.issued(&campaign.campaign) >= u64::from(campaign.size) => {
                Some(ClaimRefusal::CouponsExhausted)
            }
            Some(_) => None,
        };
        let name = request.operation.clone();
        let Some(reason) = reason else {
            self.operations
                .insert(name, Operation::Claimed(request.clone(), Fate::Held));
            return Ok(ClaimReply::Held);
        };
        if request.remember_refusal {
            let empty = Operation::EmptyClaim(Some((request.clone(), reason.clone())));
            self.operations.insert(name, empty);
        }
        refused(reason)
    }

    pub fn release_claim(&mut self, name: &OperationKey) -> Outcome<ReleaseReply> {
        self.check_open()?;
        match self.operations.get_mut(name) {
            None => {
                self.operations
                    .insert(name.clone(), Operation::EmptyClaim(None));
                Ok(ReleaseReply::NothingHeld)
            }
            Some(Operation::EmptyClaim(_)) => Ok(ReleaseReply::NothingHeld),
            Some(Operation::Claimed(_, Fate::Final)) => Err(Failure::Misuse("USED".to_owned())),
            Some(Operation::Claimed(_, fate)) => {
                *fate = Fate::Released;
                Ok(ReleaseReply::Released)
            }
            Some(_) => mismatch(),
        }
    }
}

/// Whether a repeat asks for the same.
fn same_claim(one: &ClaimRequest, other: &ClaimRequest) -> bool {
    one.buyer == other.buyer && one.campaign == other.campaign
}
