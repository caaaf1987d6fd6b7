//! Whole coupons: claimed ahead of the sale, taken by a purchase, given back as they were.

use engine::StartError;
use engine::store::{SqlDatabase, Status};
use workflows::campaign::ClaimAhead;
use workflows::domain::seed::SaleSeed;
use workflows::ports::catalogue::{Catalogue as _, Coupon, CouponState};
use workflows::purchase::{PurchaseRequest, Stage};

use crate::support::{Says, Shop, campaign, on_both_databases, request, sale_id, seed, stage_of};

/// Coupons are claimed ahead, and only so.
fn ahead_only() -> SaleSeed {
    let mut seed = seed();
    seed.campaigns[0].claims_from = Some("1970-01-01T00:00:00Z".to_owned());
    seed.campaigns[0].claim_in_purchase = Some(false);
    seed
}

fn mug(buyer: &str) -> PurchaseRequest {
    request(buyer, &[("mug", 1)], Some("first"))
}

fn claim(shop: &Shop, buyer: &str) -> ClaimAhead {
    ClaimAhead {
        buyer: mug(buyer).buyer,
        sale: sale_id(),
        campaign: campaign(),
        accepted_at: shop.runtime.now(),
    }
}

async fn coupon_of(shop: &Shop, buyer: &str) -> Option<Coupon> {
    let coupons = shop.catalogue.coupons_of(&mug(buyer).buyer).await;
    coupons.expect("read").pop()
}

async fn issued(shop: &Shop) -> (u64, i64) {
    (
        shop.counts().await.campaigns[&campaign()].issued,
        shop.number("SELECT issued FROM campaigns").await,
    )
}

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T, StartError>) -> String {
    match result {
        Err(StartError::Refused(refusal)) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

async fn a_coupon_claimed_ahead_is_taken_and_given_back(database: SqlDatabase) {
    let shop = Shop::open_with(database, &ahead_only()).await;
    let node = shop.node().await;
    let claimed = node
        .claim(&claim(&shop, "ann"), "c")
        .await
        .expect("started");
    assert_eq!(claimed.head.status, Status::Completed);
    let coupon = coupon_of(&shop, "ann").await.expect("hers");
    assert_eq!(
        (coupon.state, coupon.claimed_by, coupon.purchase),
        (CouponState::Issued, claimed.id, None)
    );
    // A purchase that comes to nothing gives back exactly that coupon, and none is counted twice.
    shop.gateway.say([Says::No]);
    let view = node.buy(&mug("ann"), "k1").await.expect("started");
    assert_eq!(view.head.reason.as_deref(), Some("payment-declined"));
    assert_eq!(coupon_of(&shop, "ann").await, Some(coupon));
    assert_eq!(issued(&shop).await, (1, 1));
    // One that is paid uses it up.
    let view = node.buy(&mug("ann"), "k2").await.expect("started");
    assert_eq!(stage_of(&view), Stage::Completed);
    let used = coupon_of(&shop, "ann").await.expect("hers");
    assert_eq!(
        (used.state, used.claimed_by, used.purchase),
        (CouponState::Used, claimed.id, Some(view.id))
    );
    assert_eq!(issued(&shop).await, (1, 1));
    assert_eq!(
        code(node.buy(&mug("ann"), "k3").await),
        "coupon-already-used"
    );
    for report in shop.invariants(&[]).await {
        assert!(report.holds() || report.checked == 0, "{report:?}");
    }
    node.close().await;
}

async fn a_claim_is_made_once_under_its_key_and_once_for_a_buyer(database: SqlDatabase) {
    let shop = Shop::open_with(database, &ahead_only()).await;
    let node = shop.node().await;
    let asked = claim(&shop, "ann");
    let first = node.claim(&asked, "c").await.expect("started");
    let again = node.claim(&asked, "c").await.expect("found");
    assert_eq!(first.id, again.id);
    assert_eq!(code(node.claim(&asked, "d").await), "coupon-already-used");
    assert_eq!(issued(&shop).await, (1, 1));
    node.close().await;
}

async fn exactly_as_many_coupons_as_there_are_come_first(database: SqlDatabase) {
    let shop = Shop::open_with(database, &ahead_only()).await;
    let node = shop.node().await;
    let claims = (0..20).map(|number| {
        let (node, claim) = (&node, claim(&shop, &format!("buyer-{number}")));
        async move { node.claim(&claim, "c").await }
    });
    let results = futures_util::future::join_all(claims).await;
    let (mine, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(mine.len(), 3);
    for result in refused {
        assert_eq!(code(result), "coupons-exhausted");
    }
    assert_eq!(issued(&shop).await, (3, 3));
    assert_eq!(shop.number("SELECT COUNT(*) FROM coupons").await, 3);
    // The gate is loaded anew from the rows, and there is still none left.
    shop.rebuild().await;
    let late = node.claim(&claim(&shop, "late"), "c").await;
    assert_eq!(code(late), "coupons-exhausted");
    node.close().await;
}

async fn who_has_none_buys_without_or_not_at_all(database: SqlDatabase) {
    let shop = Shop::open_with(database, &ahead_only()).await;
    let node = shop.node().await;
    assert_eq!(code(node.buy(&mug("ann"), "k").await), "no-coupon");
    let plain = request("ann", &[("mug", 1)], None);
    let view = node.buy(&plain, "k2").await.expect("started");
    assert_eq!(stage_of(&view), Stage::Completed);
    node.close().await;
}

async fn two_purchases_of_one_buyer_do_not_share_a_coupon(database: SqlDatabase) {
    let shop = Shop::open_with(database, &ahead_only()).await;
    let node = shop.node().await;
    node.claim(&claim(&shop, "ann"), "c").await.expect("hers");
    let asked = mug("ann");
    let (one, two) = tokio::join!(node.buy(&asked, "k1"), node.buy(&asked, "k2"));
    let completed = [one, two].into_iter().filter(|result| {
        result
            .as_ref()
            .is_ok_and(|view| stage_of(view) == Stage::Completed)
    });
    assert_eq!(completed.count(), 1);
    assert_eq!(issued(&shop).await, (1, 1));
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 1);
    node.close().await;
}

async fn the_database_refuses_a_coupon_that_a_lying_gate_gives_twice(database: SqlDatabase) {
    let shop = Shop::open_with(database, &ahead_only()).await;
    let node = shop.node().await;
    node.claim(&claim(&shop, "ann"), "c").await.expect("hers");
    let view = node.buy(&mug("ann"), "k1").await.expect("started");
    assert_eq!(stage_of(&view), Stage::Completed);
    // The gate forgets, and gives the buyer another one.
    shop.rebuild_empty().await;
    assert_eq!(
        code(node.claim(&claim(&shop, "ann"), "c2").await),
        "coupon-already-used"
    );
    assert_eq!(
        shop.number("SELECT COUNT(*) FROM coupons WHERE state = 2")
            .await,
        1
    );
    assert_eq!(shop.number("SELECT issued FROM campaigns").await, 1);
    node.close().await;
}

on_both_databases!(
    a_coupon_claimed_ahead_is_taken_and_given_back,
    a_claim_is_made_once_under_its_key_and_once_for_a_buyer,
    exactly_as_many_coupons_as_there_are_come_first,
    who_has_none_buys_without_or_not_at_all,
    two_purchases_of_one_buyer_do_not_share_a_coupon,
    the_database_refuses_a_coupon_that_a_lying_gate_gives_twice,
);
