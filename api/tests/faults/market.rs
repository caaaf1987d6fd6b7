//! A sale with its nodes and its payment gateway, and what buyers do there.

use serde_json::{Value, json};

use super::stack::Stack;
use crate::support::gateway::{self, silent_gateway};
use crate::support::http::{Answer, answered, get};
use crate::support::process::{Running, ServeSettings, Server};
use crate::support::shop::{Payer, Shop, seed};
use crate::support::{eventually, unique};

/// A running sale.
pub struct Market {
    /// The sale at each node; on the embedded stack there is one.
    pub shops: Vec<Shop>,
    /// The payment gateway, a process of its own that outlives nodes.
    pub gateway: String,
    sale: String,
    settings: Vec<ServeSettings>,
    nodes: Vec<Option<Server>>,
    gateway_process: Option<Running>,
}

/// A sale that nobody else has, with this many mugs and as many coupons.
pub fn mugs(stock: u32) -> Value {
    seed(&unique("drop"), stock, stock)
}

/// The same, and with this many posters.
pub fn mugs_and_posters(stock: u32, posters: u32) -> Value {
    let mut sale = mugs(stock);
    let poster =
        json!({ "product": "poster", "name": "A poster", "unit_price": 5_000, "stock": posters });
    let products = sale["products"].as_array_mut().expect("products");
    products.push(poster);
    sale
}

impl Market {
    /// Opens this sale on as many nodes as the stack has.
    pub async fn open(stack: &Stack, sale: &Value) -> Self {
        Self::open_with(stack, sale, &[]).await
    }

    /// The same, where every node has these variables.
    pub async fn open_with(stack: &Stack, sale: &Value, variables: &[(&str, &str)]) -> Self {
        let (gateway, url) = silent_gateway(stack.folder.path()).await;
        let settings = stack.nodes().iter().map(|name| {
            let node = stack.node(name).with("PG_URL", &url);
            let with = |node: ServeSettings, (name, value): &(&str, &str)| node.with(name, *value);
            variables.iter().fold(node, with)
        });
        let settings = settings.collect();
        let mut market = Self {
            shops: Vec::new(),
            gateway: url,
            sale: sale["sale"].as_str().expect("a name").to_owned(),
            settings,
            nodes: Vec::new(),
            gateway_process: Some(gateway),
        };
        for settings in market.settings.clone() {
            let server = settings.start().await;
            market.shops.push(Shop::at(&server, &market.sale));
            market.nodes.push(Some(server));
        }
        market.shop().seeded(sale).await;
        market.is_shown().await;
        market
    }

    /// The sale at a node that runs.
    pub fn shop(&self) -> &Shop {
        let living = self.nodes.iter().position(Option::is_some);
        &self.shops[living.expect("a node runs")]
    }

    /// The sale at one node and another in turn.
    pub fn shop_for(&self, number: usize) -> &Shop {
        &self.shops[number % self.shops.len()]
    }

    /// Waits until every node that runs shows the sale.
    pub async fn is_shown(&self) {
        for (shop, _) in self
            .shops
            .iter()
            .zip(&self.nodes)
            .filter(|(_, node)| node.is_some())
        {
            eventually("the sale to be shown", || async {
                (self.shown_by(shop).await.status == 200).then_some(())
            })
            .await;
        }
    }

    async fn shown_by(&self, shop: &Shop) -> Answer {
        let url = format!("{}/v1/sales/{}", shop.buyers, self.sale);
        get(&shop.http, url).await
    }

    /// The sale as buyers see it.
    pub async fn shown(&self) -> Value {
        self.shop().shown().await
    }

    /// Units of each product, and coupons of each campaign, that are left.
    pub async fn left(&self) -> Vec<u64> {
        let shown = self.shown().await;
        let figures = |list: &str, figure: &str| -> Vec<u64> {
            let list = shown[list].as_array().expect("a list").iter();
            list.map(|one| one[figure].as_u64().expect("a figure"))
                .collect()
        };
        let mut left = figures("products", "stock_left");
        left.extend(figures("campaigns", "coupons_left"));
        left
    }

    /// Waits until so much is left.
    pub async fn left_comes_to(&self, expected: &[u64]) {
        eventually(&format!("{expected:?} to be left"), || async {
            (self.left().await == expected).then_some(())
        })
        .await;
    }

    /// `kill -9`.
    pub async fn kill(&mut self, node: usize) {
        let server = self.nodes[node].take().expect("it runs");
        server.process.kill().await;
    }

    /// Starts a node again that was killed.
    pub async fn start_again(&mut self, node: usize) {
        self.start_again_with(node, &[]).await;
    }

    /// The same with these variables.
    pub async fn start_again_with(&mut self, node: usize, variables: &[(&str, &str)]) {
        assert!(self.nodes[node].is_none(), "it runs");
        let with = |node: ServeSettings, (name, value): &(&str, &str)| node.with(name, *value);
        let settings = variables.iter().fold(self.settings[node].clone(), with);
        let server = settings.start().await;
        self.shops[node] = Shop::at(&server, &self.sale);
        self.nodes[node] = Some(server);
    }

    /// An order for these lines, without a coupon.
    pub fn order(&self, lines: &[(&str, u32)], card: &str) -> Value {
        let mut order = self.shop().order(card);
        let line =
            |(product, quantity): &(&str, u32)| json!({ "product": product, "quantity": quantity });
        order["lines"] = lines.iter().map(line).collect();
        order["campaign"] = Value::Null;
        order
    }

    /// A new buyer whose mug and coupon are held, and the page where the buyer pays.
    pub async fn payer(&self) -> (Payer, String) {
        self.shop().payer().await
    }

    /// The buyer authorises the payment: the authorisation.
    pub async fn authorise(&self, page: &str) -> String {
        let decided = gateway::decide(&self.shop().http, page, "authorise", "").await;
        decided["authorization"].as_str().expect("one").to_owned()
    }

    /// `GET /v1/purchases/{path}`.
    pub async fn ask(&self, token: &str, path: &str) -> Answer {
        self.shop().ask(token, path).await
    }

    /// `POST /v1/purchases/{path}`, with this authorisation.
    pub async fn tell(&self, token: &str, path: &str, authorization: &str) -> Answer {
        let shop = self.shop();
        let url = format!("{}/v1/purchases/{path}", shop.buyers);
        let body = json!({ "authorization": authorization });
        let request = shop.http.post(url).bearer_auth(token);
        let request = if path.ends_with("/confirm") {
            request.json(&body)
        } else {
            request
        };
        answered(request).await
    }

    /// `GET /v1/{path}` of the operators' listener.
    pub async fn look(&self, path: &str) -> Value {
        self.shop().look(path).await
    }

    /// Waits until no node that runs has an event that was not published.
    pub async fn all_is_published(&self) {
        for (shop, node) in self.shops.iter().zip(&self.nodes) {
            if node.is_some() {
                shop.all_is_published().await;
            }
        }
    }

    /// Waits until this purchase waits for an operator.
    pub async fn is_parked(&self, id: &str) {
        self.comes_to(id, "PARKED").await;
    }

    /// Waits until this purchase has this state.
    pub async fn comes_to(&self, id: &str, state: &str) {
        eventually(&format!("{id} to be {state}"), || async {
            let workflow = self.look(&format!("workflows/{id}")).await;
            (workflow["state"] == state).then_some(())
        })
        .await;
    }

    /// How many captures, declined payments and refunds the gateway's ledger has for an order.
    pub async fn ledger_of(&self, order: &str) -> [usize; 3] {
        gateway::ledger_of(&self.shop().http, &self.gateway, order).await
    }

    /// The gateway is killed, for good.
    pub async fn kill_gateway(&mut self) {
        let gateway = self.gateway_process.take().expect("it runs");
        gateway.kill().await;
    }

    /// What the gateway does wrong from now on.
    pub async fn rules(&self, rules: &Value) {
        gateway::set_rules(&self.shop().http, &self.gateway, rules).await;
    }

    /// Nothing is under way any more, and every invariant holds.
    pub async fn adds_up(&self) {
        self.shop().quiet().await;
        self.shop().verify_in_the_end().await;
        let books = self.books().await;
        assert_eq!(books["adds_up"], true, "{books:#}");
    }

    /// The books of the sale.
    pub async fn books(&self) -> Value {
        self.look(&format!("sales/{}/ledger", self.sale)).await
    }
}
