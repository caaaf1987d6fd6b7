//! An operator's desk: a running server with a gateway that can be made to fail, and everything that an operator may ask of it.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::set_rules;
use crate::support::http::{Answer, answered};
use crate::support::process::{ServeSettings, Server};
use crate::support::servers::Servers;
use crate::support::shop::Shop;
use crate::support::{eventually, unique};

/// A token whose payments the gateway says are in progress for as long as it is told to fail.
pub const STUCK: &str = "tok-in-progress";

/// Waits for an order's result as long as one may.
pub const PATIENTLY: [(&str, &str); 1] = [("wait", "30s")];

/// An embedded server, one open sale, and its gateway's rules.
pub struct Desk {
    pub shop: Shop,
    gateway: String,
    keys: AtomicU32,
    /// The same system at another node, for orders; `None` when there is one node.
    pub other: Option<String>,
    _servers: Vec<Server>,
    _folder: TempDir,
}

impl Desk {
    /// Opens a sale on an embedded server.
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let nodes = [ServeSettings::embedded(folder.path())];
        Self::over(&nodes, folder, "open").await
    }

    /// The same over MySQL, Redis and Kafka, with two nodes; `None` where there are none.
    pub async fn on_real_servers() -> Option<Self> {
        let servers = Servers::from_environment()?;
        let folder = tempfile::tempdir().expect("a folder");
        let node = |name: &str| servers.serve(&folder.path().join(name));
        let nodes = [node("one"), node("two")];
        // Other tests have sales in the same Redis.
        Some(Self::over(&nodes, folder, &unique("open")).await)
    }

    async fn over(nodes: &[ServeSettings], folder: TempDir, sale: &str) -> Self {
        let mut servers = Vec::new();
        for node in nodes {
            servers.push(node.start().await);
        }
        let payments = servers[0].process.line("payments ").await;
        let gateway = payments
            .split(' ')
            .next()
            .expect("the gateway's address")
            .to_owned();
        let shop = Shop::open(&servers[0], sale, 1_000, 1_000).await;
        Self {
            shop,
            gateway,
            keys: AtomicU32::new(0),
            other: servers.get(1).map(|server| server.operators.clone()),
            _servers: servers,
            _folder: folder,
        }
    }

    /// How often the gateway says "in progress" for one order.
    pub async fn gateway_fails(&self, attempts: u32) {
        let rules = json!({ "faulty_attempts": attempts });
        set_rules(&self.shop.http, &self.gateway, &rules).await;
    }

    /// A key that was not used yet.
    pub fn key(&self) -> String {
        format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// Why, with what the verb needs. Who it is says the token.
    pub fn body(with: &Value) -> Value {
        let mut body = json!({ "reason": "a test" });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(with.as_object().expect("an object").clone());
        body
    }

    /// An order that is not sent yet, without a key.
    pub fn request(&self, id: &str, verb: &str, with: &Value) -> RequestBuilder {
        let url = format!("{}/v1/workflows/{id}/{verb}", self.shop.operators);
        self.shop.operators().post(url).json(&Self::body(with))
    }

    /// An order under a new key.
    pub async fn order(&self, id: &str, verb: &str, with: &Value) -> Answer {
        let request = self.request(id, verb, with).query(&PATIENTLY);
        answered(request.header("idempotency-key", self.key())).await
    }

    /// Like [`Desk::order`], with nothing that the verb needs.
    pub async fn tell(&self, id: &str, verb: &str) -> Answer {
        self.order(id, verb, &json!({})).await
    }

    /// `POST /v1/batches`, with this query.
    pub async fn batch(&self, query: &str, key: &str, body: &Value) -> Answer {
        let url = format!("{}/v1/batches{query}", self.shop.operators);
        let request = self.shop.operators().post(url).json(&Self::body(body));
        answered(request.header("idempotency-key", key)).await
    }

    /// `GET /v1/<path>`, which is there.
    pub async fn look(&self, path: &str) -> Value {
        self.shop.look(path).await
    }

    /// The workflow's detail.
    pub async fn workflow(&self, id: &str) -> Value {
        self.look(&format!("workflows/{id}")).await
    }

    /// The workflow, once it has this state.
    pub async fn in_state(&self, id: &str, state: &str) -> Value {
        eventually(&format!("{id} to be {state}"), || async {
            let workflow = self.workflow(id).await;
            (workflow["state"] == state).then_some(workflow)
        })
        .await
    }

    /// The commands to a workflow, newest first.
    pub async fn commands(&self, id: &str) -> Vec<Value> {
        let listed = self
            .look(&format!("commands?workflow={id}&limit=500"))
            .await;
        listed["commands"].as_array().expect("a list").clone()
    }

    /// A new buyer's purchase whose payment fails, and fails.
    pub async fn stuck(&self) -> String {
        self.gateway_fails(1_000).await;
        let (_, id) = self.shop.bought("k", STUCK).await;
        eventually("a failed attempt at the payment", || async {
            let workflow = self.workflow(&id).await;
            step(&workflow, "payment")["last_error"]
                .is_object()
                .then_some(())
        })
        .await;
        id
    }

    /// A purchase that is parked on its payment. Its attempts are brought forward by orders; a good purchase now and then
    /// shows that the gateway answers others.
    pub async fn parked(&self) -> String {
        let id = self.stuck().await;
        let turn = AtomicU32::new(0);
        eventually("the purchase to be parked", || async {
            if turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                let (token, good) = self.shop.bought("k", "tok-good").await;
                self.shop.settled(&token, &good).await;
            }
            // It says no when an attempt is under way.
            self.tell(&id, "retry").await;
            let workflow = self.workflow(&id).await;
            (workflow["state"] == "PARKED").then_some(())
        })
        .await;
        id
    }

    /// So many purchases that are parked on their payments, the oldest first.
    pub async fn all_parked(&self, count: usize) -> Vec<String> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(self.parked().await);
        }
        ids
    }
}

/// The step of this name.
pub fn step(workflow: &Value, name: &str) -> Value {
    let steps = workflow["steps"].as_array().expect("steps");
    let found = steps.iter().find(|step| step["name"] == name);
    found.expect("the step").clone()
}

/// Panics unless it is a problem of this kind that names this field and says something like `words`.
pub fn expect_problem(answer: &Answer, status: u16, slug: &str, field: &str, words: &str) {
    answer.expect_problem(status, slug);
    let named = answer.body["field"].as_str().unwrap_or_default();
    assert_eq!(named, field, "{answer:?}");
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(words), "{words}: {answer:?}");
}
