//! What the book says: answers as they were given, payments as they are, and the read-out.

use std::sync::Arc;

use super::{Book, Entry, EntryKind, PaymentAccount};
use crate::gateway_simulator::rules::decline_message;
use crate::gateway_simulator::wire::{
    CancelledView, Decline, OrderAccount, PaymentView, Status, Summary, Totals,
};

impl Book {
    /// The number of an entry.
    pub fn sequence_at(&self, entry: usize) -> u64 {
        self.entries[entry].sequence
    }

    /// An approval's answer as it was when it was given: later refunds don't change it.
    pub fn approval(&self, entry: usize) -> PaymentView {
        let entry = &self.entries[entry];
        payment_view(
            entry,
            if entry.kind == EntryKind::Captured {
                entry.amount
            } else {
                0
            },
        )
    }

    /// A cancellation's answer as it was when it was given.
    pub fn cancellation(&self, entry: usize) -> CancelledView {
        let entry = &self.entries[entry];
        let first = match self.by_payment_id.get(&entry.payment_id) {
            Some(payment) => &self.entries[self.payments[*payment].first_entry],
            None => entry,
        };
        CancelledView {
            payment: payment_view(first, entry.rest_amount),
            cancelled_amount: entry.amount,
            rest_amount: entry.rest_amount,
        }
    }

    /// The order that a payment is of.
    pub fn order_of(&self, payment_id: &str) -> Option<Arc<str>> {
        let payment = *self.by_payment_id.get(payment_id)?;
        let first = &self.entries[self.payments[payment].first_entry];
        Some(Arc::clone(&first.order_id))
    }

    /// Every payment of an order as it is now.
    pub fn payments_of(&self, order_id: &str) -> Vec<PaymentView> {
        let Some(order) = self.by_order_id.get(order_id) else {
            return Vec::new();
        };
        let now = |payment: &usize| {
            let PaymentAccount { first_entry, rest } = self.payments[*payment];
            payment_view(&self.entries[first_entry], rest)
        };
        self.orders[*order].payments.iter().map(now).collect()
    }

    /// Up to `limit` entries after the one numbered `cursor`.
    pub fn entries_after(&self, cursor: u64, limit: usize) -> (Vec<Entry>, Option<u64>) {
        page(&self.entries, cursor, limit, Clone::clone)
    }

    /// Up to `limit` orders after the `cursor`-th.
    pub fn orders_after(&self, cursor: u64, limit: usize) -> (Vec<OrderAccount>, Option<u64>) {
        page(&self.orders, cursor, limit, |order| order.account.clone())
    }

    pub fn summary(&self) -> Summary {
        let totals = self
            .totals
            .iter()
            .map(|(currency, (captured, refunded))| Totals {
                currency: Arc::clone(currency),
                captured: *captured,
                refunded: *refunded,
            });
        Summary {
            orders: self.orders.len() as u64,
            captures: self.captures,
            declines: self.declines,
            refunds: self.refunds,
            totals: totals.collect(),
        }
    }
}

/// A payment from its first entry and what remains captured of it.
fn payment_view(first: &Entry, rest: u64) -> PaymentView {
    let decline = first.decline_code.as_deref();
    let status = match (decline, rest) {
        (Some(_), _) => Status::Declined,
        (None, 0) => Status::Cancelled,
        (None, _) => Status::Approved,
    };
    PaymentView {
        payment_id: first.payment_id.to_string(),
        order_id: Arc::clone(&first.order_id),
        status,
        amount: first.amount,
        currency: Arc::clone(&first.currency),
        refunded: if decline.is_some() {
            0
        } else {
            first.amount - rest
        },
        decline: decline.map(|code| Decline {
            code: code.to_owned(),
            message: decline_message(code),
        }),
        at: first.at,
    }
}

/// Items numbered from 1: those after `cursor`, and where the next page starts.
fn page<T, U>(
    items: &[T],
    cursor: u64,
    limit: usize,
    view: impl Fn(&T) -> U,
) -> (Vec<U>, Option<u64>) {
    let from = usize::try_from(cursor)
        .unwrap_or(usize::MAX)
        .min(items.len());
    let to = from.saturating_add(limit).min(items.len());
    let next = (to < items.len()).then_some(to as u64);
    (items[from..to].iter().map(view).collect(), next)
}
