//! The desk: payments that wait for their buyer, and what the buyer decided. Pure, and replayed like the book.

mod entry;

mod decide;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::faults::Faults;
use super::ledger::{BrokenBook, Register};

pub(super) use decide::Decision;
pub(super) use entry::{DeskEntry, Terms};

/// One reservation as it is now.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    pub terms: Terms,
    request_hash: u64,
    pub outcome: Outcome,
}

/// What the buyer decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Open,
    Authorised {
        authorization: Arc<str>,
        faults: Faults,
    },
    Declined,
}

/// All reservations, with the indexes that their questions need.
#[derive(Debug, Default)]
pub(super) struct Desk {
    entries: u64,
    reservations: Vec<Reservation>,
    by_key: HashMap<Arc<str>, usize>,
    by_id: HashMap<Arc<str>, usize>,
    by_order: HashMap<Arc<str>, usize>,
    by_authorization: HashMap<Arc<str>, usize>,
}

impl Register for Desk {
    type Entry = DeskEntry;

    fn sequence(&self) -> u64 {
        self.entries
    }

    fn sequence_of(entry: &DeskEntry) -> u64 {
        match entry {
            DeskEntry::Reserved { sequence, .. } | DeskEntry::Decided { sequence, .. } => *sequence,
        }
    }

    fn apply(&mut self, entry: DeskEntry) -> Result<usize, BrokenBook> {
        let sequence = Self::sequence_of(&entry);
        let broken = |reason| Err(BrokenBook::new(sequence, reason));
        if sequence != self.entries + 1 {
            return broken("its sequence is not the next one");
        }
        let index = match entry {
            DeskEntry::Reserved {
                terms,
                idempotency_key,
                request_hash,
                ..
            } => {
                if self.by_key.contains_key(&idempotency_key)
                    || self.by_id.contains_key(&terms.reservation_id)
                    || self.by_order.contains_key(&terms.order_id)
                {
                    return broken("its key, reservation or order was used before");
                }
                self.add(terms, idempotency_key, request_hash)
            }
            DeskEntry::Decided {
                reservation_id,
                authorization,
                rule,
                ..
            } => {
                let Some(index) = self.by_id.get(&reservation_id).copied() else {
                    return broken("there is no such reservation");
                };
                if self.reservations[index].outcome != Outcome::Open {
                    return broken("its reservation was decided before");
                }
                let Ok(faults) = Faults::parse(&rule) else {
                    return broken("its rule is unknown");
                };
                self.decide(index, authorization, faults);
                index
            }
        };
        self.entries = sequence;
        Ok(index)
    }
}

impl Desk {
    fn add(&mut self, terms: Terms, key: Arc<str>, request_hash: u64) -> usize {
        let index = self.reservations.len();
        self.by_key.insert(key, index);
        self.by_id.insert(Arc::clone(&terms.reservation_id), index);
        self.by_order.insert(Arc::clone(&terms.order_id), index);
        self.reservations.push(Reservation {
            terms,
            request_hash,
            outcome: Outcome::Open,
        });
        index
    }

    fn decide(&mut self, index: usize, authorization: Option<Arc<str>>, faults: Faults) {
        self.reservations[index].outcome = match authorization {
            None => Outcome::Declined,
            Some(authorization) => {
                self.by_authorization
                    .insert(Arc::clone(&authorization), index);
                Outcome::Authorised {
                    authorization,
                    faults,
                }
            }
        };
    }

    /// The reservation at this index, as `record` gives it.
    pub fn reservation(&self, index: usize) -> Reservation {
        self.reservations[index].clone()
    }

    /// The reservation of this id.
    pub fn by_id(&self, reservation_id: &str) -> Option<Reservation> {
        self.found(self.by_id.get(reservation_id))
    }

    /// The reservation whose buyer was given this authorisation.
    pub fn by_authorization(&self, authorization: &str) -> Option<Reservation> {
        self.found(self.by_authorization.get(authorization))
    }

    /// Whether an order waits, or has waited, for its buyer.
    pub fn is_reserved(&self, order_id: &str) -> bool {
        self.by_order.contains_key(order_id)
    }

    /// Where an order's webhooks go, if not where all others do.
    pub fn webhook_url_of(&self, order_id: &str) -> Option<Arc<str>> {
        let index = *self.by_order.get(order_id)?;
        self.reservations[index].terms.webhook_url.clone()
    }

    fn found(&self, index: Option<&usize>) -> Option<Reservation> {
        index.map(|index| self.reservations[*index].clone())
    }
}

impl Reservation {
    /// Whether the buyer's time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.terms.expires_at
    }
}
