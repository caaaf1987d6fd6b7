//! What the reservations answer: success, or a refusal with a reason that a buyer can be told.

use std::collections::BTreeMap;

use crate::domain::ids::{CampaignId, ProductId};

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimReply {
    /// The operation has claimed the coupon, now or before.
    Held,
    /// A repeat: the coupon of this operation was used meanwhile.
    Used,
    /// The operation has no coupon, and gets none.
    Refused {
        /// Why.
        reason: ClaimRefusal,
        /// The buyer has something of this sale by another operation: the purchase may be one that is there already.
        buyer_holds: bool,
    },
}

/// Why a coupon was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimRefusal {
    /// All coupons of the campaign are taken.
    #[error("all coupons of this campaign are taken")]
    CouponsExhausted,
    /// The buyer has, or has used, a coupon of this campaign by another operation.
    #[error("this buyer has already taken a coupon of this campaign")]
    CouponAlreadyUsed,
    /// Too early.
    #[error("the sale has not opened yet")]
    SaleNotOpen {
        /// When it opens, in Unix milliseconds.
        opens_at_ms: i64,
    },
    /// Too late.
    #[error("the sale has closed")]
    SaleClosed,
    /// The operation was released before: it may not take effect any more.
    #[error("the claim was given back")]
    Released,
    /// The sale has no such campaign.
    #[error("the sale has no such campaign")]
    UnknownCampaign,
}

/// The answer to a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReserveReply {
    /// The operation holds its units, now or since before.
    Held,
    /// A repeat: the units of this operation were confirmed meanwhile.
    Sold,
    /// The operation holds nothing, and gets nothing.
    Refused {
        /// Why.
        reason: ReserveRefusal,
        /// The buyer holds or bought units of this sale: the purchase may be one that is there already.
        buyer_holds: bool,
    },
}

/// Why a reservation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveRefusal {
    /// Fewer units are left than asked for.
    #[error("{product} is sold out")]
    SoldOut {
        /// The first line's product that ran short.
        product: ProductId,
    },
    /// The buyer would have more units of this sale than allowed.
    #[error("a buyer may have no more than {limit} units of this sale")]
    LimitReached {
        /// Units a buyer may have.
        limit: u32,
    },
    /// Too early.
    #[error("the sale has not opened yet")]
    SaleNotOpen {
        /// When it opens, in Unix milliseconds.
        opens_at_ms: i64,
    },
    /// Too late.
    #[error("the sale has closed")]
    SaleClosed,
    /// The operation was released before: it may not take effect any more.
    #[error("the reservation was given back")]
    Released,
    /// The sale has no such product.
    #[error("the sale has no product {product}")]
    UnknownProduct {
        /// The product that was asked for.
        product: ProductId,
    },
}

/// The answer to a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmReply {
    /// The units are sold, now or since before.
    Sold,
    /// This generation of the sale has not seen the operation. After a rebuild that is how a purchase looks which the
    /// snapshot already counted as sold; otherwise it is a leak.
    Unknown,
    /// The operation was refused or released: it holds nothing that could be sold.
    NotHeld,
}

/// The answer to a release. Either way the operation holds nothing from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseReply {
    /// What it held was given back, now or before.
    Released,
    /// It held nothing: it was refused, or had not arrived and is refused when it does.
    NothingHeld,
}

/// The counters of one sale, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleCounts {
    /// The generation that the last rebuild gave.
    pub generation: u64,
    /// By product.
    pub products: BTreeMap<ProductId, StockCounts>,
    /// By campaign.
    pub campaigns: BTreeMap<CampaignId, CampaignCounts>,
}

/// The units of one product; together they are its total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StockCounts {
    /// Units that can be held.
    pub available: u64,
    /// Units that are held.
    pub held: u64,
    /// Units that were sold.
    pub sold: u64,
}

/// The coupons of one campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CampaignCounts {
    /// Coupons there are.
    pub size: u64,
    /// Coupons that are held or used.
    pub issued: u64,
}
