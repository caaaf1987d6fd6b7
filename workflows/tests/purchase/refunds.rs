//! Whole purchases that are paid and can't be given: the money goes back, all of it, and so does everything else.

use engine::store::SqlDatabase;
use engine::workflow::Phase;
use workflows::domain::seed::{SaleSeed, SerialsSeed};
use workflows::ports::catalogue::Catalogue as _;
use workflows::ports::serials::Serials as _;
use workflows::purchase::{GateSettle, Stage};

use crate::support::{
    Says, Shop, campaign, on_both_databases, product, request, sale_id, seed, stage_of,
};

fn with_pool() -> SaleSeed {
    let mut seed = seed();
    seed.products[0].serials = Some(SerialsSeed::Pool);
    seed
}

/// Goods of so many mugs are all that was ever sold, and money of no others was kept.
async fn is_as_after(shop: &Shop, mugs: u64) {
    let counts = shop.counts().await;
    let found = counts.products[&product("mug")];
    assert_eq!(
        (found.available, found.held, found.sold),
        (10 - mugs, 0, mugs)
    );
    assert_eq!(shop.stock("mug").await, (0, mugs));
    let goods = i64::try_from(mugs).expect("a few");
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, goods);
    assert_eq!(shop.number("SELECT COUNT(*) FROM holds").await, 0);
    let kept = shop.gateway.ledger();
    let kept: u64 = kept
        .iter()
        .map(|entry| entry.captured - entry.refunded)
        .sum();
    assert_eq!(kept, 1_000 * mugs);
    for report in shop.invariants(&[]).await {
        assert!(report.holds() || report.checked == 0, "{report:?}");
    }
}

async fn a_recalled_product_is_refunded_in_full(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let release = shop.gateway.hold_answers();
    let asked = request("ann", &[("mug", 2), ("cap", 1)], Some("first"));
    let id = node.start(&asked, "k").await.expect("started");
    shop.captured(1).await;
    // It is paid, and on its way to the goods.
    shop.catalogue
        .recall(&sale_id(), &product("mug"), true)
        .await
        .expect("recalled");
    release.send_replace(true);
    let view = node.settled(id).await;
    let stage = stage_of(&view);
    assert_eq!(
        stage,
        Stage::Refunded {
            amount: asked.total,
            reason: "product-recalled".to_owned()
        }
    );
    assert_eq!(
        stage.sentence(),
        "A product was recalled, so that no goods can be given. You got 4050 KRW back, all that you had paid."
    );
    let [entry] = &shop.gateway.ledger()[..] else {
        panic!("one payment")
    };
    assert_eq!((entry.captured, entry.refunded), (4_050, 4_050));
    assert_eq!(shop.gateway.refund_keys(), [format!("{id}/refund")]);
    assert_eq!(shop.counts().await.campaigns[&campaign()].issued, 0);
    assert_eq!(shop.number("SELECT COUNT(*) FROM coupons").await, 0);
    is_as_after(&shop, 0).await;
    node.close().await;
}

async fn an_empty_pool_is_refunded_and_stock_and_coupon_come_back(database: SqlDatabase) {
    let shop = Shop::open_with(database, &with_pool()).await;
    let numbers = ["one", "two"].map(str::to_owned);
    let (sale, mug) = (sale_id(), product("mug"));
    let filled = shop.serials.fill(&sale, &mug, &numbers).await;
    assert_eq!(filled.expect("filled"), 2);
    let node = shop.node().await;
    let first = request("ann", &[("mug", 1)], None);
    let view = node.buy(&first, "k").await.expect("started");
    assert_eq!(stage_of(&view), Stage::Completed);

    // Two units of the one that is left: all or none.
    let second = request("bob", &[("mug", 2)], Some("first"));
    let view = node.buy(&second, "k").await.expect("started");
    assert_eq!(
        stage_of(&view),
        Stage::Refunded {
            amount: second.total,
            reason: "serials-exhausted".to_owned()
        }
    );
    assert_eq!(shop.counts().await.campaigns[&campaign()].issued, 0);
    assert_eq!(shop.number("SELECT issued FROM campaigns").await, 0);
    is_as_after(&shop, 1).await;

    // Nothing of the pool is lost, and the coupon is good for another purchase.
    let third = request("cyd", &[("mug", 1)], None);
    let view = node.buy(&third, "k").await.expect("started");
    assert_eq!(stage_of(&view), Stage::Completed);
    let level = shop.serials.level(&sale_id(), &product("mug")).await;
    assert_eq!(
        level.map(|level| (level.filled, level.taken)).ok(),
        Some((2, 2))
    );
    is_as_after(&shop, 2).await;
    node.close().await;
}

async fn a_refund_whose_answer_was_lost_is_found_and_not_repeated(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    shop.catalogue
        .recall(&sale_id(), &product("mug"), true)
        .await
        .expect("recalled");
    shop.gateway
        .say_of_refunds([Says::Nothing, Says::Busy, Says::YesAndIsNotHeard]);
    let asked = request("ann", &[("mug", 2)], None);
    let id = node.start(&asked, "k").await.expect("started");
    let view = node.settled_by_retries(id).await;
    assert_eq!(stage_of(&view).word(), "refunded");
    let [entry] = &shop.gateway.ledger()[..] else {
        panic!("one payment")
    };
    assert_eq!((entry.captured, entry.refunded), (2_000, 2_000));
    is_as_after(&shop, 0).await;
    node.close().await;
}

async fn a_refund_in_part_waits_for_an_operator_and_gives_nothing_back(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    shop.catalogue
        .recall(&sale_id(), &product("mug"), true)
        .await
        .expect("recalled");
    shop.gateway.say_of_refunds([Says::WrongAmount]);
    let asked = request("ann", &[("mug", 2)], None);
    let id = node.start(&asked, "k").await.expect("started");
    let view = node.settled_by_retries(id).await;
    assert_eq!(stage_of(&view), Stage::Attention);
    assert_eq!(view.head.reason.as_deref(), Some("refund-mismatch"));
    // The money is accounted for, and the units stay where they are until somebody has looked.
    assert_eq!(shop.gateway.ledger()[0].refunded, 1_999);
    assert_eq!(shop.stock("mug").await, (2, 0));
    node.close().await;
}

async fn what_is_free_after_a_refund_is_free_for_others_only_once(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let mug = product("mug");
    shop.catalogue
        .recall(&sale_id(), &mug, true)
        .await
        .expect("recalled");
    let asked = request("ann", &[("mug", 4)], None);
    let view = node.buy(&asked, "k").await.expect("started");
    assert_eq!(stage_of(&view).word(), "refunded");
    let state = view.state.expect("its definition is here");
    assert!(matches!(state.phase, Phase::Completed { .. }));
    assert!(state.output_of(GateSettle::NAME).is_some());
    shop.catalogue
        .recall(&sale_id(), &mug, false)
        .await
        .expect("sold again");
    // The gate is loaded anew, and a copy of the settling arrives after it: nothing is released twice.
    shop.rebuild().await;
    is_as_after(&shop, 0).await;
    let again = request("ann", &[("mug", 4)], None);
    let view = node.buy(&again, "k2").await.expect("started");
    assert_eq!(stage_of(&view), Stage::Completed);
    is_as_after(&shop, 4).await;
    node.close().await;
}

on_both_databases!(
    a_recalled_product_is_refunded_in_full,
    an_empty_pool_is_refunded_and_stock_and_coupon_come_back,
    a_refund_whose_answer_was_lost_is_found_and_not_repeated,
    a_refund_in_part_waits_for_an_operator_and_gives_nothing_back,
    what_is_free_after_a_refund_is_free_for_others_only_once,
);
