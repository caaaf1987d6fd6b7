//! What the model answers about coupons.

use workflows::ports::reservations::{
    CampaignSnapshot, ClaimPurpose, ClaimRefusal, ClaimReply, ClaimRequest, OperationKey,
    ReleaseReply, ReleaseRequest,
};

use crate::harness::{Failure, NOW_MS, Outcome};
use crate::outcomes::possible_if;

use super::{Fate, Hours, Model, Operation, mismatch};

impl Model {
    pub fn claim(&mut self, request: &ClaimRequest) -> Outcome<ClaimReply> {
        self.check_open()?;
        let has_something =
            self.holder(request).is_some() || self.units_of_buyer(&request.buyer) > 0;
        let earlier = possible_if(has_something);
        let refused = |reason| Ok(ClaimReply::Refused { reason, earlier });
        match self.what(&request.operation) {
            None => {}
            Some(Operation::Ended | Operation::EmptyClaim(None)) => {
                return refused(ClaimRefusal::Released);
            }
            Some(Operation::EmptyClaim(Some((first, reason)))) if same_claim(first, request) => {
                return refused(reason.clone());
            }
            Some(Operation::Claimed(first, fate, from)) if same_claim(first, request) => {
                let taken_from = from.clone();
                let reply = match fate {
                    Fate::Held | Fate::Taken => ClaimReply::Held { taken_from },
                    Fate::Final => ClaimReply::Used { taken_from },
                    Fate::Released => return refused(ClaimRefusal::Released),
                };
                self.raise_epoch(&request.operation, request.epoch);
                return Ok(reply);
            }
            Some(_) => return mismatch(),
        }
        let epoch = Some(request.epoch);
        if let Some(reason) = self.reason_against_claim(request) {
            if request.remember_refusal {
                let empty = Operation::EmptyClaim(Some((request.clone(), reason.clone())));
                self.insert(&request.operation, epoch, empty);
            }
            return refused(reason);
        }
        let taken_from = self.holder(request).map(|(ahead, _)| ahead);
        if let Some(ahead) = &taken_from {
            self.set_fate(ahead, Fate::Taken);
        }
        let claimed = Operation::Claimed(request.clone(), Fate::Held, taken_from.clone());
        self.insert(&request.operation, epoch, claimed);
        Ok(ClaimReply::Held { taken_from })
    }

    fn reason_against_claim(&self, request: &ClaimRequest) -> Option<ClaimRefusal> {
        let is_ahead = request.purpose == ClaimPurpose::Ahead;
        match self.hours() {
            Some(Hours::Cancelled) => return Some(ClaimRefusal::SaleCancelled),
            Some(Hours::NotOpen(opens_at_ms)) if !is_ahead => {
                return Some(ClaimRefusal::SaleNotOpen { opens_at_ms });
            }
            Some(Hours::Closed) => return Some(ClaimRefusal::SaleClosed),
            _ => {}
        }
        let mut campaigns = self.base.campaigns.iter();
        let Some(campaign) = campaigns.find(|campaign| campaign.campaign == request.campaign)
        else {
            return Some(ClaimRefusal::UnknownCampaign);
        };
        let window = if is_ahead {
            not_ahead(campaign)
        } else {
            not_usable(campaign)
        };
        window.or_else(|| self.none_left(request, campaign))
    }

    fn none_left(
        &self,
        request: &ClaimRequest,
        campaign: &CampaignSnapshot,
    ) -> Option<ClaimRefusal> {
        match (self.holder(request), request.purpose) {
            (Some((_, ClaimPurpose::Ahead)), ClaimPurpose::Purchase) => None,
            (Some(_), _) => Some(ClaimRefusal::CouponAlreadyUsed),
            (None, ClaimPurpose::Purchase) if !campaign.claim_in_purchase => {
                Some(ClaimRefusal::NoCoupon)
            }
            (None, _) => (self.issued(&campaign.campaign) >= u64::from(campaign.size))
                .then_some(ClaimRefusal::CouponsExhausted),
        }
    }

    pub fn release_claim(&mut self, request: &ReleaseRequest) -> Outcome<ReleaseReply> {
        self.check_open()?;
        if self.has_moved_on(request) {
            return Ok(ReleaseReply::MovedOn);
        }
        let (name, forget) = (&request.operation, request.forget);
        let (fate, from) = match self.what(name) {
            Some(Operation::Claimed(claim, Fate::Final, _))
                if claim.purpose == ClaimPurpose::Ahead =>
            {
                return Ok(ReleaseReply::Used);
            }
            None => {
                self.insert(name, None, Operation::EmptyClaim(None));
                return Ok(ReleaseReply::NothingHeld);
            }
            Some(Operation::EmptyClaim(_) | Operation::Ended) => {
                return Ok(ReleaseReply::NothingHeld);
            }
            Some(Operation::Claimed(_, fate, from)) => (*fate, from.clone()),
            Some(_) => return mismatch(),
        };
        match fate {
            Fate::Released => return Ok(ReleaseReply::Released),
            Fate::Final => return Err(Failure::Misuse("USED".to_owned())),
            Fate::Taken if !forget => return Err(Failure::Misuse("USED".to_owned())),
            Fate::Taken | Fate::Held => {}
        }
        if let Some(ahead) = from.filter(|ahead| self.gives_back_to(name, ahead)) {
            self.set_fate(&ahead, Fate::Held);
        }
        if forget {
            self.operations.remove(name);
        } else {
            self.set_fate(name, Fate::Released);
        }
        Ok(ReleaseReply::Released)
    }

    /// Whether `ahead` still is the claim that `name` took over: it may be forgotten, and its key used again.
    pub fn gives_back_to(&self, name: &OperationKey, ahead: &OperationKey) -> bool {
        match (self.what(name), self.what(ahead)) {
            (
                Some(Operation::Claimed(taker, _, _)),
                Some(Operation::Claimed(request, Fate::Taken, _)),
            ) => taker.buyer == request.buyer && taker.campaign == request.campaign,
            _ => false,
        }
    }

    pub(super) fn set_fate(&mut self, name: &OperationKey, wanted: Fate) {
        let stored = self.operations.get_mut(name).map(|stored| &mut stored.what);
        match stored {
            Some(Operation::Claimed(_, fate, _) | Operation::Reserved(_, fate)) => *fate = wanted,
            other => unreachable!("{name} was looked at before: {other:?}"),
        }
    }
}

fn not_ahead(campaign: &CampaignSnapshot) -> Option<ClaimRefusal> {
    let from_ms = campaign.claims_from_ms;
    expired(campaign).or_else(|| {
        from_ms
            .is_none_or(|from_ms| NOW_MS < from_ms)
            .then_some(ClaimRefusal::ClaimsNotOpen { from_ms })
    })
}

fn not_usable(campaign: &CampaignSnapshot) -> Option<ClaimRefusal> {
    let too_early = campaign.valid_from_ms.filter(|from_ms| NOW_MS < *from_ms);
    too_early
        .map(|from_ms| ClaimRefusal::NotValidYet { from_ms })
        .or_else(|| expired(campaign))
}

fn expired(campaign: &CampaignSnapshot) -> Option<ClaimRefusal> {
    let until_ms = campaign
        .valid_until_ms
        .filter(|until_ms| NOW_MS >= *until_ms)?;
    Some(ClaimRefusal::Expired { until_ms })
}

/// Whether a repeat asks for the same.
fn same_claim(one: &ClaimRequest, other: &ClaimRequest) -> bool {
    one.buyer == other.buyer && one.campaign == other.campaign && one.purpose == other.purpose
}
