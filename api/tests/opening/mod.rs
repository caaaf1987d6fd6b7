//! Sales from their seed to their closing, over HTTP and by the command line: seeded whole or not at all, warm before they open, open
//! on time, rescheduled, cancelled, and with books that add up.

mod catalogue;
mod owner;
mod schedule;
mod seed_file;

use std::time::Duration;

use engine::Timestamp;
use serde_json::{Value, json};

use crate::support::http::{Answer, answered, get};
use crate::support::rounds::rfc3339;
use crate::support::shop::{Shop, seed};

/// A sale that opens at this instant and closes an hour later.
fn opening_at(sale: &str, stock: u32, opens_at: Timestamp) -> Value {
    let mut seed = seed(sale, stock, 10);
    seed["opens_at"] = rfc3339(opens_at).into();
    seed["closes_at"] = rfc3339(opens_at.after(Duration::from_hours(1))).into();
    seed
}

/// Opening hours from this instant, for an hour.
fn hours(revision: u32, opens_at: Timestamp) -> Value {
    let closes_at = opens_at.after(Duration::from_hours(1));
    json!({ "revision": revision, "opens_at": rfc3339(opens_at), "closes_at": rfc3339(closes_at) })
}

/// `POST` to the operators' listener.
async fn post(shop: &Shop, path: &str, body: &Value) -> Answer {
    let url = format!("{}/v1/{path}", shop.operators);
    answered(shop.operators().post(url).json(body)).await
}

/// `GET` from the operators' listener.
async fn look(shop: &Shop, path: &str) -> Answer {
    let url = format!("{}/v1/{path}", shop.operators);
    get(shop.operators(), url).await
}

/// An order without a coupon.
fn plain(shop: &Shop) -> Value {
    let mut order = shop.order("tok-good");
    order["campaign"] = Value::Null;
    order
}
