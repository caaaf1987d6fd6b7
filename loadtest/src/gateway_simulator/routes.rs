//! The simulator's URLs, and where its rules bite: before the effect, after it, or in between.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::book::Book;
use super::input::{BODY_BYTES_MAX, Body, check_order_id, idempotency_key, read_json, read_query};
use super::refusal::Refusal;
use super::rules::{Fault, Rules, WAIT_MS_MAX};
use super::simulator::Simulator;
use super::wire::{
    ApproveBody, CancelBody, CancelledView, EntryPage, InquiryQuery, OrderPage, PageQuery,
    PaymentView, Payments, Summary,
};

/// The longest rule twice over, and then some: only a client that never ends its body takes longer.
const REQUEST_MAX: Duration = Duration::from_millis(2 * WAIT_MS_MAX + 60_000);

type Shared = State<Arc<Simulator>>;

/// The whole API.
pub(super) fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/v1/payments/approve", post(approve))
        .route("/v1/payments", get(inquire))
        .route("/v1/payments/{payment_id}/cancel", post(cancel))
        .route("/v1/ledger", get(ledger_entries))
        .route("/v1/ledger/orders", get(ledger_orders))
        .route("/v1/ledger/summary", get(ledger_summary))
        .route("/v1/rules", get(rules).put(set_rules))
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

async fn approve(
    State(simulator): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PaymentView>, Refusal> {
    let key = idempotency_key(&headers)?;
    let request: ApproveBody = read_json(&headers, body)?;
    request.check()?;
    let rules = simulator.rules();
    let fault = simulator.fault(&rules, &request);
    before_effect(&simulator, &rules, fault).await?;

    let charge = || rules.charge(&request.order_id, request.amount, fault);
    let now = simulator.now();
    let pending = simulator.ledger.record(
        |book| book.decide_approval(key, &request, now, charge),
        Book::approval,
    )?;
    let payment = simulator.ledger.settle(pending).await?;

    match fault {
        Some(Fault::ErrorAfter) => {
            return Err(Refusal::broken("internal-error", "something went wrong"));
        }
        Some(Fault::TimeoutAfter) => simulator.wait(rules.hold()).await?,
        _ => {
            let latency = rules.latency("approve", &request.order_id);
            simulator.wait(latency).await?;
        }
    }
    Ok(Json(payment))
}

/// The faults that leave no trace in the ledger.
async fn before_effect(
    simulator: &Simulator,
    rules: &Rules,
    fault: Option<Fault>,
) -> Result<(), Refusal> {
    match fault {
        Some(Fault::Busy) => Err(Refusal {
            retry_after_seconds: Some(1),
            ..Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "slow down",
            )
        }),
        Some(Fault::InProgress) => Err(Refusal::conflict(
            "in-progress",
            "an earlier request with this key is being worked on",
        )),
        Some(Fault::TimeoutBefore) => {
            simulator.wait(rules.hold()).await?;
            Err(Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timed-out",
                "the card's issuer did not answer",
            ))
        }
        _ => Ok(()),
    }
}

async fn inquire(
    State(simulator): Shared,
    query: Result<Query<InquiryQuery>, QueryRejection>,
) -> Result<Json<Payments>, Refusal> {
    let InquiryQuery { order_id } = read_query(query)?;
    check_order_id(&order_id)?;
    let payments = simulator
        .ledger
        .settle(simulator.ledger.read(|book| book.payments_of(&order_id)))
        .await?;
    simulator
        .wait(simulator.rules().latency("inquire", &order_id))
        .await?;
    Ok(Json(Payments { payments }))
}

async fn cancel(
    State(simulator): Shared,
    payment_id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CancelledView>, Refusal> {
    let Path(payment_id) =
        payment_id.map_err(|rejection| Refusal::bad("payment_id", &rejection.body_text()))?;
    let key = idempotency_key(&headers)?;
    let request: CancelBody = read_json(&headers, body)?;
    request.check()?;
    let now = simulator.now();
    let pending = simulator.ledger.record(
        |book| book.decide_cancellation(key, &payment_id, &request, now),
        Book::cancellation,
    )?;
    let cancelled = simulator.ledger.settle(pending).await?;
    simulator
        .wait(simulator.rules().latency("cancel", &payment_id))
        .await?;
    Ok(Json(cancelled))
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
    Json(simulator.rules())
}

async fn set_rules(
    State(simulator): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Rules>, Refusal> {
    let rules: Rules = read_json(&headers, body)?;
    simulator.set_rules(rules).map_err(|error| {
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
