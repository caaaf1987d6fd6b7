//! What both listeners show of a sale, in the same words.

mod phase;

use engine::Timestamp;
use serde::Serialize;
use workflows::domain::coupon::{Campaign, Discount};
use workflows::domain::ids::SaleId;
use workflows::domain::money::Currency;
use workflows::domain::sale::Sale;

use crate::clock::rfc3339;
pub use phase::SalePhase;

/// The head of a sale, in a list and by itself.
#[derive(Serialize)]
pub struct SaleHead {
    sale: SaleId,
    name: String,
    currency: Currency,
    opens_at: String,
    closes_at: String,
    /// By its schedule and the clock.
    state: SalePhase,
    /// The number of its schedule: name it to change it.
    revision: u32,
}

impl SaleHead {
    /// The head as it reads at this instant.
    pub fn of(sale: &Sale, now: Timestamp) -> Self {
        Self {
            sale: sale.sale.clone(),
            name: sale.name.clone(),
            currency: sale.currency,
            opens_at: rfc3339(sale.opens_at),
            closes_at: rfc3339(sale.closes_at),
            state: SalePhase::of(sale, now),
            revision: sale.revision,
        }
    }
}

/// What a campaign's coupons give, and when.
#[derive(Serialize)]
pub struct CampaignTerms {
    discount: Discount,
    minimum_price: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims_from: Option<String>,
    claim_in_purchase: bool,
}

impl CampaignTerms {
    /// The terms of this campaign.
    pub fn of(campaign: &Campaign) -> Self {
        Self {
            discount: campaign.discount,
            minimum_price: campaign.minimum_price,
            valid_from: campaign.validity.from.map(rfc3339),
            valid_until: campaign.validity.until.map(rfc3339),
            claims_from: campaign.claims_from.map(rfc3339),
            claim_in_purchase: campaign.claim_in_purchase,
        }
    }
}
