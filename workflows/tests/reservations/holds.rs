//! Holding, releasing and confirming units: every branch on both adapters, replies and keyspaces equal.

use std::collections::BTreeMap;

use workflows::ports::reservations::{
    ClaimRefusal, ConfirmReply, ReleaseReply, ReserveRefusal, ReserveReply, SaleSnapshot,
    SoldSnapshot,
};

use crate::harness::{Pair, buyer, product, small_sale};
use crate::outcomes::{claim_refused, misuse, remembered, reserve_refused, stock};

#[tokio::test]
async fn a_reservation_holds_all_its_lines_once() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request("w1/stock", "ann", &[("tee", 2), ("cap", 1)]);
    for _ in 0..3 {
        assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
        assert_eq!(stock(&pair, "tee").await, [8, 2, 0]);
        assert_eq!(stock(&pair, "cap").await, [1, 1, 0]);
    }
    assert_eq!(
        pair.fields("buyers").await,
        BTreeMap::from([("ann".into(), "3".into())])
    );
    assert_eq!(
        pair.fields("operations").await["w1/stock"],
        "held 1 reserve ann cap:1,tee:2"
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_reservation_is_all_or_nothing_and_names_what_ran_short() {
    let pair = Pair::with(small_sale()).await;
    let before = pair.embedded_dump().await;
    let request = pair.reserve_request("w1/stock", "ann", &[("tee", 1), ("cap", 3)]);
    let sold_out = ReserveRefusal::SoldOut {
        product: product("cap"),
    };
    assert_eq!(
        pair.reserve(&request).await,
        reserve_refused(sold_out, false)
    );
    assert_eq!(
        pair.embedded_dump().await,
        before,
        "a first refusal writes nothing"
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_product_that_is_not_of_the_sale_is_refused() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request("w1/stock", "ann", &[("mug", 1), ("tee", 1)]);
    let unknown = ReserveRefusal::UnknownProduct {
        product: product("mug"),
    };
    assert_eq!(
        pair.reserve(&request).await,
        reserve_refused(unknown, false)
    );
    pair.finish().await;
}

#[tokio::test]
async fn the_limit_of_a_buyer_counts_what_is_held_and_bought() {
    let bought = SoldSnapshot {
        buyer: buyer("ann"),
        units: 1,
    };
    let pair = Pair::with(SaleSnapshot {
        sold: vec![bought],
        ..small_sale()
    })
    .await;
    let limit = || reserve_refused(ReserveRefusal::LimitReached { limit: 4 }, true);
    let four = pair.reserve_request("w1/stock", "ann", &[("tee", 4)]);
    assert_eq!(pair.reserve(&four).await, limit());
    let three = pair.reserve_request("w2/stock", "ann", &[("tee", 3)]);
    assert_eq!(pair.reserve(&three).await, Ok(ReserveReply::Held));
    let one = pair.reserve_request("w3/stock", "ann", &[("tee", 1)]);
    assert_eq!(pair.reserve(&one).await, limit());
    assert_eq!(pair.release("w2/stock").await, Ok(ReleaseReply::Released));
    assert_eq!(pair.reserve(&one).await, Ok(ReserveReply::Held));
    pair.finish().await;
}

#[tokio::test]
async fn a_stored_refusal_answers_every_later_copy() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request("w1/stock", "ann", &[("cap", 3)]);
    let sold_out = || ReserveRefusal::SoldOut {
        product: product("cap"),
    };
    assert_eq!(
        pair.reserve(&remembered(&request)).await,
        reserve_refused(sold_out(), false)
    );
    assert_eq!(
        pair.fields("operations").await["w1/stock"],
        "refused:sold-out:cap 1 reserve ann cap:3"
    );
    let other = pair.reserve_request("w2/stock", "ann", &[("tee", 1)]);
    assert_eq!(pair.reserve(&other).await, Ok(ReserveReply::Held));
    assert_eq!(
        pair.reserve(&request).await,
        reserve_refused(sold_out(), true)
    );
    assert_eq!(
        pair.release("w1/stock").await,
        Ok(ReleaseReply::NothingHeld)
    );
    assert_eq!(
        pair.confirm(&pair.confirm_request("w1/stock", None)).await,
        Ok(ConfirmReply::NotHeld)
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_repeat_with_another_quantity_is_refused() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    let more = pair.reserve_request("w1/stock", "ann", &[("tee", 2)]);
    assert_eq!(pair.reserve(&more).await, misuse("MISMATCH"));
    let other_buyer = pair.reserve_request("w1/stock", "bob", &[("tee", 1)]);
    assert_eq!(pair.reserve(&other_buyer).await, misuse("MISMATCH"));
    let claim = pair.claim_request("w1/stock", "ann", "early");
    assert_eq!(pair.claim(&claim).await, misuse("MISMATCH"));
    assert_eq!(pair.release_claim("w1/stock").await, misuse("MISMATCH"));
    assert_eq!(stock(&pair, "tee").await, [9, 1, 0]);
    pair.finish().await;
}

#[tokio::test]
async fn a_release_gives_back_exactly_what_was_held_once() {
    let pair = Pair::with(small_sale()).await;
    let before = pair.counts().await;
    let request = pair.reserve_request("w1/stock", "ann", &[("tee", 2), ("cap", 2)]);
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    for _ in 0..3 {
        assert_eq!(pair.release("w1/stock").await, Ok(ReleaseReply::Released));
        assert_eq!(pair.counts().await, before);
    }
    assert_eq!(pair.fields("buyers").await, BTreeMap::new());
    assert_eq!(
        pair.reserve(&request).await,
        reserve_refused(ReserveRefusal::Released, false)
    );
    assert_eq!(
        pair.confirm(&pair.confirm_request("w1/stock", None)).await,
        Ok(ConfirmReply::NotHeld)
    );
    let other = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    assert_eq!(pair.reserve(&other).await, misuse("MISMATCH"));
    pair.finish().await;
}

#[tokio::test]
async fn a_late_reservation_finds_the_tombstone_of_its_release() {
    let pair = Pair::with(small_sale()).await;
    assert_eq!(
        pair.release("w1/stock").await,
        Ok(ReleaseReply::NothingHeld)
    );
    assert_eq!(
        pair.fields("operations").await["w1/stock"],
        "released - reserve"
    );
    assert_eq!(
        pair.release("w1/stock").await,
        Ok(ReleaseReply::NothingHeld)
    );
    let late = pair.reserve_request("w1/stock", "ann", &[("tee", 1)]);
    assert_eq!(
        pair.reserve(&late).await,
        reserve_refused(ReserveRefusal::Released, false)
    );
    assert_eq!(
        pair.claim(&pair.claim_request("w1/stock", "ann", "early"))
            .await,
        misuse("MISMATCH")
    );
    assert_eq!(
        pair.confirm(&pair.confirm_request("w1/stock", None)).await,
        Ok(ConfirmReply::NotHeld)
    );

    assert_eq!(
        pair.release_claim("w1/coupon").await,
        Ok(ReleaseReply::NothingHeld)
    );
    assert_eq!(
        pair.release_claim("w1/coupon").await,
        Ok(ReleaseReply::NothingHeld)
    );
    let late = pair.claim_request("w1/coupon", "ann", "early");
    assert_eq!(
        pair.claim(&late).await,
        claim_refused(ClaimRefusal::Released, false)
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_confirmation_sells_what_is_held_once_and_for_good() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request("w1/stock", "ann", &[("tee", 3), ("cap", 1)]);
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    for _ in 0..3 {
        let confirmed = pair.confirm(&pair.confirm_request("w1/stock", None)).await;
        assert_eq!(confirmed, Ok(ConfirmReply::Sold));
        assert_eq!(stock(&pair, "tee").await, [7, 0, 3]);
    }
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Sold));
    assert_eq!(pair.release("w1/stock").await, misuse("SOLD"));
    assert_eq!(
        pair.fields("buyers").await["ann"],
        "4",
        "what was bought counts for the limit"
    );
    pair.finish().await;
}

#[tokio::test]
async fn a_forgotten_hold_leaves_nothing_and_its_key_can_be_used_again() {
    let pair = Pair::with(small_sale()).await;
    let before = pair.embedded_dump().await;
    let reserve = pair.reserve_request("w1/stock", "ann", &[("tee", 2)]);
    for _ in 0..2 {
        assert_eq!(pair.reserve(&reserve).await, Ok(ReserveReply::Held));
        assert_eq!(pair.forget("w1/stock").await, Ok(ReleaseReply::Released));
        assert_eq!(pair.embedded_dump().await, before);
    }
    // What is not held may still be on its way: that is remembered all the same.
    let nothing = pair.forget("w1/stock").await;
    assert_eq!(nothing, Ok(ReleaseReply::NothingHeld));
    let late = pair.reserve(&reserve).await;
    assert_eq!(late, reserve_refused(ReserveRefusal::Released, false));
    pair.finish().await;
}

#[tokio::test]
async fn a_failing_second_line_leaks_nothing_of_the_first() {
    let mut sale = small_sale();
    sale.products[0].total = 1;
    let pair = Pair::with(sale).await;
    let sold_out = pair.reserve_request("w1/stock", "ann", &[("cap", 1), ("tee", 2)]);
    let of_no_product = pair.reserve_request("w2/stock", "ann", &[("cap", 1), ("tea", 1)]);
    let over_the_limit = pair.reserve_request("w3/stock", "ann", &[("cap", 1), ("tee", 4)]);
    for request in [&sold_out, &of_no_product, &over_the_limit] {
        let before = pair.embedded_dump().await;
        let refused = pair.reserve(request).await;
        assert!(
            matches!(refused, Ok(ReserveReply::Refused { .. })),
            "{refused:?}"
        );
        assert_eq!(pair.embedded_dump().await, before, "{request:?}");
        let refused = pair.reserve(&remembered(request)).await;
        assert!(
            matches!(refused, Ok(ReserveReply::Refused { .. })),
            "{refused:?}"
        );
        assert_eq!(stock(&pair, "cap").await, [2, 0, 0]);
        assert_eq!(pair.fields("buyers").await, BTreeMap::new());
        let name = request.operation.as_str();
        assert_eq!(pair.release(name).await, Ok(ReleaseReply::NothingHeld));
        assert_eq!(stock(&pair, "cap").await, [2, 0, 0]);
    }
    pair.finish().await;
}

#[tokio::test]
async fn a_reserve_after_confirm_does_not_hold_again() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request("w1/stock", "ann", &[("tee", 2)]);
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    let confirm = pair.confirm_request("w1/stock", None);
    assert_eq!(pair.confirm(&confirm).await, Ok(ConfirmReply::Sold));
    let before = pair.embedded_dump().await;
    for again in [request.clone(), remembered(&request)] {
        assert_eq!(pair.reserve(&again).await, Ok(ReserveReply::Sold));
        assert_eq!(pair.embedded_dump().await, before);
    }
    // A rebuild counts it as sold, and knows that it is over.
    let mut rebuilt = small_sale();
    rebuilt.products[0].sold = 2;
    rebuilt.sold = vec![SoldSnapshot {
        buyer: buyer("ann"),
        units: 2,
    }];
    rebuilt.ended = vec![request.operation.clone()];
    pair.rebuild(rebuilt).await.unwrap();
    assert_eq!(
        pair.reserve(&request).await,
        reserve_refused(ReserveRefusal::Released, true)
    );
    assert_eq!(stock(&pair, "tee").await, [8, 0, 2]);
    pair.finish().await;
}
