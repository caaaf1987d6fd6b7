//! `POST /v1/sales/{sale}/products/{product}/recall`: no more goods of it are issued, or they are again. Who has paid and has no goods
//! yet is refunded; what was issued stays.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use workflows::domain::ids::{ProductId, SaleId};

use super::{ProductPath, product, sale};
use crate::http;
use crate::problem::Problem;
use crate::wiring::Shared;

const BYTES_MAX: usize = 4 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    recalled: bool,
}

#[derive(Serialize)]
pub struct Answer {
    sale: SaleId,
    product: ProductId,
    recalled: bool,
}

pub async fn recall(
    State(services): State<Shared>,
    path: ProductPath,
    http::Json(Order { recalled }): http::Json<Order, BYTES_MAX>,
) -> Result<Json<Answer>, Problem> {
    let sale = sale(&services, &path.sale).await?;
    let product = product(&sale, &path.product)?.product.clone();
    let is_there = services
        .catalogue
        .recall(&sale.sale, &product, recalled)
        .await?;
    if !is_there {
        return Err(Problem::not_found("product", &path.product));
    }
    Ok(Json(Answer {
        sale: sale.sale.clone(),
        product,
        recalled,
    }))
}
