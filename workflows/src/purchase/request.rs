//! What a purchase is started with: computed by [`super::quote()`] from what a buyer asks for, stored with the workflow, and
//! read by every step.

use engine::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::address::Address;
use crate::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};
use crate::domain::money::Money;
use crate::ports::payment_gateway::PaymentToken;

/// A purchase, priced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseRequest {
    /// Who buys.
    pub buyer: BuyerId,
    /// In which sale.
    pub sale: SaleId,
    /// What, in the buyer's order: 1 to [`super::LINES_MAX`] lines of distinct products.
    pub lines: Vec<PricedLine>,
    /// The campaign whose coupon is to be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignId>,
    /// Minor units that the coupon takes off; computed once, here.
    pub discount: u64,
    /// What is to be paid: the lines less the discount.
    pub total: Money,
    /// Where the goods go; absent when nothing is shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// How it is paid.
    pub payment: PaymentMeans,
    /// Until when the units are held for a buyer who has to authorise the payment.
    pub hold_until: Timestamp,
    /// When the request was accepted.
    pub accepted_at: Timestamp,
}

impl PurchaseRequest {
    /// The buyer has to authorise the payment at the gateway: there is something to pay, and no stored means of payment.
    #[must_use]
    pub const fn is_authorised_at_gateway(&self) -> bool {
        matches!(self.payment, PaymentMeans::Redirect) && self.total.amount > 0
    }
}

/// Some units of one product at the sale's price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedLine {
    /// The product.
    pub product: ProductId,
    /// Units, 1 to [`super::QUANTITY_MAX`].
    pub quantity: u32,
    /// Minor units each, before any discount.
    pub unit_price: u64,
}

/// How a purchase is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum PaymentMeans {
    /// By a token that the buyer authorised before.
    Stored {
        /// The token.
        token: PaymentToken,
    },
    /// At the gateway, where the buyer authorises it.
    Redirect,
}
