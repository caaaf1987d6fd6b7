//! A sale on a running server, and buyers for it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use loadtest::driver::{self, Manners, Order, OrderLine, Payment, Progress, Report};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::http::{Answer, answered, client, client_with, get, try_send};
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
    operators_http: Client,
    operator_token: String,
}

impl Shop {
    /// Seeds a sale in which each buyer may have one.
    pub async fn open(server: &Server, sale: &str, stock: u32, coupons: u32) -> Self {
        Self::open_for(server, &seed(sale, stock, coupons)).await
    }

    /// Seeds this sale, and waits until its gate is open.
    pub async fn open_for(server: &Server, seed: &Value) -> Self {
        let shop = Self::at(server, seed["sale"].as_str().expect("a name"));
        shop.seeded(seed).await;
        shop.is_open().await;
        shop
    }

    /// Seeds a sale that is new.
    pub async fn seeded(&self, seed: &Value) {
        let answer = self.seed(seed).await;
        // 200 where the first answer was 503 and the sale is there all the same.
        assert!([200, 201].contains(&answer.status), "{answer:?}");
    }

    /// A sale of this server, which is there already or will be.
    pub fn at(server: &Server, sale: &str) -> Self {
        Self::of(
            &server.buyers,
            &server.operators,
            &server.operator_token,
            sale,
        )
    }

    /// A sale of the server that serves there, now or later.
    pub fn of(buyers: &str, operators: &str, operator_token: &str, sale: &str) -> Self {
        Self {
            http: client(),
            buyers: buyers.to_owned(),
            operators: operators.to_owned(),
            sale: sale.to_owned(),
            operators_http: client_with(operator_token),
            operator_token: operator_token.to_owned(),
        }
    }

    /// The same sale where the server is now.
    pub fn moved_to(self, server: &Server) -> Self {
        Self::at(server, &self.sale)
    }

    /// The client for everything under [`Shop::operators`]: it sends an admin's token.
    pub const fn operators(&self) -> &Client {
        &self.operators_http
    }

    /// That token.
    pub fn operator_token(&self) -> &str {
        &self.operator_token
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
        let url = format!("{}/v1/sales", self.operators);
        answered(self.operators().post(url).json(seed)).await
    }

    /// The same, however often it has to be asked for: the node may be away.
    pub async fn seed_in_the_end(&self, seed: &Value) {
        let url = format!("{}/v1/sales", self.operators);
        eventually("the sale to be seeded", || async {
            let request = self.operators().post(&url).json(seed);
            let answer = try_send(request).await.ok()?;
            assert!(
                [200, 201, 503].contains(&answer.status),
                "the sale is refused: {answer:?}"
            );
            (answer.status != 503).then_some(())
        })
        .await;
    }

    /// A new buyer's token.
    pub async fn token(&self) -> String {
        let url = format!("{}/v1/auth/anonymous", self.buyers);
        let answer = answered(self.http.post(url)).await;
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

    /// The same, paid at the gateway.
    pub fn order_at_the_gateway(&self) -> Value {
        let mut order = self.order("none");
        order["payment"] = json!({ "method": "redirect" });
        order
    }

    /// `POST /v1/purchases`, once more when the answer is 503, as every buyer does.
    pub async fn buy(&self, token: &str, key: &str, order: &Value) -> Answer {
        answered(self.purchase(token, key, order)).await
    }

    /// The same, once, and the other side may be away.
    pub async fn try_buy(
        &self,
        token: &str,
        key: &str,
        order: &Value,
    ) -> Result<Answer, reqwest::Error> {
        try_send(self.purchase(token, key, order)).await
    }

    fn purchase(&self, token: &str, key: &str, order: &Value) -> RequestBuilder {
        let request = self.http.post(format!("{}/v1/purchases", self.buyers));
        let request = request.bearer_auth(token).json(order);
        request.header("idempotency-key", key)
    }

    /// A new buyer's accepted purchase of one mug: the buyer's token and the purchase's id.
    pub async fn bought(&self, key: &str, card: &str) -> (String, String) {
        let token = self.token().await;
        let id = self.accepted(&token, key, &self.order(card)).await;
        (token, id)
    }

    /// The id of a purchase that is accepted.
    pub async fn accepted(&self, token: &str, key: &str, order: &Value) -> String {
        let answer = self.buy(token, key, order).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["id"].as_str().expect("an id").to_owned()
    }

    /// A new buyer whose units are held, and the page where the buyer pays.
    pub async fn payer(&self) -> (Payer, String) {
        let token = self.token().await;
        let order = self.order_at_the_gateway();
        let id = self.accepted(&token, "k", &order).await;
        let payer = Payer { token, id };
        let page = eventually("the page where the buyer pays", || async {
            let path = format!("{}?wait=10s&for=payment", payer.id);
            let answer = self.ask(&payer.token, &path).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.body["redirect_url"].as_str().map(str::to_owned)
        })
        .await;
        (payer, page)
    }

    /// `GET /v1/purchases/{path}`.
    pub async fn ask(&self, token: &str, path: &str) -> Answer {
        let url = format!("{}/v1/purchases/{path}", self.buyers);
        answered(self.http.get(url).bearer_auth(token)).await
    }

    /// `GET /v1/{path}` of the operators' listener, which is there.
    pub async fn look(&self, path: &str) -> Value {
        let answer = get(self.operators(), format!("{}/v1/{path}", self.operators)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// The pages of `GET /v1/workflows?{filter}`, to the last one.
    pub async fn pages_of_workflows(&self, filter: &str) -> Vec<Vec<Value>> {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.look(&format!("workflows?{filter}{cursor}")).await;
            pages.push(page["workflows"].as_array().expect("a list").clone());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return pages,
            }
        }
    }

    /// Waits until no event of the node is unpublished.
    pub async fn all_is_published(&self) {
        eventually("every event to be published", || async {
            (self.look("counters").await["unpublished"] == 0).then_some(())
        })
        .await;
    }

    /// The sale as buyers see it.
    pub async fn shown(&self) -> Value {
        let url = format!("{}/v1/sales/{}", self.buyers, self.sale);
        let answer = get(&self.http, url).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Units of the first product that are left.
    pub async fn stock_left(&self) -> u64 {
        let shown = self.shown().await;
        let left = shown["products"][0]["stock_left"].as_u64();
        left.unwrap_or_else(|| panic!("{shown}"))
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
            manners: Manners {
                repeat: 0.2,
                declined: 0.05,
                ..Manners::default()
            },
            patience: PATIENCE,
            seed,
        }
    }
}

/// A buyer with a purchase.
pub struct Payer {
    /// The buyer's token.
    pub token: String,
    /// The purchase.
    pub id: String,
}

/// The crowd comes and goes.
pub async fn visit(settings: driver::Settings, progress: Arc<Progress>) -> Report {
    let (_stop, stopped) = watch::channel(false);
    driver::run(&settings, &progress, &stopped)
        .await
        .expect("the driver starts")
}

/// One in five sends everything twice, one in five claims ahead, one in ten is declined, one in ten has a means of payment with which the
/// gateway misbehaves, three in ten pay at the gateway in every way there is.
pub fn manners_of_every_kind() -> Manners {
    let faulty = [
        "tok-timeout-before",
        "tok-timeout-after",
        "tok-500-after",
        "tok-in-progress",
        "tok-busy",
    ];
    Manners {
        repeat: 0.2,
        claim_ahead: 0.2,
        persistent: 0.05,
        declined: 0.1,
        faulty: 0.1,
        redirect: 0.3,
        faulty_tokens: faulty.map(str::to_owned).to_vec(),
        visits: Vec::new(),
    }
}

/// Adds so many posters to a sale, each of which is to have a serial number from a pool in which there is none: whoever pays for one is
/// refunded.
pub fn add_posters(seed: &mut Value, stock: u32) {
    let posters = json!({
        "product": "poster", "name": "A poster", "unit_price": 5_000, "stock": stock, "serials": "pool",
    });
    let products = seed["products"].as_array_mut().expect("products");
    products.push(posters);
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
