//! What is to go wrong with which order, and what has: the faults that came with its requests, how often its calls have gone wrong,
//! and which of its faults somebody could see.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::faults::{Faults, Operation, Trouble};
use super::rules::Rules;

/// Orders whose faults are remembered and counted; those beyond show none but by chance, and no transient ones.
const FAULTY_ORDERS_MAX: usize = 100_000;

/// All orders with which something is to go wrong.
#[derive(Default)]
pub(super) struct Marks(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    orders: HashMap<String, Marked>,
    /// Reservations that have had their turn since the rules were set.
    turns: usize,
}

/// One of them.
#[derive(Default)]
struct Marked {
    by_rule: Faults,
    by_token: Faults,
    troubles: [u32; 4],
    shown: Faults,
}

/// The faults that come with a request.
#[derive(Clone, Copy)]
pub(super) enum Given {
    /// None.
    Nothing,
    /// By the reservation's field `rule`: for this order from now on, and with it those of its turn.
    Reservation(Faults),
    /// By the field `rule` of the buyer's decision: for this order from now on.
    Rule(Faults),
    /// By what it is paid with: until it is to be paid with something else.
    Token(Faults),
}

impl Marked {
    fn take(&mut self, given: Given) -> Faults {
        match given {
            Given::Nothing => {}
            Given::Reservation(faults) | Given::Rule(faults) => {
                self.by_rule = self.by_rule | faults;
            }
            Given::Token(faults) => self.by_token = faults,
        }
        self.by_rule | self.by_token
    }
}

impl Inner {
    /// The order's mark; `None` when there is none and no room for one.
    fn mark(&mut self, order_id: &str) -> Option<&mut Marked> {
        if self.orders.len() >= FAULTY_ORDERS_MAX && !self.orders.contains_key(order_id) {
            return None;
        }
        Some(self.orders.entry(order_id.to_owned()).or_default())
    }
}

impl Marks {
    /// The faults of an order: those of a rule, those of the last token it was to be paid by, and those by chance.
    pub fn faults_of(&self, order_id: &str, given: Given, rules: &Rules) -> Faults {
        rules.faults_by_chance(order_id) | self.remembered(order_id, given, rules)
    }

    fn remembered(&self, order_id: &str, given: Given, rules: &Rules) -> Faults {
        let mut inner = self.inner();
        if let Some(known) = inner.orders.get_mut(order_id) {
            return known.take(given);
        }
        let (faults, has_turn) = match given {
            Given::Nothing => return Faults::default(),
            Given::Rule(faults) | Given::Token(faults) => (faults, false),
            Given::Reservation(faults) => match rules.faults_in_turn(inner.turns) {
                Some(turn) => (faults | turn, true),
                None => (faults, false),
            },
        };
        // Who has had a turn is remembered also when nothing is to go wrong: a repeat takes no other.
        if (has_turn || !faults.is_empty())
            && let Some(marked) = inner.mark(order_id)
        {
            match given {
                Given::Token(_) => marked.by_token = faults,
                _ => marked.by_rule = faults,
            }
            inner.turns += usize::from(has_turn);
        }
        faults
    }

    /// The next reservation takes the first turn.
    pub fn begin_turns(&self) {
        self.inner().turns = 0;
    }

    /// The trouble that this request meets; a transient one is used up by that.
    pub fn trouble(
        &self,
        operation: Operation,
        order_id: &str,
        faults: Faults,
        rules: &Rules,
    ) -> Option<Trouble> {
        if faults.is_empty() || rules.faulty_attempts == 0 {
            return None;
        }
        let mut transient = faults
            .troubles(operation)
            .filter(|trouble| trouble.is_transient())
            .peekable();
        transient.peek()?;
        let mut inner = self.inner();
        let met = &mut inner.mark(order_id)?.troubles[operation.number()];
        let trouble = transient.nth((*met / rules.faulty_attempts) as usize)?;
        *met = met.saturating_add(1);
        Some(trouble)
    }

    /// These faults of the order have acted.
    pub fn shows(&self, order_id: &str, faults: Faults) {
        if !faults.is_empty()
            && let Some(marked) = self.inner().mark(order_id)
        {
            marked.shown = marked.shown | faults;
        }
    }

    /// How many orders have shown which faults.
    pub fn shown(&self) -> BTreeMap<String, u64> {
        let mut by_faults: HashMap<Faults, u64> = HashMap::new();
        for marked in self.inner().orders.values() {
            if !marked.shown.is_empty() {
                *by_faults.entry(marked.shown).or_default() += 1;
            }
        }
        let named = by_faults.into_iter();
        named
            .map(|(faults, orders)| (faults.to_string(), orders))
            .collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
