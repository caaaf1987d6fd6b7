//! Whole purchases and their one charge: repeated, contradicted, answered with nonsense, contended for, and overtaken by the clock.

use std::time::Duration;

use engine::store::change::ChangeKind;
use engine::store::{Change, SqlDatabase, Status};
use engine::workflow::Refusal;
use workflows::domain::seed::SaleSeed;
use workflows::ports::catalogue::{Catalogue as _, ScheduleChange};
use workflows::ports::reservations::{Reservations as _, ScheduleReply, ScheduleRequest};
use workflows::purchase::Stage;
use workflows::tables::STOCK;

use crate::support::{
    RedisServer, Says, Shop, mysql, on_both_databases, product, redirect_request, request, sale_id,
    seed, sqlite, stage_of,
};

async fn a_charge_retry_uses_the_same_key(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    let says = [Says::Nothing, Says::Busy, Says::Nothing, Says::InProgress];
    shop.gateway.say(says);
    let asked = request("ann", &[("mug", 1)], None);
    let id = node.start(&asked, "k").await.expect("started");
    let view = node.settled_by_retries(id).await;
    assert_eq!(stage_of(&view), Stage::Completed);
    let keys = shop.gateway.approval_keys();
    assert_eq!(keys, vec![format!("{id}/payment"); 5]);
    assert_eq!(shop.gateway.ledger().len(), 1);
    node.close().await;
}

async fn an_amount_mismatch_is_never_paid(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    shop.gateway.say([Says::WrongAmount]);
    let asked = request("ann", &[("mug", 1)], None);
    let id = node.start(&asked, "k").await.expect("started");
    let view = node.settled_by_retries(id).await;
    assert_eq!(stage_of(&view), Stage::Attention);
    assert_eq!(view.head.reason.as_deref(), Some("payment-mismatch"));
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 0);
    // The money is accounted for at the gateway, and the unit is still held for whoever decides.
    assert_eq!(shop.gateway.ledger()[0].captured, 1_001);
    assert_eq!(shop.stock("mug").await, (1, 0));
    // Whoever checks the money sees how much is an operator's to decide.
    let reports = shop.invariants(&[]).await;
    let money = reports.iter().find(|report| report.id == "I3");
    let money = money.expect("the money is checked");
    assert_eq!(money.violation_count, 0, "{money:?}");
    assert!(money.notes.concat().contains("1001 KRW"), "{money:?}");
    node.close().await;
}

async fn an_empty_or_malformed_gateway_body_is_unknown(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    shop.gateway.say([Says::Gibberish]);
    let asked = request("ann", &[("mug", 1)], Some("first"));
    let id = node.start(&asked, "k").await.expect("started");
    let view = node.settled_by_retries(id).await;
    // Neither taken for a yes nor for a no: the gateway was asked, and had captured.
    assert_eq!(stage_of(&view), Stage::Completed);
    assert_eq!(shop.gateway.approvals(), 1);
    assert_eq!(shop.gateway.ledger().len(), 1);
    node.close().await;
}

/// Many units, so that nobody is sold out.
fn plenty() -> SaleSeed {
    let mut seed = seed();
    for product in &mut seed.products {
        product.stock = 500.into();
    }
    seed
}

async fn contention_never_dead_letters_a_paid_purchase(database: SqlDatabase) {
    nobody_is_parked_by_contention(Shop::open_with(database, &plenty()).await).await;
}

async fn nobody_is_parked_by_contention(shop: Shop) {
    let node = shop.node().await;
    let says = [Says::Yes, Says::YesAndIsNotHeard, Says::Busy, Says::Nothing];
    shop.gateway.say(says.into_iter().cycle().take(40));
    // Two lines, in both orders, while somebody else changes the same counters in both orders.
    let buyers = (0..40).map(|number| {
        let mut lines = [("mug", 1), ("cap", 1)];
        if number % 2 == 0 {
            lines.reverse();
        }
        let (node, buyer) = (&node, format!("buyer-{number}"));
        async move {
            let asked = request(&buyer, &lines, None);
            let id = node.start(&asked, "k").await.expect("started");
            node.settled(id).await
        }
    });
    let others = async {
        for round in 0_u32.. {
            let mut rows =
                ["mug", "cap"].map(|name| counted(name, if round % 2 == 0 { 1 } else { -1 }));
            if round % 4 < 2 {
                rows.reverse();
            }
            // A dead-lock's victim is as good: what counts is that the purchases are in nobody's way.
            let _ = shop.write(&rows).await;
        }
    };
    let views = tokio::select! {
        views = futures_util::future::join_all(buyers) => views,
        () = others => unreachable!("they go on for ever"),
    };
    for view in &views {
        assert_eq!(
            view.head.status,
            Status::Completed,
            "{:?}",
            view.head.reason
        );
    }
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 80);
    assert_eq!(shop.gateway.ledger().len(), 40);
    node.close().await;
}

fn counted(name: &str, held: i64) -> Change {
    Change {
        table: &STOCK,
        key: vec![sale_id().as_str().into(), name.into()],
        kind: ChangeKind::Add(vec![("held", held)]),
        refusal: Refusal::new("no", "No."),
    }
}

/// The coupon is valid for as long as the sale is open.
fn short() -> SaleSeed {
    let mut seed = seed();
    seed.closes_at = "2030-01-01T00:00:00Z".into();
    seed.campaigns[0].valid_until = Some("2029-01-01T00:00:00Z".to_owned());
    seed
}

async fn nothing_is_revalidated_after_payment(database: SqlDatabase) {
    // The gate's clock is in 2096 then.
    let much_later = async |shop: &Shop| shop.faulty.set_clock(4_000_000_000_000_000);
    all_is_over_but_the_goods(Shop::open_with(database, &short()).await, much_later).await;
}

/// `much_later` moves the gate on to where the coupon is not valid any more.
async fn all_is_over_but_the_goods(shop: Shop, much_later: impl AsyncFnOnce(&Shop)) {
    let node = shop.node().await;
    let release = shop.gateway.hold_answers();
    let stored = request("ann", &[("mug", 2)], Some("first"));
    let redirect = redirect_request("bob", &[("cap", 1)], Some("first"), shop.runtime.now());
    let stored = node.start(&stored, "k").await.expect("started");
    let redirect = node.start(&redirect, "k").await.expect("started");
    node.reaches(redirect, "awaiting-payment").await;
    let authorised = workflows::purchase::Authorisation::Authorised {
        token: crate::support::ScriptedGateway::authorisation_of_any(),
    };
    node.tell(redirect, &authorised, "return")
        .await
        .expect("taken");
    shop.captured(2).await;

    // Both are paid, and nobody here knows it yet. Now the sale closes, the coupon expires, the hold's time ends, and the sale is
    // cancelled as well.
    let sale = shop
        .catalogue
        .sale_now(&sale_id())
        .await
        .expect("read")
        .expect("there");
    let change = ScheduleChange {
        sale: sale_id(),
        revision: sale.revision,
        opens_at: sale.opens_at,
        closes_at: sale.closes_at,
        is_cancelled: true,
    };
    let cancelled = shop.catalogue.reschedule(&change).await.expect("cancelled");
    let schedule = ScheduleRequest {
        sale: sale_id(),
        revision: cancelled.revision,
        opens_at_ms: cancelled.opens_at.0 / 1_000,
        closes_at_ms: cancelled.closes_at.0 / 1_000,
        is_cancelled: true,
    };
    let scheduled = shop.faulty.schedule(&schedule).await.expect("answered");
    assert_eq!(scheduled, ScheduleReply::Scheduled);
    much_later(&shop).await;
    shop.clock.advance(Duration::from_hours(24));
    release.send_replace(true);

    for id in [stored, redirect] {
        let view = node.settled_by_retries(id).await;
        assert_eq!(stage_of(&view), Stage::Completed, "{:?}", view.head.reason);
    }
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 3);
    assert_eq!(
        shop.number("SELECT COUNT(*) FROM coupons WHERE state = 2")
            .await,
        2
    );
    let mugs = shop.counts().await.products[&product("mug")];
    assert_eq!((mugs.held, mugs.sold), (0, 2));
    // And nobody else gets in.
    let late = node.buy(&request("cyd", &[("mug", 1)], None), "k").await;
    assert!(late.is_err(), "{late:?}");
    node.close().await;
}

/// What nobody resolves is asked about by the retries' own schedule, and is an operator's in the end. All that time the money may have
/// been taken, so nothing of the purchase is given back.
async fn what_is_not_resolved_in_ten_attempts_is_an_operators(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let node = shop.node().await;
    shop.gateway.say([Says::YesAndIsNotHeard]);
    shop.gateway.answers_inquiries(false);
    let asked = request("ann", &[("mug", 1)], Some("first"));
    let begun = shop.runtime.now();
    let id = node.start(&asked, "k").await.expect("started");
    let view = node.settled_in_time(&shop.clock, id).await;
    let took = shop.runtime.now().since(begun);
    println!("parked after {took:?}");
    assert_eq!(stage_of(&view), Stage::Attention);
    let reason = view.head.reason.as_deref();
    assert_eq!(reason, Some("payment-inquiry-failed"));
    // Each of the nine pauses is of any length up to its bound, and these come to 43 s.
    assert!(took > Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_mins(3), "{took:?}");
    // Asked for by the first attempt, and only asked about by the nine after it.
    assert_eq!(shop.gateway.approvals(), 1);
    assert_eq!(shop.gateway.inquiries(), 9);
    assert_eq!(shop.stock("mug").await, (1, 0));
    let mugs = shop.counts().await.products[&product("mug")];
    assert_eq!((mugs.held, mugs.sold), (1, 0));
    let reserved = "SELECT COUNT(*) FROM coupons WHERE state = 1";
    assert_eq!(shop.number(reserved).await, 1);
    assert_eq!(shop.number("SELECT COUNT(*) FROM goods").await, 0);

    // The gateway can be asked again; an operator has it asked, and what was taken is what is sold.
    shop.gateway.answers_inquiries(true);
    node.retry(id).await;
    let view = node.settled_in_time(&shop.clock, id).await;
    assert_eq!(stage_of(&view), Stage::Completed, "{:?}", view.head.reason);
    assert_eq!(shop.gateway.approvals(), 1);
    assert_eq!(shop.gateway.ledger().len(), 1);
    assert_eq!(shop.stock("mug").await, (0, 1));
    node.close().await;
}

/// The same claims with the gate in a real Redis.
mod with_redis_as_the_gate {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn contention_never_dead_letters_a_paid_purchase() {
        on_redis(&plenty(), async |shop, _| {
            nobody_is_parked_by_contention(shop).await;
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_revalidated_after_payment() {
        on_redis(&short(), async |shop, redis| {
            // Nobody moves the clock of Redis: what the coupon is valid until is moved instead.
            let is_over = async |_: &Shop| {
                let campaigns = "holdfast:{drop}:campaigns";
                let valid_until = ["HSET", campaigns, "first:valid_until_ms", "1"];
                let new_fields: i64 = redis.ask(&valid_until).await;
                assert_eq!(new_fields, 0, "the gate has such an instant");
            };
            all_is_over_but_the_goods(shop, is_over).await;
        })
        .await;
    }

    /// A shop whose gate is a Redis of its own, over MySQL where there is one.
    async fn on_redis(seed: &SaleSeed, claim: impl AsyncFnOnce(Shop, &RedisServer)) {
        let Some(redis) = RedisServer::start().await else {
            return;
        };
        let disposable = match mysql().await {
            Some(disposable) => disposable,
            None => sqlite().await,
        };
        let shop = Shop::open_on(disposable.database.clone(), seed, &redis).await;
        claim(shop, &redis).await;
        disposable.dispose().await;
    }
}

on_both_databases!(
    what_is_not_resolved_in_ten_attempts_is_an_operators,
    a_charge_retry_uses_the_same_key,
    an_amount_mismatch_is_never_paid,
    an_empty_or_malformed_gateway_body_is_unknown,
    contention_never_dead_letters_a_paid_purchase,
    nothing_is_revalidated_after_payment,
);
