//! `POST /v1/campaigns/{campaign}/claims` and `GET /v1/me/coupons`: coupons that buyers have before they buy, and what became
//! of each.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::store::Status;
use engine::workflow::{Phase, Refusal};
use engine::{Payload, Start, StartError, Timestamp, View};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use workflows::campaign::{ClaimAhead, NAME};
use workflows::domain::coupon::{Campaign, Discount};
use workflows::domain::ids::{BuyerId, CampaignId};
use workflows::domain::sale::Sale;
use workflows::ports::catalogue::{Coupon, CouponState};
use workflows::purchase::why;

use super::front::Front;
use super::order::IdempotencyKey;
use super::refused::Asked;
use crate::auth::Buyer;
use crate::clock::rfc3339;
use crate::http::Path;
use crate::problem::{Kind, Problem};

/// A claim is one step: it takes no longer than this, or the buyer is asked to look again.
const CLAIMED_WITHIN: Duration = Duration::from_secs(10);

/// A coupon as its buyer sees it.
#[derive(Serialize)]
pub struct Shown {
    campaign: CampaignId,
    name: String,
    state: &'static str,
    discount: Discount,
    minimum_price: u64,
    valid_from: String,
    valid_until: String,
    claimed_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    purchase: Option<String>,
}

#[derive(Serialize)]
pub struct List {
    coupons: Vec<Shown>,
}

pub async fn claim(
    State(front): State<Front>,
    Buyer(buyer): Buyer,
    Path(name): Path,
    IdempotencyKey(key): IdempotencyKey,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let not_found = || Problem::not_found("campaign", &name);
    let campaign = CampaignId::parse(name.as_str()).map_err(|_| not_found())?;
    let sale = front.recent.sale_of(&campaign).await?;
    let sale = sale.ok_or_else(not_found)?;
    let campaign = sale.campaign(&campaign).ok_or_else(not_found)?;
    let asked = Asked {
        buyer: &buyer,
        sale: &sale,
        lines: &[],
        campaign: Some(campaign),
    };
    let claimed_at = front.services.runtime.now();
    let start = start(&buyer, &sale, campaign, key, claimed_at)?;
    let claimed = match front.services.engine.start(start).await {
        Ok(started) => settled(&front, started.view()).await?,
        Err(StartError::Refused(refusal)) => return Err(asked.refused(refusal, &front).await),
        Err(error) => return Err(error.into()),
    };
    if let Err(refusal) = claimed {
        return Err(asked.refused(refusal, &front).await);
    }
    // The coupon as it is: a repeat may find it used.
    let coupons = front.services.catalogue.coupons_of(&buyer).await?;
    let coupon = coupons
        .iter()
        .find(|coupon| coupon.campaign == campaign.campaign)
        .ok_or_else(|| {
            Problem::new(
                Kind::CONFLICT,
                "the coupon is not there any more; claim it under a new key",
            )
        })?;
    Ok((
        StatusCode::CREATED,
        Json(shown(coupon, campaign, &sale, claimed_at)),
    ))
}

fn start(
    buyer: &BuyerId,
    sale: &Sale,
    campaign: &Campaign,
    key: String,
    accepted_at: Timestamp,
) -> Result<Start, Problem> {
    let request = ClaimAhead {
        buyer: buyer.clone(),
        sale: sale.sale.clone(),
        campaign: campaign.campaign.clone(),
        accepted_at,
    };
    Ok(Start {
        definition: NAME.to_owned(),
        input: Payload::of(&request)
            .map_err(|error| Problem::internal("storing a claim", &error))?,
        key: Some((buyer.as_str().to_owned(), key)),
        request_hash: Sha256::digest(campaign.campaign.as_str()).into(),
        label: Some(sale.sale.as_str().to_owned()),
    })
}

/// What became of the claim, once it is known.
async fn settled(front: &Front, view: &View) -> Result<Result<(), Refusal>, Problem> {
    let services = &front.services;
    let deadline = services.runtime.now().after(CLAIMED_WITHIN);
    let view = services.engine.wait(view.id, deadline).await?;
    let undecided = || {
        Problem::new(
            Kind::UNDECIDED,
            "the claim is under way: send it again with the same Idempotency-Key to see what became of it",
        )
    };
    let view = view.ok_or_else(undecided)?;
    match view.state.as_deref().map(|state| &state.phase) {
        Some(Phase::Completed { .. }) => Ok(Ok(())),
        Some(Phase::Compensated { reason } | Phase::Abandoned { reason, .. }) => {
            Ok(Err(why(reason)))
        }
        // It ended, and was put away since.
        None if view.head.status == Status::Completed => Ok(Ok(())),
        _ => Err(undecided()),
    }
}

pub async fn list(State(front): State<Front>, Buyer(buyer): Buyer) -> Result<Json<List>, Problem> {
    let now = front.services.runtime.now();
    let mut coupons = Vec::new();
    for coupon in front.services.catalogue.coupons_of(&buyer).await? {
        let sale = front.recent.sale_of(&coupon.campaign).await?;
        let campaign = sale
            .as_ref()
            .and_then(|sale| sale.campaign(&coupon.campaign));
        if let (Some(sale), Some(campaign)) = (&sale, campaign) {
            coupons.push(shown(&coupon, campaign, sale, now));
        }
    }
    Ok(Json(List { coupons }))
}

fn shown(coupon: &Coupon, campaign: &Campaign, sale: &Sale, now: Timestamp) -> Shown {
    let valid_from = campaign.validity.from.unwrap_or(sale.opens_at);
    let valid_until = campaign.validity.until.unwrap_or(sale.closes_at);
    let is_over = sale.is_cancelled || now >= valid_until.min(sale.closes_at);
    Shown {
        campaign: coupon.campaign.clone(),
        name: campaign.name.clone(),
        state: match coupon.state {
            CouponState::Issued if is_over => "expired",
            CouponState::Issued => "issued",
            CouponState::Reserved => "reserved",
            CouponState::Used => "used",
        },
        discount: campaign.discount,
        minimum_price: campaign.minimum_price,
        valid_from: rfc3339(valid_from),
        valid_until: rfc3339(valid_until),
        claimed_at: rfc3339(coupon.claimed_at),
        purchase: coupon.purchase.map(|purchase| purchase.to_string()),
    }
}
