//! `/v1/sales/{sale}/products/{product}/serials`: a product's pool of serial numbers, how full it is, and filling it.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use workflows::domain::ids::{ProductId, SaleId};
use workflows::domain::sale::SerialSource;

use super::{BODY_BYTES_MAX, ProductPath, product, sale};
use crate::http;
use crate::problem::{Kind, Problem};
use crate::wiring::{Services, Shared};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    serials: Vec<String>,
}

#[derive(Serialize)]
pub struct Level {
    sale: SaleId,
    product: ProductId,
    /// Numbers that this request put in.
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<u64>,
    filled: u64,
    taken: u64,
    left: u64,
}

pub async fn level(
    State(services): State<Shared>,
    path: ProductPath,
) -> Result<Json<Level>, Problem> {
    let (sale, product) = pool(&services, &path).await?;
    shown(&services, sale, product, None).await
}

pub async fn fill(
    State(services): State<Shared>,
    path: ProductPath,
    http::Json(Order { serials }): http::Json<Order, BODY_BYTES_MAX>,
) -> Result<Json<Level>, Problem> {
    let (sale, product) = pool(&services, &path).await?;
    let added = services.serials.fill(&sale, &product, &serials).await?;
    shown(&services, sale, product, Some(added)).await
}

/// The product's names, if its numbers come from a pool.
async fn pool(services: &Services, path: &ProductPath) -> Result<(SaleId, ProductId), Problem> {
    let sale = sale(services, &path.sale).await?;
    let product = product(&sale, &path.product)?;
    match product.serials {
        SerialSource::Pool => Ok((sale.sale.clone(), product.product.clone())),
        SerialSource::Generated => Err(Problem::new(
            Kind::CONFLICT,
            format!(
                "the serial numbers of product {} are generated: it has no pool",
                product.product
            ),
        )),
    }
}

async fn shown(
    services: &Services,
    sale: SaleId,
    product: ProductId,
    added: Option<u64>,
) -> Result<Json<Level>, Problem> {
    let level = services.serials.level(&sale, &product).await?;
    Ok(Json(Level {
        sale,
        product,
        added,
        filled: level.filled,
        taken: level.taken,
        left: level.filled.saturating_sub(level.taken),
    }))
}
