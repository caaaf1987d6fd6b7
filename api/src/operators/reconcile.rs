//! `POST /v1/reconcile`: compares the gate with the database now, and mends it when asked to. `GET /v1/reconcile`: what the last round
//! on this node saw, and what was counted since it started.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use workflows::domain::ids::SaleId;
use workflows::reconcile::difference::{Difference, NotLookedAt, ReconcileReport};
use workflows::reconcile::reconciler::{Order, ReconcileError, Totals};

use crate::clock::rfc3339;
use crate::http;
use crate::problem::{Kind, Problem};
use crate::wiring::Shared;

const BODY_BYTES_MAX: usize = 16 * 1024;
/// A round that takes longer goes on, and is seen by `GET`.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// One sale; all of them otherwise.
    sale: Option<String>,
    /// Whether what differs is to be mended.
    #[serde(default)]
    repair: bool,
}

#[derive(Serialize)]
pub struct Report {
    started_at: String,
    finished_at: String,
    /// Whether what differed was to be mended.
    repair: bool,
    /// Everything was looked at, and nothing is left that differs.
    clean: bool,
    /// What was looked at, each look counted.
    sales: u64,
    operations: u64,
    rows: u64,
    found: u64,
    repaired: u64,
    remaining: u64,
    /// The first of those that were found.
    differences: Vec<Difference>,
    not_looked_at: Vec<NotLookedAt>,
}

impl From<Arc<ReconcileReport>> for Report {
    fn from(report: Arc<ReconcileReport>) -> Self {
        let clean = report.is_clean();
        let ReconcileReport {
            started_at,
            finished_at,
            repair,
            sales,
            operations,
            rows,
            differences,
            found,
            repaired,
            remaining,
            not_looked_at,
        } = Arc::unwrap_or_clone(report);
        Self {
            started_at: rfc3339(started_at),
            finished_at: rfc3339(finished_at),
            repair,
            clean,
            sales,
            operations,
            rows,
            found,
            repaired,
            remaining,
            differences,
            not_looked_at,
        }
    }
}

#[derive(Serialize)]
pub struct Shown {
    /// Absent before the first round, and on nodes that leave the rounds to another.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Report>,
    /// Since the node started.
    totals: Totals,
}

pub async fn show(State(services): State<Shared>) -> Json<Shown> {
    Json(Shown {
        last: services.reconciler.last().map(Report::from),
        totals: services.reconciler.totals(),
    })
}

pub async fn run(
    State(services): State<Shared>,
    http::Json(asked): http::Json<Asked, BODY_BYTES_MAX>,
) -> Result<Json<Report>, Problem> {
    let sale = asked
        .sale
        .map(SaleId::parse)
        .transpose()
        .map_err(|error| Problem::invalid("sale", error))?;
    let order = Order {
        sale,
        repair: asked.repair,
    };
    match services.reconciler.run(order, WAIT_MAX).await {
        Ok(report) => Ok(Json(report.into())),
        Err(ReconcileError::NoSuchSale(sale)) => Err(Problem::not_found("sale", sale.as_str())),
        Err(ReconcileError::Store(error)) => Err(error.into()),
        Err(ReconcileError::NoAnswer) => Err(Problem::new(
            Kind::UNAVAILABLE,
            "the reconciler is busy, or the round takes long and goes on: look at it with GET in a while",
        )),
    }
}
