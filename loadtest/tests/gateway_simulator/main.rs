//! The simulator is the oracle of every test about money, so it has to be right itself.

mod bad_input;
mod faults;
mod idempotency;
mod ledger_file;
mod refunds;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use loadtest::gateway_simulator::{GatewaySimulator, OrderPage, Running, Settings, Summary};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

/// A clock that stands still: nothing in the simulator may need it to move.
fn settings() -> Settings {
    Settings::new(Arc::new(|| 1_767_225_600_000_000))
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
            .timeout(Duration::from_secs(20))
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
