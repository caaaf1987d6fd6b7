//! The catalogue: what is sold. Seeded by an operator, read by everyone; only schedules and recalls are ever changed.

use std::sync::Arc;

use async_trait::async_trait;
use engine::store::StoreError;
use engine::{Timestamp, WorkflowId};
use serde::Serialize;

use crate::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};
use crate::domain::sale::Sale;
use crate::domain::seed::{InvalidSeed, SaleSeed};

/// Where sales are kept. `tests/purchase/catalogue.rs` runs against every implementation.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// Checks the sale as a whole and stores it as a whole, or not at all. The same content again changes nothing.
    async fn seed(&self, seed: &SaleSeed) -> Result<Seeded, SeedError>;

    /// Checks all of these sales and stores all of them, or none: the first one that is wrong is named by its place, such as
    /// `sales[1].products[0].stock`. What is there already with the same content stays.
    async fn seed_all(&self, seeds: &[SaleSeed]) -> Result<Vec<Seeded>, SeedError>;

    /// Gives a sale other opening hours, or cancels it, if its schedule still has this revision. The sale with its new schedule.
    async fn reschedule(&self, change: &ScheduleChange) -> Result<Arc<Sale>, RescheduleError>;

    /// Says that no more goods of a product are issued (or that they are again). `false`: there is no such product.
    async fn recall(
        &self,
        sale: &SaleId,
        product: &ProductId,
        is_recalled: bool,
    ) -> Result<bool, StoreError>;

    /// The sale as the database has it at this moment, not from memory.
    async fn sale_now(&self, sale: &SaleId) -> Result<Option<Arc<Sale>>, StoreError>;

    /// When the opening and the closing of a sale were recorded by its opening saga.
    async fn recorded(&self, sale: &SaleId) -> Result<Recorded, StoreError>;

    /// The coupons of a buyer, ordered by campaign, at most 500.
    async fn coupons_of(&self, buyer: &BuyerId) -> Result<Vec<Coupon>, StoreError>;

    /// The purchases of a buyer, newest first, after `after`, at most `limit` (1 to 500).
    async fn purchases_of(
        &self,
        buyer: &BuyerId,
        after: Option<PurchaseCursor>,
        limit: u16,
    ) -> Result<Vec<PurchaseCursor>, StoreError>;

    /// The sale of this name; `None` when there is none. What it says may be up to a second old: a sale that was seeded
    /// elsewhere is found a second later at most.
    async fn sale(&self, sale: &SaleId) -> Result<Option<Arc<Sale>>, StoreError>;

    /// The sale that a campaign belongs to, for ever; `None` when there is no such campaign.
    async fn sale_of(&self, campaign: &CampaignId) -> Result<Option<SaleId>, StoreError>;

    /// The names of the sales after `after`, in order, at most `limit` (1 to 1,000).
    async fn sales(&self, after: Option<&SaleId>, limit: u16) -> Result<Vec<SaleId>, StoreError>;

    /// The counters of a sale's products, in order of the products' names; empty when there is no such sale. Read from the
    /// database each time.
    async fn stock_left(&self, sale: &SaleId) -> Result<Vec<StockLeft>, StoreError>;
}

/// New opening hours for a sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleChange {
    /// Which sale.
    pub sale: SaleId,
    /// The schedule that is to be changed.
    pub revision: u32,
    /// When it opens.
    pub opens_at: Timestamp,
    /// When it closes; after it opens.
    pub closes_at: Timestamp,
    /// It does not open at all.
    pub is_cancelled: bool,
}

/// A schedule was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RescheduleError {
    /// There is no such sale.
    #[error("there is no sale {0}")]
    NotFound(SaleId),
    /// The schedule was changed meanwhile.
    #[error("the schedule has revision {now} by now, not {expected}")]
    MovedOn {
        /// The revision that was to be changed.
        expected: u32,
        /// The sale's.
        now: u32,
    },
    /// It can't be so; the sentence says why.
    #[error(transparent)]
    Invalid(#[from] InvalidSeed),
    /// The database failed. After [`StoreError::Lost`] it may have been changed: read it to find out.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the opening saga has recorded of a sale's schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// When it recorded the opening.
    pub opened_at: Option<Timestamp>,
    /// When it recorded the closing.
    pub closed_at: Option<Timestamp>,
}

/// A coupon that a buyer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// Of which campaign.
    pub campaign: CampaignId,
    /// What became of it.
    pub state: CouponState,
    /// The workflow that claimed it.
    pub claimed_by: WorkflowId,
    /// The purchase that reserved or used it.
    pub purchase: Option<WorkflowId>,
    /// When it was claimed.
    pub claimed_at: Timestamp,
}

/// What became of a coupon, as the database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CouponState {
    /// The buyer has it.
    Issued,
    /// An open purchase has reserved it.
    Reserved,
    /// A purchase has used it.
    Used,
}

impl CouponState {
    /// The number in the column `state`.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Issued => 0,
            Self::Reserved => 1,
            Self::Used => 2,
        }
    }
}

/// A purchase in the list of its buyer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurchaseCursor {
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Which.
    pub workflow: WorkflowId,
}

/// What became of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeded {
    /// The sale is new.
    Created,
    /// The very same sale was there already.
    Unchanged,
}

/// A sale was not stored.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidSeed),
    /// Another sale is in the way; the sentence says which.
    #[error("{0}")]
    Conflict(String),
    /// Others wrote to the same rows again and again. Try again.
    #[error("the sale could not be stored because others were writing: try again")]
    Contended,
    /// The database failed. After [`StoreError::Lost`] the sale may be there: seeding it again finds out.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A product's counters, in units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StockLeft {
    /// The product.
    pub product: ProductId,
    /// What the sale started with.
    pub total: u64,
    /// What open purchases hold.
    pub held: u64,
    /// What was sold.
    pub sold: u64,
}

impl StockLeft {
    /// Units that are neither held nor sold.
    #[must_use]
    pub const fn available(&self) -> u64 {
        self.total
            .saturating_sub(self.held.saturating_add(self.sold))
    }
}
