//! Step `payment`: three answers, and what each of them lets happen.

use std::sync::Arc;
use std::time::Duration;

use engine::Timestamp;
use engine::definition::{Action as _, Outcome, Probed};
use workflows::adapters::gateway_client::{GatewaySettings, HttpPaymentGateway};
use workflows::domain::money::Money;
use workflows::ports::payment_gateway::{PaymentGateway as _, PaymentStatus, PrepareRequest};
use workflows::purchase::{AuthorisedPayment, Chargeable, Paid, Payment, PurchaseRequest};

use crate::support::{
    Says, ScriptedGateway, attempt, done, redirect_request, refused, request, retried, unknown,
};

fn payment() -> (Arc<ScriptedGateway>, Payment) {
    let gateway = Arc::new(ScriptedGateway::default());
    (Arc::clone(&gateway), Payment { gateway })
}

async fn first(step: &Payment) -> Outcome<Paid> {
    step.act(&attempt(1, "payment", 1), mug()).await
}

async fn asked(step: &Payment) -> Probed<Paid> {
    step.probe(&attempt(1, "payment", 2), mug()).await
}

fn mug() -> PurchaseRequest {
    request("ann", &[("mug", 1)], None)
}

#[tokio::test]
async fn a_payment_is_captured_once_whatever_is_repeated() {
    let (gateway, step) = payment();
    let (paid, rows) = done(first(&step).await);
    assert_eq!((paid.captured, rows.len()), (mug().total, 0));
    assert_eq!(done(first(&step).await).0, paid);
    assert!(matches!(asked(&step).await, Probed::Done { output, .. } if output == paid));
    let [entry] = &gateway.ledger()[..] else {
        panic!("one order")
    };
    assert_eq!(
        (entry.captured, entry.order.as_str()),
        (
            1_000,
            attempt(1, "payment", 1).workflow.to_string().as_str()
        )
    );
}

#[tokio::test]
async fn a_declined_payment_is_refused_with_a_reason_for_the_buyer() {
    let (gateway, step) = payment();
    gateway.say([Says::No]);
    let refusal = refused(first(&step).await);
    assert_eq!(
        refusal.to_string(),
        "payment-declined: The payment was declined: not enough money"
    );
    assert!(matches!(asked(&step).await, Probed::Refused(again) if again == refusal));
}

#[tokio::test]
async fn a_lost_answer_is_unknown_until_the_gateway_is_asked() {
    for (says, captured) in [
        (Says::YesAndIsNotHeard, true),
        (Says::NoAndIsNotHeard, false),
    ] {
        let (gateway, step) = payment();
        gateway.say([says]);
        assert_eq!(unknown(first(&step).await).class, "gateway-unanswered");
        match asked(&step).await {
            Probed::Done { output, .. } if captured => assert_eq!(output.captured, mug().total),
            Probed::Refused(refusal) if !captured => assert_eq!(refusal.code, "payment-declined"),
            other => panic!("{says:?}: {other:?}"),
        }
    }
    let (gateway, step) = payment();
    gateway.say([Says::Nothing]);
    unknown(first(&step).await);
    assert!(matches!(asked(&step).await, Probed::NoEffect));
}

#[tokio::test]
async fn an_attempt_that_is_still_under_way_is_unknown() {
    let (gateway, step) = payment();
    gateway.say([Says::InProgress]);
    assert_eq!(unknown(first(&step).await).class, "payment-in-progress");
}

#[tokio::test]
async fn another_amount_is_never_paid() {
    let (gateway, step) = payment();
    gateway.say([Says::WrongAmount]);
    let error = unknown(first(&step).await);
    assert_eq!(error.class, "payment-mismatch");
    assert!(
        error.message.contains("1000 KRW") && error.message.contains("1001 KRW"),
        "{}",
        error.message
    );
    assert!(
        matches!(asked(&step).await, Probed::Unknown(error) if error.class == "payment-mismatch")
    );
}

#[tokio::test]
async fn money_that_was_given_back_is_not_paid() {
    for (status, refunded) in [
        (PaymentStatus::Cancelled, 1_000),
        (PaymentStatus::Approved, 1),
    ] {
        let (gateway, step) = payment();
        done(first(&step).await);
        gateway.tamper(&attempt(1, "payment", 1).workflow.to_string(), |record| {
            record.status = status;
            record.refunded = refunded;
        });
        assert_eq!(unknown(first(&step).await).class, "payment-given-back");
        assert!(
            matches!(asked(&step).await, Probed::Unknown(error) if error.class == "payment-given-back")
        );
    }
}

#[tokio::test]
async fn what_had_no_effect_is_tried_again() {
    let (gateway, step) = payment();
    gateway.say([Says::Busy]);
    assert_eq!(retried(first(&step).await).class, "gateway-busy");

    let settings = GatewaySettings {
        connect_timeout: Duration::from_millis(500),
        ..GatewaySettings::default()
    };
    // The discard port: nobody listens.
    let nobody = HttpPaymentGateway::new("http://127.0.0.1:9", &settings).expect("a client");
    let step = Payment {
        gateway: Arc::new(nobody),
    };
    assert_eq!(retried(first(&step).await).class, "gateway-unreachable");
}

#[tokio::test]
async fn a_rejection_is_a_no_only_when_no_earlier_attempt_may_have_paid() {
    let (gateway, step) = payment();
    gateway.say([Says::Rejected, Says::Rejected]);
    assert_eq!(refused(first(&step).await).code, "payment-rejected");
    let second = step.act(&attempt(1, "payment", 2), mug()).await;
    assert_eq!(unknown(second).class, "payment-rejected");
}

#[tokio::test]
async fn where_nothing_is_to_pay_nobody_is_asked() {
    let (gateway, step) = payment();
    let mut free = mug();
    free.total = Money::new(0, free.total.currency);
    let (paid, _) = done(step.act(&attempt(1, "payment", 1), free.clone()).await);
    assert_eq!(
        (paid.payment, paid.captured.amount, gateway.approvals()),
        (None, 0, 0)
    );
    assert!(matches!(
        step.probe(&attempt(1, "payment", 2), free).await,
        Probed::Done { .. }
    ));
}

#[tokio::test]
async fn what_the_buyer_authorised_captures_its_own_order_and_no_other() {
    let gateway = Arc::new(ScriptedGateway::default());
    let step = AuthorisedPayment {
        gateway: Arc::clone(&gateway) as _,
    };
    let asked = redirect_request("ann", &[("mug", 1)], None, Timestamp(1));
    let first = attempt(1, "payment", 1);
    let order = first.workflow.to_string();
    let prepare = PrepareRequest {
        order_id: order.clone(),
        idempotency_key: "k".to_owned(),
        amount: asked.total,
        expires_at: asked.hold_until,
    };
    gateway.prepare(&prepare).await.expect("prepared");
    let charge = |token| (asked.clone(), Chargeable { token });
    let stolen = charge(ScriptedGateway::authorisation("another"));
    let refusal = refused(step.act(&first, stolen).await);
    assert_eq!(refusal.code, "payment-rejected");
    let own = charge(ScriptedGateway::authorisation(&order));
    let (paid, _) = done(step.act(&first, own.clone()).await);
    assert_eq!(paid.captured, asked.total);
    let found = step.probe(&attempt(1, "payment", 2), own).await;
    assert!(matches!(found, Probed::Done { output, .. } if output == paid));
}

#[tokio::test]
async fn nobody_is_charged_without_means_of_payment() {
    let (gateway, step) = payment();
    let asked = redirect_request("ann", &[("mug", 1)], None, Timestamp(1));
    let refusal = refused(step.act(&attempt(1, "payment", 1), asked).await);
    assert_eq!(
        (refusal.code.as_str(), gateway.approvals()),
        ("payment-not-authorised", 0)
    );
}
