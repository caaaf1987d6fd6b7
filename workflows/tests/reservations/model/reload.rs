//! What the model loads in the place of what it knows.

use workflows::domain::ids::CampaignId;
use workflows::ports::reservations::{
    CampaignSnapshot, ClaimPurpose, ClaimRequest, ClaimSnapshot, ClaimState, HoldSnapshot,
    OperationKey, ReserveRequest, SaleSnapshot, SoldSnapshot,
};

use super::{Fate, LOADED_HOLD, Model, Operation};

impl Model {
    /// What a database that saw everything would load: sold units are counted, live holds and claims are named. With
    /// `all_ended`, every operation is named among the ended ones: that counts for those that have nothing.
    pub fn snapshot(&self, generation: u64, all_ended: bool) -> SaleSnapshot {
        let mut next = self.base.clone();
        next.generation = generation;
        for product in &mut next.products {
            product.sold += self.units(product, Fate::Final);
        }
        for (name, what) in self.whats() {
            if let Operation::Reserved(request, fate) = what {
                match fate {
                    Fate::Held => next.holds.push(HoldSnapshot {
                        operation: name.clone(),
                        buyer: request.buyer.clone(),
                        lines: request.lines.clone(),
                    }),
                    Fate::Final => next.sold.push(SoldSnapshot {
                        buyer: request.buyer.clone(),
                        units: u32::try_from(request.lines.units()).unwrap(),
                    }),
                    Fate::Taken | Fate::Released => {}
                }
            }
        }
        for (name, request, fate) in self.live_claims() {
            let claim = self.claim_snapshot(name, request, fate);
            campaign_mut(&mut next, &request.campaign)
                .claims
                .push(claim);
        }
        if all_ended {
            next.ended = self.operations.keys().cloned().collect();
        }
        next
    }

    fn claim_snapshot(
        &self,
        name: &OperationKey,
        request: &ClaimRequest,
        fate: Fate,
    ) -> ClaimSnapshot {
        let state = match (request.purpose, fate) {
            (ClaimPurpose::Ahead, _) => ClaimState::Issued,
            (ClaimPurpose::Purchase, Fate::Final) => ClaimState::Used,
            (ClaimPurpose::Purchase, _) => ClaimState::Held,
        };
        let from = match self.what(name) {
            Some(Operation::Claimed(_, _, Some(from))) => Some(from.clone()),
            _ => None,
        };
        ClaimSnapshot {
            operation: name.clone(),
            buyer: request.buyer.clone(),
            state,
            // A claim ahead that was forgotten is not in the database either.
            taken_from: from.filter(|from| self.is_taken_or_used(from, request)),
        }
    }

    fn is_taken_or_used(&self, ahead: &OperationKey, taker: &ClaimRequest) -> bool {
        matches!(self.what(ahead), Some(Operation::Claimed(request, Fate::Taken | Fate::Final, _))
            if request.purpose == ClaimPurpose::Ahead
                && request.buyer == taker.buyer
                && request.campaign == taker.campaign)
    }

    /// Live holds and claims become operations again, as do the tombstones; everything else is forgotten.
    pub fn rebuild(&mut self, snapshot: &SaleSnapshot) {
        self.base = snapshot.clone();
        self.open = true;
        self.operations.clear();
        for hold in std::mem::take(&mut self.base.holds) {
            let request = ReserveRequest {
                sale: snapshot.sale.clone(),
                buyer: hold.buyer,
                operation: hold.operation.clone(),
                epoch: 0,
                lines: hold.lines,
                hold: LOADED_HOLD,
                remember_refusal: false,
            };
            let held = Operation::Reserved(request, Fate::Held);
            self.insert(&hold.operation, None, held);
        }
        for campaign in &snapshot.campaigns {
            for claim in &campaign.claims {
                self.load_claim(snapshot, &campaign.campaign, claim);
            }
        }
        for campaign in &mut self.base.campaigns {
            campaign.claims.clear();
        }
        for name in std::mem::take(&mut self.base.ended) {
            if self.what(&name).is_none() {
                self.insert(&name, None, Operation::Ended);
            }
        }
    }

    fn load_claim(&mut self, sale: &SaleSnapshot, campaign: &CampaignId, claim: &ClaimSnapshot) {
        let request = |operation: &OperationKey, purpose| ClaimRequest {
            sale: sale.sale.clone(),
            campaign: campaign.clone(),
            buyer: claim.buyer.clone(),
            operation: operation.clone(),
            epoch: 0,
            purpose,
            remember_refusal: false,
        };
        let (purpose, fate, fate_ahead) = match claim.state {
            ClaimState::Issued => (ClaimPurpose::Ahead, Fate::Held, Fate::Held),
            ClaimState::Held => (ClaimPurpose::Purchase, Fate::Held, Fate::Taken),
            ClaimState::Used => (ClaimPurpose::Purchase, Fate::Final, Fate::Final),
        };
        let (name, from) = (&claim.operation, claim.taken_from.clone());
        if let Some(from) = &from {
            let ahead = Operation::Claimed(request(from, ClaimPurpose::Ahead), fate_ahead, None);
            self.insert(from, None, ahead);
        }
        let claimed = Operation::Claimed(request(name, purpose), fate, from);
        self.insert(name, None, claimed);
    }
}

fn campaign_mut<'a>(
    snapshot: &'a mut SaleSnapshot,
    campaign: &CampaignId,
) -> &'a mut CampaignSnapshot {
    let found = snapshot
        .campaigns
        .iter_mut()
        .find(|found| found.campaign == *campaign);
    found.expect("a claim is of a known campaign")
}
