//! `GET /v1/sales`: the sales there are, by name.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use workflows::domain::ids::SaleId;

use super::pages::{self, Paging};
use crate::http::Query;
use crate::problem::Problem;
use crate::sale::SaleHead;
use crate::wiring::Shared;

#[derive(Serialize)]
pub struct List {
    sales: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    head: SaleHead,
    per_buyer_limit: u32,
}

pub async fn list(
    State(services): State<Shared>,
    Query(paging): Query<Paging>,
) -> Result<Json<List>, Problem> {
    let limit = paging.limit()?;
    let after = paging.cursor(|text| SaleId::parse(text).ok())?;
    let names = services.catalogue.sales(after.as_ref(), limit).await?;
    let next_cursor = pages::next(&names, limit, |name| name.as_str().to_owned());
    let mut sales = Vec::with_capacity(names.len());
    for name in names {
        let Some(sale) = services.sale(&name).await? else {
            continue;
        };
        sales.push(Shown {
            head: SaleHead::of(&sale, services.runtime.now()),
            per_buyer_limit: sale.per_buyer_limit,
        });
    }
    Ok(Json(List { sales, next_cursor }))
}
