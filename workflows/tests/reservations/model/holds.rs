//! What the model answers about units.

use workflows::ports::reservations::{
    ConfirmReply, ConfirmRequest, ExtendReply, HoldState, OperationKey, ReleaseReply,
    ReleaseRequest, ReserveRefusal, ReserveReply, ReserveRequest,
};

use crate::harness::{Failure, Outcome};
use crate::outcomes::possible_if;

use super::{Fate, Hours, Model, Operation, mismatch};

impl Model {
    pub fn reserve(&mut self, request: &ReserveRequest) -> Outcome<ReserveReply> {
        self.check_open()?;
        let earlier = possible_if(self.units_of_buyer(&request.buyer) > 0);
        let refused = |reason| Ok(ReserveReply::Refused { reason, earlier });
        match self.what(&request.operation) {
            None => {}
            Some(Operation::Ended | Operation::EmptyReserve(None)) => {
                return refused(ReserveRefusal::Released);
            }
            Some(Operation::EmptyReserve(Some((first, reason))))
                if same_reserve(first, request) =>
            {
                return refused(reason.clone());
            }
            Some(Operation::Reserved(first, fate)) if same_reserve(first, request) => {
                let reply = match fate {
                    Fate::Held | Fate::Taken => ReserveReply::Held,
                    Fate::Final => ReserveReply::Sold,
                    Fate::Released => return refused(ReserveRefusal::Released),
                };
                self.raise_epoch(&request.operation, request.epoch);
                return Ok(reply);
            }
            Some(_) => return mismatch(),
        }
        let epoch = Some(request.epoch);
        let Some(reason) = self.reason_against(request) else {
            let held = Operation::Reserved(request.clone(), Fate::Held);
            self.insert(&request.operation, epoch, held);
            return Ok(ReserveReply::Held);
        };
        if request.remember_refusal {
            let empty = Operation::EmptyReserve(Some((request.clone(), reason.clone())));
            self.insert(&request.operation, epoch, empty);
        }
        refused(reason)
    }

    fn reason_against(&self, request: &ReserveRequest) -> Option<ReserveRefusal> {
        match self.hours() {
            Some(Hours::Cancelled) => return Some(ReserveRefusal::SaleCancelled),
            Some(Hours::NotOpen(opens_at_ms)) => {
                return Some(ReserveRefusal::SaleNotOpen { opens_at_ms });
            }
            Some(Hours::Closed) => return Some(ReserveRefusal::SaleClosed),
            None => {}
        }
        let lines = request.lines.as_slice();
        let product_of = |name| {
            self.base
                .products
                .iter()
                .find(|product| product.product == name)
        };
        for line in lines {
            if product_of(line.product.clone()).is_none() {
                return Some(ReserveRefusal::UnknownProduct {
                    product: line.product.clone(),
                });
            }
        }
        let limit = self.base.per_buyer_limit;
        if self.units_of_buyer(&request.buyer) + request.lines.units() > u64::from(limit) {
            return Some(ReserveRefusal::LimitReached { limit });
        }
        let short = lines.iter().find(|line| {
            product_of(line.product.clone())
                .is_some_and(|product| self.available(product) < line.quantity)
        });
        short.map(|line| ReserveRefusal::SoldOut {
            product: line.product.clone(),
        })
    }

    pub fn extend(&mut self, name: &OperationKey) -> Outcome<ExtendReply> {
        self.check_open()?;
        match self.operations.get_mut(name).map(|stored| &mut stored.what) {
            Some(Operation::Reserved(request, fate)) => {
                if *fate == Fate::Released {
                    return Ok(ExtendReply::NotHeld);
                }
                request.hold = HoldState::Paying;
                Ok(ExtendReply::Paying)
            }
            None | Some(Operation::EmptyReserve(_) | Operation::Ended) => Ok(ExtendReply::NotHeld),
            Some(Operation::EmptyClaim(_) | Operation::Claimed(..)) => mismatch(),
        }
    }

    pub fn confirm(&mut self, request: &ConfirmRequest) -> Outcome<ConfirmReply> {
        self.check_open()?;
        let hold = self.what(&request.operation);
        let claim = request.claim.as_ref().map(|claim| self.what(claim));
        if hold.is_some_and(|hold| !is_of_hold(hold))
            || claim.flatten().is_some_and(|claim| !is_of_purchase(claim))
        {
            return mismatch();
        }
        let (Some(hold), Some(claim)) = (hold, claim.map_or(Some(None), |claim| claim.map(Some)))
        else {
            return Ok(ConfirmReply::Unknown);
        };
        let holds = matches!(hold, Operation::Reserved(_, fate) if *fate != Fate::Released);
        let claims = claim.is_none_or(
            |claim| matches!(claim, Operation::Claimed(_, fate, _) if *fate != Fate::Released),
        );
        if !(holds && claims) {
            return Ok(ConfirmReply::NotHeld);
        }
        self.set_fate(&request.operation, Fate::Final);
        if let Some(name) = &request.claim {
            if let Some(Operation::Claimed(_, Fate::Held, Some(ahead))) = self.what(name).cloned()
                && self.gives_back_to(name, &ahead)
            {
                self.set_fate(&ahead, Fate::Final);
            }
            self.set_fate(name, Fate::Final);
        }
        Ok(ConfirmReply::Sold)
    }

    pub fn release(&mut self, request: &ReleaseRequest) -> Outcome<ReleaseReply> {
        self.check_open()?;
        if self.has_moved_on(request) {
            return Ok(ReleaseReply::MovedOn);
        }
        let (name, forget) = (&request.operation, request.forget);
        let fate = match self.what(name) {
            None => {
                self.insert(name, None, Operation::EmptyReserve(None));
                return Ok(ReleaseReply::NothingHeld);
            }
            Some(Operation::EmptyReserve(_) | Operation::Ended) => {
                return Ok(ReleaseReply::NothingHeld);
            }
            Some(Operation::Reserved(_, fate)) => *fate,
            Some(_) => return mismatch(),
        };
        match fate {
            Fate::Final => return Err(Failure::Misuse("SOLD".to_owned())),
            Fate::Released => {}
            Fate::Held | Fate::Taken if forget => {
                self.operations.remove(name);
            }
            Fate::Held | Fate::Taken => self.set_fate(name, Fate::Released),
        }
        Ok(ReleaseReply::Released)
    }
}

fn is_of_hold(what: &Operation) -> bool {
    use Operation::{EmptyReserve, Ended, Reserved};
    matches!(what, EmptyReserve(_) | Reserved(..) | Ended)
}

fn is_of_purchase(what: &Operation) -> bool {
    use workflows::ports::reservations::ClaimPurpose::Purchase;
    match what {
        Operation::EmptyClaim(Some((request, _))) | Operation::Claimed(request, ..) => {
            request.purpose == Purchase
        }
        Operation::EmptyClaim(None) | Operation::Ended => true,
        Operation::EmptyReserve(_) | Operation::Reserved(..) => false,
    }
}

/// Whether a repeat asks for the same.
fn same_reserve(one: &ReserveRequest, other: &ReserveRequest) -> bool {
    one.buyer == other.buyer && one.lines == other.lines
}
