//! Whole purchases that are authorised at the gateway: what the buyer does, what the buyer does not do, and who is first.

use std::time::Duration;

use engine::store::{SqlDatabase, Status};
use engine::{CommandError, View, WorkflowId};
use workflows::purchase::{Authorisation, PaymentPrepare, Prepared, PurchaseRequest, Stage};

use crate::support::{
    Node, ScriptedGateway, Shop, campaign, on_both_databases, product, redirect_request, stage_of,
};

/// Longer than units are held.
const TOO_LONG: Duration = Duration::from_mins(11);

fn asked(shop: &Shop, buyer: &str) -> PurchaseRequest {
    redirect_request(
        buyer,
        &[("mug", 2), ("cap", 1)],
        Some("first"),
        shop.runtime.now(),
    )
}

fn authorised(id: WorkflowId) -> Authorisation {
    Authorisation::Authorised {
        token: ScriptedGateway::authorisation(&id.to_string()),
    }
}

/// A purchase whose buyer is at the gateway.
async fn awaiting(shop: &Shop, node: &Node, buyer: &str) -> WorkflowId {
    let id = node.start(&asked(shop, buyer), "k").await.expect("started");
    node.reaches(id, "awaiting-payment").await;
    id
}

/// Nothing is held, sold, claimed or charged.
async fn is_untouched(shop: &Shop) {
    let counts = shop.counts().await;
    for (name, total) in [("mug", 10), ("cap", 5)] {
        let found = counts.products[&product(name)];
        assert_eq!((found.available, found.held, found.sold), (total, 0, 0));
        assert_eq!(shop.stock(name).await, (0, 0));
    }
    assert_eq!(counts.campaigns[&campaign()].issued, 0);
    assert_eq!(shop.number("SELECT COUNT(*) FROM holds").await, 0);
    assert_eq!(shop.number("SELECT COUNT(*) FROM coupons").await, 0);
    assert_eq!(shop.number("SELECT issued FROM campaigns").await, 0);
    assert!(shop.gateway.ledger().is_empty(), "nobody was charged");
}

fn reason(view: &View) -> Option<&str> {
    view.head.reason.as_deref()
}

async fn who_authorises_in_time_gets_the_goods(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let id = node
        .start(&asked(&shop, "ann"), "k")
        .await
        .expect("started");
    let view = node.reaches(id, "awaiting-payment").await;
    let state = view.state.expect("its definition is here");
    let prepared: Prepared = state
        .output_of(PaymentPrepare::NAME)
        .expect("prepared")
        .to()
        .expect("a page");
    assert!(prepared.redirect_url.ends_with(&id.to_string()));
    let held = shop.counts().await.products[&product("mug")].held;
    assert_eq!((held, shop.stock("mug").await), (2, (2, 0)));
    assert_eq!(shop.gateway.approvals(), 0);

    node.tell(id, &authorised(id), "return")
        .await
        .expect("taken");
    let view = node.settled(id).await;
    assert_eq!(stage_of(&view), Stage::Completed);
    assert_eq!(shop.stock("mug").await, (0, 2));
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 3);
    assert_eq!(shop.number("SELECT state FROM coupons").await, 2);
    assert_eq!(shop.gateway.ledger()[0].captured, 4_050);
    for report in shop.invariants(&[]).await {
        assert!(report.holds() || report.checked == 0, "{report:?}");
    }
    node.close().await;
}

async fn a_page_of_another_order_is_never_shown_and_holds_nobody_back(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    shop.gateway.mistake_the_first_pages(2);
    // The gateway answered each of ann's ten attempts: bob's need not wait, one by one, until it is said to be back.
    for buyer in ["ann", "bob"] {
        let id = node.start(&asked(&shop, buyer), "k").await;
        let view = node.settled_by_retries(id.expect("started")).await;
        assert_eq!(reason(&view), Some("payment-mismatch"));
        is_untouched(&shop).await;
    }
    awaiting(&shop, &node, "cid").await;
    node.close().await;
}

async fn an_expired_hold_is_never_charged(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let id = awaiting(&shop, &node, "ann").await;
    shop.clock.advance(TOO_LONG);
    let view = node.settled(id).await;
    assert_eq!(stage_of(&view), Stage::Expired);
    // The buyer comes back all the same.
    let late = node.tell(id, &authorised(id), "return").await;
    assert!(matches!(late, Err(CommandError::Conflict(_))), "{late:?}");
    assert_eq!(shop.gateway.approvals(), 0);
    is_untouched(&shop).await;
    node.close().await;
}

async fn hold_expiry_returns_stock_and_coupon(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let id = awaiting(&shop, &node, "ann").await;
    assert_eq!(shop.counts().await.campaigns[&campaign()].issued, 1);
    shop.clock.advance(TOO_LONG);
    let view = node.settled(id).await;
    assert_eq!(
        (view.head.status, reason(&view)),
        (Status::Compensated, Some("hold-expired"))
    );
    is_untouched(&shop).await;
    // Another buyer can have all of it.
    let next = awaiting(&shop, &node, "bob").await;
    node.tell(next, &authorised(next), "return")
        .await
        .expect("taken");
    assert_eq!(stage_of(&node.settled(next).await), Stage::Completed);
    node.close().await;
}

async fn unpaid_purchases_expire(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let mut waiting = Vec::new();
    for buyer in ["ann", "bob", "cyd"] {
        waiting.push(awaiting(&shop, &node, buyer).await);
    }
    let full = shop.counts().await.products[&product("mug")];
    assert_eq!((full.available, full.held), (4, 6));
    // Their time ends while no node runs.
    node.close().await;
    shop.clock.advance(TOO_LONG);
    let node = shop.node().await;
    for id in waiting {
        let view = node.settled(id).await;
        assert_eq!(stage_of(&view), Stage::Expired);
        assert_eq!(stage_of(&view).word(), "expired");
    }
    is_untouched(&shop).await;
    node.close().await;
}

async fn two_approvals_race_to_one_capture(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let id = awaiting(&shop, &node, "ann").await;
    // The buyer's return and the gateway's webhook, each of them twice, at the same time.
    let yes = authorised(id);
    let tell = |signal| node.tell(id, &yes, signal);
    let (return_1, webhook_1, return_2, webhook_2) = tokio::join!(
        tell("return"),
        tell("webhook"),
        tell("return"),
        tell("webhook")
    );
    let accepted = [&return_1, &webhook_1, &return_2, &webhook_2];
    let accepted = accepted.iter().filter(|result| result.is_ok()).count();
    assert!(
        accepted >= 1,
        "{return_1:?} {webhook_1:?} {return_2:?} {webhook_2:?}"
    );
    let view = node.settled(id).await;
    assert_eq!(stage_of(&view), Stage::Completed);
    assert_eq!(shop.gateway.approvals(), 1);
    assert_eq!(shop.gateway.ledger().len(), 1);
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 3);
    node.close().await;
}

async fn a_cancel_and_a_return_race_and_the_first_counts_once(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    for buyer in ["ann", "bob"] {
        let id = awaiting(&shop, &node, buyer).await;
        let yes = authorised(id);
        let approvals = shop.gateway.approvals();
        let (cancelled, returned) = tokio::join!(
            node.tell(id, &Authorisation::Cancelled, "cancel"),
            node.tell(id, &yes, "return"),
        );
        assert!(cancelled.is_ok() || returned.is_ok());
        let view = node.settled(id).await;
        let charged = shop.gateway.approvals() - approvals;
        match stage_of(&view) {
            Stage::Completed => assert_eq!(charged, 1),
            Stage::Cancelled => assert_eq!(charged, 0),
            other => panic!("{other:?}"),
        }
    }
    let counts = shop.counts().await;
    assert_eq!(counts.products[&product("mug")].held, 0);
    node.close().await;
}

async fn a_buyer_who_cancels_gets_nothing_and_pays_nothing(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let id = awaiting(&shop, &node, "ann").await;
    node.tell(id, &Authorisation::Cancelled, "cancel")
        .await
        .expect("taken");
    let view = node.settled(id).await;
    assert_eq!(stage_of(&view), Stage::Cancelled);
    is_untouched(&shop).await;
    // The purchase stays in the buyer's list.
    assert_eq!(shop.number("SELECT COUNT(*) FROM purchases").await, 1);
    node.close().await;
}

async fn a_declined_authorisation_is_refused_in_the_gateways_words(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let id = awaiting(&shop, &node, "ann").await;
    let declined = Authorisation::Declined {
        code: "insufficient-funds".to_owned(),
        message: "not enough money".to_owned(),
    };
    node.tell(id, &declined, "webhook").await.expect("taken");
    let stage = stage_of(&node.settled(id).await);
    assert_eq!(stage.word(), "refused");
    assert_eq!(
        stage.sentence(),
        "The payment was declined: not enough money"
    );
    is_untouched(&shop).await;
    node.close().await;
}

async fn an_authorisation_of_another_order_captures_nothing(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let id = awaiting(&shop, &node, "ann").await;
    let stolen = Authorisation::Authorised {
        token: ScriptedGateway::authorisation("another"),
    };
    node.tell(id, &stolen, "return").await.expect("taken");
    let view = node.settled(id).await;
    assert_eq!(
        (stage_of(&view).word(), reason(&view)),
        ("refused", Some("payment-rejected"))
    );
    is_untouched(&shop).await;
    node.close().await;
}

async fn an_authorisation_outlives_the_node_that_took_it(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let id = awaiting(&shop, &node, "ann").await;
    let release = shop.gateway.hold_answers();
    node.tell(id, &authorised(id), "return")
        .await
        .expect("taken");
    shop.captured(1).await;
    // The node leaves, and never hears that it has captured.
    node.close_within(Duration::ZERO).await;
    release.send_replace(true);
    // Much later: the hold was not given back, since it was being paid for.
    shop.clock.advance(TOO_LONG);
    let node = shop.node().await;
    assert_eq!(stage_of(&node.settled(id).await), Stage::Completed);
    assert_eq!(shop.gateway.ledger().len(), 1);
    node.close().await;
}

on_both_databases!(
    who_authorises_in_time_gets_the_goods,
    a_page_of_another_order_is_never_shown_and_holds_nobody_back,
    an_expired_hold_is_never_charged,
    hold_expiry_returns_stock_and_coupon,
    unpaid_purchases_expire,
    two_approvals_race_to_one_capture,
    a_cancel_and_a_return_race_and_the_first_counts_once,
    a_buyer_who_cancels_gets_nothing_and_pays_nothing,
    a_declined_authorisation_is_refused_in_the_gateways_words,
    an_authorisation_of_another_order_captures_nothing,
    an_authorisation_outlives_the_node_that_took_it,
);
