//! The reservations of one open sale, written plainly: what the scripts must answer to any sequence of calls.

mod coupons;
mod holds;

use std::collections::{BTreeMap, BTreeSet};

use workflows::domain::ids::{BuyerId, CampaignId};
use workflows::ports::reservations::{
    CampaignSnapshot, ClaimRefusal, ClaimRequest, ClaimSnapshot, ClaimState, HoldSnapshot,
    OperationKey, ProductSnapshot, ReserveRefusal, ReserveRequest, SaleCounts, SaleSnapshot,
    SoldSnapshot,
};

use crate::harness::{Failure, Outcome};

#[derive(Clone, Debug)]
enum Operation {
    /// Released before it arrived, or refused while `remember_refusal` was set: of which kind it is stays known.
    EmptyReserve(Option<(ReserveRequest, ReserveRefusal)>),
    EmptyClaim(Option<(ClaimRequest, ClaimRefusal)>),
    Reserved(ReserveRequest, Fate),
    Claimed(ClaimRequest, Fate),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Held,
    Final,
    Released,
}

#[derive(Clone, Debug)]
pub struct Model {
    /// As it was loaded last; what was sold since is in `operations`.
    base: SaleSnapshot,
    operations: BTreeMap<OperationKey, Operation>,
    open: bool,
}

fn mismatch<T>() -> Outcome<T> {
    Err(Failure::Misuse("MISMATCH".to_owned()))
}

impl Model {
    pub fn closed(base: SaleSnapshot) -> Self {
        Self {
            base,
            operations: BTreeMap::new(),
            open: false,
        }
    }

    pub fn close_gate(&mut self) {
        self.open = false;
        self.operations.clear();
    }

    /// What a database that saw everything would load: sold units are counted, live holds and claims are named.
    pub fn snapshot(&self, generation: u64) -> SaleSnapshot {
        let mut next = self.base.clone();
        next.generation = generation;
        for product in &mut next.products {
            product.sold += self.units(product, Fate::Final);
        }
        for (name, operation) in &self.operations {
            match operation {
                Operation::Reserved(request, Fate::Held) => next.holds.push(HoldSnapshot {
                    operation: name.clone(),
                    buyer: request.buyer.clone(),
                    lines: request.lines.clone(),
                }),
                Operation::Reserved(request, Fate::Final) => next.sold.push(SoldSnapshot {
                    buyer: request.buyer.clone(),
                    units: u32::try_from(request.lines.units()).unwrap(),
                }),
                Operation::Claimed(request, fate) if *fate != Fate::Released => {
                    let state = if *fate == Fate::Held {
                        ClaimState::Held
                    } else {
                        ClaimState::Used
                    };
                    let claim = ClaimSnapshot {
                        operation: name.clone(),
                        buyer: request.buyer.clone(),
                        state,
                    };
                    campaign_mut(&mut next, &request.campaign)
                        .claims
                        .push(claim);
                }
                _ => {}
            }
        }
        next
    }

    /// Live holds and claims become operations again, everything else is forgotten.
    pub fn rebuild(&mut self, snapshot: &SaleSnapshot) {
        self.base = snapshot.clone();
        self.open = true;
        self.operations.clear();
        for hold in std::mem::take(&mut self.base.holds) {
            let request = ReserveRequest {
                sale: snapshot.sale.clone(),
                buyer: hold.buyer,
                operation: hold.operation.clone(),
                lines: hold.lines,
                remember_refusal: false,
            };
            self.operations
                .insert(hold.operation, Operation::Reserved(request, Fate::Held));
        }
        for campaign in &mut self.base.campaigns {
            for claim in std::mem::take(&mut campaign.claims) {
                let request = ClaimRequest {
                    sale: snapshot.sale.clone(),
                    campaign: campaign.campaign.clone(),
                    buyer: claim.buyer,
                    operation: claim.operation.clone(),
                    remember_refusal: false,
                };
                let fate = if claim.state == ClaimState::Held {
                    Fate::Held
                } else {
                    Fate::Final
                };
                self.operations
                    .insert(claim.operation, Operation::Claimed(request, fate));
            }
        }
    }

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
        let claims: Vec<_> = self.live_claims().map(same_buyer_and_campaign).collect();
        assert_eq!(
            claims.iter().collect::<BTreeSet<_>>().len(),
            claims.len(),
            "one a buyer"
        );
    }

    fn check_open(&self) -> Outcome<()> {
        if self.open {
            Ok(())
        } else {
            Err(Failure::Unavailable)
        }
    }

    fn live_claims(&self) -> impl Iterator<Item = &ClaimRequest> {
        self.operations
            .values()
            .filter_map(|operation| match operation {
                Operation::Claimed(request, Fate::Held | Fate::Final) => Some(request),
                _ => None,
            })
    }

    fn issued(&self, campaign: &CampaignId) -> u64 {
        self.live_claims()
            .filter(|claim| claim.campaign == *campaign)
            .count() as u64
    }

    fn available(&self, product: &ProductSnapshot) -> u32 {
        product.total
            - product.sold
            - self.units(product, Fate::Held)
            - self.units(product, Fate::Final)
    }

    /// Units of the product that operations of this fate have.
    fn units(&self, product: &ProductSnapshot, wanted: Fate) -> u32 {
        let lines = self
            .operations
            .values()
            .flat_map(|operation| match operation {
                Operation::Reserved(request, fate) if *fate == wanted => request.lines.as_slice(),
                _ => &[],
            });
        lines
            .filter(|line| line.product == product.product)
            .map(|line| line.quantity)
            .sum()
    }

    fn units_of(&self, request: &ReserveRequest) -> u64 {
        self.units_of_buyer(&request.buyer)
    }

    fn units_of_buyer(&self, buyer: &BuyerId) -> u64 {
        let bought = self.base.sold.iter().filter(|sold| sold.buyer == *buyer);
        let bought: u64 = bought.map(|sold| u64::from(sold.units)).sum();
        let operations = self.operations.values().map(|operation| match operation {
            Operation::Reserved(request, Fate::Held | Fate::Final) if request.buyer == *buyer => {
                request.lines.units()
            }
            _ => 0,
        });
        bought + operations.sum::<u64>()
    }
}

fn same_buyer_and_campaign(claim: &ClaimRequest) -> (&BuyerId, &CampaignId) {
    (&claim.buyer, &claim.campaign)
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
