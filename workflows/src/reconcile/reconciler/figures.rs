//! What of a look's figures is a difference: the schedule, and the counters of products and campaigns. Pure, as the comparison of
//! operations is.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::finding::Finding;
use super::look::Look;
use crate::domain::coupon::Campaign;
use crate::domain::ids::{BuyerId, CampaignId, ProductId};
use crate::ports::reservations::{CampaignCounts, Line, OperationState, StockCounts};
use crate::reconcile::difference::{Kind, Repair};

/// The figures of a look that contradict each other, the sale or the database. `on_the_way`: units of holds that the database
/// does not have, or not yet.
pub(super) fn findings(look: &Look, on_the_way: &BTreeMap<&ProductId, u64>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = schedule(look).into_iter().collect();
    let held = held(look);
    for stored in &look.there.products {
        let product = &stored.product;
        let Some(counts) = look.after.products.get(product).copied() else {
            let total = format!("{} units", stored.total);
            findings.push(wrong_counters(product.as_str()).says("no such product", total));
            continue;
        };
        let is_still = look.before.products.get(product) == Some(&counts);
        let stock = Stock {
            product,
            counts,
            total: u64::from(stored.total),
            sold: u64::from(stored.sold),
            held: held.get(product).copied().unwrap_or(0),
            on_the_way: on_the_way.get(product).copied().unwrap_or(0),
        };
        findings.extend(stock.finding(is_still));
    }
    let claimed = claimed(look);
    for campaign in &look.sale.campaigns {
        let name = &campaign.campaign;
        let counts = look.after.campaigns.get(name);
        let is_still = look.before.campaigns.get(name) == counts;
        let has = claimed.get(name).map_or(0, |buyers| buyers.len() as u64);
        findings.extend(coupons(campaign, counts, is_still.then_some(has)));
    }
    findings
}

fn schedule(look: &Look) -> Option<Finding> {
    let (gate, database) = (look.after.revision, look.sale.revision);
    (gate < database).then(|| {
        Finding::about(Kind::ScheduleBehind, "schedule", Repair::Schedule)
            .says(format!("schedule {gate}"), format!("schedule {database}"))
    })
}

/// The units of each product that the gate's holds have.
fn held(look: &Look) -> HashMap<&ProductId, u64> {
    let mut held: HashMap<&ProductId, u64> = HashMap::new();
    for stored in look.gate.values() {
        if let OperationState::Holds { lines, .. } = &stored.what {
            for Line { product, quantity } in lines.as_slice() {
                *held.entry(product).or_default() += u64::from(*quantity);
            }
        }
    }
    held
}

/// The buyers that have a coupon of each campaign in the gate.
fn claimed(look: &Look) -> HashMap<&CampaignId, HashSet<&BuyerId>> {
    let mut claimed: HashMap<&CampaignId, HashSet<&BuyerId>> = HashMap::new();
    for stored in look.gate.values() {
        if let OperationState::Coupon {
            campaign, buyer, ..
        } = &stored.what
        {
            claimed.entry(campaign).or_default().insert(buyer);
        }
    }
    claimed
}

/// What is known of one product's units.
struct Stock<'a> {
    product: &'a ProductId,
    /// The gate's counters.
    counts: StockCounts,
    /// Units in all, by the database.
    total: u64,
    /// Units with goods, by the database.
    sold: u64,
    /// Units in the gate's holds.
    held: u64,
    /// Units in holds that the database does not have.
    on_the_way: u64,
}

impl Stock<'_> {
    /// `is_still`: the counters were the same before the holds were read as after it. Else they say nothing about those.
    fn finding(&self, is_still: bool) -> Option<Finding> {
        let compared = || is_still.then(|| self.holds_differ().or_else(|| self.sold_differs()))?;
        self.does_not_add_up().or_else(compared)
    }

    /// The three counters are read at one moment, so they add up at any moment.
    fn does_not_add_up(&self) -> Option<Finding> {
        let StockCounts {
            available,
            held,
            sold,
        } = self.counts;
        let sum = available
            .checked_add(held)
            .and_then(|sum| sum.checked_add(sold));
        (sum != Some(self.total)).then(|| {
            let gate = format!("{available} available + {held} held + {sold} sold");
            wrong_counters(self.product.as_str()).says(gate, format!("{} in all", self.total))
        })
    }

    fn holds_differ(&self) -> Option<Finding> {
        let StockCounts { held, sold, .. } = self.counts;
        (held != self.held).then(|| {
            let gate = format!("{held} held, {} units in its holds", self.held);
            let figures = format!("{gate}, {sold} sold");
            let database = "each unit that is held is held by an operation";
            wrong_counters(self.product.as_str())
                .says(gate, database)
                .while_figures_are(&figures)
        })
    }

    /// Goods that were issued, and that the gate was not told of yet, are among what is on its way.
    fn sold_differs(&self) -> Option<Finding> {
        let (counts, sold, on_the_way) = (self.counts, self.sold, self.on_the_way);
        let kind = if counts.sold > sold {
            Kind::SoldExtra
        } else if counts.sold + on_the_way < sold {
            Kind::SoldMissing
        } else {
            return None;
        };
        let figures = format!("{counts:?} {sold} {on_the_way}");
        let finding = Finding::about(kind, self.product.as_str(), Repair::Rebuild)
            .says(format!("{} sold", counts.sold), format!("{sold} sold"));
        Some(finding.while_figures_are(&figures))
    }
}

/// `has`: so many buyers have a coupon in the gate, where that can be compared with its counters.
fn coupons(
    campaign: &Campaign,
    counts: Option<&CampaignCounts>,
    has: Option<u64>,
) -> Option<Finding> {
    let size = u64::from(campaign.size);
    let wrong = || wrong_counters(campaign.campaign.as_str());
    let database = format!("{size} coupons");
    let Some(counts) = counts else {
        return Some(wrong().says("no such campaign", database));
    };
    if counts.size != size || counts.issued > size {
        let gate = format!("{} issued of {}", counts.issued, counts.size);
        return Some(wrong().says(gate, database));
    }
    let has = has.filter(|has| *has != counts.issued)?;
    let gate = format!("{} issued, {has} buyers with one", counts.issued);
    Some(
        wrong()
            .says(gate.clone(), database)
            .while_figures_are(&gate),
    )
}

fn wrong_counters(item: &str) -> Finding {
    Finding::about(Kind::CountersDoNotAddUp, item, Repair::Rebuild)
}
