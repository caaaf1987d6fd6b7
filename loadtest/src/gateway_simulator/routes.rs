//! The simulator's URLs, and the read-outs; the calls themselves are in `payments` and `pay_page`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::book::Book;
use super::input::{BODY_BYTES_MAX, Body, read_json, read_query};
use super::refusal::Refusal;
use super::rules::{Rules, WAIT_MS_MAX};
use super::simulator::Simulator;
use super::webhooks::WebhookCounts;
use super::wire::{EntryPage, OrderPage, PageQuery, Summary};
use super::{pay_page, payments};

/// The longest rule twice over, and then some: only a client that never ends its body takes longer.
const REQUEST_MAX: Duration = Duration::from_millis(2 * WAIT_MS_MAX + 60_000);

type Shared = State<Arc<Simulator>>;

/// The whole API.
pub(super) fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/v1/payments/reserve", post(payments::reserve))
        .route("/v1/payments/approve", post(payments::approve))
        .route("/v1/payments", get(payments::inquire))
        .route("/v1/payments/{payment_id}/cancel", post(payments::cancel))
        .route(
            "/pay/{reservation_id}",
            get(pay_page::show).post(pay_page::decide),
        )
        .route("/v1/ledger", get(ledger_entries))
        .route("/v1/ledger/orders", get(ledger_orders))
        .route("/v1/ledger/summary", get(ledger_summary))
        .route("/v1/rules", get(rules).put(set_rules))
        .route("/v1/rules/shown", get(rules_shown))
        .route("/v1/webhooks", get(webhooks))
        .route("/livez", get(livez))
        .fallback(async || {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "unknown-path",
                "there is nothing at this path",
            )
        })
        .method_not_allowed_fallback(async || {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this path has no such method",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&simulator),
            bounded,
        ))
        .with_state(simulator)
}

/// Turns away what is too much before it can have an effect.
async fn bounded(State(simulator): Shared, request: Request, next: Next) -> Response {
    let Ok(_permit) = simulator.in_flight.try_acquire() else {
        return Refusal::unavailable("busy", "too many requests are in flight").into_response();
    };
    match timeout(REQUEST_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::broken("timed-out", "the request took too long").into_response(),
    }
}

async fn ledger_entries(
    State(simulator): Shared,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<EntryPage>, Refusal> {
    let query = read_query(query)?;
    query.check()?;
    let pending = simulator
        .ledger
        .read(|book| book.entries_after(query.cursor, query.limit));
    let (entries, next_cursor) = simulator.ledger.settle(pending).await?;
    Ok(Json(EntryPage {
        entries,
        next_cursor,
    }))
}

async fn ledger_orders(
    State(simulator): Shared,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<OrderPage>, Refusal> {
    let query = read_query(query)?;
    query.check()?;
    let pending = simulator
        .ledger
        .read(|book| book.orders_after(query.cursor, query.limit));
    let (orders, next_cursor) = simulator.ledger.settle(pending).await?;
    Ok(Json(OrderPage {
        orders,
        next_cursor,
    }))
}

async fn ledger_summary(State(simulator): Shared) -> Result<Json<Summary>, Refusal> {
    let pending = simulator.ledger.read(Book::summary);
    simulator.ledger.settle(pending).await.map(Json)
}

async fn rules(State(simulator): Shared) -> Json<Rules> {
    Json(Rules::clone(&simulator.rules()))
}

/// Which faults could be seen, on how many orders: `{"orders": {"500-after+inquiry-lag": 7}}`.
async fn rules_shown(State(simulator): Shared) -> Json<Value> {
    Json(json!({ "orders": simulator.marks.shown() }))
}

async fn webhooks(State(simulator): Shared) -> Json<WebhookCounts> {
    Json(simulator.webhooks.counts())
}

async fn set_rules(
    State(simulator): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Rules>, Refusal> {
    let rules: Rules = read_json(&headers, body)?;
    simulator.set_rules(rules.clone()).map_err(|error| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid-request",
            error.to_string(),
        )
    })?;
    Ok(Json(rules))
}

async fn livez(State(simulator): Shared) -> Result<Json<Value>, Refusal> {
    if simulator.ledger.is_sound() {
        Ok(Json(json!({ "status": "ok" })))
    } else {
        Err(Refusal::unavailable(
            "ledger-failed",
            "the ledger can't be written",
        ))
    }
}
