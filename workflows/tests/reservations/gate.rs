//! When a sale answers at all, and what it stores of a refusal: every branch on both adapters, replies and keyspaces equal.

use workflows::ports::reservations::{ClaimRefusal, ReserveRefusal, ReserveReply, SaleSnapshot};

use crate::harness::{FAR_AHEAD_MS, Failure, NOW_MS, Pair, product, small_sale};
use crate::outcomes::{claim_refused, closed, not_open_before, remembered, reserve_refused};

#[tokio::test]
async fn outside_its_hours_a_sale_refuses_and_says_when_it_opens() {
    let pair = Pair::with(not_open_before(FAR_AHEAD_MS)).await;
    let reserve = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    let claim = pair.claim_request("w1/coupon", "ann", "early");
    let early = ReserveRefusal::SaleNotOpen {
        opens_at_ms: FAR_AHEAD_MS,
    };
    assert_eq!(pair.reserve(&reserve).await, reserve_refused(early, false));
    let early = ClaimRefusal::SaleNotOpen {
        opens_at_ms: FAR_AHEAD_MS,
    };
    assert_eq!(pair.claim(&claim).await, claim_refused(early, false));
    pair.rebuild(closed()).await.unwrap();
    assert_eq!(
        pair.reserve(&reserve).await,
        reserve_refused(ReserveRefusal::SaleClosed, false)
    );
    assert_eq!(
        pair.claim(&claim).await,
        claim_refused(ClaimRefusal::SaleClosed, false)
    );
    pair.finish().await;
}

#[tokio::test]
async fn every_reason_can_be_stored_and_is_repeated_as_it_was() {
    let pair = Pair::with(small_sale()).await;
    let ask = async |name: &str, wanted: &[(&str, u32)]| {
        let request = remembered(&pair.reserve_request(name, "ann", wanted));
        let first = pair.reserve(&request).await;
        assert_eq!(pair.reserve(&request).await, first);
        first
    };
    let unknown = ReserveRefusal::UnknownProduct {
        product: product("mug"),
    };
    assert_eq!(
        ask("w1", &[("mug", 1)]).await,
        reserve_refused(unknown, false)
    );
    let limit = ReserveRefusal::LimitReached { limit: 4 };
    assert_eq!(
        ask("w2", &[("tee", 5)]).await,
        reserve_refused(limit, false)
    );
    pair.rebuild(not_open_before(FAR_AHEAD_MS)).await.unwrap();
    let early = ReserveRefusal::SaleNotOpen {
        opens_at_ms: FAR_AHEAD_MS,
    };
    assert_eq!(
        ask("w3", &[("tee", 1)]).await,
        reserve_refused(early, false)
    );
    pair.rebuild(closed()).await.unwrap();
    assert_eq!(
        ask("w4", &[("tee", 1)]).await,
        reserve_refused(ReserveRefusal::SaleClosed, false)
    );
    pair.finish().await;
}

#[tokio::test]
async fn without_a_generation_every_call_is_unavailable() {
    let pair = Pair::new().await;
    for closed_by_hand in [false, true] {
        let reserve = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
        assert_eq!(pair.reserve(&reserve).await, Err(Failure::Unavailable));
        let claim = pair.claim_request("w1/coupon", "ann", "early");
        assert_eq!(pair.claim(&claim).await, Err(Failure::Unavailable));
        let confirm = pair.confirm_request("w1/stock", None);
        assert_eq!(pair.confirm(&confirm).await, Err(Failure::Unavailable));
        assert_eq!(pair.release("w1/stock").await, Err(Failure::Unavailable));
        assert_eq!(
            pair.release_claim("w1/coupon").await,
            Err(Failure::Unavailable)
        );
        assert_eq!(pair.counts().await, Ok(None));
        assert!(
            pair.embedded_dump().await.is_empty(),
            "nothing is written either"
        );
        if !closed_by_hand {
            pair.rebuild(small_sale()).await.unwrap();
            assert_eq!(pair.reserve(&reserve).await, Ok(ReserveReply::Held));
            pair.close_gate().await.unwrap();
        }
    }
    pair.finish().await;
}

#[tokio::test]
async fn a_sale_is_open_from_its_first_millisecond_to_before_its_last() {
    let pair = Pair::new().await;
    let reserve = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    for (opens_at_ms, closes_at_ms, open) in [
        (NOW_MS, NOW_MS + 1, true),
        (NOW_MS + 1, NOW_MS + 2, false),
        (NOW_MS - 1, NOW_MS, false),
    ] {
        let hours = SaleSnapshot {
            opens_at_ms,
            closes_at_ms,
            ..small_sale()
        };
        let reply = pair.on_embedded_only(hours, &reserve).await.unwrap();
        assert_eq!(
            reply == ReserveReply::Held,
            open,
            "{opens_at_ms} to {closes_at_ms}: {reply:?}"
        );
    }
    pair.finish().await;
}
