//! The catalogue: what is sold. Seeded by an operator, read by everyone, never changed.

use std::sync::Arc;

use async_trait::async_trait;
use engine::store::StoreError;
use serde::Serialize;

use crate::domain::ids::{ProductId, SaleId};
use crate::domain::sale::Sale;
use crate::domain::seed::{InvalidSeed, SaleSeed};

/// Where sales are kept. `tests/purchase/catalogue.rs` runs against every implementation.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// Checks the sale as a whole and stores it as a whole, or not at all. The same content again changes nothing.
    async fn seed(&self, seed: &SaleSeed) -> Result<Seeded, SeedError>;

    /// The sale of this name; `None` when there is none. What it says may be up to a second old: a sale that was seeded
    /// elsewhere is found a second later at most.
    async fn sale(&self, sale: &SaleId) -> Result<Option<Arc<Sale>>, StoreError>;

    /// The names of the sales after `after`, in order, at most `limit` (1 to 1,000).
    async fn sales(&self, after: Option<&SaleId>, limit: u16) -> Result<Vec<SaleId>, StoreError>;

    /// The counters of a sale's products, in order of the products' names; empty when there is no such sale. Read from the
    /// database each time.
    async fn stock_left(&self, sale: &SaleId) -> Result<Vec<StockLeft>, StoreError>;
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
