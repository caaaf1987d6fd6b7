//! `POST /v1/seed`: several sales, in one document, all of them or none.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use workflows::domain::seed::SaleSeed;
use workflows::ports::catalogue::Seeded;

use super::BODY_BYTES_MAX;
use crate::http;
use crate::problem::Problem;
use crate::wiring::Shared;

/// The sales of a seed file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    sales: Vec<SaleSeed>,
}

#[derive(Serialize)]
pub struct SeededAll {
    sales: Vec<SeededSale>,
}

#[derive(Serialize)]
struct SeededSale {
    sale: String,
    result: &'static str,
}

pub async fn seed_all(
    State(services): State<Shared>,
    http::Json(Seed { sales }): http::Json<Seed, BODY_BYTES_MAX>,
) -> Result<Json<SeededAll>, Problem> {
    let seeded = services.seed_all(&sales).await?;
    let results = sales.into_iter().zip(seeded);
    let results = results.map(|(seed, seeded)| SeededSale {
        sale: seed.sale,
        result: match seeded {
            Seeded::Created => "created",
            Seeded::Unchanged => "unchanged",
        },
    });
    Ok(Json(SeededAll {
        sales: results.collect(),
    }))
}
