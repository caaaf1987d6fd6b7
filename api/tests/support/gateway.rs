//! The simulated payment gateway as a process of its own, which outlives nodes; its rules, its ledger, and what it tells.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::Client;
use serde_json::{Value, json};

use super::http::{answered, get};
use super::process::{Running, holdfast};
use super::servers::WEBHOOK_SECRET;

const LISTENS: &str = "the simulated payment gateway listens on";

/// A gateway that tells the buyers' listener on this port what happens, and where it is.
pub async fn gateway(folder: &Path, buyers_port: u16) -> (Running, String) {
    gateway_at(folder, "127.0.0.1:0", buyers_port).await
}

/// The same at this address.
pub async fn gateway_at(folder: &Path, address: &str, buyers_port: u16) -> (Running, String) {
    let webhook = format!("http://127.0.0.1:{buyers_port}/v1/payments/webhook");
    let variables = [
        ("HOLDFAST_PG_WEBHOOK_URL", webhook.as_str()),
        ("HOLDFAST_PG_WEBHOOK_SECRET", WEBHOOK_SECRET),
    ];
    start(folder, address, &variables).await
}

/// A gateway that tells nobody anything.
pub async fn silent_gateway(folder: &Path) -> (Running, String) {
    start(folder, "127.0.0.1:0", &[]).await
}

/// The same at this address.
pub async fn silent_gateway_at(folder: &Path, address: &str) -> (Running, String) {
    start(folder, address, &[]).await
}

async fn start(folder: &Path, address: &str, variables: &[(&str, &str)]) -> (Running, String) {
    let ledger = folder.join("ledger").display().to_string();
    let arguments = ["pg-sim", "--listen", address, "--ledger", &ledger];
    let variables = variables.iter();
    let variables: BTreeMap<String, String> = variables
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let mut process = Running::start(holdfast(&arguments, &variables));
    let url = process.line(LISTENS).await;
    (process, url)
}

/// What the gateway does wrong from now on.
pub async fn set_rules(http: &Client, gateway: &str, rules: &Value) {
    let answer = answered(http.put(format!("{gateway}/v1/rules")).json(rules)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// How many orders have shown which of its faults, such as `500-after+inquiry-lag`.
pub async fn shown(http: &Client, gateway: &str) -> BTreeMap<String, u64> {
    let answer = get(http, format!("{gateway}/v1/rules/shown")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_value(answer.body["orders"].clone()).expect("counts by faults")
}

/// All entries of its ledger.
pub async fn ledger(http: &Client, gateway: &str) -> Vec<Value> {
    let (mut entries, mut cursor) = (Vec::new(), Value::from(0));
    while !cursor.is_null() {
        let url = format!("{gateway}/v1/ledger?limit=1000&cursor={cursor}");
        let page = get(http, url).await;
        assert_eq!(page.status, 200, "{page:?}");
        entries.extend(page.body["entries"].as_array().expect("entries").clone());
        cursor = page.body["next_cursor"].clone();
    }
    entries
}

/// How many captures, declined payments and refunds its ledger has for an order.
pub async fn ledger_of(http: &Client, gateway: &str, order: &str) -> [usize; 3] {
    let entries = ledger(http, gateway).await;
    ["captured", "declined", "refunded"].map(|kind| {
        let of_order = |entry: &&Value| entry["order_id"] == order && entry["kind"] == kind;
        entries.iter().filter(of_order).count()
    })
}

/// The buyer decides on the gateway's page, with this rule for the gateway.
pub async fn decide(http: &Client, page: &str, decision: &str, rule: &str) -> Value {
    let body = json!({ "decision": decision, "rule": rule });
    let answer = answered(http.post(page).json(&body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}
