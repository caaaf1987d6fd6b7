//! What there is to tell about a sale now, rendered once for all who listen.

use std::collections::BTreeMap;

use axum::body::Bytes;
use engine::Timestamp;
use serde::Serialize;
use workflows::domain::ids::{ProductId, SaleId};
use workflows::domain::sale::Sale;

use crate::clock::rfc3339;
use crate::sale::SalePhase;

/// The id of an `event: sale`, by which a client that comes back says what it knows: `<revision>-<phase>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    revision: u32,
    phase: u8,
}

impl EventId {
    /// The id of the event that tells of this phase of the sale.
    pub const fn of(sale: &Sale, phase: SalePhase) -> Self {
        Self {
            revision: sale.revision,
            phase: phase.number(),
        }
    }

    /// The id that this text stands for; anything else is as good as none.
    pub fn parse(text: &str) -> Option<Self> {
        let (revision, phase) = text.split_once('-')?;
        Some(Self {
            revision: revision.parse().ok()?,
            phase: phase.parse().ok()?,
        })
    }
}

/// Everything that a new listener is told, and what the others are told of it that they do not know.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Names the sale's phase.
    pub id: EventId,
    /// The sale's phase, as an event.
    pub sale: Bytes,
    /// What is left, as an event, once it is known.
    pub stock: Option<Stock>,
}

/// What is left.
#[derive(Clone, Debug)]
pub struct Stock {
    /// Another number for other content.
    pub version: u64,
    /// As an event.
    pub event: Bytes,
}

#[derive(Serialize)]
struct SaleNews<'a> {
    sale: &'a SaleId,
    revision: u32,
    state: SalePhase,
    opens_at: String,
    closes_at: String,
    at: String,
}

/// The phase of the sale, as an event.
pub fn sale_event(sale: &Sale, phase: SalePhase, now: Timestamp) -> Bytes {
    let EventId {
        revision,
        phase: number,
    } = EventId::of(sale, phase);
    let news = SaleNews {
        sale: &sale.sale,
        revision,
        state: phase,
        opens_at: rfc3339(sale.opens_at),
        closes_at: rfc3339(sale.closes_at),
        at: rfc3339(now),
    };
    event("sale", Some(&format!("{revision}-{number}")), &news)
}

#[derive(Serialize)]
struct StockNews<'a> {
    products: Vec<ProductNews<'a>>,
}

#[derive(Serialize)]
struct ProductNews<'a> {
    product: &'a ProductId,
    stock_left: u64,
}

/// What is left of each product, as an event.
pub fn stock_event(left: &BTreeMap<ProductId, u64>) -> Bytes {
    let products = left.iter().map(|(product, stock_left)| ProductNews {
        product,
        stock_left: *stock_left,
    });
    let products = products.collect();
    event("stock", None, &StockNews { products })
}

/// One event. JSON has no line breaks, so that its data is one line.
fn event(name: &str, id: Option<&str>, data: &impl Serialize) -> Bytes {
    // Slugs, numbers and instants always serialise.
    let data = serde_json::to_string(data).unwrap_or_default();
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("event: {name}\n{id}data: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_revision_and_a_phase_and_nothing_else_is_one() {
        let id = EventId {
            revision: 12,
            phase: 1,
        };
        assert_eq!(EventId::parse("12-1"), Some(id));
        for wrong in ["", "-", "12", "12-", "-1", "12-1-1", "a-b", "12-256"] {
            assert_eq!(EventId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_event_has_its_lines() {
        let left = BTreeMap::from([(ProductId::parse("mug").unwrap(), 7)]);
        let text = String::from_utf8(stock_event(&left).to_vec()).unwrap();
        assert_eq!(
            text,
            "event: stock\ndata: {\"products\":[{\"product\":\"mug\",\"stock_left\":7}]}\n\n"
        );
    }
}
