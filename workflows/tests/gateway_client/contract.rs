//! The contract of the port, for any gateway; here against the simulator, with the faults that it can play.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use loadtest::gateway_simulator::{GatewaySimulator, Rules, Running, Settings};
use tokio::task::JoinSet;
use workflows::ports::payment_gateway::{
    Approval, ApproveRequest, GatewayError, LostAnswer, PaymentGateway, PaymentStatus, PaymentToken,
};

use crate::{
    PATIENCE, PATIENCES, approve_request, cancel_request, client, impatient_client,
    prepare_request, won,
};

/// What the suite must know about a gateway: tokens that are approved and declined, and a prefix for fresh orders.
struct Gateway {
    port: Arc<dyn PaymentGateway>,
    token_approved: &'static str,
    token_declined: &'static str,
    prefix: &'static str,
    /// Plays the buyer on the page of a prepared payment, and gives the authorisation; for a real gateway perhaps a person.
    buyer: fn(String) -> BoxFuture<'static, PaymentToken>,
}

impl Gateway {
    fn order(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

/// What every adapter must hold; a real gateway's adapter runs this against its test account.
async fn contract(gateway: &Gateway) {
    an_approval_is_found_repeated_and_given_back(gateway).await;
    a_decline_is_an_answer_not_an_error(gateway).await;
    an_order_never_seen_has_no_payment(gateway).await;
    an_order_is_captured_once_by_many_at_once(gateway).await;
    another_key_or_body_is_a_conflict(gateway).await;
    a_refund_needs_the_rest_that_both_expect(gateway).await;
    a_prepared_payment_is_one_page_and_no_money(gateway).await;
    an_authorised_payment_is_captured_once(gateway).await;
    an_authorisation_of_another_order_captures_nothing(gateway).await;
}

async fn a_prepared_payment_is_one_page_and_no_money(gateway: &Gateway) {
    let (port, order) = (&gateway.port, gateway.order("prepared"));
    let request = prepare_request(&order);
    let prepared = port.prepare(&request).await.expect("a page");
    assert_eq!(port.prepare(&request).await.expect("the same"), prepared);
    assert_eq!(port.inquire(&order).await.expect("an answer"), None);
}

async fn an_authorised_payment_is_captured_once(gateway: &Gateway) {
    let (port, order) = (&gateway.port, gateway.order("authorised"));
    let prepared = port
        .prepare(&prepare_request(&order))
        .await
        .expect("a page");
    let mut request = approve_request(&order, "");
    request.payment_token = (gateway.buyer)(prepared.redirect_url).await;
    let approved = port.approve(&request).await.expect("an approval");
    let Approval::Approved(record) = &approved else {
        panic!("{approved:?}")
    };
    assert_eq!(record.amount, won(1_000));
    assert_eq!(port.approve(&request).await.expect("the same"), approved);
    request.idempotency_key.push_str("-again");
    let refused = port.approve(&request).await;
    assert!(
        matches!(refused, Err(GatewayError::Conflict { .. })),
        "{refused:?}"
    );
    let found = port.inquire(&order).await.expect("an answer");
    assert_eq!(found.as_ref(), Some(record));
}

async fn an_authorisation_of_another_order_captures_nothing(gateway: &Gateway) {
    let (port, order) = (&gateway.port, gateway.order("robbed"));
    let prepared = port
        .prepare(&prepare_request(&order))
        .await
        .expect("a page");
    let authorization = (gateway.buyer)(prepared.redirect_url).await;
    let thief = gateway.order("thief");
    let mut other_order = approve_request(&thief, "");
    other_order.payment_token = authorization.clone();
    let mut other_amount = approve_request(&order, "");
    other_amount.payment_token = authorization;
    other_amount.amount = won(1);
    for request in [other_order, other_amount] {
        let refused = port.approve(&request).await;
        assert!(
            matches!(
                refused,
                Err(GatewayError::Rejected { .. }) | Ok(Approval::Declined { .. })
            ),
            "{refused:?}"
        );
    }
    for order in [order, thief] {
        let found = port.inquire(&order).await.expect("an answer");
        let rest = found.map_or(0, |found| found.rest());
        assert_eq!(rest, 0, "{order}");
    }
}

async fn an_approval_is_found_repeated_and_given_back(gateway: &Gateway) {
    let (port, order) = (&gateway.port, gateway.order("approved"));
    let request = approve_request(&order, gateway.token_approved);
    let approved = port.approve(&request).await.expect("an approval");
    let Approval::Approved(record) = &approved else {
        panic!("{approved:?}")
    };
    assert_eq!(
        (record.amount, record.refunded, record.rest()),
        (won(1_000), 0, 1_000)
    );
    assert_eq!(port.approve(&request).await.expect("the same"), approved);
    assert_eq!(
        port.inquire(&order).await.expect("an answer").as_ref(),
        Some(record)
    );

    let partial = port
        .cancel(&cancel_request(record.payment_id.clone(), 400, 600))
        .await
        .expect("a part");
    assert_eq!(
        (partial.payment.status, partial.rest),
        (PaymentStatus::Approved, 600)
    );
    let full = cancel_request(record.payment_id.clone(), 600, 0);
    let done = port.cancel(&full).await.expect("the rest");
    assert_eq!(
        (done.payment.status, done.payment.refunded, done.rest),
        (PaymentStatus::Cancelled, 1_000, 0)
    );
    assert_eq!(port.cancel(&full).await.expect("the same"), done);
    let found = port
        .inquire(&order)
        .await
        .expect("an answer")
        .expect("a payment");
    assert_eq!((found.status, found.rest()), (PaymentStatus::Cancelled, 0));
}

async fn a_decline_is_an_answer_not_an_error(gateway: &Gateway) {
    let (port, order) = (&gateway.port, gateway.order("declined"));
    let request = approve_request(&order, gateway.token_declined);
    let declined = port.approve(&request).await.expect("an answer");
    let Approval::Declined { code, message } = &declined else {
        panic!("{declined:?}")
    };
    assert!(!code.is_empty() && !message.is_empty());
    assert_eq!(port.approve(&request).await.expect("the same"), declined);
    let found = port
        .inquire(&order)
        .await
        .expect("an answer")
        .expect("a payment");
    assert_eq!((found.status, found.rest()), (PaymentStatus::Declined, 0));
    let refused = port
        .cancel(&cancel_request(found.payment_id, 1_000, 0))
        .await;
    assert!(
        matches!(refused, Err(GatewayError::Rejected { .. })),
        "{refused:?}"
    );
}

async fn an_order_never_seen_has_no_payment(gateway: &Gateway) {
    assert_eq!(
        gateway
            .port
            .inquire(&gateway.order("never"))
            .await
            .expect("an answer"),
        None
    );
}

async fn an_order_is_captured_once_by_many_at_once(gateway: &Gateway) {
    let mut attempts = JoinSet::new();
    for _ in 0..20 {
        let (port, request) = (
            Arc::clone(&gateway.port),
            approve_request(&gateway.order("many"), gateway.token_approved),
        );
        attempts.spawn(async move { port.approve(&request).await });
    }
    let mut ids = Vec::new();
    for attempt in attempts.join_all().await {
        match attempt {
            Ok(Approval::Approved(record)) => ids.push(record.payment_id),
            Err(GatewayError::InProgress | GatewayError::Busy { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

async fn another_key_or_body_is_a_conflict(gateway: &Gateway) {
    let request = approve_request(&gateway.order("conflict"), gateway.token_approved);
    gateway.port.approve(&request).await.expect("an approval");
    let mut other_key = request.clone();
    other_key.idempotency_key.push_str("-again");
    let refused = gateway.port.approve(&other_key).await;
    assert!(
        matches!(refused, Err(GatewayError::Conflict { .. })),
        "{refused:?}"
    );
    let mut other_amount = request;
    other_amount.amount = won(2_000);
    let refused = gateway.port.approve(&other_amount).await;
    assert!(
        matches!(refused, Err(GatewayError::Conflict { .. })),
        "{refused:?}"
    );
}

async fn a_refund_needs_the_rest_that_both_expect(gateway: &Gateway) {
    let order = gateway.order("rest");
    gateway
        .port
        .approve(&approve_request(&order, gateway.token_approved))
        .await
        .expect("an approval");
    let paid = gateway
        .port
        .inquire(&order)
        .await
        .expect("an answer")
        .expect("a payment");
    for (amount, expected_rest) in [(1_000, 1), (1_001, 0), (400, 601)] {
        let refused = gateway
            .port
            .cancel(&cancel_request(
                paid.payment_id.clone(),
                amount,
                expected_rest,
            ))
            .await;
        assert!(
            matches!(refused, Err(GatewayError::Rejected { .. })),
            "{amount}: {refused:?}"
        );
    }
    let found = gateway
        .port
        .inquire(&order)
        .await
        .expect("an answer")
        .expect("a payment");
    assert_eq!(found.rest(), 1_000);
}

async fn simulator(rules: Rules) -> Running {
    let settings = Settings::new(Arc::new(|| 1_767_225_600_000_000));
    GatewaySimulator::bind(Settings { rules, ..settings })
        .await
        .expect("the simulator starts")
}

/// A buyer of the simulator.
async fn authorise(page: String) -> PaymentToken {
    let decision = serde_json::json!({ "decision": "authorise" });
    let answer = reqwest::Client::new().post(page).json(&decision).send();
    let answer: serde_json::Value = answer.await.expect("an answer").json().await.expect("JSON");
    PaymentToken::new(answer["authorization"].as_str().expect("one"))
}

#[tokio::test]
async fn an_authorisation_that_expired_is_declined() {
    let clock = Arc::new(AtomicI64::new(1_767_225_600_000_000));
    let now = Arc::clone(&clock);
    let settings = Settings::new(Arc::new(move || now.load(Ordering::SeqCst)));
    let running = GatewaySimulator::bind(settings)
        .await
        .expect("the simulator starts");
    let gateway = client(&running.url());
    let prepared = gateway.prepare(&prepare_request("order-1")).await;
    let mut request = approve_request("order-1", "");
    request.payment_token = authorise(prepared.expect("a page").redirect_url).await;
    clock.store(prepare_request("order-1").expires_at.0, Ordering::SeqCst);
    let declined = gateway.approve(&request).await.expect("an answer");
    assert!(
        matches!(&declined, Approval::Declined { code, .. } if code == "authorisation-expired"),
        "{declined:?}"
    );
}

#[tokio::test]
async fn the_simulator_keeps_the_contract() {
    let running = simulator(Rules::default()).await;
    let port = client(&running.url());
    contract(&Gateway {
        port,
        token_approved: "tok-ok",
        token_declined: "tok-declined",
        prefix: "c",
        buyer: |page| Box::pin(authorise(page)),
    })
    .await;
    running.shutdown(PATIENCE).await.expect("it stops in time");
}

/// Whether an error is what the saga is to see at first.
type FirstAttempt = fn(&GatewayError) -> bool;

#[tokio::test]
async fn a_lost_answer_is_resolved_by_inquiry_and_the_same_key_never_charges_twice() {
    // What the first attempt looks like to the saga, and whether an inquiry then finds the money.
    let cases: [(&str, FirstAttempt, bool); 5] = [
        (
            "tok-timeout-before",
            |error| matches!(error, GatewayError::MaybeSent(LostAnswer::TimedOut)),
            false,
        ),
        (
            "tok-timeout-after",
            |error| matches!(error, GatewayError::MaybeSent(LostAnswer::TimedOut)),
            true,
        ),
        (
            "tok-500-after",
            |error| matches!(error, GatewayError::MaybeSent(LostAnswer::Status(500))),
            true,
        ),
        (
            "tok-in-progress",
            |error| matches!(error, GatewayError::InProgress),
            false,
        ),
        (
            "tok-busy",
            |error| {
                matches!(
                    error,
                    GatewayError::Busy {
                        retry_after: Some(_)
                    }
                )
            },
            false,
        ),
    ];
    let running = simulator(Rules::default()).await;
    for (token, expected, captured) in cases {
        let mut resolved = Err(String::new());
        for patience in PATIENCES {
            let order = format!("order-{token}-{}", patience.as_millis());
            let request = approve_request(&order, token);
            resolved = is_resolved(&running, &request, patience, (expected, captured)).await;
            if resolved.is_ok() {
                break;
            }
        }
        assert_eq!(resolved, Ok(()), "{token}");
    }
}

/// The first attempt looks as expected to one who is as patient as this; an inquiry then tells whether it captured, and the second
/// attempt is approved. A machine that stands still for longer than that has not made the first attempt.
async fn is_resolved(
    running: &Running,
    request: &ApproveRequest,
    patience: Duration,
    (expected, captured): (FirstAttempt, bool),
) -> Result<(), String> {
    let gateway = client(&running.url());
    let first = impatient_client(&running.url(), patience);
    match first.approve(request).await {
        Err(error) if expected(&error) => {}
        other => return Err(format!("{other:?}")),
    }
    let found = gateway.inquire(&request.order_id).await.expect("an answer");
    if found.as_ref().is_some_and(|found| found.rest() == 1_000) != captured {
        return Err(format!("found {found:?}"));
    }
    match gateway.approve(request).await {
        Ok(Approval::Approved(record)) => {
            let again = gateway.inquire(&request.order_id).await;
            assert_eq!(again.expect("an answer"), Some(record));
            Ok(())
        }
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test]
async fn a_wrong_amount_is_a_mismatch_by_approval_and_by_inquiry() {
    let running = simulator(Rules::default()).await;
    let gateway = client(&running.url());
    let request = approve_request("order-1", "tok-wrong-amount");
    let answered = gateway.approve(&request).await;
    let Err(GatewayError::Mismatch { got, .. }) = answered else {
        panic!("{answered:?}")
    };
    assert_eq!(got.amount, won(999));
    let found = gateway
        .inquire("order-1")
        .await
        .expect("an answer")
        .expect("a payment");
    assert!(matches!(
        found.verify("order-1", won(1_000)),
        Err(GatewayError::Mismatch { .. })
    ));
    let refund = cancel_request(got.payment_id, 999, 0);
    let given_back = gateway.cancel(&refund);
    assert_eq!(
        given_back
            .await
            .expect("a refund of what was really taken")
            .rest,
        0
    );
}

#[tokio::test]
async fn a_gateway_that_stops_in_the_middle_leaves_the_charge_unknown_and_then_unsent() {
    let running = simulator(Rules {
        hold_ms: 600_000,
        ..Rules::default()
    })
    .await;
    let gateway = client(&running.url());
    let mut held = JoinSet::new();
    let charging = Arc::clone(&gateway);
    held.spawn(async move {
        charging
            .approve(&approve_request("order-1", "tok-timeout-after"))
            .await
    });
    let captured = async {
        while gateway
            .inquire("order-1")
            .await
            .expect("an answer")
            .is_none()
        {}
    };
    tokio::time::timeout(PATIENCE, captured)
        .await
        .expect("it is captured");
    running.shutdown(PATIENCE).await.expect("it stops in time");
    let unknown = held.join_next().await.expect("one call").expect("no panic");
    assert!(
        matches!(unknown, Err(GatewayError::MaybeSent(_))),
        "{unknown:?}"
    );
    let unsent = gateway
        .approve(&approve_request("order-1", "tok-timeout-after"))
        .await;
    assert!(
        matches!(unsent, Err(GatewayError::NotSent(_))),
        "{unsent:?}"
    );
}
