//! `POST /v1/sales/{sale}/schedule`: other opening hours, or none any more.
//!
//! The database first: from then on the change holds, whatever happens here. Then the gate, which is asked by the keeper again when
//! it can't be reached; until it knows, it goes by the schedule before. Then the opening of the new schedule, and a word to the one
//! of the schedule before.

use axum::Json;
use axum::extract::State;
use engine::Timestamp;
use serde::{Deserialize, Serialize};
use workflows::domain::ids::SaleId;
use workflows::domain::sale::Sale;
use workflows::domain::seed::instant;
use workflows::ports::catalogue::ScheduleChange;
use workflows::ports::reservations::ScheduleRequest;

use super::sale;
use crate::clock::rfc3339;
use crate::exit::with_causes;
use crate::http::{self, Path};
use crate::problem::Problem;
use crate::wiring::{Services, Shared};

const BYTES_MAX: usize = 4 * 1024;

/// What is asked for: hours, or the end of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    revision: u32,
    opens_at: Option<String>,
    closes_at: Option<String>,
    #[serde(default)]
    cancelled: bool,
}

#[derive(Serialize)]
pub struct Changed {
    sale: SaleId,
    revision: u32,
    opens_at: String,
    closes_at: String,
    cancelled: bool,
    /// The gate goes by it already; if not, it will in a moment.
    at_the_gate: bool,
}

pub async fn change(
    State(services): State<Shared>,
    Path(name): Path,
    http::Json(order): http::Json<Order, BYTES_MAX>,
) -> Result<Json<Changed>, Problem> {
    let present = sale(&services, &name).await?;
    let change = order.of(&present)?;
    let changed = services.catalogue.reschedule(&change).await?;
    let at_the_gate = tell_the_gate(&services, &changed).await;
    services.is_changed(&changed).await;
    Ok(Json(Changed {
        sale: changed.sale.clone(),
        revision: changed.revision,
        opens_at: rfc3339(changed.opens_at),
        closes_at: rfc3339(changed.closes_at),
        cancelled: changed.is_cancelled,
        at_the_gate,
    }))
}

impl Order {
    /// The change of this sale: a cancelled one keeps its hours, and what is not named stays.
    fn of(self, sale: &Sale) -> Result<ScheduleChange, Problem> {
        let Self {
            revision,
            opens_at,
            closes_at,
            cancelled,
        } = self;
        if cancelled && (opens_at.is_some() || closes_at.is_some()) {
            return Err(Problem::invalid(
                "cancelled",
                "takes no opens_at and no closes_at: a sale that is cancelled does not open",
            ));
        }
        if !cancelled && opens_at.is_none() && closes_at.is_none() {
            return Err(Problem::invalid(
                "opens_at",
                "or closes_at or cancelled must say what is to change",
            ));
        }
        let or_present = |field, text: Option<String>, present| match text {
            Some(text) => {
                instant(field, &text).map_err(|wrong| Problem::invalid(wrong.field, wrong.problem))
            }
            None => Ok(present),
        };
        Ok(ScheduleChange {
            sale: sale.sale.clone(),
            revision,
            opens_at: or_present("opens_at", opens_at, sale.opens_at)?,
            closes_at: or_present("closes_at", closes_at, sale.closes_at)?,
            is_cancelled: cancelled,
        })
    }
}

async fn tell_the_gate(services: &Services, sale: &Sale) -> bool {
    let unix_ms = |instant: Timestamp| instant.0.div_euclid(1_000);
    let request = ScheduleRequest {
        sale: sale.sale.clone(),
        revision: sale.revision,
        opens_at_ms: unix_ms(sale.opens_at),
        closes_at_ms: unix_ms(sale.closes_at),
        is_cancelled: sale.is_cancelled,
    };
    match services.reservations.schedule(&request).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(sale = %sale.sale, error = %with_causes(&error), "the gate does not know a schedule yet");
            false
        }
    }
}
