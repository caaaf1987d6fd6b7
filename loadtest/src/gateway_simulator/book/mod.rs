//! The ledger's content: one list of entries, and what follows from it. Pure: the same entries make the same book.

mod entry;

mod decide;
mod read;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ledger::{BrokenBook, Register};
use super::wire::{AMOUNT_MAX, OrderAccount};

pub use entry::{Entry, EntryKind};

#[derive(Debug)]
struct PaymentAccount {
    first_entry: usize,
    rest: u64,
}

#[derive(Debug)]
struct Order {
    account: OrderAccount,
    payments: Vec<usize>,
}

/// The ledger in memory, with the indexes that its questions need.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: Vec<Entry>,
    by_key: HashMap<Arc<str>, usize>,
    payments: Vec<PaymentAccount>,
    by_payment_id: HashMap<Arc<str>, usize>,
    orders: Vec<Order>,
    by_order_id: HashMap<Arc<str>, usize>,
    totals: BTreeMap<Arc<str>, (u64, u64)>,
    captures: u64,
    declines: u64,
    refunds: u64,
}

impl Register for Book {
    type Entry = Entry;

    fn sequence(&self) -> u64 {
        self.entries.len() as u64
    }

    fn sequence_of(entry: &Entry) -> u64 {
        entry.sequence
    }

    fn apply(&mut self, entry: Entry) -> Result<usize, BrokenBook> {
        self.check(&entry)?;
        match entry.kind {
            EntryKind::Captured | EntryKind::Declined => self.add_payment(&entry),
            EntryKind::Refunded => self.add_refund(&entry),
        }
        let index = self.entries.len();
        self.by_key
            .insert(Arc::clone(&entry.idempotency_key), index);
        self.entries.push(entry);
        Ok(index)
    }
}

impl Book {
    fn check(&self, entry: &Entry) -> Result<(), BrokenBook> {
        let broken = |reason| Err(BrokenBook::new(entry.sequence, reason));
        if entry.sequence != self.sequence() + 1 {
            return broken("its sequence is not the next one");
        }
        if self.by_key.contains_key(&entry.idempotency_key) {
            return broken("its key was used before");
        }
        if !(1..=AMOUNT_MAX).contains(&entry.amount) {
            return broken("its amount is out of range");
        }
        let payment = self
            .by_payment_id
            .get(&entry.payment_id)
            .map(|payment| &self.payments[*payment]);
        match (entry.kind, payment) {
            (EntryKind::Refunded, Some(payment)) if self.is_refund_of(payment, entry) => Ok(()),
            (EntryKind::Refunded, _) => broken("it gives back what was not captured"),
            (EntryKind::Captured | EntryKind::Declined, Some(_)) => {
                broken("its payment exists already")
            }
            (EntryKind::Captured, None) if self.is_captured(&entry.order_id) => {
                broken("its order was captured already")
            }
            (EntryKind::Captured, None) if entry.rest_amount != entry.amount => {
                broken("it captured less than it says")
            }
            (EntryKind::Captured | EntryKind::Declined, None) => Ok(()),
        }
    }

    fn is_refund_of(&self, payment: &PaymentAccount, entry: &Entry) -> bool {
        let first = &self.entries[payment.first_entry];
        (&first.order_id, &first.currency) == (&entry.order_id, &entry.currency)
            && payment.rest.checked_sub(entry.amount) == Some(entry.rest_amount)
    }

    /// Whether an order was ever captured.
    pub fn is_captured(&self, order_id: &str) -> bool {
        self.by_order_id
            .get(order_id)
            .is_some_and(|order| self.orders[*order].account.captured > 0)
    }

    fn add_payment(&mut self, entry: &Entry) {
        let (payments, orders) = (self.payments.len(), &mut self.orders);
        let order = *self
            .by_order_id
            .entry(Arc::clone(&entry.order_id))
            .or_insert_with(|| {
                orders.push(Order {
                    account: OrderAccount::opened_by(entry),
                    payments: Vec::new(),
                });
                orders.len() - 1
            });
        let order = &mut orders[order];
        order.account.payments += 1;
        order.payments.push(payments);
        self.by_payment_id
            .insert(Arc::clone(&entry.payment_id), payments);
        self.payments.push(PaymentAccount {
            first_entry: self.entries.len(),
            rest: entry.rest_amount,
        });
        let totals = self.totals.entry(Arc::clone(&entry.currency)).or_default();
        if entry.kind == EntryKind::Captured {
            order.account.captured += entry.amount;
            totals.0 += entry.amount;
            self.captures += 1;
        } else {
            self.declines += 1;
        }
    }

    fn add_refund(&mut self, entry: &Entry) {
        let payment = self
            .by_payment_id
            .get(&entry.payment_id)
            .map(|payment| &mut self.payments[*payment]);
        let order = self
            .by_order_id
            .get(&entry.order_id)
            .map(|order| &mut self.orders[*order]);
        if let (Some(payment), Some(order)) = (payment, order) {
            payment.rest = entry.rest_amount;
            order.account.refunded += entry.amount;
            self.totals
                .entry(Arc::clone(&entry.currency))
                .or_default()
                .1 += entry.amount;
            self.refunds += 1;
        }
    }
}

impl OrderAccount {
    fn opened_by(entry: &Entry) -> Self {
        let (order_id, currency) = (Arc::clone(&entry.order_id), Arc::clone(&entry.currency));
        Self {
            order_id,
            currency,
            captured: 0,
            refunded: 0,
            payments: 0,
        }
    }
}
