//! `GET /v1/sales/{sale}`: what is sold, when, for how much, and how much is left.

use axum::Json;
use axum::extract::State;
use engine::Timestamp;
use serde::Serialize;
use workflows::domain::ids::{CampaignId, ProductId};
use workflows::domain::sale::Sale;
use workflows::ports::reservations::{ReservationError, SaleCounts};

use crate::http::Path;
use crate::problem::{Kind, Problem};
use crate::sale::{CampaignTerms, SaleHead};
use crate::wiring::Shared;

#[derive(Serialize)]
pub struct Shown {
    #[serde(flatten)]
    head: SaleHead,
    per_buyer_limit: u32,
    products: Vec<Product>,
    campaigns: Vec<Campaign>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the word of the API")]
struct Product {
    product: ProductId,
    name: String,
    unit_price: u64,
    stock_total: u32,
    stock_left: u64,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the word of the API")]
struct Campaign {
    campaign: CampaignId,
    name: String,
    #[serde(flatten)]
    terms: CampaignTerms,
    coupons_total: u32,
    coupons_left: u64,
}

pub async fn show(
    State(services): State<Shared>,
    Path(name): Path,
) -> Result<Json<Shown>, Problem> {
    let sale = services.sale_named(&name).await?;
    let counts = services
        .reservations
        .counts(&sale.sale)
        .await
        .map_err(|error| unavailable(&error))?;
    let counts = counts.ok_or_else(|| {
        Problem::new(
            Kind::UNAVAILABLE,
            "the sale's counters are being rebuilt; try again in a moment",
        )
    })?;
    Ok(Json(shown(&sale, &counts, services.runtime.now())))
}

fn unavailable(error: &ReservationError) -> Problem {
    tracing::warn!(error = %crate::exit::with_causes(error), "a sale's counters could not be read");
    Problem::new(
        Kind::UNAVAILABLE,
        "the sale's counters can't be read at the moment; try again",
    )
}

fn shown(sale: &Sale, counts: &SaleCounts, now: Timestamp) -> Shown {
    let products = sale.products.iter().map(|product| Product {
        product: product.product.clone(),
        name: product.name.clone(),
        unit_price: product.unit_price,
        stock_total: product.stock,
        stock_left: counts
            .products
            .get(&product.product)
            .map_or(0, |stock| stock.available),
    });
    let campaigns = sale.campaigns.iter().map(|campaign| Campaign {
        campaign: campaign.campaign.clone(),
        name: campaign.name.clone(),
        terms: CampaignTerms::of(campaign),
        coupons_total: campaign.size,
        coupons_left: counts
            .campaigns
            .get(&campaign.campaign)
            .map_or(0, |coupons| coupons.size.saturating_sub(coupons.issued)),
    });
    Shown {
        head: SaleHead::of(sale, now),
        per_buyer_limit: sale.per_buyer_limit,
        products: products.collect(),
        campaigns: campaigns.collect(),
    }
}
