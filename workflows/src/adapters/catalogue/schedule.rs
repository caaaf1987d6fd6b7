//! Changing a sale's schedule: what may be changed when, and the row that says so.
//!
//! A schedule is changed as of its revision, and each change takes the next one; the same change again is the same change.
//! What has happened stays so: once a sale has opened, only its closing can be moved; once it has closed, nothing can; and a
//! cancelled sale stays cancelled. Stock is never touched.

use engine::Timestamp;
use engine::store::change::ChangeKind;
use engine::store::{Change, Table};
use engine::workflow::Refusal;

use super::rows::Stored;
use crate::domain::sale::Sale;
use crate::domain::seed::{InvalidSeed, check_hours};
use crate::ports::catalogue::{RescheduleError, ScheduleChange};

/// A schedule as it was read: an opening that was recorded meanwhile refuses the change as another revision does.
static SCHEDULES_AS_READ: Table = Table {
    name: "sales",
    key: &["sale", "revision", "opened_us", "closed_us"],
    columns: &["opens_us", "closes_us", "cancelled"],
};

/// The sale with its new schedule; `None` when it has it already, because the change was made before.
pub fn changed(
    stored: &Stored,
    change: &ScheduleChange,
    now: Timestamp,
) -> Result<Option<Sale>, RescheduleError> {
    let sale = &stored.sale;
    if sale.revision != change.revision {
        return if sale.revision == change.revision.saturating_add(1) && is_made(sale, change) {
            Ok(None)
        } else {
            Err(RescheduleError::MovedOn {
                expected: change.revision,
                now: sale.revision,
            })
        };
    }
    check(stored, change, now)?;
    let mut changed = sale.clone();
    changed.revision += 1;
    if change.is_cancelled {
        changed.is_cancelled = true;
    } else {
        (changed.opens_at, changed.closes_at) = (change.opens_at, change.closes_at);
    }
    Ok(Some(changed))
}

fn is_made(sale: &Sale, change: &ScheduleChange) -> bool {
    sale.is_cancelled == change.is_cancelled
        && (change.is_cancelled
            || (sale.opens_at, sale.closes_at) == (change.opens_at, change.closes_at))
}

fn check(stored: &Stored, change: &ScheduleChange, now: Timestamp) -> Result<(), InvalidSeed> {
    let Stored { sale, recorded, .. } = stored;
    let invalid = |field: &str, problem: &str| {
        Err(InvalidSeed {
            field: field.to_owned(),
            problem: problem.to_owned(),
        })
    };
    if sale.is_cancelled {
        return invalid("cancelled", "the sale was cancelled, and stays so");
    }
    if recorded.closed_at.is_some() || now >= sale.closes_at {
        return invalid("closes_at", "the sale has closed, and stays so");
    }
    if change.is_cancelled {
        return Ok(());
    }
    let has_opened = recorded.opened_at.is_some() || now >= sale.opens_at;
    if has_opened && change.opens_at != sale.opens_at {
        return invalid(
            "opens_at",
            "the sale has opened: only its closing can be moved, or it can be cancelled",
        );
    }
    check_hours(change.opens_at, change.closes_at)
}

/// The row of the new schedule, if nobody has changed it since it was read.
pub fn row(stored: &Stored, changed: &Sale) -> Change {
    let recorded = |at: Option<Timestamp>| at.map_or(0, |at| at.0).into();
    Change {
        table: &SCHEDULES_AS_READ,
        key: vec![
            changed.sale.as_str().into(),
            i64::from(stored.sale.revision).into(),
            recorded(stored.recorded.opened_at),
            recorded(stored.recorded.closed_at),
        ],
        kind: ChangeKind::Set(vec![
            ("revision", i64::from(changed.revision).into()),
            ("opens_us", changed.opens_at.0.into()),
            ("closes_us", changed.closes_at.0.into()),
            ("cancelled", i64::from(changed.is_cancelled).into()),
        ]),
        refusal: Refusal::new("moved-on", "The schedule was changed meanwhile."),
    }
}
