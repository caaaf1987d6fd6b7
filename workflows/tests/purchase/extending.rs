//! Step `hold-extend`: an authorisation that came in time lets the charge follow; nothing else does.

use engine::Timestamp;
use engine::definition::{Action as _, Awaited, Compensable as _, Outcome};
use workflows::ports::payment_gateway::PaymentToken;
use workflows::purchase::{Authorisation, Chargeable, HoldExtend, PurchaseRequest, StockReserve};

use crate::support::{
    Fault, Shop, attempt, done, redirect_request, refused, retried, sqlite, unknown,
};

fn asked() -> PurchaseRequest {
    redirect_request("ann", &[("mug", 2)], None, Timestamp(1))
}

fn authorised() -> Awaited<Authorisation> {
    Awaited::Arrived(Authorisation::Authorised {
        token: PaymentToken::new("t"),
    })
}

/// A shop in which purchase 1 holds its units.
async fn held(shop: &Shop) -> (StockReserve, HoldExtend) {
    let reserving = StockReserve {
        gate: shop.gate.clone(),
    };
    let reserve = attempt(1, "stock-reserve", 1);
    done(reserving.act(&reserve, asked()).await);
    let step = HoldExtend {
        gate: shop.gate.clone(),
    };
    (reserving, step)
}

async fn extend(step: &HoldExtend, answer: Awaited<Authorisation>) -> Outcome<Chargeable> {
    step.act(&attempt(1, "hold-extend", 1), (asked(), answer))
        .await
}

#[tokio::test]
async fn an_authorisation_is_passed_on_once_the_gate_knows_that_the_charge_follows() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let (_, step) = held(&shop).await;
    for _ in 1..=2 {
        let (chargeable, rows) = done(extend(&step, authorised()).await);
        assert_eq!(chargeable.token, PaymentToken::new("t"));
        assert!(rows.is_empty());
    }
}

#[tokio::test]
async fn every_other_answer_ends_the_purchase_and_asks_nobody() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let (_, step) = held(&shop).await;
    let declined = Authorisation::Declined {
        code: "insufficient-funds".to_owned(),
        message: "not enough money".to_owned(),
    };
    let calls = shop.faulty.calls();
    for (answer, code) in [
        (Awaited::TimedOut, "hold-expired"),
        (
            Awaited::Arrived(Authorisation::Cancelled),
            "cancelled-by-buyer",
        ),
        (Awaited::Arrived(declined), "payment-declined"),
    ] {
        assert_eq!(refused(extend(&step, answer).await).code, code);
    }
    assert_eq!(shop.faulty.calls(), calls);
}

#[tokio::test]
async fn what_is_not_held_any_more_is_not_charged_for() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let (reserving, step) = held(&shop).await;
    let undo = attempt(1, "stock-reserve", 1);
    done(reserving.compensate(&undo, asked(), None).await);
    assert_eq!(refused(extend(&step, authorised()).await).code, "hold-lost");
}

#[tokio::test]
async fn a_gate_that_does_not_answer_is_asked_again() {
    let disposable = sqlite().await;
    let shop = Shop::open(disposable.database.clone()).await;
    let (_, step) = held(&shop).await;
    shop.faulty.fail([Fault::Unavailable]);
    assert_eq!(
        retried(extend(&step, authorised()).await).class,
        "gate-unavailable"
    );
    shop.faulty.fail([Fault::AnswerLost]);
    assert_eq!(
        unknown(extend(&step, authorised()).await).class,
        "gate-unanswered"
    );
    done(extend(&step, authorised()).await);
}
