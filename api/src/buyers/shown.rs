//! A purchase as its buyer sees it.

use engine::View;
use engine::store::Status;
use engine::workflow::{Phase, WorkflowState};
use serde::Serialize;
use workflows::domain::goods::GoodsUnit;
use workflows::domain::ids::{BuyerId, CampaignId, SaleId};
use workflows::domain::money::Money;
use workflows::purchase::{Goods, GoodsIssue, NAME, PricedLine, PurchaseRequest};

use crate::clock::rfc3339;
use crate::problem::{Kind, Problem};

/// The answer to `POST /v1/purchases` and `GET /v1/purchases/{id}`.
#[derive(Serialize)]
pub struct Purchase {
    id: String,
    state: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    sale: SaleId,
    lines: Vec<PricedLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<CampaignId>,
    discount: u64,
    total: Money,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    goods: Vec<GoodsUnit>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct Reason {
    code: String,
    message: String,
}

/// The purchase, if it is one and it is this buyer's: to everyone else it does not exist.
pub fn purchase_of(buyer: &BuyerId, view: &View) -> Result<Option<Purchase>, Problem> {
    if view.head.definition.name != NAME {
        return Ok(None);
    }
    let Some(state) = view.state.as_deref() else {
        let why = "this node does not know this version of the purchase; ask another one, or try again later";
        return Err(Problem::new(Kind::UNAVAILABLE, why));
    };
    let unreadable = |error: &dyn std::error::Error| Problem::internal("reading a purchase", error);
    let request: PurchaseRequest = state.input.to().map_err(|error| unreadable(&error))?;
    if request.buyer != *buyer {
        return Ok(None);
    }
    let goods: Option<Goods> = state
        .output_of(GoodsIssue::NAME)
        .map(engine::Payload::to)
        .transpose()
        .map_err(|error| unreadable(&error))?;
    Ok(Some(Purchase {
        id: view.id.to_string(),
        // That a purchase waits for its next attempt outside memory is no business of its buyer.
        state: state.status(),
        reason: reason(state),
        sale: request.sale,
        lines: request.lines,
        campaign: request.campaign,
        discount: request.discount,
        total: request.total,
        goods: goods.map(|goods| goods.units).unwrap_or_default(),
        created_at: rfc3339(view.head.created_at),
        updated_at: rfc3339(view.head.updated_at),
    }))
}

fn reason(state: &WorkflowState) -> Option<Reason> {
    match &state.phase {
        Phase::Compensating { reason } | Phase::Compensated { reason } => Some(Reason {
            code: reason.code.clone(),
            message: reason.message.clone(),
        }),
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
