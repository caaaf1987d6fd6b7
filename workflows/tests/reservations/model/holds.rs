//! What the model answers about units.

use workflows::ports::reservations::{
    ConfirmReply, ConfirmRequest, OperationKey, ReleaseReply, ReserveRefusal, ReserveReply,
    ReserveRequest,
};

use crate::harness::{Failure, Outcome};

use super::{Fate, Model, Operation, mismatch};

impl Model {
    pub fn reserve(&mut self, request: &ReserveRequest) -> Outcome<ReserveReply> {
        self.check_open()?;
        let buyer_holds = self.units_of(request) > 0;
        let refused = |reason| {
            Ok(ReserveReply::Refused {
                reason,
                buyer_holds,
            })
        };
        match self.operations.get(&request.operation) {
            None => {}
            Some(Operation::EmptyReserve(None)) => return refused(ReserveRefusal::Released),
            Some(Operation::EmptyReserve(Some((first, reason))))
                if same_reserve(first, request) =>
            {
                return refused(reason.clone());
            }
            Some(Operation::Reserved(first, fate)) if same_reserve(first, request) => {
                return match fate {
                    Fate::Held => Ok(ReserveReply::Held),
                    Fate::Final => Ok(ReserveReply::Sold),
                    Fate::Released => refused(ReserveRefusal::Released),
                };
            }
            Some(_) => return mismatch(),
        }
        let name = request.operation.clone();
        let Some(reason) = self.reason_against(request) else {
            self.operations
                .insert(name, Operation::Reserved(request.clone(), Fate::Held));
            return Ok(ReserveReply::Held);
        };
        if request.remember_refusal {
            let empty = Operation::EmptyReserve(Some((request.clone(), reason.clone())));
            self.operations.insert(name, empty);
        }
        refused(reason)
    }

    fn reason_against(&self, request: &ReserveRequest) -> Option<ReserveRefusal> {
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
        if self.units_of(request) + request.lines.units() > u64::from(limit) {
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

    pub fn confirm(&mut self, request: &ConfirmRequest) -> Outcome<ConfirmReply> {
        self.check_open()?;
        let hold = self.operations.get(&request.operation);
        let claim = request
            .claim
            .as_ref()
            .map(|claim| self.operations.get(claim));
        let is_reserve = |found: &Operation| {
            matches!(found, Operation::EmptyReserve(_) | Operation::Reserved(..))
        };
        if hold.is_some_and(|hold| !is_reserve(hold)) || claim.flatten().is_some_and(is_reserve) {
            return mismatch();
        }
        let (Some(hold), Some(claim)) = (hold, claim.map_or(Some(None), |claim| claim.map(Some)))
        else {
            return Ok(ConfirmReply::Unknown);
        };
        let holds = matches!(hold, Operation::Reserved(_, fate) if *fate != Fate::Released);
        let claims = claim.is_none_or(
            |claim| matches!(claim, Operation::Claimed(_, fate) if *fate != Fate::Released),
        );
        if !(holds && claims) {
            return Ok(ConfirmReply::NotHeld);
        }
        for name in std::iter::once(&request.operation).chain(&request.claim) {
            match self.operations.get_mut(name) {
                Some(Operation::Reserved(_, fate) | Operation::Claimed(_, fate)) => {
                    *fate = Fate::Final;
                }
                _ => unreachable!("both were looked at above"),
            }
        }
        Ok(ConfirmReply::Sold)
    }

    pub fn release(&mut self, name: &OperationKey) -> Outcome<ReleaseReply> {
        self.check_open()?;
        match self.operations.get_mut(name) {
            None => {
                self.operations
                    .insert(name.clone(), Operation::EmptyReserve(None));
                Ok(ReleaseReply::NothingHeld)
            }
            Some(Operation::EmptyReserve(_)) => Ok(ReleaseReply::NothingHeld),
            Some(Operation::Reserved(_, Fate::Final)) => Err(Failure::Misuse("SOLD".to_owned())),
            Some(Operation::Reserved(_, fate)) => {
                *fate = Fate::Released;
                Ok(ReleaseReply::Released)
            }
            Some(_) => mismatch(),
        }
    }
}

/// Whether a repeat asks for the same.
fn same_reserve(one: &ReserveRequest, other: &ReserveRequest) -> bool {
    one.buyer == other.buyer && one.lines == other.lines
}
