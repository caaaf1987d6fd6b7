//! `GET /v1/sales/{sale}/ledger`: what was paid, refunded and issued in a sale, whether it adds up, and what waits for an operator.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use workflows::domain::ids::SaleId;
use workflows::domain::money::Currency;
use workflows::ledger::Books;

use super::sale;
use crate::http::Path;
use crate::problem::Problem;
use crate::wiring::Shared;

#[derive(Serialize)]
pub struct Ledger {
    sale: SaleId,
    currency: Currency,
    #[serde(flatten)]
    books: Books,
}

pub async fn show(
    State(services): State<Shared>,
    Path(name): Path,
) -> Result<Json<Ledger>, Problem> {
    let sale = sale(&services, &name).await?;
    let gateway = services.gateway.as_ref();
    let books = Books::read(&services.engine, &services.database, gateway, &sale.sale).await?;
    Ok(Json(Ledger {
        sale: sale.sale.clone(),
        currency: sale.currency,
        books,
    }))
}
