//! A sale on a running server, and buyers for it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadtest::driver::{self, Order, OrderLine, Payment, Progress, Report};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::http::{Answer, client, get, send, try_send};
use super::process::Server;
use super::{PATIENCE, eventually};

/// A sale that is open, with one product `mug` and one campaign of the sale's own name.
pub struct Shop {
    /// The client.
    pub http: Client,
    /// Where buyers are served.
    pub buyers: String,
    /// Where operators are served.
    pub operators: String,
    /// The sale.
    pub sale: String,
}

impl Shop {
    /// Seeds a sale in which each buyer may have one.
    pub async fn open(server: &Server, sale: &str, stock: u32, coupons: u32) -> Self {
        Self::open_for(server, &seed(sale, stock, coupons)).await
    }

    /// Seeds this sale, and waits until its gate is open.
    pub async fn open_for(server: &Server, seed: &Value) -> Self {
        let shop = Self {
            http: client(),
            buyers: server.buyers.clone(),
            operators: server.operators.clone(),
            sale: seed["sale"].as_str().expect("a name").to_owned(),
        };
        let answer = shop.seed(seed).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        shop.is_open().await;
        shop
    }

    /// The same sale where the server is now.
    pub fn moved_to(self, server: &Server) -> Self {
        Self {
            buyers: server.buyers.clone(),
            operators: server.operators.clone(),
            ..self
        }
    }

    async fn is_open(&self) {
        let url = format!("{}/v1/sales/{}", self.buyers, self.sale);
        eventually("the sale's gate to be open", || async {
            (get(&self.http, url.clone()).await.status == 200).then_some(())
        })
        .await;
    }

    /// `POST /v1/sales`.
    pub async fn seed(&self, seed: &Value) -> Answer {
        send(
            self.http
                .post(format!("{}/v1/sales", self.operators))
                .json(seed),
        )
        .await
    }

    /// A new buyer's token.
    pub async fn token(&self) -> String {
        let answer = send(self.http.post(format!("{}/v1/auth/anonymous", self.buyers))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["token"].as_str().expect("a token").to_owned()
    }

    /// One mug with a coupon, paid by this token.
    pub fn order(&self, payment_token: &str) -> Value {
        json!({
            "sale": self.sale,
            "lines": [{ "product": "mug", "quantity": 1 }],
            "campaign": self.sale,
            "payment": { "method": "stored", "token": payment_token },
        })
    }

    /// `POST /v1/purchases`.
    pub async fn buy(&self, token: &str, key: &str, order: &Value) -> Answer {
        self.try_buy(token, key, order).await.expect("an answer")
    }

    /// Like [`Shop::buy`], where the other side may be away.
    pub async fn try_buy(
        &self,
        token: &str,
        key: &str,
        order: &Value,
    ) -> Result<Answer, reqwest::Error> {
        let request = self.http.post(format!("{}/v1/purchases", self.buyers));
        try_send(
            request
                .bearer_auth(token)
                .header("idempotency-key", key)
                .json(order),
        )
        .await
    }

    /// A new buyer's accepted purchase of one mug: the buyer's token and the purchase's id.
    pub async fn bought(&self, key: &str, card: &str) -> (String, String) {
        let token = self.token().await;
        let answer = self.buy(&token, key, &self.order(card)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let id = answer.body["id"].as_str().expect("an id").to_owned();
        (token, id)
    }

    /// The purchase, once it is settled.
    pub async fn settled(&self, token: &str, id: &str) -> Value {
        eventually("the purchase to be settled", || async {
            let url = format!("{}/v1/purchases/{id}?wait=10s", self.buyers);
            let answer = send(self.http.get(url).bearer_auth(token)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let state = answer.body["state"].as_str().expect("a state");
            ["COMPLETED", "COMPENSATED", "PARKED", "ABANDONED"]
                .contains(&state)
                .then_some(answer.body)
        })
        .await
    }

    /// How many workflows of this state there are, up to a page.
    pub async fn workflows(&self, state: &str) -> Vec<Value> {
        let url = format!("{}/v1/workflows?state={state}&limit=500", self.operators);
        let answer = get(&self.http, url).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["workflows"].as_array().expect("a list").clone()
    }

    /// Waits until no workflow is under way, not even one of which nothing is durable.
    pub async fn quiet(&self) {
        eventually("no workflow to be under way", || async {
            let counters = get(&self.http, format!("{}/v1/counters", self.operators)).await;
            let mut open = 0;
            for state in ["RUNNING", "COMPENSATING", "WAITING"] {
                open += self.workflows(state).await.len();
            }
            (open == 0 && counters.body["in_flight"] == 0).then_some(())
        })
        .await;
    }

    /// Panics unless every invariant holds now, and looked at something.
    pub async fn verify(&self) {
        let broken = self.broken().await;
        assert_eq!(broken, Vec::<Value>::new());
    }

    /// Panics unless every invariant holds in the end. What was begun while a server was away may still be held for a
    /// moment after the server is back.
    pub async fn verify_in_the_end(&self) {
        let last = Mutex::new(Vec::new());
        let healed = eventually("every invariant to hold", || async {
            let broken = self.broken().await;
            let holds = broken.is_empty();
            *last.lock().expect("nobody panics with it") = broken;
            holds.then_some(())
        });
        let healed = timeout(PATIENCE / 2, healed).await.is_ok();
        assert!(healed, "{:#?}", last.lock().expect("nobody panics with it"));
    }

    /// The invariants that do not hold, or looked at nothing.
    async fn broken(&self) -> Vec<Value> {
        let answer = get(&self.http, format!("{}/v1/verify", self.operators)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let invariants = answer.body["invariants"].as_array().expect("a list");
        assert_eq!(invariants.len(), 5, "I1, I2, I3, I4 and I6: {answer:?}");
        let holds =
            |one: &&Value| one["violations"] == json!([]) && one["checked"].as_u64() > Some(0);
        invariants
            .iter()
            .filter(|one| !holds(one))
            .cloned()
            .collect()
    }

    /// A crowd of buyers, each of whom wants a mug with a coupon.
    pub fn crowd(&self, buyers: usize, seed: u64) -> driver::Settings {
        driver::Settings {
            base_url: self.buyers.clone(),
            buyers,
            in_flight: NonZeroUsize::new(32).expect("not zero"),
            order: Order {
                sale: self.sale.clone(),
                lines: vec![OrderLine {
                    product: "mug".into(),
                    quantity: 1,
                }],
                campaign: Some(self.sale.clone()),
                payment: Payment::stored("replaced"),
            },
            repeat_share: 0.2,
            declined_share: 0.05,
            patience: Duration::from_secs(90),
            seed,
        }
    }
}

/// The crowd comes and goes.
pub async fn visit(settings: driver::Settings, progress: Arc<Progress>) -> Report {
    let (_stop, stopped) = watch::channel(false);
    driver::run(&settings, &progress, &stopped)
        .await
        .expect("the driver starts")
}

/// A sale that opened long ago and closes far ahead.
pub fn seed(sale: &str, stock: u32, coupons: u32) -> Value {
    json!({
        "sale": sale,
        "name": "A test",
        "currency": "KRW",
        "opens_at": "2020-01-01T00:00:00Z",
        "closes_at": "2100-01-01T00:00:00Z",
        "per_buyer_limit": 1,
        "products": [{ "product": "mug", "name": "A mug", "unit_price": 12_000, "stock": stock }],
        "campaigns": [{ "campaign": sale, "name": "A coupon", "size": coupons, "discount": { "amount": 2_000 } }],
    })
}
