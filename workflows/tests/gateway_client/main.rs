//! What the saga learns from a payment gateway that answers, refuses, lies, breaks off, or says nothing.

mod contract;
mod money;
mod preparing;
mod settings;
mod statuses;
mod transport;
mod untruths;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use engine::Timestamp;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};
use workflows::adapters::gateway_client::{GatewaySettings, HttpPaymentGateway};
use workflows::domain::money::{Currency, Money};
use workflows::ports::payment_gateway::{
    Approval, ApproveRequest, CancelRequest, Cancellation, GatewayError, PaymentGateway, PaymentId,
    PaymentToken, PrepareRequest,
};

/// Longer than anything takes that is waited for, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long those wait who are not to be answered: one whose request a busy machine has not even sent by then waits for longer.
const PATIENCES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(2),
    Duration::from_secs(20),
];

const ORDER: &str = "order-1";

fn won(amount: u64) -> Money {
    Money::new(amount, Currency::parse("KRW").expect("a currency"))
}

fn approve_request(order_id: &str, token: &str) -> ApproveRequest {
    ApproveRequest {
        order_id: order_id.to_owned(),
        idempotency_key: format!("{order_id}/payment"),
        amount: won(1_000),
        payment_token: PaymentToken::new(token),
    }
}

/// To be authorised until 2030.
fn prepare_request(order_id: &str) -> PrepareRequest {
    PrepareRequest {
        order_id: order_id.to_owned(),
        idempotency_key: format!("{order_id}/prepare"),
        amount: won(1_000),
        expires_at: Timestamp(1_893_456_000_000_000),
    }
}

fn cancel_request(payment_id: PaymentId, amount: u64, expected_rest: u64) -> CancelRequest {
    let idempotency_key = format!("{payment_id}/refund-{expected_rest}");
    CancelRequest {
        payment_id,
        idempotency_key,
        amount: won(amount),
        expected_rest,
    }
}

/// A payment as the gateway would answer it.
fn payment() -> Value {
    json!({
        "payment_id": "pay-1", "order_id": ORDER, "status": "approved",
        "amount": 1_000, "currency": "KRW", "refunded": 0, "at": "2026-01-01T00:00:00Z",
    })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn client(url: &str) -> Arc<dyn PaymentGateway> {
    let settings = GatewaySettings {
        request_timeout: PATIENCE,
        ..GatewaySettings::default()
    };
    Arc::new(HttpPaymentGateway::new(url, &settings).expect("a client"))
}

/// A client that gives up so soon, for servers that never answer.
fn impatient_client(url: &str, patience: Duration) -> Arc<dyn PaymentGateway> {
    let settings = GatewaySettings {
        request_timeout: patience,
        ..GatewaySettings::default()
    };
    Arc::new(HttpPaymentGateway::new(url, &settings).expect("a client"))
}

async fn server(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

async fn approve_at(url: &str) -> Result<Approval, GatewayError> {
    client(url).approve(&approve_request(ORDER, "tok-ok")).await
}

/// The client's view of one answer to an approval.
async fn approve_answered(answer: ResponseTemplate) -> Result<Approval, GatewayError> {
    approve_at(&server(answer).await.uri()).await
}

/// The client's view of one answer to a refund of 300, with 700 to remain.
async fn cancel_answered(answer: ResponseTemplate) -> Result<Cancellation, GatewayError> {
    let request = cancel_request(PaymentId::parse("pay-1").expect("an id"), 300, 700);
    client(&server(answer).await.uri()).cancel(&request).await
}

fn json_answer(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}
