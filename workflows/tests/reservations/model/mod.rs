//! The reservations of one sale, written plainly: what the scripts must answer to any sequence of calls.

mod coupons;
mod holds;
mod look;
mod reload;

use std::collections::BTreeMap;

use workflows::domain::ids::{BuyerId, CampaignId};
use workflows::ports::reservations::{
    ClaimPurpose, ClaimRefusal, ClaimRequest, HoldState, OperationKey, ProductSnapshot,
    ReleaseRequest, ReserveRefusal, ReserveRequest, SaleSnapshot, ScheduleReply, ScheduleRequest,
};

use crate::harness::{Failure, NOW_MS, Outcome};

#[derive(Clone, Debug)]
enum Operation {
    /// Released before it arrived, or refused while `remember_refusal` was set: of which kind it is stays known.
    EmptyReserve(Option<(ReserveRequest, ReserveRefusal)>),
    EmptyClaim(Option<(ClaimRequest, ClaimRefusal)>),
    /// A tombstone that was loaded: of which kind it is was not said.
    Ended,
    Reserved(ReserveRequest, Fate),
    /// With the claim ahead that it took over.
    Claimed(ClaimRequest, Fate, Option<OperationKey>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Units that are held, a coupon that a purchase holds, or one that was claimed ahead and is the buyer's.
    Held,
    /// A coupon that was claimed ahead, and that a purchase holds.
    Taken,
    Final,
    Released,
}

#[derive(Clone, Debug)]
struct Stored {
    epoch: Option<u64>,
    what: Operation,
}

#[derive(Clone, Debug)]
pub struct Model {
    /// As it was loaded last; what was sold since is in `operations`.
    base: SaleSnapshot,
    operations: BTreeMap<OperationKey, Stored>,
    open: bool,
}

/// Why a sale gives nothing now.
enum Hours {
    Cancelled,
    NotOpen(i64),
    Closed,
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

    pub fn schedule(&mut self, request: &ScheduleRequest) -> Outcome<ScheduleReply> {
        self.check_open()?;
        let base = &mut self.base;
        if request.revision < base.revision {
            return Ok(ScheduleReply::Superseded);
        }
        let wanted = (
            request.opens_at_ms,
            request.closes_at_ms,
            request.is_cancelled,
        );
        if request.revision == base.revision
            && wanted != (base.opens_at_ms, base.closes_at_ms, base.is_cancelled)
        {
            return mismatch();
        }
        base.revision = request.revision;
        (base.opens_at_ms, base.closes_at_ms, base.is_cancelled) = wanted;
        Ok(ScheduleReply::Scheduled)
    }

    fn hours(&self) -> Option<Hours> {
        if self.base.is_cancelled {
            Some(Hours::Cancelled)
        } else if NOW_MS < self.base.opens_at_ms {
            Some(Hours::NotOpen(self.base.opens_at_ms))
        } else if NOW_MS >= self.base.closes_at_ms {
            Some(Hours::Closed)
        } else {
            None
        }
    }

    fn check_open(&self) -> Outcome<()> {
        if self.open {
            Ok(())
        } else {
            Err(Failure::Unavailable)
        }
    }

    fn insert(&mut self, name: &OperationKey, epoch: Option<u64>, what: Operation) {
        self.operations.insert(name.clone(), Stored { epoch, what });
    }

    /// Whether what somebody saw of an operation does not hold any more.
    fn has_moved_on(&self, request: &ReleaseRequest) -> bool {
        let epoch = self.operations.get(&request.operation).map(|of| of.epoch);
        request.only_under.is_some() && epoch != Some(request.only_under)
    }

    /// A repeat under a higher epoch; what the database told of stays without one.
    fn raise_epoch(&mut self, name: &OperationKey, epoch: u64) {
        if let Some(stored) = self.operations.get_mut(name) {
            stored.epoch = stored.epoch.map(|before| before.max(epoch));
        }
    }

    fn what(&self, name: &OperationKey) -> Option<&Operation> {
        self.operations.get(name).map(|stored| &stored.what)
    }

    fn whats(&self) -> impl Iterator<Item = (&OperationKey, &Operation)> {
        self.operations
            .iter()
            .map(|(name, stored)| (name, &stored.what))
    }

    /// Each coupon that is out, once: by the operation that has it.
    fn live_claims(&self) -> impl Iterator<Item = (&OperationKey, &ClaimRequest, Fate)> {
        self.whats().filter_map(|(name, what)| match what {
            Operation::Claimed(request, fate @ (Fate::Held | Fate::Final), _)
                if request.purpose == ClaimPurpose::Purchase || *fate == Fate::Held =>
            {
                Some((name, request, *fate))
            }
            _ => None,
        })
    }

    /// Who has the coupon that this request is about.
    fn holder(&self, request: &ClaimRequest) -> Option<(OperationKey, ClaimPurpose)> {
        let same = |(name, claim, _): (&OperationKey, &ClaimRequest, Fate)| {
            (claim.buyer == request.buyer && claim.campaign == request.campaign)
                .then(|| (name.clone(), claim.purpose))
        };
        self.live_claims().find_map(same)
    }

    fn issued(&self, campaign: &CampaignId) -> u64 {
        self.live_claims()
            .filter(|(_, claim, _)| claim.campaign == *campaign)
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
        let lines = self.whats().flat_map(|(_, what)| match what {
            Operation::Reserved(request, fate) if *fate == wanted => request.lines.as_slice(),
            _ => &[],
        });
        lines
            .filter(|line| line.product == product.product)
            .map(|line| line.quantity)
            .sum()
    }

    fn units_of_buyer(&self, buyer: &BuyerId) -> u64 {
        let bought = self.base.sold.iter().filter(|sold| sold.buyer == *buyer);
        let bought: u64 = bought.map(|sold| u64::from(sold.units)).sum();
        let operations = self.whats().map(|(_, what)| match what {
            Operation::Reserved(request, Fate::Held | Fate::Final) if request.buyer == *buyer => {
                request.lines.units()
            }
            _ => 0,
        });
        bought + operations.sum::<u64>()
    }
}

/// The hold state that a reservation of the database has until it is extended again.
const LOADED_HOLD: HoldState = HoldState::Held;
