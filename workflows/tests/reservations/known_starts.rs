//! A start that was accepted, and repeated where its operations have other names: whoever is refused then is looked up, and nobody
//! else is.

use engine::workflow::Earlier;
use workflows::ports::reservations::{
    ClaimRefusal, ClaimReply, ClaimRequest, ConfirmReply, ReleaseReply, ReserveRefusal,
    ReserveReply, SaleSnapshot,
};

use crate::harness::{Pair, operation, product, small_sale};
use crate::outcomes::{claim_refused, has_coupon, remembered, reserve_refused, under_way};

const HERE: &str = "00000001-cd42-8fbc-bf7c-327687c4fea4/stock-reserve";
/// The same start, born in another partition.
const THERE: &str = "00000007-cd42-8fbc-bf7c-327687c4fea4/stock-reserve";
const ANOTHER: &str = "00000007-cd42-8fbc-bf7c-327687c4fea5/stock-reserve";

fn sold_out() -> ReserveRefusal {
    ReserveRefusal::SoldOut {
        product: product("cap"),
    }
}

/// One cap is left, and bob takes it.
async fn bob_takes_the_last(pair: &Pair) {
    let bobs = pair.reserve_request("w2/stock", "bob", &[("cap", 2)]);
    assert_eq!(pair.reserve(&bobs).await, Ok(ReserveReply::Held));
}

async fn is_looked_up(pair: &Pair, operation: &str, expected: bool) {
    let request = pair.reserve_request(operation, "ann", &[("cap", 1)]);
    let refused = pair.reserve(&request).await;
    assert_eq!(
        refused,
        reserve_refused(sold_out(), expected),
        "{operation}"
    );
}

#[tokio::test]
async fn who_gave_everything_back_and_comes_again_elsewhere_is_looked_up() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request(HERE, "ann", &[("cap", 1)]);
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    assert_eq!(pair.release(HERE).await, Ok(ReleaseReply::Released));
    bob_takes_the_last(&pair).await;
    is_looked_up(&pair, THERE, true).await;
    is_looked_up(&pair, ANOTHER, false).await;
    let claim = pair.claim_request(
        &THERE.replace("stock-reserve", "coupon-claim"),
        "ann",
        "no-such-campaign",
    );
    let refused = pair.claim(&claim).await;
    assert_eq!(refused, claim_refused(ClaimRefusal::UnknownCampaign, true));
    pair.finish().await;
}

#[tokio::test]
async fn who_was_refused_for_good_and_comes_again_elsewhere_is_looked_up() {
    let pair = Pair::with(small_sale()).await;
    bob_takes_the_last(&pair).await;
    is_looked_up(&pair, HERE, false).await;
    let again = remembered(&pair.reserve_request(HERE, "ann", &[("cap", 1)]));
    let refused = pair.reserve(&again).await;
    assert_eq!(refused, reserve_refused(sold_out(), true));
    is_looked_up(&pair, THERE, true).await;
    pair.finish().await;
}

#[tokio::test]
async fn what_was_never_durable_leaves_nothing_to_look_up() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request(HERE, "ann", &[("cap", 1)]);
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    assert_eq!(pair.forget(HERE).await, Ok(ReleaseReply::Released));
    bob_takes_the_last(&pair).await;
    is_looked_up(&pair, HERE, false).await;
    is_looked_up(&pair, THERE, false).await;
    pair.finish().await;
}

/// The same step of the same start, or of another, at another place.
fn coupon(operation: &str) -> String {
    operation.replace("stock-reserve", "coupon-claim")
}

#[tokio::test]
async fn who_comes_again_elsewhere_while_the_first_copy_has_something_is_told_nothing_final() {
    let pair = Pair::with(small_sale()).await;
    let both = |operation| pair.reserve_request(operation, "ann", &[("cap", 2)]);
    assert_eq!(pair.reserve(&both(HERE)).await, Ok(ReserveReply::Held));
    let before = pair.embedded_dump().await;
    for again in [both(THERE), remembered(&both(THERE))] {
        assert_eq!(pair.reserve(&again).await, under_way(sold_out()));
    }
    // Whatever the reason.
    let limit = ReserveRefusal::LimitReached { limit: 4 };
    let tees = pair.reserve_request(THERE, "ann", &[("tee", 3)]);
    assert_eq!(pair.reserve(&tees).await, under_way(limit.clone()));
    assert_eq!(pair.embedded_dump().await, before, "nothing is stored");
    // Another purchase of the same buyer may be one that is there, and is this one's no copy.
    let another = pair.reserve_request(ANOTHER, "ann", &[("tee", 3)]);
    assert_eq!(pair.reserve(&another).await, reserve_refused(limit, true));
    // The copy comes to nothing: now there are units for it here.
    assert_eq!(pair.forget(HERE).await, Ok(ReleaseReply::Released));
    assert_eq!(pair.reserve(&both(THERE)).await, Ok(ReserveReply::Held));
    assert_eq!(pair.reserve(&both(HERE)).await, under_way(sold_out()));
    pair.finish().await;
}

#[tokio::test]
async fn who_comes_again_elsewhere_after_the_first_copy_was_undone_is_refused_for_good() {
    let pair = Pair::with(small_sale()).await;
    let request = pair.reserve_request(HERE, "ann", &[("cap", 1)]);
    assert_eq!(pair.reserve(&request).await, Ok(ReserveReply::Held));
    let bobs = pair.reserve_request("w2/stock", "bob", &[("cap", 1)]);
    assert_eq!(pair.reserve(&bobs).await, Ok(ReserveReply::Held));
    let again = remembered(&pair.reserve_request(THERE, "ann", &[("cap", 2)]));
    assert_eq!(pair.reserve(&again).await, under_way(sold_out()));
    assert_eq!(pair.release(HERE).await, Ok(ReleaseReply::Released));
    for _ in 0..2 {
        assert_eq!(
            pair.reserve(&again).await,
            reserve_refused(sold_out(), true)
        );
    }
    pair.finish().await;
}

#[tokio::test]
async fn each_copy_that_has_something_is_known_however_many_there_were_since() {
    let pair = Pair::with(small_sale()).await;
    let one = |operation| pair.reserve_request(operation, "ann", &[("cap", 1)]);
    let third = HERE.replace("00000001", "00000009");
    for operation in [HERE, THERE] {
        assert_eq!(pair.reserve(&one(operation)).await, Ok(ReserveReply::Held));
    }
    assert_eq!(pair.release(THERE).await, Ok(ReleaseReply::Released));
    let bobs = pair.reserve_request("w2/stock", "bob", &[("cap", 1)]);
    assert_eq!(pair.reserve(&bobs).await, Ok(ReserveReply::Held));
    for operation in [THERE, &third] {
        let reason = if operation == THERE {
            ReserveRefusal::Released
        } else {
            sold_out()
        };
        let again = pair.reserve(&one(operation)).await;
        assert_eq!(again, under_way(reason), "{operation}");
    }
    pair.finish().await;
}

#[tokio::test]
async fn who_comes_again_elsewhere_after_the_first_copy_was_sold_is_looked_up() {
    let pair = Pair::with(small_sale()).await;
    let both = |operation| pair.reserve_request(operation, "ann", &[("cap", 2)]);
    assert_eq!(pair.reserve(&both(HERE)).await, Ok(ReserveReply::Held));
    let confirm = pair.confirm_request(HERE, None);
    assert_eq!(pair.confirm(&confirm).await, Ok(ConfirmReply::Sold));
    let again = pair.reserve(&both(THERE)).await;
    assert_eq!(again, reserve_refused(sold_out(), true));
    pair.finish().await;
}

#[tokio::test]
async fn what_a_purchase_has_itself_is_no_other_copy_of_it() {
    let pair = Pair::with(small_sale()).await;
    let hold = pair.reserve_request(HERE, "ann", &[("cap", 2)]);
    assert_eq!(pair.reserve(&hold).await, Ok(ReserveReply::Held));
    let claim = pair.claim_request(&coupon(HERE), "ann", "no-such-campaign");
    let refused = pair.claim(&claim).await;
    assert_eq!(refused, claim_refused(ClaimRefusal::UnknownCampaign, true));
    pair.finish().await;
}

#[tokio::test]
async fn whose_coupon_another_copy_of_the_start_has_is_told_nothing_final() {
    let pair = Pair::with(small_sale()).await;
    let claim = |operation: &str| pair.claim_request(&coupon(operation), "ann", "early");
    assert_eq!(pair.claim(&claim(HERE)).await, has_coupon());
    let again = ClaimRequest {
        remember_refusal: true,
        ..claim(THERE)
    };
    let told = ClaimReply::Refused {
        reason: ClaimRefusal::CouponAlreadyUsed,
        earlier: Earlier::UnderWay,
    };
    assert_eq!(pair.claim(&again).await, Ok(told));
    let another = pair.claim(&claim(ANOTHER)).await;
    let used = ClaimRefusal::CouponAlreadyUsed;
    assert_eq!(another, claim_refused(used, true));
    // The same start's units, refused where the copy is not.
    let caps = pair.reserve_request(THERE, "ann", &[("cap", 3)]);
    assert_eq!(pair.reserve(&caps).await, under_way(sold_out()));
    let release = coupon(HERE);
    assert_eq!(
        pair.forget_claim(&release).await,
        Ok(ReleaseReply::Released)
    );
    assert_eq!(pair.claim(&again).await, has_coupon());
    pair.finish().await;
}

#[tokio::test]
async fn a_start_that_is_forgotten_leaves_nothing_in_the_gate() {
    let pair = Pair::with(small_sale()).await;
    let before = pair.embedded_dump().await;
    let hold = pair.reserve_request(HERE, "ann", &[("cap", 2)]);
    let claim = pair.claim_request(&coupon(HERE), "ann", "early");
    assert_eq!(pair.claim(&claim).await, has_coupon());
    assert_eq!(pair.reserve(&hold).await, Ok(ReserveReply::Held));
    assert_eq!(pair.forget(HERE).await, Ok(ReleaseReply::Released));
    let release = coupon(HERE);
    assert_eq!(
        pair.forget_claim(&release).await,
        Ok(ReleaseReply::Released)
    );
    assert_eq!(pair.embedded_dump().await, before);
    pair.finish().await;
}

#[tokio::test]
async fn a_rebuild_knows_the_starts_that_ended() {
    knows(SaleSnapshot {
        ended: vec![operation(HERE)],
        ..small_sale()
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_knows_the_starts_that_were_open_though_they_have_nothing_any_more() {
    knows(SaleSnapshot {
        open: vec![operation(HERE)],
        ..small_sale()
    })
    .await;
}

async fn knows(sale: SaleSnapshot) {
    let pair = Pair::with(sale).await;
    bob_takes_the_last(&pair).await;
    is_looked_up(&pair, THERE, true).await;
    is_looked_up(&pair, ANOTHER, false).await;
    pair.finish().await;
}
