//! Which rules there are, alone and in pairs, and what it takes for each to act.

use std::collections::{BTreeMap, BTreeSet};

use engine::runtime::{Entropy as _, SeededEntropy};
use loadtest::gateway_simulator::Fault;

/// What the buyers get in the end, if the gateway allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What they paid for.
    Goods,
    /// Their money: there are no serial numbers for it.
    Refund,
}

/// How many orders have shown which faults, as the gateway counts them.
pub type Shown = BTreeMap<String, u64>;

/// The rules for buyers with one end.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the buyers get.
    pub end: End,
    /// Each must act.
    alone: Vec<String>,
    /// Two that may stand in each other's way.
    pairs: Vec<String>,
}

impl Plan {
    /// All rules alone that can act before this end, if they are wanted, and those of these pairs.
    pub fn of(end: End, alone: bool, pairs: &[String]) -> Self {
        let names = Fault::all().iter().map(|(name, _)| name.clone());
        let alone = names.filter(|name| alone && end.can_show(name));
        let pairs = pairs.iter().filter(|pair| end.is_end_of(pair));
        Self {
            end,
            alone: alone.map(|rule| end.brought_about(&rule)).collect(),
            pairs: pairs.map(|rule| end.brought_about(rule)).collect(),
        }
    }

    /// Just these, alone.
    pub fn only(&self, alone: Vec<String>) -> Self {
        Self {
            alone,
            pairs: Vec::new(),
            ..*self
        }
    }

    /// The turns of those who pay at the gateway: there every rule can act, and has to act twice if it can nowhere else.
    pub fn at_the_gateway(&self) -> Vec<String> {
        let (only_here, mut turns): (Vec<_>, Vec<_>) =
            self.rules().partition(|rule| reserves(rule));
        turns.extend([&only_here[..], &only_here[..]].concat());
        turns
    }

    /// The turns of those who pay by a stored means, for which nothing is reserved.
    pub fn stored(&self) -> Vec<String> {
        self.rules().filter(|rule| !reserves(rule)).collect()
    }

    fn rules(&self) -> impl Iterator<Item = String> {
        [&self.alone[..], &self.pairs[..]].concat().into_iter()
    }

    /// The rules that have not acted on so many orders, each with nothing beside it.
    pub fn alone_less_often_than(&self, enough: usize, shown: &Shown) -> Vec<String> {
        let times = |rule: &&String| {
            let same = shown
                .iter()
                .filter(|(faults, _)| parts(faults) == parts(rule));
            same.map(|(_, orders)| *orders).sum::<u64>()
        };
        let is_short = |rule: &&String| times(rule) < enough as u64;
        self.alone.iter().filter(is_short).cloned().collect()
    }

    /// How many pairs have acted, both on one order.
    pub fn pairs_that_acted(&self, shown: &Shown) -> usize {
        let acted = |pair: &&String| {
            shown
                .keys()
                .any(|faults| parts(faults).is_superset(&parts(pair)))
        };
        self.pairs.iter().filter(acted).count()
    }
}

impl End {
    /// Money goes back only where there are no goods; an inquiry is made about a charge and about a refund.
    fn can_show(self, rule: &str) -> bool {
        match self {
            Self::Goods => !rule.contains("cancel-"),
            Self::Refund => rule.contains("cancel-") || rule.contains("inquiry-"),
        }
    }

    fn is_end_of(self, pair: &str) -> bool {
        pair.contains("cancel-") == (self == Self::Refund)
    }

    /// Nobody inquires about what was answered: with an inquiry's rule goes an answer that is lost.
    fn brought_about(self, rule: &str) -> String {
        let lost = match self {
            Self::Goods => "500-after",
            Self::Refund => "cancel-500-after",
        };
        let is_asked = !rule.contains("inquiry-") || parts(rule).contains(lost);
        if is_asked {
            rule.to_owned()
        } else {
            format!("{rule}+{lost}")
        }
    }
}

fn reserves(rule: &str) -> bool {
    rule.contains("reserve-")
}

fn parts(rule: &str) -> BTreeSet<&str> {
    rule.split('+').collect()
}

/// Some of all pairs, as the names of both, and how many there are: `HOLDFAST_RULE_PAIRS`, or so many, chosen by the seed.
pub fn pairs(seed: u64, default: usize) -> (Vec<String>, usize) {
    let names: Vec<&str> = Fault::all().iter().map(|(name, _)| name.as_str()).collect();
    let mut all = Vec::new();
    for (index, one) in names.iter().enumerate() {
        let others = names[index + 1..].iter();
        all.extend(others.map(|other| format!("{one}+{other}")));
    }
    let total = all.len();
    let wanted = std::env::var("HOLDFAST_RULE_PAIRS").unwrap_or_default();
    let wanted = match wanted.as_str() {
        "all" => total,
        number => number.parse().unwrap_or(default).min(total),
    };
    let random = SeededEntropy::new(seed);
    let mut chosen = Vec::new();
    while chosen.len() < wanted.max(1) {
        let place = usize::try_from(random.next_u64()).unwrap_or(usize::MAX) % all.len();
        chosen.push(all.swap_remove(place));
    }
    (chosen, total)
}
