//! From what a buyer asks for to what it costs. Prices and discounts come from the sale, never from the request.

use engine::Timestamp;
use serde::Deserialize;
use serde_json::Number;

use super::request::{PaymentMeans, PricedLine, PurchaseRequest};
use crate::domain::address::{AddressForm, InvalidAddress};
use crate::domain::coupon::Campaign;
use crate::domain::ids::{BadSlug, BuyerId, CampaignId, ProductId};
use crate::domain::money::Money;
use crate::domain::sale::{AMOUNT_MAX, Product, Sale};

/// Lines of one purchase.
pub const LINES_MAX: usize = 10;
/// Units of one line.
pub const QUANTITY_MAX: u32 = 100;

/// What a buyer asks for.
#[derive(Clone, Debug)]
pub struct Order {
    /// Who asks.
    pub buyer: BuyerId,
    /// For what.
    pub lines: Vec<OrderLine>,
    /// The name of the campaign whose coupon is to be used.
    pub campaign: Option<String>,
    /// Where the goods are to go.
    pub address: Option<AddressForm>,
    /// How it is to be paid.
    pub payment: PaymentMeans,
    /// The present instant.
    pub accepted_at: Timestamp,
}

/// A line as the buyer writes it. Name and number are not checked yet, so that [`quote`] says what is wrong with them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderLine {
    /// The product's name.
    pub product: String,
    /// Units.
    pub quantity: Number,
}

/// Why there is no price. [`QuoteError::field`] names the field of the request that is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// No line, or too many.
    #[error("a purchase has 1 to {LINES_MAX} lines; got {count}")]
    LineCount {
        /// How many there were.
        count: usize,
    },
    /// Not the name of any product.
    #[error("a product's name {problem}")]
    BadProduct {
        /// Which line, from 0.
        line: usize,
        /// What is wrong with it.
        problem: BadSlug,
    },
    /// A name, but not of a product of this sale.
    #[error("the sale has no product `{product}`")]
    UnknownProduct {
        /// Which line, from 0.
        line: usize,
        /// The name.
        product: ProductId,
    },
    /// The product is in an earlier line already.
    #[error("product `{product}` is named by two lines; add up their quantities")]
    Twice {
        /// Which line, from 0.
        line: usize,
        /// The name.
        product: ProductId,
    },
    /// Zero, negative, too many, or not a whole number.
    #[error("a quantity is a whole number from 1 to {QUANTITY_MAX}; got {got}")]
    Quantity {
        /// Which line, from 0.
        line: usize,
        /// The number as it was written.
        got: String,
    },
    /// More than can be charged.
    #[error("the purchase costs more than {AMOUNT_MAX} minor units")]
    TooExpensive {
        /// The line at which it got too much, from 0.
        line: usize,
    },
    /// Not a campaign of this sale.
    #[error("the sale has no campaign of that name")]
    UnknownCampaign,
    /// The coupon wants a larger purchase.
    #[error(
        "a coupon of campaign `{campaign}` is for purchases from {minimum_price} minor units; this one costs {price}"
    )]
    BelowMinimumPrice {
        /// The campaign.
        campaign: CampaignId,
        /// The least price, in minor units.
        minimum_price: u64,
        /// What the lines cost, in minor units.
        price: u64,
    },
    /// A field of the address is wrong.
    #[error("{}", .0.problem)]
    BadAddress(InvalidAddress),
}

impl QuoteError {
    /// The field of the request that is at fault, such as `lines[2].quantity`.
    #[must_use]
    pub fn field(&self) -> String {
        match self {
            Self::LineCount { .. } => "lines".to_owned(),
            Self::BadProduct { line, .. }
            | Self::UnknownProduct { line, .. }
            | Self::Twice { line, .. } => {
                format!("lines[{line}].product")
            }
            Self::Quantity { line, .. } | Self::TooExpensive { line } => {
                format!("lines[{line}].quantity")
            }
            Self::UnknownCampaign | Self::BelowMinimumPrice { .. } => "campaign".to_owned(),
            Self::BadAddress(invalid) => invalid.field.to_owned(),
        }
    }

    /// A stable word for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LineCount { .. } => "line-count",
            Self::BadProduct { .. } => "bad-product",
            Self::UnknownProduct { .. } => "unknown-product",
            Self::Twice { .. } => "product-twice",
            Self::Quantity { .. } => "bad-quantity",
            Self::TooExpensive { .. } => "too-expensive",
            Self::UnknownCampaign => "unknown-campaign",
            Self::BelowMinimumPrice { .. } => "below-minimum-price",
            Self::BadAddress(_) => "bad-address",
        }
    }
}

/// The purchase that `order` asks for, priced by `sale`. Whether the sale is open, and the coupon valid, is for the gate to say, by
/// its own clock.
pub fn quote(sale: &Sale, order: Order) -> Result<PurchaseRequest, QuoteError> {
    let lines = priced_lines(sale, &order.lines)?;
    let price = price_of(&lines)?;
    let campaign = order
        .campaign
        .map(|name| campaign_of(sale, name))
        .transpose()?;
    let discount = campaign
        .map(|campaign| discount_of(campaign, price))
        .transpose()?
        .unwrap_or(0);
    let address = order.address.as_ref().map(AddressForm::check).transpose();
    Ok(PurchaseRequest {
        buyer: order.buyer,
        sale: sale.sale.clone(),
        lines,
        campaign: campaign.map(|campaign| campaign.campaign.clone()),
        discount,
        total: Money::new(price - discount, sale.currency),
        address: address.map_err(QuoteError::BadAddress)?,
        payment: order.payment,
        hold_until: order.accepted_at.after(sale.hold_for),
        accepted_at: order.accepted_at,
    })
}

fn priced_lines(sale: &Sale, asked: &[OrderLine]) -> Result<Vec<PricedLine>, QuoteError> {
    if !(1..=LINES_MAX).contains(&asked.len()) {
        return Err(QuoteError::LineCount { count: asked.len() });
    }
    let mut lines: Vec<PricedLine> = Vec::with_capacity(asked.len());
    for (line, asked) in asked.iter().enumerate() {
        let Product {
            product,
            unit_price,
            ..
        } = product_of(sale, line, &asked.product)?;
        if lines.iter().any(|earlier| earlier.product == *product) {
            return Err(QuoteError::Twice {
                line,
                product: product.clone(),
            });
        }
        let quantity = quantity_of(line, &asked.quantity)?;
        lines.push(PricedLine {
            product: product.clone(),
            quantity,
            unit_price: *unit_price,
        });
    }
    Ok(lines)
}

fn product_of<'a>(sale: &'a Sale, line: usize, name: &str) -> Result<&'a Product, QuoteError> {
    let product =
        ProductId::parse(name).map_err(|problem| QuoteError::BadProduct { line, problem })?;
    sale.product(&product)
        .ok_or(QuoteError::UnknownProduct { line, product })
}

fn quantity_of(line: usize, asked: &Number) -> Result<u32, QuoteError> {
    let quantity = asked
        .as_u64()
        .and_then(|quantity| u32::try_from(quantity).ok());
    quantity
        .filter(|quantity| (1..=QUANTITY_MAX).contains(quantity))
        .ok_or_else(|| QuoteError::Quantity {
            line,
            got: asked.to_string(),
        })
}

fn price_of(lines: &[PricedLine]) -> Result<u64, QuoteError> {
    let mut price = 0_u64;
    for (line, priced) in lines.iter().enumerate() {
        price = priced
            .unit_price
            .checked_mul(u64::from(priced.quantity))
            .and_then(|amount| price.checked_add(amount))
            .filter(|price| *price <= AMOUNT_MAX)
            .ok_or(QuoteError::TooExpensive { line })?;
    }
    Ok(price)
}

fn campaign_of(sale: &Sale, name: String) -> Result<&Campaign, QuoteError> {
    let campaign = CampaignId::parse(name).map_err(|_| QuoteError::UnknownCampaign)?;
    sale.campaign(&campaign).ok_or(QuoteError::UnknownCampaign)
}

fn discount_of(campaign: &Campaign, price: u64) -> Result<u64, QuoteError> {
    if price < campaign.minimum_price {
        return Err(QuoteError::BelowMinimumPrice {
            campaign: campaign.campaign.clone(),
            minimum_price: campaign.minimum_price,
            price,
        });
    }
    Ok(campaign.discount.off(price))
}
