//! The catalogue in the engine's database, the same on each of them.

mod cache;
mod rows;

use std::sync::Arc;

use async_trait::async_trait;
use engine::Runtime;
use engine::store::SqlDatabase;
use engine::store::{CommitError, StoreError};

use crate::domain::ids::{CampaignId, ProductId, SaleId};
use crate::domain::sale::Sale;
use crate::domain::seed::SaleSeed;
use crate::ports::catalogue::{Catalogue, SeedError, Seeded, StockLeft};
use crate::rows::{slug, unsigned};

use cache::SaleCache;

/// Times that a seed is tried when others write the same rows.
const SEED_ATTEMPTS_MAX: u32 = 5;

/// The catalogue, with a short memory.
pub struct SqlCatalogue {
    database: SqlDatabase,
    cache: SaleCache,
}

impl SqlCatalogue {
    /// A catalogue in `database`, whose tables are there.
    #[must_use]
    pub fn new(database: SqlDatabase, runtime: Runtime) -> Self {
        Self {
            database,
            cache: SaleCache::new(runtime),
        }
    }

    /// Compares with what is stored, or stores; `None` when somebody else was faster or what happened is not known.
    async fn try_seed(&self, sale: &Sale) -> Result<Option<Seeded>, SeedError> {
        match rows::sale(&self.database, &sale.sale).await? {
            Some(stored) if stored == *sale => return Ok(Some(Seeded::Unchanged)),
            Some(_) => {
                let sentence = format!("sale {} is there already, with other content", sale.sale);
                return Err(SeedError::Conflict(sentence));
            }
            None => {}
        }
        if let Some((campaign, owner)) = self.taken_campaign(sale).await? {
            let sentence = format!("campaign {campaign} belongs to sale {owner} already");
            return Err(SeedError::Conflict(sentence));
        }
        match self
            .database
            .transact("storing a sale", &rows::changes(sale))
            .await
        {
            Ok(()) => Ok(Some(Seeded::Created)),
            Err(CommitError::RowRefused { .. } | CommitError::Contended(_)) => Ok(None),
            Err(CommitError::Store(error)) => Err(error.into()),
            Err(error @ CommitError::Fenced { .. }) => Err(unforeseen(&error).into()),
        }
    }

    async fn taken_campaign(
        &self,
        sale: &Sale,
    ) -> Result<Option<(CampaignId, SaleId)>, StoreError> {
        for campaign in &sale.campaigns {
            if let Some(owner) = rows::owner_of(&self.database, &campaign.campaign).await? {
                return Ok((owner != sale.sale).then(|| (campaign.campaign.clone(), owner)));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Catalogue for SqlCatalogue {
    async fn seed(&self, seed: &SaleSeed) -> Result<Seeded, SeedError> {
        let sale = seed.check()?;
        for _ in 0..SEED_ATTEMPTS_MAX {
            if let Some(seeded) = self.try_seed(&sale).await? {
                self.cache.put(Arc::new(sale));
                return Ok(seeded);
            }
        }
        Err(SeedError::Contended)
    }

    async fn sale(&self, sale: &SaleId) -> Result<Option<Arc<Sale>>, StoreError> {
        let read = || async { Ok(rows::sale(&self.database, sale).await?.map(Arc::new)) };
        self.cache.get(sale, read).await
    }

    async fn sales(&self, after: Option<&SaleId>, limit: u16) -> Result<Vec<SaleId>, StoreError> {
        rows::sale_names(&self.database, after, limit).await
    }

    async fn stock_left(&self, sale: &SaleId) -> Result<Vec<StockLeft>, StoreError> {
        let sql = "SELECT product, total, held, sold FROM stock WHERE sale = ? ORDER BY product";
        let rows = self
            .database
            .query("reading the stock", sql, &[sale.as_str().into()])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(StockLeft {
                    product: slug(row, 0, ProductId::parse)?,
                    total: unsigned(row, 1)?,
                    held: unsigned(row, 2)?,
                    sold: unsigned(row, 3)?,
                })
            })
            .collect()
    }
}

fn unforeseen(error: &CommitError) -> StoreError {
    StoreError::Corrupt {
        doing: "storing a sale",
        cause: error.to_string(),
    }
}
