//! All that a sale's reservations consist of, as the database knows it: what a rebuild loads.

use crate::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};

use super::{Lines, OperationKey};

/// One sale. What is available follows: total less sold less held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleSnapshot {
    /// The sale.
    pub sale: SaleId,
    /// New for each attempt to rebuild.
    pub generation: u64,
    /// The number of the schedule that follows.
    pub revision: u32,
    /// It does not open any more.
    pub is_cancelled: bool,
    /// When it opens, in Unix milliseconds.
    pub opens_at_ms: i64,
    /// When it closes, in Unix milliseconds; after it opens.
    pub closes_at_ms: i64,
    /// Units that a buyer may hold and have bought in this sale together; at least one.
    pub per_buyer_limit: u32,
    /// Each product once.
    pub products: Vec<ProductSnapshot>,
    /// The holds of live workflows, each operation once.
    pub holds: Vec<HoldSnapshot>,
    /// The units that buyers have bought; what they hold is in `holds`.
    pub sold: Vec<SoldSnapshot>,
    /// Each campaign once.
    pub campaigns: Vec<CampaignSnapshot>,
    /// Operations that hold nothing and must never hold again: a late copy or a repeat of one is refused as released. One that
    /// has something by the rest of the snapshot keeps it.
    pub ended: Vec<OperationKey>,
    /// An operation of each workflow that had not ended when `ended` was read. By the rest of the snapshot, which was read later, it
    /// may have nothing any more: its start is known all the same, so that whoever repeats it is looked up.
    pub open: Vec<OperationKey>,
}

/// A product's stock, in units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductSnapshot {
    /// The product.
    pub product: ProductId,
    /// What the sale started with.
    pub total: u32,
    /// What was sold of it.
    pub sold: u32,
}

/// What an operation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldSnapshot {
    /// The operation that reserved.
    pub operation: OperationKey,
    /// For whom.
    pub buyer: BuyerId,
    /// The units held.
    pub lines: Lines,
}

/// What a buyer has bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoldSnapshot {
    /// The buyer.
    pub buyer: BuyerId,
    /// Units of all products, at least one.
    pub units: u32,
}

/// A campaign and its claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignSnapshot {
    /// The campaign.
    pub campaign: CampaignId,
    /// Coupons there are.
    pub size: u32,
    /// From when on they can be used, in Unix milliseconds; absent: whenever the sale is open.
    pub valid_from_ms: Option<i64>,
    /// Until when they can be used, in Unix milliseconds; absent: whenever the sale is open.
    pub valid_until_ms: Option<i64>,
    /// From when on they can be claimed ahead, in Unix milliseconds; absent: never.
    pub claims_from_ms: Option<i64>,
    /// A purchase may claim one.
    pub claim_in_purchase: bool,
    /// At most `size`, one a buyer.
    pub claims: Vec<ClaimSnapshot>,
}

/// One claimed coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSnapshot {
    /// The operation that claimed.
    pub operation: OperationKey,
    /// Who has the coupon.
    pub buyer: BuyerId,
    /// What became of it.
    pub state: ClaimState,
    /// The operation that had claimed it ahead, when `operation` is a purchase's that took it.
    pub taken_from: Option<OperationKey>,
}

/// What became of a claimed coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// Claimed ahead, and no purchase has taken it.
    Issued,
    /// Reserved by a purchase that is open: it may be given back.
    Held,
    /// Used by a purchase: it is gone.
    Used,
}
