//! Step `stock-reserve`, each way twice, and over a line that breaks.

use engine::definition::{Action as _, Compensable as _, Probed};
use engine::store::{CommitError, SqlDatabase};
use engine::workflow::Earlier;
use futures_util::FutureExt as _;
use workflows::ports::reservations::StockCounts;
use workflows::purchase::StockReserve;

use crate::support::{
    Fault, Shop, attempt, done, on_both_databases, product, refused, request, retried, sqlite,
    unknown,
};

fn step(shop: &Shop) -> StockReserve {
    StockReserve {
        gate: shop.gate.clone(),
    }
}

async fn mugs_in_gate(shop: &Shop) -> StockCounts {
    shop.counts().await.products[&product("mug")]
}

async fn units_are_held_once_and_given_back_once(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let (step, request) = (step(&shop), request("ann", &[("mug", 3), ("cap", 1)], None));
    let (hold, rows) = done(
        step.act(&attempt(1, "stock-reserve", 1), request.clone())
            .await,
    );
    let (again, same_rows) = done(
        step.act(&attempt(1, "stock-reserve", 2), request.clone())
            .await,
    );
    assert_eq!((hold.units, &hold), (4, &again));
    assert_eq!(mugs_in_gate(&shop).await.held, 3);

    shop.write(&rows).await.expect("written");
    assert!(
        matches!(
            shop.write(&same_rows).await,
            Err(CommitError::RowRefused { .. })
        ),
        "written twice"
    );
    assert_eq!(
        (shop.stock("mug").await, shop.stock("cap").await),
        ((3, 0), (1, 0))
    );

    for number in 1..=2 {
        let undo = attempt(1, "stock-reserve", number);
        let ((), rows) = done(
            step.compensate(&undo, request.clone(), Some(hold.clone()))
                .await,
        );
        let written = shop.write(&rows).await;
        assert_eq!(written.is_ok(), number == 1, "{written:?}");
    }
    assert_eq!(mugs_in_gate(&shop).await.available, 10);
    assert_eq!(
        (shop.stock("mug").await, shop.stock("cap").await),
        ((0, 0), (0, 0))
    );
    assert_eq!(shop.number("SELECT COUNT(*) FROM holds").await, 0);
}

async fn the_database_refuses_what_the_gate_should_not_have_held(database: SqlDatabase) {
    let shop = Shop::open(database).await;
    let step = step(&shop);
    for buyer in 1..=3 {
        let request = request(&format!("buyer-{buyer}"), &[("mug", 4)], None);
        // The gate forgets what it held before.
        shop.rebuild_empty().await;
        let (_, rows) = done(
            step.act(&attempt(buyer, "stock-reserve", 1), request.clone())
                .await,
        );
        let written = shop.write(&rows).await;
        assert_eq!(written.is_ok(), buyer < 3, "{written:?}");
        if buyer == 3 {
            let sold_out = rows.iter().map(|row| row.refusal.code.as_str()).next();
            assert_eq!(sold_out, Some("sold-out"));
            let ((), undo) = done(
                step.compensate(&attempt(3, "stock-reserve", 1), request, None)
                    .await,
            );
            assert!(undo.is_empty(), "there are no rows to undo");
        }
    }
    assert_eq!(shop.stock("mug").await, (8, 0));
    assert_eq!(mugs_in_gate(&shop).await.held, 0);
}

on_both_databases!(
    units_are_held_once_and_given_back_once,
    the_database_refuses_what_the_gate_should_not_have_held,
);

#[tokio::test]
async fn a_reservation_that_arrives_after_its_release_is_refused() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let (step, request) = (step(&shop), request("ann", &[("mug", 1)], None));
    shop.faulty.fail([Fault::CallLost]);
    unknown(
        step.act(&attempt(1, "stock-reserve", 1), request.clone())
            .await,
    );
    for _ in 0..2 {
        let ((), rows) = done(
            step.compensate(&attempt(1, "stock-reserve", 1), request.clone(), None)
                .await,
        );
        assert!(rows.is_empty(), "nobody knows of rows");
    }
    let late = refused(step.act(&attempt(1, "stock-reserve", 1), request).await);
    assert_eq!(
        (late.code.as_str(), late.earlier),
        ("released", Earlier::Possible)
    );
    assert_eq!(mugs_in_gate(&shop).await.available, 10);
}

#[tokio::test]
async fn a_lost_answer_is_found_again_by_the_next_attempt() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let (step, request) = (step(&shop), request("ann", &[("mug", 2)], None));
    shop.faulty.fail([Fault::AnswerLost]);
    unknown(
        step.act(&attempt(1, "stock-reserve", 1), request.clone())
            .await,
    );
    done(step.act(&attempt(1, "stock-reserve", 2), request).await);
    assert_eq!(mugs_in_gate(&shop).await.held, 2);
}

#[tokio::test]
async fn a_refusal_after_an_unknown_attempt_holds_for_its_late_copy_too() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let step = step(&shop);
    done(
        step.act(
            &attempt(1, "stock-reserve", 1),
            request("ann", &[("cap", 4)], None),
        )
        .await,
    );
    let late = request("bob", &[("cap", 2)], None);
    shop.faulty.fail([Fault::CallLost]);
    unknown(
        step.act(&attempt(2, "stock-reserve", 1), late.clone())
            .await,
    );
    let asked = step
        .probe(&attempt(2, "stock-reserve", 1), late.clone())
        .await;
    assert!(matches!(asked, Probed::Refused(refusal) if refusal.code == "sold-out"));
    // Units come back, and the lost copy arrives after all.
    done(
        step.compensate(
            &attempt(1, "stock-reserve", 1),
            request("ann", &[("cap", 4)], None),
            None,
        )
        .await,
    );
    assert_eq!(
        refused(step.act(&attempt(2, "stock-reserve", 1), late).await).code,
        "sold-out"
    );
}

#[tokio::test]
async fn refusals_say_why() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let step = step(&shop);
    let ask = async |purchase, buyer: &str, quantity| {
        let request = request(buyer, &[("cap", quantity)], None);
        step.act(&attempt(purchase, "stock-reserve", 1), request)
            .await
    };
    done(ask(1, "ann", 4).await);
    let limit = refused(ask(2, "ann", 1).await);
    assert_eq!(
        (limit.code.as_str(), limit.earlier),
        ("limit-reached", Earlier::Possible)
    );
    let sold_out = refused(ask(3, "bob", 2).await);
    assert_eq!(
        (sold_out.code.as_str(), sold_out.earlier),
        ("sold-out", Earlier::RuledOut)
    );
    assert_eq!(sold_out.message, "There are not enough units of cap left.");
}

#[tokio::test]
async fn a_closed_gate_rings_for_its_keeper_and_a_missing_connection_does_not() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let (step, request) = (step(&shop), request("ann", &[("mug", 1)], None));
    for (fault, rings) in [
        (Fault::NotSent, false),
        (Fault::Unavailable, true),
        (Fault::OtherIncarnation, true),
    ] {
        shop.faulty.fail([fault]);
        retried(
            step.act(&attempt(1, "stock-reserve", 1), request.clone())
                .await,
        );
        let rung = shop.gate.alarm.rung().now_or_never();
        assert_eq!(rung.is_some(), rings, "{fault:?}");
    }
}
