//! A sale's schedule, told to a gate that has missed a change of it.

use crate::domain::sale::Sale;
use crate::ports::reservations::{ReservationError, Reservations, SaleCounts, ScheduleRequest};
use crate::reconcile::snapshot::unix_ms;

/// Tells the gate the sale's schedule if it goes by an older one: a change that reached the database and not the gate. Whether
/// it did.
pub(in crate::reconcile) async fn reschedule(
    reservations: &dyn Reservations,
    sale: &Sale,
    counts: &SaleCounts,
) -> Result<bool, ReservationError> {
    if counts.revision >= sale.revision {
        return Ok(false);
    }
    let request = ScheduleRequest {
        sale: sale.sale.clone(),
        revision: sale.revision,
        opens_at_ms: unix_ms(sale.opens_at),
        closes_at_ms: unix_ms(sale.closes_at),
        is_cancelled: sale.is_cancelled,
    };
    match reservations.schedule(&request).await {
        Ok(_) => {
            tracing::info!(sale = %sale.sale, revision = sale.revision, "the gate was told a schedule that it had missed");
            Ok(true)
        }
        // Its gate has been closed meanwhile, and it is loaded with its schedule.
        Err(ReservationError::Unavailable(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
