//! What the reservations answer: success, or a refusal with a reason that a buyer can be told.

use std::collections::BTreeMap;

use engine::workflow::Earlier;

use crate::domain::ids::{BuyerId, CampaignId, ProductId};

use super::{ClaimState, HoldState, Lines, OperationKey};

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimReply {
    /// The operation has a coupon, now or since before.
    Held {
        /// The operation that had claimed it ahead for the buyer; `None` when this operation claimed it.
        taken_from: Option<OperationKey>,
    },
    /// A repeat: the coupon of this operation was used meanwhile.
    Used {
        /// As in [`ClaimReply::Held`].
        taken_from: Option<OperationKey>,
    },
    /// The operation has no coupon, and gets none.
    Refused {
        /// Why.
        reason: ClaimRefusal,
        /// Of the start that the operation is of: [`Possible`](Earlier::Possible) when the buyer has something of this sale by
        /// another operation, or the start is known; [`UnderWay`](Earlier::UnderWay) while another copy of it has something.
        earlier: Earlier,
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
    /// The sale was cancelled.
    #[error("the sale was cancelled")]
    SaleCancelled,
    /// The buyer has none, and this campaign's coupons are only claimed ahead.
    #[error("this buyer holds no coupon of this campaign, and a purchase can't claim one")]
    NoCoupon,
    /// Too early to claim ahead.
    #[error("coupons of this campaign can't be claimed yet")]
    ClaimsNotOpen {
        /// From when on they can be, in Unix milliseconds; absent when they are only claimed within a purchase.
        from_ms: Option<i64>,
    },
    /// Too early to use it.
    #[error("coupons of this campaign are not valid yet")]
    NotValidYet {
        /// From when on they are, in Unix milliseconds.
        from_ms: i64,
    },
    /// Too late to use or claim it.
    #[error("coupons of this campaign have expired")]
    Expired {
        /// When they expired, in Unix milliseconds.
        until_ms: i64,
    },
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
        /// As in [`ClaimReply::Refused`].
        earlier: Earlier,
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
    /// The sale was cancelled.
    #[error("the sale was cancelled")]
    SaleCancelled,
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

/// The answer to an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendReply {
    /// The units are held for the charge, now or since before (also when they are sold by now).
    Paying,
    /// The operation holds nothing, or this generation has not seen it: nothing may be charged for it.
    NotHeld,
}

/// The answer to a new schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleReply {
    /// The gate goes by it, now or since before.
    Scheduled,
    /// The gate goes by a later one.
    Superseded,
}

/// Some of a sale's operations, as the gate has them now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationPage {
    /// The generation that they belong to.
    pub generation: u64,
    /// In no order; while others write, one may come twice, and one that came or went meanwhile may be missing.
    pub operations: Vec<StoredOperation>,
    /// Where to go on; `None` when all were seen.
    pub next: Option<String>,
}

/// What the gate keeps of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOperation {
    /// Which.
    pub operation: OperationKey,
    /// The highest epoch under which it was made or repeated; `None` when a rebuild loaded it from the database, and for a
    /// release that came first.
    pub epoch: Option<u64>,
    /// What it has.
    pub what: OperationState,
}

/// What an operation has in the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// Units, for a purchase that is open.
    Holds {
        /// For whom.
        buyer: BuyerId,
        /// The units.
        lines: Lines,
        /// Whether the charge has begun.
        hold: HoldState,
    },
    /// Units that were confirmed.
    Sold {
        /// For whom.
        buyer: BuyerId,
        /// The units.
        lines: Lines,
    },
    /// A coupon. One that a purchase has taken over comes twice: as the purchase's, and as the claim ahead's, which names nobody
    /// as `taken_from` and is held or used as the purchase's is.
    Coupon {
        /// Of which campaign.
        campaign: CampaignId,
        /// For whom.
        buyer: BuyerId,
        /// What became of it.
        state: ClaimState,
        /// As in [`ClaimReply::Held`].
        taken_from: Option<OperationKey>,
    },
    /// Nothing: it was refused or released, and stays so.
    Nothing,
}

/// The answer to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseReply {
    /// What it held was given back, now or before: it holds nothing from now on.
    Released,
    /// It held nothing: it was refused, or had not arrived and is refused when it does.
    NothingHeld,
    /// Nothing was done: it is not there, or not under the epoch that was asked for.
    MovedOn,
    /// It claimed a coupon ahead, which a purchase has used: that is the purchase's for good, and nothing is left to give back.
    Used,
}

/// The counters of one sale, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleCounts {
    /// The generation that the last rebuild gave.
    pub generation: u64,
    /// The schedule that the gate goes by.
    pub revision: u32,
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
