//! The page where a buyer decides: plain HTML with two buttons, and the same decision as JSON for tests and load.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use reqwest::Url;

use super::desk::{Decision, Desk, Outcome, Reservation};
use super::input::{Body, has_content_type, read_form, read_json, read_rule};
use super::marks::Given;
use super::refusal::Refusal;
use super::secret;
use super::simulator::Simulator;
use super::webhooks::Event;
use super::wire::{Choice, DecidedView, DecisionBody};

type Shared = State<Arc<Simulator>>;
type ReservationId = Result<Path<String>, PathRejection>;

/// The page as it is now.
pub(super) async fn show(State(simulator): Shared, id: ReservationId) -> Response {
    match find(&simulator, id).await {
        Ok(reservation) => page(StatusCode::OK, &body_of(&simulator, &reservation)),
        Err(refusal) => sorry(&refusal),
    }
}

/// The buyer's decision: a form is answered by a page or a redirect, JSON by JSON.
pub(super) async fn decide(
    State(simulator): Shared,
    id: ReservationId,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let is_form = has_content_type(&headers, "application/x-www-form-urlencoded");
    let decision = if is_form {
        read_form(body)
    } else {
        read_json(&headers, body)
    };
    let decided = match decision {
        Ok(decision) => carry_out(&simulator, id, decision).await,
        Err(refusal) => Err(refusal),
    };
    match decided {
        Ok(reservation) if is_form => leave(&simulator, &reservation),
        Ok(reservation) => Json(view(&reservation)).into_response(),
        Err(refusal) if is_form => sorry(&refusal),
        Err(refusal) => refusal.into_response(),
    }
}

async fn carry_out(
    simulator: &Simulator,
    id: ReservationId,
    DecisionBody { decision, rule }: DecisionBody,
) -> Result<Reservation, Refusal> {
    let id = read_id(id)?;
    let given = read_rule(rule.as_deref())?;
    let decision = match decision {
        Choice::Authorise => Decision::Authorise {
            authorization: secret::authorization()?,
            faults: given,
        },
        Choice::Decline => Decision::Decline,
    };
    let now = simulator.now();
    let pending = simulator.desk.record(
        |desk| desk.decide_decision(&id, decision, now),
        Desk::reservation,
    )?;
    let is_new = pending.is_new;
    let reservation = simulator.desk.settle(pending).await?;
    if is_new && let Some(event) = Event::of_reservation(&reservation, now) {
        let rules = simulator.rules();
        let faults = simulator
            .marks
            .faults_of(&event.order_id, Given::Rule(given), &rules);
        simulator.tell(&event, faults, &rules).await;
    }
    Ok(reservation)
}

async fn find(simulator: &Simulator, id: ReservationId) -> Result<Reservation, Refusal> {
    let id = read_id(id)?;
    let pending = simulator.desk.read(|desk| desk.by_id(&id));
    let found = simulator.desk.settle(pending).await?;
    found.ok_or_else(|| {
        let message = "there is no reservation with this id";
        Refusal::new(StatusCode::NOT_FOUND, "unknown-reservation", message)
    })
}

fn read_id(id: ReservationId) -> Result<String, Refusal> {
    id.map(|Path(id)| id)
        .map_err(|rejection| Refusal::bad("reservation_id", &rejection.body_text()))
}

fn view(reservation: &Reservation) -> DecidedView {
    let authorization = match &reservation.outcome {
        Outcome::Authorised { authorization, .. } => Some(Arc::clone(authorization)),
        Outcome::Open | Outcome::Declined => None,
    };
    DecidedView {
        order_id: Arc::clone(&reservation.terms.order_id),
        decision: if authorization.is_some() {
            "authorised"
        } else {
            "declined"
        },
        return_url: return_url(reservation),
        authorization,
    }
}

/// Where the shop wants the buyer back, with what it has to know.
fn return_url(reservation: &Reservation) -> Option<String> {
    let mut url = Url::parse(reservation.terms.return_url.as_deref()?).ok()?;
    url.query_pairs_mut()
        .append_pair("order_id", &reservation.terms.order_id);
    match &reservation.outcome {
        Outcome::Open => return None,
        Outcome::Authorised { authorization, .. } => url
            .query_pairs_mut()
            .append_pair("authorization", authorization),
        Outcome::Declined => url.query_pairs_mut().append_pair("decision", "declined"),
    };
    Some(url.into())
}

fn leave(simulator: &Simulator, reservation: &Reservation) -> Response {
    match return_url(reservation) {
        Some(url) => (StatusCode::SEE_OTHER, [(LOCATION, url)]).into_response(),
        None => page(StatusCode::OK, &body_of(simulator, reservation)),
    }
}

fn body_of(simulator: &Simulator, reservation: &Reservation) -> String {
    let terms = &reservation.terms;
    let order = format!(
        "<h1>Simulated payment</h1><p>Order {}: {} {}, until {}.</p>",
        escaped(&terms.order_id),
        terms.amount,
        escaped(&terms.currency),
        terms.expires_at
    );
    let state = match &reservation.outcome {
        Outcome::Open if reservation.is_expired(simulator.now()) => {
            "<p>The time to pay is over.</p>".to_owned()
        }
        Outcome::Open => concat!(
            r#"<form method="post">"#,
            r#"<p><label>Misbehave: <input name="rule" maxlength="200"></label></p>"#,
            r#"<button name="decision" value="authorise">Authorise</button> "#,
            r#"<button name="decision" value="decline">Decline</button></form>"#
        )
        .to_owned(),
        Outcome::Authorised { authorization, .. } => format!(
            "<p>Authorised. The authorisation is <code>{}</code>.</p>",
            escaped(authorization)
        ),
        Outcome::Declined => "<p>Declined.</p>".to_owned(),
    };
    order + &state
}

fn sorry(refusal: &Refusal) -> Response {
    let text = format!(
        "<h1>Simulated payment</h1><p>{}</p>",
        escaped(&refusal.message)
    );
    page(refusal.status, &text)
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Simulated payment</title>{body}</html>"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        // No scripts, no frames; forms go here, and from here wherever the shop wants its buyer back.
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, html).into_response()
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}
