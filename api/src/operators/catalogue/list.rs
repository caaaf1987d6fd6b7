//! `GET /v1/sales`: all sales by name, a page at a time.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use workflows::domain::ids::SaleId;

use crate::http::Query;
use crate::operators::pages::page_size;
use crate::problem::Problem;
use crate::sale::SaleHead;
use crate::wiring::Shared;

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub struct Sales {
    sales: Vec<SaleHead>,
    /// The cursor of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<SaleId>,
}

pub async fn list(
    State(services): State<Shared>,
    Query(pages): Query<Pages>,
) -> Result<Json<Sales>, Problem> {
    let limit = page_size(pages.limit.as_deref())?;
    let after = pages.cursor.map(SaleId::parse).transpose();
    let after = after.map_err(|_| Problem::parameter("cursor", "must be a page's next_cursor"))?;
    let names = services.catalogue.sales(after.as_ref(), limit).await?;
    let next_cursor = names
        .last()
        .filter(|_| names.len() >= usize::from(limit))
        .cloned();
    let now = services.runtime.now();
    let mut sales = Vec::with_capacity(names.len());
    for name in &names {
        if let Some(sale) = services.catalogue.sale(name).await? {
            sales.push(SaleHead::of(&sale, now));
        }
    }
    Ok(Json(Sales { sales, next_cursor }))
}
