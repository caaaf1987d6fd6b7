//! Coupons that are claimed ahead and taken over by a purchase: every branch on both adapters, replies and keyspaces equal.

use workflows::ports::reservations::{
    CampaignSnapshot, ClaimRefusal, ClaimReply, ClaimRequest, ClaimState, ConfirmReply,
    OperationState, ReleaseReply, ReserveReply, SaleSnapshot,
};

use crate::harness::{Pair, buyer, operation, small_sale};
use crate::outcomes::{claim_refused, has_coupon, has_coupon_of, misuse};

/// A sale whose coupons are only claimed ahead.
fn ahead_only() -> SaleSnapshot {
    let mut sale = small_sale();
    sale.campaigns[0].claim_in_purchase = false;
    sale
}

async fn issued(pair: &Pair) -> u64 {
    let counts = pair.counts().await.unwrap().unwrap();
    counts.campaigns.into_values().next().unwrap().issued
}

/// What ann's coupon `name` is.
async fn state_of(pair: &Pair, name: &str) -> Option<(ClaimState, Option<String>)> {
    let page = pair.operations().await.unwrap();
    let stored = page
        .operations
        .into_iter()
        .find(|stored| stored.operation == operation(name))?;
    match stored.what {
        OperationState::Coupon {
            campaign,
            buyer: who,
            state,
            taken_from,
        } => {
            assert_eq!((campaign.as_str(), who), ("early", buyer("ann")));
            Some((state, taken_from.map(String::from)))
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_purchase_takes_the_coupon_that_the_buyer_holds() {
    let pair = Pair::with(ahead_only()).await;
    let ahead = pair.ahead_request("c1/coupon-issue", "ann", "early");
    let taker = pair.claim_request("w1/coupon-claim", "ann", "early");
    assert_eq!(
        pair.claim(&taker).await,
        claim_refused(ClaimRefusal::NoCoupon, false)
    );
    for _ in 0..2 {
        assert_eq!(pair.claim(&ahead).await, has_coupon());
        assert_eq!(pair.fields("claims").await["early:ann"], "c1/coupon-issue");
        let kept = Some((ClaimState::Issued, None));
        assert_eq!(state_of(&pair, "c1/coupon-issue").await, kept);
    }
    for _ in 0..2 {
        assert_eq!(pair.claim(&taker).await, has_coupon_of("c1/coupon-issue"));
        assert_eq!(pair.fields("claims").await["early:ann"], "w1/coupon-claim");
        assert_eq!(issued(&pair).await, 1, "it is the same coupon");
        let from = Some("c1/coupon-issue".to_owned());
        let reserved = Some((ClaimState::Held, from));
        assert_eq!(state_of(&pair, "w1/coupon-claim").await, reserved);
        let reserved = Some((ClaimState::Held, None));
        assert_eq!(state_of(&pair, "c1/coupon-issue").await, reserved);
    }
    assert_eq!(pair.claim(&ahead).await, has_coupon(), "a repeat");
    let second = pair.claim_request("w2/coupon-claim", "ann", "early");
    assert_eq!(
        pair.claim(&second).await,
        claim_refused(ClaimRefusal::CouponAlreadyUsed, true)
    );
    pair.finish().await;
}

#[tokio::test]
async fn what_was_taken_over_goes_back_to_the_buyer_and_can_be_taken_again() {
    let pair = Pair::with(ahead_only()).await;
    let ahead = pair.ahead_request("c1", "ann", "early");
    assert_eq!(pair.claim(&ahead).await, has_coupon());
    let before = pair.embedded_dump().await;
    for (name, forget) in [("w1", false), ("w2", true), ("w3", false)] {
        let taker = pair.claim_request(name, "ann", "early");
        assert_eq!(pair.claim(&taker).await, has_coupon_of("c1"));
        if forget {
            assert_eq!(pair.forget_claim(name).await, Ok(ReleaseReply::Released));
        } else {
            for _ in 0..2 {
                assert_eq!(pair.release_claim(name).await, Ok(ReleaseReply::Released));
            }
            assert_eq!(
                pair.claim(&taker).await,
                claim_refused(ClaimRefusal::Released, true)
            );
        }
        assert_eq!(pair.fields("claims").await["early:ann"], "c1");
        assert_eq!(
            state_of(&pair, "c1").await,
            Some((ClaimState::Issued, None))
        );
        assert_eq!(issued(&pair).await, 1);
    }
    let mut after = pair.embedded_dump().await;
    for outcomes in after.values_mut() {
        outcomes.retain(|name, _| name != "w1" && name != "w3");
    }
    assert_eq!(after, before, "but for the tombstones");
    // What the buyer holds can be given back to the campaign then.
    assert_eq!(pair.release_claim("c1").await, Ok(ReleaseReply::Released));
    assert_eq!(issued(&pair).await, 0);
    pair.finish().await;
}

#[tokio::test]
async fn a_confirmation_uses_the_claim_ahead_too() {
    let pair = Pair::with(ahead_only()).await;
    let ahead = pair.ahead_request("c1", "ann", "early");
    let taker = pair.claim_request("w1/coupon", "ann", "early");
    let hold = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    assert_eq!(pair.claim(&ahead).await, has_coupon());
    assert_eq!(pair.reserve(&hold).await, Ok(ReserveReply::Held));
    let wrong = pair.confirm_request("w1/stock", Some("c1"));
    assert_eq!(
        pair.confirm(&wrong).await,
        misuse("MISMATCH"),
        "no purchase's"
    );
    assert_eq!(pair.claim(&taker).await, has_coupon_of("c1"));
    let confirm = pair.confirm_request("w1/stock", Some("w1/coupon"));
    for _ in 0..2 {
        assert_eq!(pair.confirm(&confirm).await, Ok(ConfirmReply::Sold));
        assert_eq!(state_of(&pair, "c1").await, Some((ClaimState::Used, None)));
    }
    let used = |from: Option<&str>| {
        Ok(ClaimReply::Used {
            taken_from: from.map(operation),
        })
    };
    assert_eq!(pair.claim(&taker).await, used(Some("c1")));
    assert_eq!(pair.claim(&ahead).await, used(None));
    assert_eq!(pair.release_claim("c1").await, Ok(ReleaseReply::Used));
    assert_eq!(pair.forget_claim("c1").await, Ok(ReleaseReply::Used));
    assert_eq!(pair.release_claim("w1/coupon").await, misuse("USED"));
    assert_eq!(issued(&pair).await, 1);
    pair.finish().await;
}

#[tokio::test]
async fn a_claim_ahead_that_a_purchase_has_taken_stays_with_the_purchase() {
    let pair = Pair::with(ahead_only()).await;
    let ahead = pair.ahead_request("c1", "ann", "early");
    let taker = pair.claim_request("w1", "ann", "early");
    assert_eq!(pair.claim(&ahead).await, has_coupon());
    assert_eq!(pair.claim(&taker).await, has_coupon_of("c1"));
    let before = pair.embedded_dump().await;
    assert_eq!(pair.release_claim("c1").await, misuse("USED"));
    assert_eq!(pair.embedded_dump().await, before);
    assert_eq!(pair.forget_claim("c1").await, Ok(ReleaseReply::Released));
    assert_eq!(issued(&pair).await, 1, "the purchase has it");
    assert_eq!(
        pair.claim(&ahead).await,
        claim_refused(ClaimRefusal::CouponAlreadyUsed, true)
    );
    // The key means another coupon now, which is none of the first purchase's.
    let reused = pair.ahead_request("c1", "bob", "early");
    assert_eq!(pair.claim(&reused).await, has_coupon());
    let others = pair.claim_request("w2", "bob", "early");
    assert_eq!(pair.claim(&others).await, has_coupon_of("c1"));
    assert_eq!(pair.release_claim("w1").await, Ok(ReleaseReply::Released));
    assert_eq!(pair.fields("claims").await.len(), 1, "bob's alone");
    assert_eq!(issued(&pair).await, 1);
    pair.finish().await;
}

#[tokio::test]
async fn a_claim_for_one_purpose_is_not_repeated_for_the_other() {
    let pair = Pair::with(small_sale()).await;
    let ahead = pair.ahead_request("c1", "ann", "early");
    assert_eq!(pair.claim(&ahead).await, has_coupon());
    let purchase = pair.claim_request("c1", "ann", "early");
    assert_eq!(pair.claim(&purchase).await, misuse("MISMATCH"));
    let second = pair.ahead_request("c2", "ann", "early");
    let remembered = ClaimRequest {
        remember_refusal: true,
        ..second
    };
    let already = || claim_refused(ClaimRefusal::CouponAlreadyUsed, true);
    assert_eq!(pair.claim(&remembered).await, already());
    assert_eq!(pair.release_claim("c1").await, Ok(ReleaseReply::Released));
    assert_eq!(
        pair.claim(&remembered).await,
        claim_refused(ClaimRefusal::CouponAlreadyUsed, false),
        "as it was stored"
    );
    pair.finish().await;
}

#[tokio::test]
async fn claims_ahead_and_of_purchases_share_the_size_of_the_campaign() {
    let pair = Pair::with(small_sale()).await;
    let claim = |name, who| pair.claim_request(name, who, "early");
    let ahead = |name, who| pair.ahead_request(name, who, "early");
    assert_eq!(pair.claim(&ahead("c1", "ann")).await, has_coupon());
    assert_eq!(pair.claim(&claim("w2", "bob")).await, has_coupon());
    let exhausted = || claim_refused(ClaimRefusal::CouponsExhausted, false);
    assert_eq!(pair.claim(&ahead("c3", "cid")).await, exhausted());
    assert_eq!(pair.claim(&claim("w3", "cid")).await, exhausted());
    assert_eq!(
        pair.claim(&claim("w1", "ann")).await,
        has_coupon_of("c1"),
        "hers is not exhausted"
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_rebuild_knows_what_was_claimed_ahead_and_by_whom_it_was_taken() {
    let pair = Pair::new().await;
    let claim = |name: &str, who: &str, state, from: Option<&str>| {
        workflows::ports::reservations::ClaimSnapshot {
            operation: operation(name),
            buyer: buyer(who),
            state,
            taken_from: from.map(operation),
        }
    };
    let campaign = CampaignSnapshot {
        size: 3,
        claims: vec![
            claim("c1", "ann", ClaimState::Issued, None),
            claim("w2", "bob", ClaimState::Held, Some("c2")),
            claim("w3", "cid", ClaimState::Used, Some("c3")),
        ],
        ..small_sale().campaigns.remove(0)
    };
    let snapshot = SaleSnapshot {
        campaigns: vec![campaign],
        ..small_sale()
    };
    pair.rebuild(snapshot).await.unwrap();
    let taker = pair.claim_request("w1", "ann", "early");
    assert_eq!(pair.claim(&taker).await, has_coupon_of("c1"));
    let taker = pair.claim_request("w2", "bob", "early");
    assert_eq!(pair.claim(&taker).await, has_coupon_of("c2"));
    let ahead = pair.ahead_request("c3", "cid", "early");
    let used = ClaimReply::Used { taken_from: None };
    assert_eq!(pair.claim(&ahead).await, Ok(used));
    assert_eq!(pair.release_claim("w2").await, Ok(ReleaseReply::Released));
    assert_eq!(pair.fields("claims").await["early:bob"], "c2");
    assert_eq!(pair.release_claim("c2").await, Ok(ReleaseReply::Released));
    assert_eq!(issued(&pair).await, 2);
    pair.finish().await;
}
