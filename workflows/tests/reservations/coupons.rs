//! Claiming, using and giving back coupons: every branch on both adapters, replies and keyspaces equal.

use workflows::ports::reservations::{
    CampaignCounts, ClaimRefusal, ClaimReply, ClaimRequest, ConfirmReply, ReleaseReply,
    ReserveReply,
};

use crate::harness::{Pair, small_sale};
use crate::outcomes::{claim_refused, has_coupon, misuse, stock};

#[tokio::test]
async fn what_is_a_claim_is_not_released_or_confirmed_as_a_hold() {
    let pair = Pair::with(small_sale()).await;
    let claim = pair.claim_request("w1/coupon", "ann", "early");
    assert_eq!(pair.claim(&claim).await, has_coupon());
    let other_campaign = pair.claim_request("w1/coupon", "ann", "late");
    assert_eq!(pair.claim(&other_campaign).await, misuse("MISMATCH"));
    assert_eq!(pair.release("w1/coupon").await, misuse("MISMATCH"));
    assert_eq!(
        pair.confirm(&pair.confirm_request("w1/coupon", None)).await,
        misuse("MISMATCH")
    );
    let request = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    let swapped = pair.confirm_request("w1/stock", Some("w1/stock"));
    assert_eq!(pair.confirm(&swapped).await, misuse("MISMATCH"));
    pair.finish().await;
}

#[tokio::test]
async fn a_confirmation_uses_the_coupon_of_the_purchase() {
    let pair = Pair::with(small_sale()).await;
    let claim = pair.claim_request("w1/coupon", "ann", "early");
    let request = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    assert_eq!(pair.claim(&claim).await, has_coupon());
    let confirm = pair.confirm_request("w1/stock", Some("w1/coupon"));
    assert_eq!(
        pair.confirm(&confirm).await,
        Ok(ConfirmReply::Unknown),
        "no hold yet"
    );
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    let other_claim = pair.confirm_request("w1/stock", Some("w0/coupon"));
    assert_eq!(
        pair.confirm(&other_claim).await,
        Ok(ConfirmReply::Unknown),
        "no such claim"
    );
    assert_eq!(
        pair.release_claim("w9/coupon").await,
        Ok(ReleaseReply::NothingHeld)
    );
    let released_claim = pair.confirm_request("w1/stock", Some("w9/coupon"));
    assert_eq!(
        pair.confirm(&released_claim).await,
        Ok(ConfirmReply::NotHeld)
    );
    assert_eq!(stock(&pair, "tee").await, [9, 1, 0]);
    for _ in 0..2 {
        assert_eq!(pair.confirm(&confirm).await, Ok(ConfirmReply::Sold));
    }
    assert_eq!(
        pair.claim(&claim).await,
        Ok(ClaimReply::Used { taken_from: None })
    );
    assert_eq!(pair.release_claim("w1/coupon").await, misuse("USED"));
    pair.finish().await;
}

#[tokio::test]
async fn a_buyer_gets_one_coupon_of_a_campaign() {
    let pair = Pair::with(small_sale()).await;
    let claim = pair.claim_request("w1/coupon", "ann", "early");
    for _ in 0..2 {
        assert_eq!(pair.claim(&claim).await, has_coupon());
    }
    let again = pair.claim_request("w2/coupon", "ann", "early");
    assert_eq!(
        pair.claim(&again).await,
        claim_refused(ClaimRefusal::CouponAlreadyUsed, true)
    );
    let counts = pair.counts().await.unwrap().unwrap();
    let early = counts.campaigns.into_values().next().unwrap();
    assert_eq!(early, CampaignCounts { size: 2, issued: 1 });
    assert_eq!(pair.fields("claims").await["early:ann"], "w1/coupon");
    pair.finish().await;
}

#[tokio::test]
async fn a_campaign_gives_no_more_coupons_than_it_has() {
    let pair = Pair::with(small_sale()).await;
    assert_eq!(
        pair.claim(&pair.claim_request("w1", "ann", "early")).await,
        has_coupon()
    );
    assert_eq!(
        pair.claim(&pair.claim_request("w2", "bob", "early")).await,
        has_coupon()
    );
    let third = pair.claim_request("w3", "cid", "early");
    let before = pair.embedded_dump().await;
    assert_eq!(
        pair.claim(&third).await,
        claim_refused(ClaimRefusal::CouponsExhausted, false)
    );
    assert_eq!(
        pair.embedded_dump().await,
        before,
        "a first refusal writes nothing"
    );

    assert_eq!(pair.release_claim("w1").await, Ok(ReleaseReply::Released));
    assert_eq!(pair.release_claim("w1").await, Ok(ReleaseReply::Released));
    assert_eq!(pair.claim(&third).await, has_coupon());
    let first = pair.claim_request("w1", "ann", "early");
    assert_eq!(
        pair.claim(&first).await,
        claim_refused(ClaimRefusal::Released, false)
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_stored_refusal_of_a_claim_outlives_its_reason() {
    let pair = Pair::with(small_sale()).await;
    for (name, who) in [("w1", "ann"), ("w2", "bob")] {
        assert_eq!(
            pair.claim(&pair.claim_request(name, who, "early")).await,
            has_coupon()
        );
    }
    let third = pair.claim_request("w3", "cid", "early");
    let remembered = ClaimRequest {
        remember_refusal: true,
        ..third.clone()
    };
    let exhausted = || claim_refused(ClaimRefusal::CouponsExhausted, false);
    assert_eq!(pair.claim(&remembered).await, exhausted());
    assert_eq!(pair.release_claim("w1").await, Ok(ReleaseReply::Released));
    assert_eq!(pair.claim(&third).await, exhausted());
    assert_eq!(
        pair.release_claim("w3").await,
        Ok(ReleaseReply::NothingHeld)
    );
    assert_eq!(
        pair.claim(&pair.claim_request("w4", "cid", "early")).await,
        has_coupon()
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_refused_claim_says_whether_the_buyer_has_something_of_the_sale() {
    let pair = Pair::with(small_sale()).await;
    let unknown = pair.claim_request("w1/coupon", "ann", "late");
    assert_eq!(
        pair.claim(&unknown).await,
        claim_refused(ClaimRefusal::UnknownCampaign, false)
    );
    let hold = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    assert_eq!(pair.reserve(&hold).await, Ok(ReserveReply::Held));
    assert_eq!(
        pair.claim(&unknown).await,
        claim_refused(ClaimRefusal::UnknownCampaign, true)
    );
    assert_eq!(pair.release("w1/stock").await, Ok(ReleaseReply::Released));
    assert_eq!(
        pair.claim(&unknown).await,
        claim_refused(ClaimRefusal::UnknownCampaign, false)
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_forgotten_claim_leaves_nothing_and_its_key_can_be_used_again() {
    let pair = Pair::with(small_sale()).await;
    let before = pair.embedded_dump().await;
    let claim = pair.claim_request("w1/coupon", "ann", "early");
    for _ in 0..2 {
        assert_eq!(pair.claim(&claim).await, has_coupon());
        let forgotten = pair.forget_claim("w1/coupon").await;
        assert_eq!(forgotten, Ok(ReleaseReply::Released));
        assert_eq!(pair.embedded_dump().await, before);
    }
    // What is not held may still be on its way: that is remembered all the same.
    let nothing = pair.forget_claim("w1/coupon").await;
    assert_eq!(nothing, Ok(ReleaseReply::NothingHeld));
    let late = pair.claim(&claim).await;
    assert_eq!(late, claim_refused(ClaimRefusal::Released, false));
    pair.finish().await;
}
