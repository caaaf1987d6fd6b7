//! Where a watcher looks.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::store::StoreError;
use futures_util::future::BoxFuture;
use workflows::domain::ids::{ProductId, SaleId};
use workflows::domain::sale::Sale;
use workflows::ports::catalogue::Catalogue;
use workflows::ports::reservations::Reservations;

/// What a watcher asks for.
pub trait Source: Send + Sync {
    /// The sale as it was at most a second ago.
    fn sale<'a>(&'a self, sale: &'a SaleId) -> Read<'a>;

    /// The sale as the database has it at this moment.
    fn sale_now<'a>(&'a self, sale: &'a SaleId) -> Read<'a>;

    /// Units that can be held, by product; `None` when the gate does not say.
    fn left<'a>(&'a self, sale: &'a SaleId) -> BoxFuture<'a, Option<BTreeMap<ProductId, u64>>>;
}

/// A sale that is being read.
pub type Read<'a> = BoxFuture<'a, Result<Option<Arc<Sale>>, StoreError>>;

/// The catalogue and the gate.
pub struct Shop {
    /// What is sold, and when.
    pub catalogue: Arc<dyn Catalogue>,
    /// How much is left.
    pub reservations: Arc<dyn Reservations>,
}

impl Source for Shop {
    fn sale<'a>(&'a self, sale: &'a SaleId) -> Read<'a> {
        self.catalogue.sale(sale)
    }

    fn sale_now<'a>(&'a self, sale: &'a SaleId) -> Read<'a> {
        self.catalogue.sale_now(sale)
    }

    fn left<'a>(&'a self, sale: &'a SaleId) -> BoxFuture<'a, Option<BTreeMap<ProductId, u64>>> {
        Box::pin(async {
            let counts = self.reservations.counts(sale).await.ok().flatten()?;
            let products = counts.products.into_iter();
            Some(
                products
                    .map(|(product, stock)| (product, stock.available))
                    .collect(),
            )
        })
    }
}
