//! A purchase as its buyer sees it.

use engine::Payload;
use engine::View;
use engine::payload::PayloadError;
use engine::planted;
use engine::store::Status;
use engine::workflow::{Phase, Refusal, WorkflowState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use workflows::domain::address::Address;
use workflows::domain::goods::GoodsUnit;
use workflows::domain::ids::{BuyerId, CampaignId, SaleId};
use workflows::domain::money::Money;
use workflows::ports::payment_gateway::PaymentId;
use workflows::purchase::{
    Fulfilment, GoodsIssue, PaymentPrepare, Prepared, PricedLine, PurchaseRequest, REDIRECT_NAME,
    Refund, Stage, definition_name, is_purchase, stage, why,
};

use crate::clock::rfc3339;
use crate::problem::{Kind, Problem};

/// The answer to `POST /v1/purchases` and `GET /v1/purchases/{id}`.
#[derive(Serialize)]
pub struct Purchase {
    id: String,
    state: Status,
    stage: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    sale: SaleId,
    lines: Vec<PricedLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<CampaignId>,
    discount: u64,
    total: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_until: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    goods: Vec<GoodsUnit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<Refunded>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct Reason {
    code: String,
    message: String,
}

#[derive(Serialize)]
struct Refunded {
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<PaymentId>,
    amount: Money,
    reason: String,
}

impl Purchase {
    /// Units of this sale that the buyer has for good.
    pub fn units_of(&self, sale: &SaleId) -> u64 {
        let goods = if self.sale == *sale {
            self.goods.len()
        } else {
            0
        };
        goods as u64
    }
}

/// The purchase, if it is one and it is this buyer's: to everyone else it does not exist.
pub fn purchase_of(buyer: &BuyerId, view: &View) -> Result<Option<Purchase>, Problem> {
    if !is_purchase(&view.head.definition.name) {
        return Ok(None);
    }
    let Some(state) = view.state.as_deref() else {
        let why = "this node does not know this version of the purchase; ask another one, or try again later";
        return Err(Problem::new(Kind::UNAVAILABLE, why));
    };
    let unreadable = |error: PayloadError| Problem::internal("reading a purchase", &error);
    let request: PurchaseRequest = state.input.to().map_err(unreadable)?;
    if request.buyer != *buyer && !planted::is_on("purchase-of-another-shown") {
        return Ok(None);
    }
    shown(view, state, request).map(Some).map_err(unreadable)
}

fn shown(
    view: &View,
    state: &WorkflowState,
    request: PurchaseRequest,
) -> Result<Purchase, PayloadError> {
    let now = stage(state);
    let awaits_payment = now == Stage::AwaitingPayment;
    let redirect_url = prepared(state)?
        .filter(|_| awaits_payment)
        .map(|prepared| prepared.redirect_url);
    let is_held = awaits_payment || now == Stage::Held;
    let is_held_for_buyer = is_held && definition_name(&request) == REDIRECT_NAME;
    let (goods, refund) = fulfilment(state)?;
    Ok(Purchase {
        id: view.id.to_string(),
        // That a purchase waits for its next attempt outside memory is no business of its buyer.
        state: state.status(),
        stage: now.word(),
        message: now.sentence(),
        reason: reason(state),
        sale: request.sale,
        lines: request.lines,
        campaign: request.campaign,
        discount: request.discount,
        total: request.total,
        address: request.address,
        redirect_url,
        hold_until: is_held_for_buyer.then(|| rfc3339(request.hold_until)),
        goods,
        refund,
        created_at: rfc3339(view.head.created_at),
        updated_at: rfc3339(view.head.updated_at),
    })
}

/// Its buyer can go to the gateway now, or need not any more.
pub fn is_payable(view: &View) -> bool {
    let state = view.state.as_deref();
    state.is_some_and(|state| stage(state) == Stage::AwaitingPayment)
}

fn prepared(state: &WorkflowState) -> Result<Option<Prepared>, PayloadError> {
    output(state, PaymentPrepare::NAME)
}

fn fulfilment(state: &WorkflowState) -> Result<(Vec<GoodsUnit>, Option<Refunded>), PayloadError> {
    let issued = output(state, GoodsIssue::NAME)?;
    Ok(
        match issued.map_or_else(|| output(state, Refund::NAME), |it| Ok(Some(it)))? {
            Some(Fulfilment::Issued { units }) => (units, None),
            Some(Fulfilment::Refunded {
                payment,
                amount,
                reason,
            }) => {
                let refund = Refunded {
                    payment,
                    amount,
                    reason,
                };
                (Vec::new(), Some(refund))
            }
            None => (Vec::new(), None),
        },
    )
}

fn output<T: DeserializeOwned>(
    state: &WorkflowState,
    step: &str,
) -> Result<Option<T>, PayloadError> {
    state.output_of(step).map(Payload::to).transpose()
}

fn reason(state: &WorkflowState) -> Option<Reason> {
    match &state.phase {
        Phase::Compensating { reason } | Phase::Compensated { reason } => {
            let Refusal { code, message, .. } = why(reason);
            Some(Reason { code, message })
        }
        // What went wrong inside is the operator's business, not the buyer's.
        Phase::Parked { error, .. } => Some(Reason {
            code: error.class.clone(),
            message:
                "Something needs a person to look at it. Nothing is lost; please come back later."
                    .to_owned(),
        }),
        Phase::Abandoned { reason, .. } => Some(Reason {
            code: reason.code.clone(),
            message: "This purchase was given up by a person who looked at it.".to_owned(),
        }),
        Phase::Running | Phase::Completed { .. } => None,
    }
}
