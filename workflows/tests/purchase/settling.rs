//! Step `gate-settle`: sold, or free again.

use engine::definition::{Action as _, Compensable as _};
use workflows::ports::reservations::StockCounts;
use workflows::purchase::{Claim, CouponClaim, Fulfilment, GateSettle, StockReserve};

use crate::support::{Shop, attempt, campaign, done, product, request, retried, sqlite};

fn issued() -> Fulfilment {
    Fulfilment::Issued { units: Vec::new() }
}

fn no_claim() -> Claim {
    Claim {
        campaign: None,
        was_claimed_ahead: false,
    }
}

#[tokio::test]
async fn held_units_are_sold_once_and_a_used_coupon_is_not_given_back() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let request = request("ann", &[("mug", 2)], Some("first"));
    let claiming = CouponClaim {
        gate: shop.gate.clone(),
    };
    let (claim, _) = done(
        claiming
            .act(&attempt(1, "coupon-claim", 1), request.clone())
            .await,
    );
    let reserving = StockReserve {
        gate: shop.gate.clone(),
    };
    done(
        reserving
            .act(&attempt(1, "stock-reserve", 1), request.clone())
            .await,
    );
    let step = GateSettle {
        gate: shop.gate.clone(),
    };
    for number in 1..=2 {
        let input = (request.clone(), claim.clone(), issued());
        let (_, rows) = done(step.act(&attempt(1, "gate-settle", number), input).await);
        assert!(rows.is_empty());
        let mugs = shop.counts().await.products[&product("mug")];
        assert_eq!(
            mugs,
            StockCounts {
                available: 8,
                held: 0,
                sold: 2
            }
        );
    }
    let undone = claiming
        .compensate(&attempt(1, "coupon-claim", 1), request, Some(claim))
        .await;
    assert!(
        !matches!(undone, engine::definition::Outcome::Done { .. }),
        "{undone:?}"
    );
    assert_eq!(shop.counts().await.campaigns[&campaign()].issued, 1);
}

#[tokio::test]
async fn what_a_rebuild_has_counted_already_is_done() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let input = (request("ann", &[("mug", 1)], None), no_claim(), issued());
    let step = GateSettle {
        gate: shop.gate.clone(),
    };
    done(step.act(&attempt(1, "gate-settle", 1), input).await);
}

#[tokio::test]
async fn a_hold_that_was_released_is_told_and_not_sold() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let request = request("ann", &[("mug", 1)], None);
    let reserving = StockReserve {
        gate: shop.gate.clone(),
    };
    done(
        reserving
            .act(&attempt(1, "stock-reserve", 1), request.clone())
            .await,
    );
    done(
        reserving
            .compensate(&attempt(1, "stock-reserve", 1), request.clone(), None)
            .await,
    );
    let step = GateSettle {
        gate: shop.gate.clone(),
    };
    let input = (request, no_claim(), issued());
    assert_eq!(
        retried(step.act(&attempt(1, "gate-settle", 1), input).await).class,
        "gate-lost-hold"
    );
}

#[tokio::test]
async fn after_a_refund_units_and_coupon_are_free_again() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let request = request("ann", &[("mug", 2)], Some("first"));
    let claiming = CouponClaim {
        gate: shop.gate.clone(),
    };
    let claim = attempt(1, "coupon-claim", 1);
    let (claim, _) = done(claiming.act(&claim, request.clone()).await);
    let reserving = StockReserve {
        gate: shop.gate.clone(),
    };
    let reserve = attempt(1, "stock-reserve", 1);
    done(reserving.act(&reserve, request.clone()).await);
    let step = GateSettle {
        gate: shop.gate.clone(),
    };
    let refunded = Fulfilment::Refunded {
        payment: None,
        amount: request.total,
        reason: "product-recalled".to_owned(),
    };
    for number in 1..=2 {
        let input = (request.clone(), claim.clone(), refunded.clone());
        done(step.act(&attempt(1, "gate-settle", number), input).await);
        let counts = shop.counts().await;
        let mugs = counts.products[&product("mug")];
        assert_eq!((mugs.available, mugs.held, mugs.sold), (10, 0, 0));
        assert_eq!(counts.campaigns[&campaign()].issued, 0);
    }
}
