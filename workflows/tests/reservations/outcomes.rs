//! What the tests of the single scripts compare with: short names for long outcomes.

use engine::workflow::Earlier;
use workflows::ports::reservations::{
    ClaimRefusal, ClaimReply, ReserveRefusal, ReserveReply, ReserveRequest, SaleSnapshot,
    StockCounts,
};

use crate::harness::{
    FAR_AHEAD_MS, Failure, LONG_AGO_MS, Outcome, Pair, operation, product, small_sale,
};

/// What is said of the start of an operation, when no other copy of it has anything.
pub const fn possible_if(look_up: bool) -> Earlier {
    if look_up {
        Earlier::Possible
    } else {
        Earlier::RuledOut
    }
}

#[expect(clippy::unnecessary_wraps, reason = "to be compared with outcomes")]
pub fn reserve_refused(reason: ReserveRefusal, look_up: bool) -> Outcome<ReserveReply> {
    let earlier = possible_if(look_up);
    Ok(ReserveReply::Refused { reason, earlier })
}

/// Refused while another copy of the start has something.
#[expect(clippy::unnecessary_wraps, reason = "to be compared with outcomes")]
pub fn under_way(reason: ReserveRefusal) -> Outcome<ReserveReply> {
    let earlier = Earlier::UnderWay;
    Ok(ReserveReply::Refused { reason, earlier })
}

#[expect(clippy::unnecessary_wraps, reason = "to be compared with outcomes")]
pub fn claim_refused(reason: ClaimRefusal, look_up: bool) -> Outcome<ClaimReply> {
    let earlier = possible_if(look_up);
    Ok(ClaimReply::Refused { reason, earlier })
}

/// A coupon that the operation claimed itself.
#[expect(clippy::unnecessary_wraps, reason = "to be compared with outcomes")]
pub fn has_coupon() -> Outcome<ClaimReply> {
    Ok(ClaimReply::Held { taken_from: None })
}

/// A coupon that the operation took over.
#[expect(clippy::unnecessary_wraps, reason = "to be compared with outcomes")]
pub fn has_coupon_of(ahead: &str) -> Outcome<ClaimReply> {
    Ok(ClaimReply::Held {
        taken_from: Some(operation(ahead)),
    })
}

pub fn misuse<T>(code: &str) -> Outcome<T> {
    Err(Failure::Misuse(code.to_owned()))
}

pub fn not_open_before(opens_at_ms: i64) -> SaleSnapshot {
    SaleSnapshot {
        opens_at_ms,
        closes_at_ms: FAR_AHEAD_MS + 1,
        ..small_sale()
    }
}

pub fn closed() -> SaleSnapshot {
    SaleSnapshot {
        opens_at_ms: LONG_AGO_MS - 1,
        closes_at_ms: LONG_AGO_MS,
        ..small_sale()
    }
}

pub async fn stock(pair: &Pair, name: &str) -> [u64; 3] {
    let counts = pair.counts().await.unwrap().unwrap();
    let StockCounts {
        available,
        held,
        sold,
    } = counts.products[&product(name)];
    [available, held, sold]
}

pub fn remembered(request: &ReserveRequest) -> ReserveRequest {
    ReserveRequest {
        remember_refusal: true,
        ..request.clone()
    }
}
