//! `GET /v1/sales/{sale}`: what is sold, when, for how much, and how much is left.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use workflows::domain::coupon::Discount;
use workflows::domain::ids::{CampaignId, ProductId, SaleId};
use workflows::domain::money::Currency;
use workflows::domain::sale::Sale;
use workflows::ports::reservations::{ReservationError, SaleCounts};

use crate::clock::rfc3339;
use crate::http::Path;
use crate::problem::{Kind, Problem};
use crate::wiring::Shared;

#[derive(Serialize)]
pub struct Shown {
    sale: SaleId,
    name: String,
    currency: Currency,
    opens_at: String,
    closes_at: String,
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
    stock: u32,
    available: u64,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the word of the API")]
struct Campaign {
    campaign: CampaignId,
    name: String,
    discount: Discount,
    minimum_price: u64,
    size: u32,
    available: u64,
}

pub async fn show(
    State(services): State<Shared>,
    Path(name): Path,
) -> Result<Json<Shown>, Problem> {
    let not_found = || Problem::not_found("sale", &name);
    let id = SaleId::parse(name.as_str()).map_err(|_| not_found())?;
    let sale = services.sale(&id).await?.ok_or_else(not_found)?;
    let counts = services
        .reservations
        .counts(&id)
        .await
        .map_err(|error| unavailable(&error))?;
    let counts = counts.ok_or_else(|| {
        Problem::new(
            Kind::UNAVAILABLE,
            "the sale's counters are being rebuilt; try again in a moment",
        )
    })?;
    Ok(Json(shown(&sale, &counts)))
}

fn unavailable(error: &ReservationError) -> Problem {
    tracing::warn!(error = %crate::exit::with_causes(error), "a sale's counters could not be read");
    Problem::new(
        Kind::UNAVAILABLE,
        "the sale's counters can't be read at the moment; try again",
    )
}

fn shown(sale: &Sale, counts: &SaleCounts) -> Shown {
    let products = sale.products.iter().map(|product| Product {
        product: product.product.clone(),
        name: product.name.clone(),
        unit_price: product.unit_price,
        stock: product.stock,
        available: counts
            .products
            .get(&product.product)
            .map_or(0, |stock| stock.available),
    });
    let campaigns = sale.campaigns.iter().map(|campaign| Campaign {
        campaign: campaign.campaign.clone(),
        name: campaign.name.clone(),
        discount: campaign.discount,
        minimum_price: campaign.minimum_price,
        size: campaign.size,
        available: counts
            .campaigns
            .get(&campaign.campaign)
            .map_or(0, |coupons| coupons.size.saturating_sub(coupons.issued)),
    });
    Shown {
        sale: sale.sale.clone(),
        name: sale.name.clone(),
        currency: sale.currency,
        opens_at: rfc3339(sale.opens_at),
        closes_at: rfc3339(sale.closes_at),
        per_buyer_limit: sale.per_buyer_limit,
        products: products.collect(),
        campaigns: campaigns.collect(),
    }
}
