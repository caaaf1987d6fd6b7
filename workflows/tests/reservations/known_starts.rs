//! A start that was accepted, and repeated where its operations have other names: whoever is refused then is looked up, and nobody
//! else is.

use workflows::ports::reservations::{
    ClaimRefusal, ReleaseReply, ReserveRefusal, ReserveReply, SaleSnapshot,
};

use crate::harness::{Pair, operation, product, small_sale};
use crate::outcomes::{claim_refused, remembered, reserve_refused};

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
