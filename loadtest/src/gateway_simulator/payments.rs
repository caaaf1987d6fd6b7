//! The calls that a shop makes: reserve, approve, inquire, cancel.

use std::sync::{Arc, PoisonError};

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;

use super::book::Book;
use super::calls::Call;
use super::connection::Reset;
use super::desk::{Desk, Outcome, Reservation};
use super::faults::{Fault, Faults, Operation};
use super::input::{Body, check_order_id, idempotency_key, read_json, read_query};
use super::marks::Given;
use super::refusal::Refusal;
use super::rules::Charge;
use super::secret;
use super::simulator::Simulator;
use super::webhooks::Event;
use super::wire::{
    ApproveBody, CancelBody, InquiryQuery, PaymentView, Payments, ReserveBody, ReservedView, Status,
};

/// What authorisations begin with; every other token is a stored means of payment.
pub(super) const AUTHORISATION_PREFIX: &str = "auth-";

type Shared = State<Arc<Simulator>>;

pub(super) async fn reserve(
    State(simulator): Shared,
    ConnectInfo(connection): ConnectInfo<Reset>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let key = idempotency_key(&headers)?;
    let request: ReserveBody = read_json(&headers, body)?;
    let given = request.check()?;
    if request.webhook_url.is_some() && !simulator.webhooks.can_sign() {
        return Err(Refusal::bad(
            "webhook_url",
            "can't be used: the gateway has no webhook secret",
        ));
    }
    let rules = simulator.rules();
    let order_id = &request.order_id;
    let faults = simulator
        .marks
        .faults_of(order_id, Given::Reservation(given), &rules);
    let call = Call::begin(
        &simulator,
        &rules,
        Operation::Reserve,
        order_id,
        faults,
        &connection,
    );
    call.before_effect().await?;

    let pending = simulator.ledger.read(|book| book.is_captured(order_id));
    let is_captured = simulator.ledger.settle(pending).await?;
    let (now, id) = (simulator.now(), secret::reservation_id()?);
    let pending = simulator.desk.record(
        |desk| desk.decide_reservation(key, &request, now, id, is_captured),
        Desk::reservation,
    )?;
    let Reservation { terms, .. } = simulator.desk.settle(pending).await?;
    let public_url = simulator
        .public_url
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let answer = ReservedView {
        redirect_url: format!("{public_url}/pay/{}", terms.reservation_id),
        reservation_id: terms.reservation_id,
        order_id: terms.order_id,
        amount: terms.amount,
        currency: terms.currency,
        expires_at: terms.expires_at,
    };
    call.answer(answer).await
}

pub(super) async fn approve(
    State(simulator): Shared,
    ConnectInfo(connection): ConnectInfo<Reset>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let key = idempotency_key(&headers)?;
    let request: ApproveBody = read_json(&headers, body)?;
    request.check()?;
    let rules = simulator.rules();
    let authorised = authorised(&simulator, &request).await?;
    let given = match &authorised {
        Authorised::Stored => Faults::of_token(&request.payment_token),
        Authorised::ByBuyer(reservation) => reservation.faults(),
        Authorised::Missing | Authorised::Unknown => Faults::default(),
    };
    let order_id = &request.order_id;
    let faults = simulator
        .marks
        .faults_of(order_id, Given::Token(given), &rules);
    let call = Call::begin(
        &simulator,
        &rules,
        Operation::Approve,
        order_id,
        faults,
        &connection,
    );
    call.before_effect().await?;

    let now = simulator.now();
    let charge = || match authorised.refusal(&request, now)? {
        Some(code) => Ok(Charge::Decline { code }),
        None => Ok(rules.charge(order_id, request.amount, faults)),
    };
    let pending = simulator.ledger.record(
        |book| book.decide_approval(key, &request, now, charge),
        |book, entry| (book.sequence_at(entry), book.approval(entry)),
    )?;
    let is_new = pending.is_new;
    let (sequence, payment) = simulator.ledger.settle(pending).await?;
    if faults.has(Fault::Declined) && payment.status == Status::Declined {
        simulator.marks.shows(order_id, Fault::Declined.into());
    }
    if is_new {
        let event = Event::of_approval(sequence, &payment);
        simulator.tell(&event, faults, &rules).await;
    }
    call.answer(payment).await
}

/// What a token is.
enum Authorised {
    /// A stored means of payment.
    Stored,
    /// The authorisation of a reservation.
    ByBuyer(Box<Reservation>),
    /// A stored means of payment, for an order whose buyer was to be asked.
    Missing,
    /// It looks like an authorisation, and is none.
    Unknown,
}

async fn authorised(simulator: &Simulator, request: &ApproveBody) -> Result<Authorised, Refusal> {
    let token = request.payment_token.as_str();
    if !token.starts_with(AUTHORISATION_PREFIX) {
        let pending = simulator
            .desk
            .read(|desk| desk.is_reserved(&request.order_id));
        return Ok(if simulator.desk.settle(pending).await? {
            Authorised::Missing
        } else {
            Authorised::Stored
        });
    }
    let pending = simulator.desk.read(|desk| desk.by_authorization(token));
    Ok(match simulator.desk.settle(pending).await? {
        Some(reservation) => Authorised::ByBuyer(Box::new(reservation)),
        None => Authorised::Unknown,
    })
}

impl Authorised {
    /// Refuses what was not authorised; the code of a decline when it was authorised too long ago.
    fn refusal(
        &self,
        request: &ApproveBody,
        now: Timestamp,
    ) -> Result<Option<&'static str>, Refusal> {
        let forbidden = |code, message| Err(Refusal::new(StatusCode::FORBIDDEN, code, message));
        match self {
            Self::Stored => Ok(None),
            Self::Missing => forbidden(
                "authorisation-required",
                "the order was reserved: it takes what its buyer authorised",
            ),
            Self::Unknown => forbidden("authorisation-unknown", "there is no such authorisation"),
            Self::ByBuyer(reservation) => {
                let terms = &reservation.terms;
                if *terms.order_id != *request.order_id
                    || terms.amount != request.amount
                    || *terms.currency != *request.currency
                {
                    return forbidden(
                        "authorisation-mismatch",
                        "the authorisation is for another order, amount or currency",
                    );
                }
                Ok(reservation
                    .is_expired(now)
                    .then_some("authorisation-expired"))
            }
        }
    }
}

impl Reservation {
    fn faults(&self) -> Faults {
        match &self.outcome {
            Outcome::Authorised { faults, .. } => *faults,
            Outcome::Open | Outcome::Declined => Faults::default(),
        }
    }
}

pub(super) async fn inquire(
    State(simulator): Shared,
    ConnectInfo(connection): ConnectInfo<Reset>,
    query: Result<Query<InquiryQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let InquiryQuery { order_id } = read_query(query)?;
    check_order_id(&order_id)?;
    let rules = simulator.rules();
    let faults = simulator.marks.faults_of(&order_id, Given::Nothing, &rules);
    let call = Call::begin(
        &simulator,
        &rules,
        Operation::Inquire,
        &order_id,
        faults,
        &connection,
    );
    call.before_effect().await?;
    let pending = simulator.ledger.read(|book| book.payments_of(&order_id));
    let mut payments = simulator.ledger.settle(pending).await?;
    if faults.has(Fault::InquiryLag) {
        let now = simulator.now();
        let is_seen = |payment: &PaymentView| {
            let age = now.duration_since(payment.at);
            u128::try_from(age.as_micros()).is_ok_and(|age| age >= rules.inquiry_lag().as_micros())
        };
        let there = payments.len();
        payments.retain(|payment| is_seen(payment) || payment.status == Status::Declined);
        if payments.len() < there {
            simulator.marks.shows(&order_id, Fault::InquiryLag.into());
        }
    }
    call.answer(Payments { payments }).await
}

pub(super) async fn cancel(
    State(simulator): Shared,
    ConnectInfo(connection): ConnectInfo<Reset>,
    payment_id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Path(payment_id) =
        payment_id.map_err(|rejection| Refusal::bad("payment_id", &rejection.body_text()))?;
    let key = idempotency_key(&headers)?;
    let request: CancelBody = read_json(&headers, body)?;
    request.check()?;
    let rules = simulator.rules();
    let pending = simulator.ledger.read(|book| book.order_of(&payment_id));
    let order_id = simulator.ledger.settle(pending).await?;
    let faults = order_id
        .as_deref()
        .map_or_else(Faults::default, |order_id| {
            simulator.marks.faults_of(order_id, Given::Nothing, &rules)
        });
    let subject = order_id.as_deref().unwrap_or(&payment_id);
    let call = Call::begin(
        &simulator,
        &rules,
        Operation::Cancel,
        subject,
        faults,
        &connection,
    );
    call.before_effect().await?;
    let now = simulator.now();
    let pending = simulator.ledger.record(
        |book| book.decide_cancellation(key, &payment_id, &request, now),
        |book: &Book, entry| (book.sequence_at(entry), book.cancellation(entry)),
    )?;
    let is_new = pending.is_new;
    let (sequence, cancelled) = simulator.ledger.settle(pending).await?;
    if is_new {
        let event = Event::of_cancellation(sequence, &cancelled, now);
        simulator.tell(&event, faults, &rules).await;
    }
    call.answer(cancelled).await
}
