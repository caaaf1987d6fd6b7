//! The catalogue in the engine's database, the same on each of them.

mod buyers;
mod cache;
mod rows;
mod schedule;

use std::sync::Arc;

use async_trait::async_trait;
use engine::Runtime;
use engine::store::SqlDatabase;
use engine::store::{Change, CommitError, StoreError};

use crate::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};
use crate::domain::sale::Sale;
use crate::domain::seed::SaleSeed;
use crate::ports::catalogue::{
    Catalogue, Coupon, PurchaseCursor, Recorded, RescheduleError, ScheduleChange, SeedError,
    Seeded, StockLeft,
};
use crate::rows::{slug, unsigned};

use cache::SaleCache;
use rows::Stored;

/// Times that a write is tried when others write the same rows.
const ATTEMPTS_MAX: u32 = 5;

/// What became of a sale that was seeded, and the sale as it now is.
type Outcome = (Seeded, Sale);

/// The catalogue, with a short memory.
pub struct SqlCatalogue {
    database: SqlDatabase,
    cache: SaleCache,
    runtime: Runtime,
}

impl SqlCatalogue {
    /// A catalogue in `database`, whose tables are there.
    #[must_use]
    pub fn new(database: SqlDatabase, runtime: Runtime) -> Self {
        Self {
            database,
            cache: SaleCache::new(runtime.clone()),
            runtime,
        }
    }

    /// Compares with what is stored, and stores what is missing; `None` when somebody else was faster.
    async fn try_seed(&self, sales: &[Sale]) -> Result<Option<Vec<Outcome>>, SeedError> {
        let mut outcomes = Vec::with_capacity(sales.len());
        let mut changes = Vec::new();
        for sale in sales {
            if let Some(stored) = rows::sale(&self.database, &sale.sale).await? {
                if !is_seed_of(&stored, sale) {
                    let sentence =
                        format!("sale {} is there already, with other content", sale.sale);
                    return Err(SeedError::Conflict(sentence));
                }
                outcomes.push((Seeded::Unchanged, stored.sale));
                continue;
            }
            if let Some((campaign, owner)) = self.taken_campaign(sale).await? {
                let sentence = format!("campaign {campaign} belongs to sale {owner} already");
                return Err(SeedError::Conflict(sentence));
            }
            changes.extend(rows::changes(sale));
            outcomes.push((Seeded::Created, sale.clone()));
        }
        if changes.is_empty() {
            return Ok(Some(outcomes));
        }
        let stored = self.transact("storing sales", &changes).await?;
        Ok(stored.then_some(outcomes))
    }

    /// `false`: a row said no, or others wrote the same rows.
    async fn transact(&self, doing: &'static str, changes: &[Change]) -> Result<bool, StoreError> {
        match self.database.transact(doing, changes).await {
            Ok(()) => Ok(true),
            Err(CommitError::RowRefused { .. } | CommitError::Contended(_)) => Ok(false),
            Err(CommitError::Store(error)) => Err(error),
            Err(error @ CommitError::Fenced { .. }) => Err(StoreError::Corrupt {
                doing,
                cause: error.to_string(),
            }),
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

    async fn seed_checked(&self, sales: &[Sale]) -> Result<Vec<Seeded>, SeedError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(outcomes) = self.try_seed(sales).await? else {
                continue;
            };
            let seeded = outcomes.into_iter().map(|(seeded, sale)| {
                self.cache.put(Arc::new(sale));
                seeded
            });
            return Ok(seeded.collect());
        }
        Err(SeedError::Contended)
    }

    async fn read(&self, sale: &SaleId) -> Result<Option<Arc<Sale>>, StoreError> {
        let stored = rows::sale(&self.database, sale).await?;
        Ok(stored.map(|stored| Arc::new(stored.sale)))
    }
}

/// Whether this is what `stored` was seeded with. Its schedule and its recalls may have been changed since: the hours that it
/// was seeded with are as good as those that it has now.
fn is_seed_of(stored: &Stored, seed: &Sale) -> bool {
    let hours = (seed.opens_at, seed.closes_at);
    let now = (stored.sale.opens_at, stored.sale.closes_at);
    if hours != stored.seeded_hours && hours != now {
        return false;
    }
    let mut as_seeded = stored.sale.clone();
    (as_seeded.opens_at, as_seeded.closes_at) = hours;
    (as_seeded.revision, as_seeded.is_cancelled) = (seed.revision, seed.is_cancelled);
    for product in &mut as_seeded.products {
        product.is_recalled = false;
    }
    as_seeded == *seed
}

#[async_trait]
impl Catalogue for SqlCatalogue {
    async fn seed(&self, seed: &SaleSeed) -> Result<Seeded, SeedError> {
        let seeded = self.seed_checked(&[seed.check()?]).await?;
        Ok(seeded.first().copied().unwrap_or(Seeded::Unchanged))
    }

    async fn seed_all(&self, seeds: &[SaleSeed]) -> Result<Vec<Seeded>, SeedError> {
        self.seed_checked(&SaleSeed::check_all(seeds)?).await
    }

    async fn reschedule(&self, change: &ScheduleChange) -> Result<Arc<Sale>, RescheduleError> {
        for _ in 0..ATTEMPTS_MAX {
            let stored = rows::sale(&self.database, &change.sale)
                .await?
                .ok_or_else(|| RescheduleError::NotFound(change.sale.clone()))?;
            let Some(changed) = schedule::changed(&stored, change, self.runtime.now())? else {
                return Ok(Arc::new(stored.sale));
            };
            let row = schedule::row(&stored, &changed);
            if self.transact("changing a schedule", &[row]).await? {
                let changed = Arc::new(changed);
                self.cache.put(Arc::clone(&changed));
                return Ok(changed);
            }
        }
        let sentence = "others are writing it: try again".to_owned();
        Err(StoreError::Unavailable {
            doing: "changing a schedule",
            cause: sentence,
        }
        .into())
    }

    async fn recall(
        &self,
        sale: &SaleId,
        product: &ProductId,
        is_recalled: bool,
    ) -> Result<bool, StoreError> {
        let row = rows::recall(sale, product, is_recalled);
        let is_there = self.transact("recalling a product", &[row]).await?;
        if let Some(sale) = self.read(sale).await? {
            self.cache.put(sale);
        }
        Ok(is_there)
    }

    async fn sale_now(&self, sale: &SaleId) -> Result<Option<Arc<Sale>>, StoreError> {
        let read = self.read(sale).await?;
        if let Some(sale) = &read {
            self.cache.put(Arc::clone(sale));
        }
        Ok(read)
    }

    async fn recorded(&self, sale: &SaleId) -> Result<Recorded, StoreError> {
        rows::recorded_of(&self.database, sale).await
    }

    async fn coupons_of(&self, buyer: &BuyerId) -> Result<Vec<Coupon>, StoreError> {
        buyers::coupons(&self.database, buyer).await
    }

    async fn purchases_of(
        &self,
        buyer: &BuyerId,
        after: Option<PurchaseCursor>,
        limit: u16,
    ) -> Result<Vec<PurchaseCursor>, StoreError> {
        buyers::purchases(&self.database, buyer, after, limit).await
    }

    async fn sale(&self, sale: &SaleId) -> Result<Option<Arc<Sale>>, StoreError> {
        self.cache.get(sale, || self.read(sale)).await
    }

    async fn sale_of(&self, campaign: &CampaignId) -> Result<Option<SaleId>, StoreError> {
        rows::owner_of(&self.database, campaign).await
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
