//! Pools of serial numbers: an operator fills them, goods take from them, each number once.

use async_trait::async_trait;
use engine::WorkflowId;
use engine::store::StoreError;

use crate::domain::ids::{ProductId, SaleId};

/// The serial numbers of products whose [`SerialSource`](crate::domain::sale::SerialSource) is a pool.
#[async_trait]
pub trait Serials: Send + Sync {
    /// Takes `line.units` numbers for a line of a purchase, or finds those that it took before: never others, never twice.
    /// `None`: the pool has fewer, and none was taken.
    async fn take(&self, line: &SerialLine) -> Result<Option<Vec<String>>, StoreError>;

    /// Gives back all that a purchase took, for one whose goods are not issued: from now on it takes nothing, also when an earlier
    /// attempt to take arrives late. Nothing to give back is fine.
    async fn give_back(&self, sale: &SaleId, workflow: WorkflowId) -> Result<(), StoreError>;

    /// Fills a pool: the numbers that were not in it before are added, all of them or none. How many there were to add.
    async fn fill(
        &self,
        sale: &SaleId,
        product: &ProductId,
        serials: &[String],
    ) -> Result<u64, FillError>;

    /// How many numbers a product's pool has, and how many of them are taken.
    async fn level(&self, sale: &SaleId, product: &ProductId) -> Result<PoolLevel, StoreError>;
}

/// A line of a purchase that wants serial numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialLine {
    /// Of which sale.
    pub sale: SaleId,
    /// Of which product.
    pub product: ProductId,
    /// For which purchase.
    pub workflow: WorkflowId,
    /// Its number, from 0.
    pub line: u32,
    /// How many.
    pub units: u32,
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolLevel {
    /// Numbers that were ever put in.
    pub filled: u64,
    /// Numbers that goods have.
    pub taken: u64,
}

/// A pool was not filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// A number is wrong; the sentence names it by its place, such as `serials[3]`.
    #[error("{field}: {problem}")]
    Invalid {
        /// Where.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// A number belongs to another product of the sale.
    #[error("serial {serial} belongs to product {product} already")]
    Taken {
        /// The number.
        serial: String,
        /// Whose it is.
        product: ProductId,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
