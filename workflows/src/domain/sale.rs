//! A sale as buyers see it: what is sold, when, and how much of it one buyer may have. Once it is
//! seeded, only its schedule and its recalls change.

use std::time::Duration;

use engine::Timestamp;

use super::coupon::Campaign;
use super::ids::{CampaignId, ProductId, SaleId};
use super::money::Currency;

/// The largest price of a unit and of a purchase, in minor units: what every JSON reader reads exactly (RFC 8259, section 6),
/// every database stores as a signed 64-bit number, and a gateway still charges.
pub const AMOUNT_MAX: u64 = 1_000_000_000_000;

/// A sale: one limited drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Its name in URLs and keys.
    pub sale: SaleId,
    /// Its name for people.
    pub name: String,
    /// What its prices are in.
    pub currency: Currency,
    /// From this instant on units can be held.
    pub opens_at: Timestamp,
    /// From this instant on no more.
    pub closes_at: Timestamp,
    /// The number of its schedule, from 1: each change of `opens_at`, `closes_at` or `is_cancelled` takes the next one.
    pub revision: u32,
    /// It does not open any more: nothing can be held, what is held goes on.
    pub is_cancelled: bool,
    /// How long units are held for a buyer who has to authorise the payment.
    pub hold_for: Duration,
    /// Units that one buyer may hold and have bought together.
    pub per_buyer_limit: u32,
    /// What is sold, ordered by [`Product::product`].
    pub products: Vec<Product>,
    /// Its coupon campaigns, ordered by [`Campaign::campaign`].
    pub campaigns: Vec<Campaign>,
}

/// A product of a sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its name in URLs and keys.
    pub product: ProductId,
    /// Its name for people.
    pub name: String,
    /// Minor units of the sale's currency.
    pub unit_price: u64,
    /// Units that the sale started with.
    pub stock: u32,
    /// Where its goods get their serial numbers from.
    pub serials: SerialSource,
    /// No more goods of it are issued: what is paid for is refunded.
    pub is_recalled: bool,
}

/// Where the serial numbers of a product's goods come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerialSource {
    /// Computed from the purchase.
    Generated,
    /// Taken from a pool that an operator filled: each once, in no particular order.
    Pool,
}

impl Sale {
    /// The product of this name.
    #[must_use]
    pub fn product(&self, product: &ProductId) -> Option<&Product> {
        let found = self
            .products
            .binary_search_by(|candidate| candidate.product.cmp(product));
        found.ok().map(|index| &self.products[index])
    }

    /// The campaign of this name.
    #[must_use]
    pub fn campaign(&self, campaign: &CampaignId) -> Option<&Campaign> {
        let found = self
            .campaigns
            .binary_search_by(|candidate| candidate.campaign.cmp(campaign));
        found.ok().map(|index| &self.campaigns[index])
    }

    /// Units of all products that the sale started with.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.products
            .iter()
            .map(|product| u64::from(product.stock))
            .sum()
    }
}
