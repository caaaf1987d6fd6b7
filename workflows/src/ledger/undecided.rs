//! Purchases of which nobody here knows whether they are paid: they wait for an operator, or were given up by one, with a payment that
//! was begun. The gateway is asked what it holds for each. What it does not say stays unresolved: money is never guessed.

use engine::store::{Status, StoreError};
use engine::workflow::StepState;
use engine::workflow::event::with_causes;
use engine::{View, WorkflowId};
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;

use crate::domain::money::Money;
use crate::ports::payment_gateway::PaymentGateway;
use crate::purchase::{Payment, PurchaseRequest};
use crate::rows::nonsense;

/// Purchases that are listed. Only about those the gateway is asked.
const LISTED_MAX: usize = 50;
/// Inquiries at a time.
const INQUIRIES_AT_ONCE: usize = 16;

/// Purchases whose payment is not known here. Their money is in none of the other figures of the books.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// How many there are.
    pub purchases: u64,
    /// Those of which the gateway said nothing that can be counted, or was not asked.
    pub unresolved: u64,
    /// What the gateway says that it holds for the others, a sum for each currency.
    pub held: Vec<Money>,
    /// Which they are, at most 50 of them.
    pub listed: Vec<UndecidedPurchase>,
}

/// A purchase that an operator has to decide about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndecidedPurchase {
    /// Which.
    pub purchase: String,
    /// Where it stands: `PARKED` or `ABANDONED`.
    pub state: Status,
    /// Why, in a word.
    pub reason: Option<String>,
    /// What was to be captured.
    pub total: Money,
    /// What the gateway says that it has taken and not given back; absent when that is not known.
    pub held: Option<Money>,
    /// What it said, or why it said nothing.
    pub gateway_says: String,
}

/// A purchase before the gateway was asked about it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    purchase: WorkflowId,
    state: Status,
    reason: Option<String>,
    total: Money,
}

impl Question {
    /// There is one where a purchase stands still and its payment was begun and has no result.
    pub fn about(view: &View) -> Result<Option<Self>, StoreError> {
        let stands_still = matches!(view.head.status, Status::Parked | Status::Abandoned);
        let Some(state) = view.state.as_ref().filter(|_| stands_still) else {
            return Ok(None);
        };
        let payment = state.definition().index_of(Payment::NAME);
        let payment = payment.map(|index| &state.steps[index.0].action);
        let is_open = matches!(
            payment,
            Some(
                StepState::Attempting { .. }
                    | StepState::Failed {
                        effect_may_exist: true,
                        ..
                    }
            )
        );
        if !is_open {
            return Ok(None);
        }
        let request: PurchaseRequest = state.input.to().map_err(|error| nonsense(&error))?;
        Ok(Some(Self {
            purchase: view.id,
            state: view.head.status,
            reason: view.head.reason.clone(),
            total: request.total,
        }))
    }

    async fn ask(self, gateway: &dyn PaymentGateway) -> UndecidedPurchase {
        let order = self.purchase.to_string();
        let (held, gateway_says) = match gateway.inquire(&order).await {
            // It is about our order: an adapter checks that. What was taken may be anything, and that is what is said here.
            Ok(Some(record)) => (
                Some(Money::new(record.rest(), record.amount.currency)),
                record.to_string(),
            ),
            Ok(None) => (
                Some(Money::new(0, self.total.currency)),
                "it has no payment of this order".to_owned(),
            ),
            Err(error) => (None, with_causes(&error)),
        };
        UndecidedPurchase {
            purchase: order,
            state: self.state,
            reason: self.reason,
            total: self.total,
            held,
            gateway_says,
        }
    }
}

impl Undecided {
    /// Asks the gateway about the first of these.
    pub(super) async fn resolve(questions: Vec<Question>, gateway: &dyn PaymentGateway) -> Self {
        let purchases = questions.len() as u64;
        let asked = questions.into_iter().take(LISTED_MAX);
        let listed: Vec<UndecidedPurchase> = stream::iter(asked)
            .map(|question| question.ask(gateway))
            .buffered(INQUIRIES_AT_ONCE)
            .collect()
            .await;
        let held: Vec<Money> = listed.iter().filter_map(|one| one.held).collect();
        Self {
            purchases,
            unresolved: purchases - held.len() as u64,
            held: Money::sums(held),
            listed,
        }
    }
}
