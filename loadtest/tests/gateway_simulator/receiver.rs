//! A shop that takes webhooks, and can be told to refuse some.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use loadtest::gateway_simulator::{Settings, WebhookTarget};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::PATIENCE;

pub const SECRET: &str = "a secret of the tests";

/// One webhook as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub signature: String,
    pub body: Bytes,
}

impl Received {
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Type and order.
    pub fn what(&self) -> (String, String) {
        let event = self.event();
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        (text("type"), text("order_id"))
    }
}

#[derive(Clone)]
struct Inbox {
    received: Arc<watch::Sender<Vec<Received>>>,
    refusals: Arc<Mutex<u32>>,
}

/// A shop's address for webhooks, until it is dropped.
pub struct Receiver {
    pub url: String,
    inbox: Inbox,
    _serving: JoinSet<()>,
}

impl Receiver {
    /// Refuses the first `refusals` webhooks, which it also records, by a 503.
    pub async fn open(refusals: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!(
            "http://{}/webhook",
            listener.local_addr().expect("an address")
        );
        let inbox = Inbox {
            received: Arc::new(watch::Sender::new(Vec::new())),
            refusals: Arc::new(Mutex::new(refusals)),
        };
        let routes = Router::new()
            .route("/webhook", post(take))
            .with_state(inbox.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            axum::serve(listener, routes).await.expect("serving");
        });
        Self {
            url,
            inbox,
            _serving: serving,
        }
    }

    pub fn target(&self) -> WebhookTarget {
        WebhookTarget::new(self.url.as_str(), [SECRET]).expect("a target")
    }

    pub fn told_by(&self, settings: Settings) -> Settings {
        Settings {
            webhooks: Some(self.target()),
            ..settings
        }
    }

    pub fn received(&self) -> Vec<Received> {
        self.inbox.received.borrow().clone()
    }

    /// What has arrived as soon as it is at least so much.
    pub async fn at_least(&self, count: usize) -> Vec<Received> {
        let mut inbox = self.inbox.received.subscribe();
        let enough = inbox.wait_for(|received| received.len() >= count);
        let received = tokio::time::timeout(PATIENCE, enough).await;
        received
            .unwrap_or_else(|_| panic!("{count} webhooks, not {:?}", self.received()))
            .expect("the inbox lives")
            .clone()
    }

    /// Types and orders of what has arrived as soon as it is at least so much.
    pub async fn whats(&self, count: usize) -> Vec<(String, String)> {
        self.at_least(count)
            .await
            .iter()
            .map(Received::what)
            .collect()
    }
}

async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = headers["webhook-signature"]
        .to_str()
        .expect("text")
        .to_owned();
    inbox
        .received
        .send_modify(|all| all.push(Received { signature, body }));
    let mut refusals = inbox.refusals.lock().expect("not poisoned");
    if *refusals == 0 {
        return StatusCode::NO_CONTENT;
    }
    *refusals -= 1;
    StatusCode::SERVICE_UNAVAILABLE
}
