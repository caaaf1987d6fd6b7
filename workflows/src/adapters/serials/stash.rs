//! Free numbers at hand: a page of each pool, of which everyone who takes gets others. A page is read beginning after the one
//! before it, so that a long pool is not read from its beginning each time, and from the beginning when there are no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::Runtime;
use engine::store::{SqlDatabase, StoreError};
use tokio::sync::Mutex as AsyncMutex;

use super::TAKING;
use crate::domain::ids::{ProductId, SaleId};

/// Numbers of a page.
const PAGE: usize = 512;
/// Pools of which numbers are at hand.
const STASHES_MAX: usize = 1_000;

/// The stashes, by sale and product.
pub struct Stashes {
    database: SqlDatabase,
    runtime: Runtime,
    pools: Mutex<HashMap<(SaleId, ProductId), Arc<Stash>>>,
}

/// The numbers of one pool.
pub struct Stash {
    database: SqlDatabase,
    runtime: Runtime,
    sale: SaleId,
    product: ProductId,
    hand: Mutex<Hand>,
    /// Held while a page is read: of many who need one, one reads.
    reading: AsyncMutex<()>,
}

#[derive(Default)]
struct Hand {
    serials: Vec<String>,
    /// The last number of the last page; empty at the beginning.
    cursor: String,
}

/// What a grab came to.
pub enum Grab {
    /// These numbers, which nobody else of this process is given until they are read again.
    Some(Vec<String>),
    /// There may be enough; others were faster.
    Contended,
    /// The whole pool has fewer.
    TooFew,
}

impl Stashes {
    pub fn new(database: SqlDatabase, runtime: Runtime) -> Self {
        Self {
            database,
            runtime,
            pools: Mutex::default(),
        }
    }

    pub fn of(&self, sale: &SaleId, product: &ProductId) -> Arc<Stash> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (sale.clone(), product.clone());
        if pools.len() >= STASHES_MAX && !pools.contains_key(&key) {
            pools.clear();
        }
        let new = || {
            Arc::new(Stash {
                database: self.database.clone(),
                runtime: self.runtime.clone(),
                sale: sale.clone(),
                product: product.clone(),
                hand: Mutex::default(),
                reading: AsyncMutex::default(),
            })
        };
        Arc::clone(pools.entry(key).or_insert_with(new))
    }
}

impl Stash {
    /// So many numbers that are free as far as is known. `TooFew` only when the whole pool was just read and is too small.
    pub async fn grab(&self, units: u32) -> Result<Grab, StoreError> {
        let units = usize::try_from(units).unwrap_or(usize::MAX);
        if let Some(serials) = self.pick(units) {
            return Ok(Grab::Some(serials));
        }
        let _reading = self.reading.lock().await;
        // Somebody else may have read while this one waited.
        if let Some(serials) = self.pick(units) {
            return Ok(Grab::Some(serials));
        }
        let cursor = self.hand().cursor.clone();
        let from_the_start = cursor.is_empty();
        let page = self.page(&cursor, units).await?;
        let is_whole = from_the_start && page.len() < page_size(units);
        let found = page.len();
        {
            let mut hand = self.hand();
            hand.cursor = if found < page_size(units) {
                String::new()
            } else {
                page.last().cloned().unwrap_or_default()
            };
            hand.serials = page;
        }
        match self.pick(units) {
            Some(serials) => Ok(Grab::Some(serials)),
            None if is_whole && found < units => Ok(Grab::TooFew),
            None => Ok(Grab::Contended),
        }
    }

    /// What is at hand is out of date: the next page is read. What this one has left is found when the pool is read again.
    pub fn forget(&self) {
        self.hand().serials.clear();
    }

    /// Any of those at hand: two processes with the same page rarely pick the same.
    fn pick(&self, units: usize) -> Option<Vec<String>> {
        let mut hand = self.hand();
        if hand.serials.len() < units {
            return None;
        }
        let picked = (0..units).map(|_| {
            let count = u64::try_from(hand.serials.len()).unwrap_or(u64::MAX);
            let index = usize::try_from(self.runtime.next_u64() % count).unwrap_or(0);
            hand.serials.swap_remove(index)
        });
        Some(picked.collect())
    }

    async fn page(&self, after: &str, units: usize) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT serials.serial FROM serials LEFT JOIN serial_claims \
                   ON serial_claims.sale = serials.sale AND serial_claims.serial = serials.serial \
                   WHERE serials.sale = ? AND serials.product = ? AND serials.serial > ? \
                   AND serial_claims.serial IS NULL ORDER BY serials.serial LIMIT ?";
        let limit = i64::try_from(page_size(units)).unwrap_or(i64::MAX);
        let parameters = [
            self.sale.as_str().into(),
            self.product.as_str().into(),
            after.into(),
            limit.into(),
        ];
        let rows = self.database.query(TAKING, sql, &parameters).await?;
        rows.iter()
            .map(|row| row.text(0).map(str::to_owned))
            .collect()
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More than one asks for, so that a page is never too short for what is there.
fn page_size(units: usize) -> usize {
    PAGE.max(units)
}
