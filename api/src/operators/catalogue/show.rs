//! `GET /v1/sales/{sale}`: a sale as the database has it: its schedule, what was recorded of it, its counters.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use workflows::domain::ids::{CampaignId, ProductId};
use workflows::domain::sale::{Sale, SerialSource};
use workflows::ports::catalogue::StockLeft;

use super::sale;
use crate::clock::rfc3339;
use crate::http::Path;
use crate::problem::Problem;
use crate::sale::{CampaignTerms, SaleHead};
use crate::wiring::Shared;

#[derive(Serialize)]
pub struct Shown {
    #[serde(flatten)]
    head: SaleHead,
    hold_seconds: u64,
    per_buyer_limit: u32,
    /// When its opening saga recorded the opening.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
    /// The workflow that opens and closes it by its present schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<String>,
    products: Vec<Product>,
    campaigns: Vec<Campaign>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the word of the API")]
struct Product {
    product: ProductId,
    name: String,
    unit_price: u64,
    serials: &'static str,
    recalled: bool,
    stock_total: u32,
    stock_held: u64,
    stock_sold: u64,
    stock_left: u64,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the word of the API")]
struct Campaign {
    campaign: CampaignId,
    name: String,
    size: u32,
    #[serde(flatten)]
    terms: CampaignTerms,
}

pub async fn show(
    State(services): State<Shared>,
    Path(name): Path,
) -> Result<Json<Shown>, Problem> {
    let sale = sale(&services, &name).await?;
    let stock = services.catalogue.stock_left(&sale.sale).await?;
    let recorded = services.catalogue.recorded(&sale.sale).await?;
    let opening = services.openings.find(&sale.sale, sale.revision).await?;
    Ok(Json(Shown {
        head: SaleHead::of(&sale, services.runtime.now()),
        hold_seconds: sale.hold_for.as_secs(),
        per_buyer_limit: sale.per_buyer_limit,
        opened_at: recorded.opened_at.map(rfc3339),
        closed_at: recorded.closed_at.map(rfc3339),
        opening: opening.map(|opening| opening.to_string()),
        products: products(&sale, &stock),
        campaigns: campaigns(&sale),
    }))
}

fn products(sale: &Sale, stock: &[StockLeft]) -> Vec<Product> {
    let product = |product: &workflows::domain::sale::Product| {
        let counters = stock.iter().find(|left| left.product == product.product);
        Product {
            product: product.product.clone(),
            name: product.name.clone(),
            unit_price: product.unit_price,
            serials: match product.serials {
                SerialSource::Generated => "generated",
                SerialSource::Pool => "pool",
            },
            recalled: product.is_recalled,
            stock_total: product.stock,
            stock_held: counters.map_or(0, |left| left.held),
            stock_sold: counters.map_or(0, |left| left.sold),
            stock_left: counters.map_or(0, StockLeft::available),
        }
    };
    sale.products.iter().map(product).collect()
}

fn campaigns(sale: &Sale) -> Vec<Campaign> {
    let campaigns = sale.campaigns.iter().map(|campaign| Campaign {
        campaign: campaign.campaign.clone(),
        name: campaign.name.clone(),
        size: campaign.size,
        terms: CampaignTerms::of(campaign),
    });
    campaigns.collect()
}
