//! How a call goes wrong: what happens before its effect, and what its answer is made into afterwards.

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::connection::Reset;
use super::faults::{Fault, Faults, Operation, Trouble};
use super::refusal::Refusal;
use super::rules::{Rules, one_off};
use super::simulator::Simulator;
use super::wire::{CancelledView, PaymentView, Payments, ReservedView};

/// One call, and what goes wrong with it.
pub(super) struct Call<'a> {
    pub simulator: &'a Simulator,
    pub rules: &'a Rules,
    pub operation: Operation,
    /// The order, or the payment where only that is known.
    pub subject: &'a str,
    pub faults: Faults,
    trouble: Option<Trouble>,
    connection: &'a Reset,
}

impl<'a> Call<'a> {
    /// Looks up what goes wrong; a transient trouble is used up by that.
    pub fn begin(
        simulator: &'a Simulator,
        rules: &'a Rules,
        operation: Operation,
        subject: &'a str,
        faults: Faults,
        connection: &'a Reset,
    ) -> Self {
        Self {
            simulator,
            rules,
            operation,
            subject,
            faults,
            trouble: simulator.marks.trouble(operation, subject, faults, rules),
            connection,
        }
    }

    /// The troubles that leave no trace in the ledger.
    pub async fn before_effect(&self) -> Result<(), Refusal> {
        if let Some(trouble) = self.trouble.filter(|trouble| trouble.is_before_effect()) {
            self.shows(trouble);
        }
        match self.trouble {
            Some(Trouble::Busy) => Err(Refusal {
                retry_after_seconds: Some(1),
                ..Refusal::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too-many-requests",
                    "slow down",
                )
            }),
            Some(Trouble::InProgress) => Err(Refusal::conflict(
                "in-progress",
                "an earlier request with this key is being worked on",
            )),
            Some(Trouble::TimeoutBefore) => {
                self.simulator.wait(self.rules.hold()).await?;
                Err(Refusal::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    "timed-out",
                    "the card's issuer did not answer",
                ))
            }
            Some(Trouble::ErrorBefore) => Err(went_wrong()),
            Some(Trouble::ResetBefore) => Err(self.reset()),
            _ => Ok(()),
        }
    }

    /// The answer, or what becomes of it.
    pub async fn answer<T: Answer>(&self, mut answer: T) -> Result<Response, Refusal> {
        self.note_what_shows(&answer);
        match self.trouble {
            Some(Trouble::ErrorAfter) => return Err(went_wrong()),
            Some(Trouble::ResetAfter) => return Err(self.reset()),
            Some(Trouble::TimeoutAfter) => self.simulator.wait(self.rules.hold()).await?,
            _ => {
                let latency = self.rules.latency(T::NAME, self.subject);
                self.simulator.wait(latency).await?;
            }
        }
        let is = |trouble| self.faults.has(Fault::Call(self.operation, trouble));
        if is(Trouble::WrongAmount) {
            answer.another_amount();
        }
        if is(Trouble::WrongCurrency) {
            answer.another_currency();
        }
        if is(Trouble::WrongOrder) {
            answer.another_order();
        }
        Ok(match self.trouble {
            Some(Trouble::EmptyBody) => json_of(Vec::new()),
            Some(Trouble::MalformedBody) => {
                let mut text = serde_json::to_vec(&answer).unwrap_or_default();
                text.truncate(text.len() / 2);
                json_of(text)
            }
            _ => Json(answer).into_response(),
        })
    }

    /// What is wrong with this answer. A lie is seen in an answer that can be read.
    fn note_what_shows<T: Answer>(&self, answer: &T) {
        if let Some(trouble) = self.trouble {
            return self.shows(trouble);
        }
        let lies = self.faults.lies(self.operation);
        for lie in lies.filter(|_| answer.can_lie()) {
            self.shows(lie);
        }
    }

    fn shows(&self, trouble: Trouble) {
        let fault = Fault::Call(self.operation, trouble);
        self.simulator.marks.shows(self.subject, fault.into());
    }

    /// Nobody reads this refusal.
    fn reset(&self) -> Refusal {
        self.connection.now();
        Refusal::broken("reset", "the connection is reset")
    }
}

fn went_wrong() -> Refusal {
    Refusal::broken("internal-error", "something went wrong")
}

fn json_of(text: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

/// An answer that can say something wrong.
pub(super) trait Answer: Serialize {
    /// The call, where its latency is drawn.
    const NAME: &'static str;
    /// Whether there is anything in it that can be wrong.
    fn can_lie(&self) -> bool {
        true
    }
    fn another_amount(&mut self);
    fn another_currency(&mut self);
    fn another_order(&mut self);
}

fn other_currency(currency: &str) -> &'static str {
    if currency == "XTS" { "XXX" } else { "XTS" } // ISO 4217's codes for tests, and for none
}

impl Answer for PaymentView {
    const NAME: &'static str = "approve";
    /// Nothing: this payment really has another amount.
    fn another_amount(&mut self) {}
    fn another_currency(&mut self) {
        self.currency = other_currency(&self.currency).into();
    }
    fn another_order(&mut self) {
        self.order_id = "another-order".into();
    }
}

impl Answer for ReservedView {
    const NAME: &'static str = "reserve";
    fn another_amount(&mut self) {
        self.amount = one_off(self.amount);
    }
    fn another_currency(&mut self) {
        self.currency = other_currency(&self.currency).into();
    }
    fn another_order(&mut self) {
        self.order_id = "another-order".into();
    }
}

impl Answer for CancelledView {
    const NAME: &'static str = "cancel";
    fn another_amount(&mut self) {
        self.cancelled_amount = one_off(self.cancelled_amount);
    }
    fn another_currency(&mut self) {
        self.payment.another_currency();
    }
    fn another_order(&mut self) {
        self.payment.another_order();
    }
}

impl Answer for Payments {
    const NAME: &'static str = "inquire";
    fn can_lie(&self) -> bool {
        !self.payments.is_empty()
    }
    fn another_amount(&mut self) {
        for payment in &mut self.payments {
            let amount = one_off(payment.amount);
            payment.amount = amount;
            payment.refunded = payment.refunded.min(amount);
        }
    }
    fn another_currency(&mut self) {
        self.payments
            .iter_mut()
            .for_each(PaymentView::another_currency);
    }
    fn another_order(&mut self) {
        self.payments
            .iter_mut()
            .for_each(PaymentView::another_order);
    }
}
