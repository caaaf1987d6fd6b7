//! `GET /v1/me/purchases`: what a buyer has bought, newest first.

use axum::Json;
use axum::extract::State;
use engine::{Timestamp, WorkflowId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use workflows::domain::ids::BuyerId;
use workflows::ports::catalogue::PurchaseCursor;

use super::pages::{self, Paging};
use super::shown::{Purchase, purchase_of};
use crate::auth::Buyer;
use crate::http::Query;
use crate::problem::Problem;
use crate::wiring::{Services, Shared};

/// Purchases that are read at the same time.
const AT_ONCE: usize = 8;

#[derive(Serialize)]
pub struct List {
    purchases: Vec<Purchase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub async fn list(
    State(services): State<Shared>,
    Buyer(buyer): Buyer,
    Query(paging): Query<Paging>,
) -> Result<Json<List>, Problem> {
    let limit = paging.limit()?;
    let after = paging.cursor(parse)?;
    let rows = services
        .catalogue
        .purchases_of(&buyer, after, limit)
        .await?;
    let next_cursor = pages::next(&rows, limit, |row| text(*row));
    Ok(Json(List {
        purchases: read(&services, &buyer, rows).await?,
        next_cursor,
    }))
}

/// The buyer's newest purchases, at most `limit` (1 to 500).
pub async fn newest(
    services: &Services,
    buyer: &BuyerId,
    limit: u16,
) -> Result<Vec<Purchase>, Problem> {
    let rows = services.catalogue.purchases_of(buyer, None, limit).await?;
    read(services, buyer, rows).await
}

async fn read(
    services: &Services,
    buyer: &BuyerId,
    rows: Vec<PurchaseCursor>,
) -> Result<Vec<Purchase>, Problem> {
    let read = stream::iter(rows).map(|row| async move {
        let view = services.engine.view(row.workflow).await?;
        // What was removed for its age is listed no more.
        match view {
            Some(view) => purchase_of(buyer, &view),
            None => Ok(None),
        }
    });
    let purchases: Vec<Option<Purchase>> = read.buffered(AT_ONCE).try_collect().await?;
    Ok(purchases.into_iter().flatten().collect())
}

/// Opaque to those who hand it back.
fn text(cursor: PurchaseCursor) -> String {
    format!("{}.{}", cursor.created_at.0, cursor.workflow)
}

fn parse(text: &str) -> Option<PurchaseCursor> {
    let (created_us, workflow) = text.split_once('.')?;
    Some(PurchaseCursor {
        created_at: Timestamp(created_us.parse().ok()?),
        workflow: WorkflowId::parse(workflow)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_nothing_else_is_one() {
        let there = PurchaseCursor {
            created_at: Timestamp(1_700_000_000_000_000),
            workflow: WorkflowId::from_bytes([7; 16]),
        };
        assert_eq!(parse(&text(there)), Some(there));
        for wrong in ["", ".", "1", "1.", "x.y", "99999999999999999999.0"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
