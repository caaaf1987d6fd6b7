//! The simulator is the oracle of every test about money, so it has to be right itself.

mod bad_input;
mod faults;
mod idempotency;
mod ledger_file;
mod pay_page;
mod receiver;
mod refunds;
mod reservations;
mod rules;
mod troubles;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use loadtest::gateway_simulator::{GatewaySimulator, OrderPage, Running, Settings, Summary};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z, in microseconds since 1970.
const NOW: i64 = 1_767_225_600_000_000;

/// What is waited for is there long before, also on a busy machine; whoever waits so long has found a defect.
const PATIENCE: Duration = Duration::from_mins(1);

/// A clock that stands still: nothing in the simulator may need it to move.
fn settings() -> Settings {
    Settings::new(Arc::new(|| NOW))
}

/// A clock that the test moves.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    fn settings(&self) -> Settings {
        let clock = self.clone();
        Settings::new(Arc::new(move || clock.0.load(Ordering::SeqCst)))
    }

    fn forward(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).expect("not that long");
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

/// A simulator and a client to it.
struct Shop {
    running: Running,
    client: Client,
}

impl Shop {
    async fn open(settings: Settings) -> Self {
        let running = GatewaySimulator::bind(settings)
            .await
            .expect("the simulator starts");
        let client = Client::builder()
            .timeout(PATIENCE)
            .build()
            .expect("a client");
        Self { running, client }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url())
    }

    async fn send_approval(&self, key: &str, body: &Value) -> Response {
        let request = self
            .client
            .post(self.url("/v1/payments/approve"))
            .header("idempotency-key", key);
        request.json(body).send().await.expect("an answer")
    }

    async fn approve(&self, key: &str, body: &Value) -> (StatusCode, Value) {
        read(self.send_approval(key, body).await).await
    }

    async fn send_reservation(&self, key: &str, body: &Value) -> reqwest::Result<Response> {
        let request = self
            .client
            .post(self.url("/v1/payments/reserve"))
            .header("idempotency-key", key);
        request.json(body).send().await
    }

    async fn reserve(&self, key: &str, body: &Value) -> (StatusCode, Value) {
        read(self.send_reservation(key, body).await.expect("an answer")).await
    }

    /// Reserves, and answers with the reservation's id.
    async fn reserved(&self, order_id: &str) -> String {
        let (status, body) = self
            .reserve(&format!("reserve-{order_id}"), &reservation(order_id))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["reservation_id"].as_str().expect("an id").to_owned()
    }

    async fn decide(&self, reservation_id: &str, decision: &Value) -> (StatusCode, Value) {
        let request = self
            .client
            .post(self.url(&format!("/pay/{reservation_id}")))
            .json(decision);
        read(request.send().await.expect("an answer")).await
    }

    /// Reserves and authorises; the authorisation.
    async fn authorised(&self, order_id: &str) -> String {
        let reservation_id = self.reserved(order_id).await;
        let (status, body) = self
            .decide(&reservation_id, &json!({ "decision": "authorise" }))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["authorization"].as_str().expect("one").to_owned()
    }

    async fn cancel(
        &self,
        key: &str,
        payment_id: &str,
        amount: u64,
        rest: u64,
    ) -> (StatusCode, Value) {
        let request = self
            .client
            .post(self.url(&format!("/v1/payments/{payment_id}/cancel")));
        let body = json!({ "amount": amount, "expected_rest_amount": rest });
        read(
            request
                .header("idempotency-key", key)
                .json(&body)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(
            self.client
                .get(self.url(path))
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    async fn set_rules(&self, rules: &Value) -> (StatusCode, Value) {
        read(
            self.client
                .put(self.url("/v1/rules"))
                .json(rules)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    async fn payments_of(&self, order_id: &str) -> Vec<Value> {
        let (status, body) = self.get(&format!("/v1/payments?order_id={order_id}")).await;
        assert_eq!(status, StatusCode::OK);
        body["payments"].as_array().expect("a list").clone()
    }

    /// Waits until an order has its payment.
    async fn has_payment(&self, order_id: &str) {
        let there = async { while self.payments_of(order_id).await.is_empty() {} };
        tokio::time::timeout(PATIENCE, there)
            .await
            .expect("it has a payment");
    }

    async fn summary(&self) -> Summary {
        serde_json::from_value(self.get("/v1/ledger/summary").await.1).expect("a summary")
    }

    /// Captured and refunded of one order, from the read-out that the invariants use.
    async fn account_of(&self, order_id: &str) -> Option<(u64, u64)> {
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let (status, body) = self
                .get(&format!("/v1/ledger/orders?limit=1000&cursor={from}"))
                .await;
            assert_eq!(status, StatusCode::OK);
            let page: OrderPage = serde_json::from_value(body).expect("a page");
            if let Some(account) = page
                .orders
                .iter()
                .find(|account| &*account.order_id == order_id)
            {
                return Some((account.captured, account.refunded));
            }
            cursor = page.next_cursor;
        }
        None
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (status, response.json().await.expect("every answer is JSON"))
}

fn order(order_id: &str, token: &str) -> Value {
    json!({ "order_id": order_id, "amount": 1_000, "currency": "KRW", "payment_token": token })
}

/// A reservation for a quarter of an hour.
fn reservation(order_id: &str) -> Value {
    json!({
        "order_id": order_id, "amount": 1_000, "currency": "KRW", "expires_at": "2026-01-01T00:15:00Z",
    })
}
