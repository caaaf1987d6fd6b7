//! Where a sale stands by its schedule and the clock. Whether a purchase is let in is decided by the gate, by the same schedule.

use engine::Timestamp;
use serde::Serialize;
use workflows::domain::sale::Sale;

/// Where a sale stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SalePhase {
    /// It has not opened yet.
    Scheduled,
    /// Units can be held.
    Open,
    /// No more.
    Closed,
    /// It does not open any more.
    Cancelled,
}

impl SalePhase {
    /// Where the sale stands at this instant.
    pub fn of(sale: &Sale, now: Timestamp) -> Self {
        if sale.is_cancelled {
            Self::Cancelled
        } else if now < sale.opens_at {
            Self::Scheduled
        } else if now < sale.closes_at {
            Self::Open
        } else {
            Self::Closed
        }
    }

    /// Such as `open`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Its number in the ids of events.
    pub const fn number(self) -> u8 {
        match self {
            Self::Scheduled => 0,
            Self::Open => 1,
            Self::Closed => 2,
            Self::Cancelled => 3,
        }
    }

    /// The instant at which the sale leaves this phase by its schedule, if it does.
    pub const fn until(self, sale: &Sale) -> Option<Timestamp> {
        match self {
            Self::Scheduled => Some(sale.opens_at),
            Self::Open => Some(sale.closes_at),
            Self::Closed | Self::Cancelled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use workflows::domain::ids::SaleId;
    use workflows::domain::money::Currency;

    use super::*;

    #[test]
    fn a_sale_is_open_from_its_first_instant_until_before_its_last() {
        let mut sale = Sale {
            sale: SaleId::parse("s").unwrap(),
            name: "S".into(),
            currency: Currency::parse("KRW").unwrap(),
            opens_at: Timestamp(100),
            closes_at: Timestamp(200),
            revision: 1,
            is_cancelled: false,
            hold_for: Duration::from_mins(5),
            per_buyer_limit: 1,
            products: Vec::new(),
            campaigns: Vec::new(),
        };
        for (now, phase, until) in [
            (99, SalePhase::Scheduled, Some(100)),
            (100, SalePhase::Open, Some(200)),
            (199, SalePhase::Open, Some(200)),
            (200, SalePhase::Closed, None),
        ] {
            let seen = SalePhase::of(&sale, Timestamp(now));
            assert_eq!((seen, seen.until(&sale)), (phase, until.map(Timestamp)));
        }
        sale.is_cancelled = true;
        assert_eq!(SalePhase::of(&sale, Timestamp(150)), SalePhase::Cancelled);
    }
}
