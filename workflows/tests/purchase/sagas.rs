//! Whole purchases on a real engine and a real database: every end that a purchase can have, and the invariants after it.

use engine::ids::StartKey;
use engine::store::{SqlDatabase, Status};
use engine::{StartError, View, WorkflowId};
use workflows::ports::reservations::StockCounts;
use workflows::purchase::{self, Fulfilment, GoodsIssue};
use workflows::reconcile::invariants::Acknowledged;

use crate::support::{Fault, PATIENCE, Says, Shop, campaign, on_both_databases, product, request};

fn acknowledged(buyer: &str, key: &str, workflow: WorkflowId) -> Acknowledged {
    let key = StartKey {
        key_space: purchase::NAME.to_owned(),
        scope: buyer.to_owned(),
        key: key.to_owned(),
    };
    Acknowledged {
        key: Some(key),
        workflow,
    }
}

fn end(view: &View) -> (Status, Option<&str>) {
    (view.head.status, view.head.reason.as_deref())
}

#[track_caller]
fn refusal(result: Result<View, StartError>) -> String {
    match result {
        Err(StartError::Refused(refusal)) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

/// Every invariant holds but those that can't be checked here; those that had nothing to look at are named in `idle`.
async fn all_holds(shop: &Shop, acknowledged: &[Acknowledged], idle: &[&str]) {
    for report in shop.invariants(acknowledged).await {
        let is_idle = idle.contains(&report.id) && report.checked == 0;
        let expected = is_idle || report.not_checked.is_some();
        assert!(report.holds() || expected, "{report:?}");
    }
}

async fn a_purchase_is_paid_issued_and_confirmed(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let request = request("ann", &[("mug", 2), ("cap", 1)], Some("first"));
    let view = node.buy(&request, "k").await.expect("started");
    assert_eq!(end(&view), (Status::Completed, None));
    let state = view.state.as_ref().expect("its definition is here");
    let goods: Fulfilment = state
        .output_of(GoodsIssue::NAME)
        .expect("issued")
        .to()
        .expect("goods");
    let Fulfilment::Issued { units } = goods else {
        panic!("no goods: {goods:?}")
    };
    assert_eq!(units.iter().map(|unit| unit.price).sum::<u64>(), 4_050);
    let again = node.start(&request, "k").await.expect("the same key");
    assert_eq!(again, view.id);
    assert_eq!(shop.gateway.approvals(), 1);
    let mugs = shop.counts().await.products[&product("mug")];
    assert_eq!(
        mugs,
        StockCounts {
            available: 8,
            held: 0,
            sold: 2
        }
    );
    all_holds(&shop, &[acknowledged("ann", "k", view.id)], &[]).await;
    node.close().await;
}

async fn a_declined_purchase_gives_everything_back(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    shop.gateway.say([Says::No]);
    let request = request("ann", &[("mug", 2)], Some("first"));
    let view = node.buy(&request, "k").await.expect("started");
    assert_eq!(end(&view), (Status::Compensated, Some("payment-declined")));
    let counts = shop.counts().await;
    assert_eq!(counts.products[&product("mug")].available, 10);
    assert_eq!(counts.campaigns[&campaign()].issued, 0);
    assert_eq!(
        (
            shop.stock("mug").await,
            shop.number("SELECT COUNT(*) FROM coupons").await
        ),
        ((0, 0), 0)
    );
    all_holds(&shop, &[acknowledged("ann", "k", view.id)], &["I3"]).await;
    node.close().await;
}

async fn what_is_refused_at_once_leaves_no_workflow_behind(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    node.buy(&request("ann", &[("cap", 4)], None), "k")
        .await
        .expect("started");
    let late = request("bob", &[("cap", 2)], Some("first"));
    assert_eq!(refusal(node.buy(&late, "k").await), "sold-out");
    let greedy = request("ann", &[("mug", 1)], None);
    assert_eq!(refusal(node.buy(&greedy, "k2").await), "limit-reached");
    assert_eq!(shop.number("SELECT COUNT(*) FROM workflows").await, 1);
    // The coupon that was claimed beside the refused stock is free again.
    assert_eq!(shop.counts().await.campaigns[&campaign()].issued, 0);
    node.close().await;
}

async fn a_payment_whose_answer_was_lost_is_found_and_not_repeated(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    shop.gateway.say([Says::YesAndIsNotHeard]);
    let view = node
        .buy(&request("ann", &[("mug", 1)], Some("first")), "k")
        .await
        .expect("started");
    assert_eq!(
        (end(&view), shop.gateway.approvals()),
        ((Status::Completed, None), 1)
    );
    all_holds(&shop, &[acknowledged("ann", "k", view.id)], &[]).await;
    node.close().await;
}

async fn the_database_refuses_what_a_lying_gate_sells_twice(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    for buyer in ["ann", "bob"] {
        node.buy(&request(buyer, &[("mug", 4)], None), "k")
            .await
            .expect("started");
    }
    shop.rebuild_empty().await;
    let view = node.buy(&request("eve", &[("mug", 4)], None), "k").await;
    match view {
        Ok(view) => assert_eq!(end(&view), (Status::Compensated, Some("sold-out"))),
        Err(StartError::Refused(refusal)) => assert_eq!(refusal.code, "sold-out"),
        Err(other) => panic!("{other:?}"),
    }
    assert_eq!(shop.stock("mug").await, (0, 8));
    // The gate has nothing of the refused purchase left.
    assert_eq!(shop.counts().await.products[&product("mug")].held, 0);
    node.close().await;
}

async fn many_who_want_the_last_units_get_all_of_them_and_not_one_more(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let wishes = (0..60).map(|number| {
        let node = &node;
        async move {
            let buyer = format!("buyer-{number}");
            let campaign = (number % 2 == 0).then_some("first");
            let result = node
                .buy(&request(&buyer, &[("mug", 1)], campaign), "k")
                .await;
            (buyer, result)
        }
    });
    let results = futures_util::future::join_all(wishes).await;
    let mut started = Vec::new();
    let mut refusals = Vec::new();
    for (buyer, result) in results {
        match result {
            Ok(view) => {
                assert_eq!(end(&view), (Status::Completed, None));
                started.push(acknowledged(&buyer, "k", view.id));
            }
            Err(StartError::Refused(refusal)) => refusals.push(refusal.code),
            Err(other) => panic!("{other:?}"),
        }
    }
    // A unit that was held beside a refused coupon came back after others had been told that there was none.
    for number in 60.. {
        let buyer = format!("buyer-{number}");
        match node.buy(&request(&buyer, &[("mug", 1)], None), "k").await {
            Ok(view) => started.push(acknowledged(&buyer, "k", view.id)),
            Err(StartError::Refused(refusal)) => {
                refusals.push(refusal.code);
                break;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(started.len(), 10);
    assert!(
        refusals
            .iter()
            .all(|code| code == "sold-out" || code == "coupons-exhausted"),
        "{refusals:?}"
    );
    assert_eq!(shop.stock("mug").await, (0, 10));
    all_holds(&shop, &started, &[]).await;
    node.close().await;
}

async fn purchases_in_flight_outlive_a_gate_that_lost_everything(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let before = node
        .buy(&request("ann", &[("mug", 2)], Some("first")), "k")
        .await
        .expect("started");
    // This one is held and waits for a busy gateway while the gate is emptied.
    shop.gateway.say([Says::Busy, Says::Busy, Says::Busy]);
    let waiting = node
        .start(&request("bob", &[("mug", 3)], None), "k")
        .await
        .expect("started");
    shop.faulty.lose_everything();
    shop.gate.alarm.ring();
    let waiting = node.settled(waiting).await;
    assert_eq!(end(&waiting), (Status::Completed, None));
    let deadline = shop.runtime.now().after(PATIENCE);
    let after = loop {
        match node.buy(&request("cyd", &[("mug", 1)], None), "k").await {
            Ok(view) => break view,
            Err(StartError::Unavailable(_) | StartError::NotServing(_))
                if shop.runtime.now() < deadline =>
            {
                tokio::task::yield_now().await;
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(end(&after), (Status::Completed, None));
    assert_eq!(
        refusal(node.buy(&request("ann", &[("cap", 3)], None), "k2").await),
        "limit-reached"
    );
    let mugs = shop.counts().await.products[&product("mug")];
    assert_eq!(
        mugs,
        StockCounts {
            available: 4,
            held: 0,
            sold: 6
        }
    );
    let started = [("ann", before.id), ("bob", waiting.id), ("cyd", after.id)];
    let started: Vec<_> = started
        .map(|(buyer, id)| acknowledged(buyer, "k", id))
        .into();
    all_holds(&shop, &started, &[]).await;
    node.close().await;
}

async fn answers_lost_anywhere_change_no_count(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let mut started = Vec::new();
    for (number, fault) in [
        Fault::AnswerLost,
        Fault::CallLost,
        Fault::NotSent,
        Fault::Unavailable,
    ]
    .into_iter()
    .enumerate()
    {
        for call in 0..3 {
            let buyer = format!("buyer-{number}-{call}");
            // The fault hits the first, the second or the third call to the gate.
            shop.faulty.fail_after(call, fault);
            match node.buy(&request(&buyer, &[("cap", 1)], None), "k").await {
                Ok(view) => {
                    assert!(
                        matches!(end(&view).0, Status::Completed | Status::Compensated),
                        "{view:?}"
                    );
                    started.push(acknowledged(&buyer, "k", view.id));
                }
                Err(StartError::Unavailable(_)) => {}
                Err(StartError::Refused(refusal)) => assert_eq!(refusal.code, "sold-out"),
                Err(other) => panic!("{other:?}"),
            }
            shop.faulty.mend();
        }
    }
    let caps = shop.counts().await.products[&product("cap")];
    assert_eq!((caps.held, caps.available + caps.sold), (0, 5));
    all_holds(&shop, &started, &[]).await;
    node.close().await;
}

async fn a_repeat_after_a_restart_finds_its_purchase_and_holds_nothing(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let bought = request("ann", &[("mug", 1)], Some("first"));
    let completed = node.buy(&bought, "k").await.expect("started");
    shop.gateway.say([Says::No]);
    let declined = request("bob", &[("mug", 1)], None);
    let compensated = node.buy(&declined, "k").await.expect("started");
    node.close().await;

    shop.faulty.lose_everything();
    let node = shop.node().await;
    let before = shop.counts().await;
    assert_eq!(node.start(&bought, "k").await.expect("found"), completed.id);
    assert_eq!(
        node.start(&declined, "k").await.expect("found"),
        compensated.id
    );
    assert_eq!(shop.counts().await, before);
    let started = [("ann", completed.id), ("bob", compensated.id)];
    let started: Vec<_> = started
        .map(|(buyer, id)| acknowledged(buyer, "k", id))
        .into();
    all_holds(&shop, &started, &[]).await;
    node.close().await;
}

on_both_databases!(
    a_repeat_after_a_restart_finds_its_purchase_and_holds_nothing,
    a_purchase_is_paid_issued_and_confirmed,
    a_declined_purchase_gives_everything_back,
    what_is_refused_at_once_leaves_no_workflow_behind,
    a_payment_whose_answer_was_lost_is_found_and_not_repeated,
    the_database_refuses_what_a_lying_gate_sells_twice,
    many_who_want_the_last_units_get_all_of_them_and_not_one_more,
    purchases_in_flight_outlive_a_gate_that_lost_everything,
    answers_lost_anywhere_change_no_count,
);
