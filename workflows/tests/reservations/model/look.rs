//! What the model shows: counters and operations, to compare with what the gate shows, and its promises.

use std::collections::BTreeSet;

use workflows::ports::reservations::{
    ClaimPurpose, ClaimState, OperationKey, OperationPage, OperationState, SaleCounts,
    StoredOperation,
};

use super::{Fate, Model, Operation, Stored};

impl Model {
    /// Compares the counters with the model, and the model with its promises.
    pub fn check(&self, counts: Option<&SaleCounts>) {
        assert_eq!(counts.is_some(), self.open);
        let Some(counts) = counts else { return };
        assert_eq!(counts.generation, self.base.generation);
        for product in &self.base.products {
            let stock = counts.products[&product.product];
            assert_eq!(
                stock.available + stock.held + stock.sold,
                u64::from(product.total)
            );
            assert_eq!(stock.available, u64::from(self.available(product)));
            assert_eq!(stock.held, u64::from(self.units(product, Fate::Held)));
        }
        for campaign in &self.base.campaigns {
            let coupons = counts.campaigns[&campaign.campaign];
            assert!(coupons.issued <= coupons.size);
            assert_eq!(coupons.issued, self.issued(&campaign.campaign));
        }
        let claims: Vec<_> = self
            .live_claims()
            .map(|(_, claim, _)| (&claim.buyer, &claim.campaign))
            .collect();
        assert_eq!(
            claims.iter().collect::<BTreeSet<_>>().len(),
            claims.len(),
            "one a buyer"
        );
    }

    /// All operations in one page, ordered by their keys.
    pub fn operations(&self) -> Option<OperationPage> {
        let operations = self.operations.iter().map(shown).collect();
        self.open.then_some(OperationPage {
            generation: self.base.generation,
            operations,
            next: None,
        })
    }
}

fn shown((name, stored): (&OperationKey, &Stored)) -> StoredOperation {
    StoredOperation {
        operation: name.clone(),
        epoch: stored.epoch,
        what: state_of(&stored.what),
    }
}

fn state_of(what: &Operation) -> OperationState {
    match what {
        Operation::Reserved(request, Fate::Held | Fate::Taken) => OperationState::Holds {
            buyer: request.buyer.clone(),
            lines: request.lines.clone(),
            hold: request.hold,
        },
        Operation::Reserved(request, Fate::Final) => OperationState::Sold {
            buyer: request.buyer.clone(),
            lines: request.lines.clone(),
        },
        Operation::Claimed(request, fate @ (Fate::Held | Fate::Taken | Fate::Final), from) => {
            OperationState::Coupon {
                campaign: request.campaign.clone(),
                buyer: request.buyer.clone(),
                state: match fate {
                    Fate::Final => ClaimState::Used,
                    Fate::Held if request.purpose == ClaimPurpose::Ahead => ClaimState::Issued,
                    _ => ClaimState::Held,
                },
                taken_from: from.clone(),
            }
        }
        Operation::Reserved(_, Fate::Released)
        | Operation::Claimed(_, Fate::Released, _)
        | Operation::EmptyReserve(_)
        | Operation::EmptyClaim(_)
        | Operation::Ended => OperationState::Nothing,
    }
}
