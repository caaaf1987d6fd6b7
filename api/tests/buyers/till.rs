//! A shop whose buyers pay at the simulated gateway: the buyer's steps, one function each.

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use workflows::ports::webhook::sign;

use crate::support::eventually;
use crate::support::gateway;
use crate::support::http::{Answer, answered};
use crate::support::process::{ServeSettings, Server};
use crate::support::servers::{Servers, WEBHOOK_SECRET};
pub use crate::support::shop::Payer;
use crate::support::shop::{Shop, seed};

/// A server with its simulated gateway, and a sale.
pub struct Till {
    /// The sale.
    pub shop: Shop,
    /// The gateway.
    pub gateway: String,
    server: Server,
    _folder: TempDir,
}

impl Till {
    /// Embedded, with this many units, one a buyer, and as many coupons.
    pub async fn embedded(stock: u32) -> Self {
        Self::embedded_for(&seed("drop", stock, stock)).await
    }

    /// Embedded, with this sale.
    pub async fn embedded_for(seed: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = ServeSettings::embedded(folder.path());
        Self::open(folder, settings, seed).await
    }

    /// Over the servers of the environment, if they are there.
    pub async fn over_servers(stock: u32) -> Option<Self> {
        let servers = Servers::from_environment()?;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = servers.serve(folder.path());
        let sale = crate::support::unique("drop");
        Some(Self::open(folder, settings, &seed(&sale, stock, stock)).await)
    }

    async fn open(folder: TempDir, settings: ServeSettings, seed: &Value) -> Self {
        let settings = settings.with("HOLDFAST_WEBHOOK_SECRET", WEBHOOK_SECRET);
        let mut server = settings.start().await;
        let gateway = server.process.line("payments ").await;
        let gateway = gateway.trim_end_matches(" (simulated)").to_owned();
        Self {
            shop: Shop::open_for(&server, seed).await,
            gateway,
            server,
            _folder: folder,
        }
    }

    /// The server, for another sale on it.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// One unit with a coupon, paid at the gateway.
    pub fn order(&self) -> Value {
        self.shop.order_at_the_gateway()
    }

    /// A new buyer whose units are held, and the page where the buyer pays.
    pub async fn payer(&self) -> (Payer, String) {
        self.shop.payer().await
    }

    /// The buyer authorises the payment, with this rule for the gateway: the authorisation.
    pub async fn authorise(&self, page: &str, rule: &str) -> String {
        let decided = self.decide(page, "authorise", rule).await;
        decided["authorization"].as_str().expect("one").to_owned()
    }

    /// The buyer decides.
    pub async fn decide(&self, page: &str, decision: &str, rule: &str) -> Value {
        gateway::decide(&self.shop.http, page, decision, rule).await
    }

    /// `POST /v1/purchases/{id}/confirm`.
    pub async fn confirm(&self, payer: &Payer, authorization: &str) -> Answer {
        answered(self.confirmation(&payer.token, &payer.id, authorization)).await
    }

    /// The request of [`Till::confirm`].
    pub fn confirmation(&self, token: &str, id: &str, authorization: &str) -> RequestBuilder {
        let url = format!("{}/v1/purchases/{id}/confirm", self.shop.buyers);
        let body = json!({ "authorization": authorization });
        self.shop.http.post(url).bearer_auth(token).json(&body)
    }

    /// `POST /v1/purchases/{id}/cancel`.
    pub async fn cancel(&self, payer: &Payer) -> Answer {
        self.cancel_as(&payer.token, &payer.id).await
    }

    /// The same, by whoever has this token.
    pub async fn cancel_as(&self, token: &str, id: &str) -> Answer {
        let url = format!("{}/v1/purchases/{id}/cancel", self.shop.buyers);
        answered(self.shop.http.post(url).bearer_auth(token)).await
    }

    /// The purchase, once it is settled.
    pub async fn settled(&self, payer: &Payer) -> Value {
        self.shop.settled(&payer.token, &payer.id).await
    }

    /// `POST /v1/payments/webhook` with this body, signed now with the secret that the server knows.
    pub async fn webhook(&self, body: &Value) -> Answer {
        let body = body.to_string();
        let now = engine::Runtime::system().now();
        let header = sign(&[WEBHOOK_SECRET], body.as_bytes(), now);
        self.raw_webhook(Some(&header), body.into_bytes()).await
    }

    /// The same with any header and body.
    pub async fn raw_webhook(&self, header: Option<&str>, body: Vec<u8>) -> Answer {
        let url = format!("{}/v1/payments/webhook", self.shop.buyers);
        let request = self.shop.http.post(url).body(body);
        answered(match header {
            Some(header) => request.header("webhook-signature", header),
            None => request,
        })
        .await
    }

    /// How many captures, declined payments and refunds the gateway's ledger has for an order.
    pub async fn ledger_of(&self, order: &str) -> [usize; 3] {
        gateway::ledger_of(&self.shop.http, &self.gateway, order).await
    }

    /// Units of the first product that are left.
    pub async fn stock_left(&self) -> u64 {
        self.shop.stock_left().await
    }

    /// Waits until so many are left.
    pub async fn stock_comes_to(&self, units: u64) {
        eventually("the units to be on sale again", || async {
            (self.stock_left().await == units).then_some(())
        })
        .await;
    }
}

/// What the gateway tells when a buyer has authorised a payment.
pub fn authorised(event: &str, order: &str, authorization: &str) -> Value {
    json!({
        "id": event,
        "type": "payment.authorised",
        "order_id": order,
        "authorization": authorization,
        "amount": 10_000,
        "currency": "KRW",
        "created_at": "2026-01-01T00:00:00Z",
    })
}

/// What it tells when the buyer has declined it.
pub fn declined(event: &str, order: &str) -> Value {
    json!({
        "id": event,
        "type": "payment.declined",
        "order_id": order,
        "decline": { "code": "declined-by-buyer", "message": "The buyer declined." },
        "created_at": "2026-01-01T00:00:00Z",
    })
}
