//! Free numbers at hand: a page of each pool, of which everyone who takes gets others. A page is read beginning after the one
//! before it, so that a long pool is not read from its beginning each time, and from the beginning when there are no more.
//!
//! All who need a page wait for one reading, and all learn from it when there are none left. Would each read for itself, thousands
//! whose goods have run out would wait for each other for longer than an attempt of theirs may take, and come again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::Runtime;
use engine::store::{SqlDatabase, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

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
    runtime: Runtime,
    pages: Pages,
    hand: Mutex<Hand>,
}

/// Free numbers of the pool in their order: those after this one, at most so many.
type Pages =
    Box<dyn Fn(String, usize) -> BoxFuture<'static, Result<Vec<String>, StoreError>> + Send + Sync>;

/// A page is being read.
type Reading = BoxFuture<'static, Result<(), StoreError>>;

#[derive(Default)]
struct Hand {
    serials: Vec<String>,
    /// The last number of the last page; empty at the beginning.
    cursor: String,
    /// Readings that have begun.
    begun: u64,
    /// The last of them, unless it has ended. It ends as well when nobody waits for it any more.
    reading: Option<WeakShared<Reading>>,
    /// What the last one that came to an end has found.
    found: Found,
}

/// What a reading found.
#[derive(Clone, Copy, Default)]
struct Found {
    /// Which one it was, counted from 1.
    reading: u64,
    /// The free numbers.
    count: usize,
    /// The whole pool has no more than that.
    is_whole: bool,
}

/// What a grab came to.
#[derive(Debug, PartialEq, Eq)]
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
            let pages = pages_of(self.database.clone(), sale.clone(), product.clone());
            Arc::new(Stash::new(self.runtime.clone(), pages))
        };
        Arc::clone(pools.entry(key).or_insert_with(new))
    }
}

impl Stash {
    fn new(runtime: Runtime, pages: Pages) -> Self {
        Self {
            runtime,
            pages,
            hand: Mutex::default(),
        }
    }

    /// So many numbers that are free as far as is known. `TooFew` only when the whole pool was read since this was called, and is
    /// too small. It takes two readings at most: one that others had begun before, and the next.
    pub async fn grab(self: &Arc<Self>, units: u32) -> Result<Grab, StoreError> {
        let units = usize::try_from(units).unwrap_or(usize::MAX);
        let begun_before = self.hand().begun;
        loop {
            if let Some(serials) = self.pick(units) {
                return Ok(Grab::Some(serials));
            }
            let found = self.hand().found;
            if found.reading > begun_before {
                let too_few = found.is_whole && found.count < units;
                return Ok(if too_few {
                    Grab::TooFew
                } else {
                    Grab::Contended
                });
            }
            self.reading(units).await?;
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

    /// The reading that is under way, or a new one.
    fn reading(self: &Arc<Self>, units: usize) -> Shared<Reading> {
        let mut hand = self.hand();
        if let Some(under_way) = hand.reading.as_ref().and_then(WeakShared::upgrade) {
            return under_way;
        }
        hand.begun += 1;
        let page = Arc::clone(self).page(hand.begun, hand.cursor.clone(), page_size(units));
        let reading = page.boxed().shared();
        hand.reading = reading.downgrade();
        reading
    }

    /// Puts the page after this number, of at most so many, at hand.
    async fn page(
        self: Arc<Self>,
        reading: u64,
        after: String,
        limit: usize,
    ) -> Result<(), StoreError> {
        let from_the_start = after.is_empty();
        let page = (self.pages)(after, limit).await;
        let mut hand = self.hand();
        hand.reading = None;
        let page = page?;
        let is_last = page.len() < limit;
        hand.found = Found {
            reading,
            count: page.len(),
            is_whole: from_the_start && is_last,
        };
        hand.cursor = page
            .last()
            .filter(|_| !is_last)
            .cloned()
            .unwrap_or_default();
        hand.serials = page;
        Ok(())
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pool of this product, in the database.
fn pages_of(database: SqlDatabase, sale: SaleId, product: ProductId) -> Pages {
    let sql = "SELECT serials.serial FROM serials LEFT JOIN serial_claims \
               ON serial_claims.sale = serials.sale AND serial_claims.serial = serials.serial \
               WHERE serials.sale = ? AND serials.product = ? AND serials.serial > ? \
               AND serial_claims.serial IS NULL ORDER BY serials.serial LIMIT ?";
    Box::new(move |after, limit| {
        let (database, sale, product) = (database.clone(), sale.clone(), product.clone());
        let read = async move {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let parameters = [
                sale.as_str().into(),
                product.as_str().into(),
                after.into(),
                limit.into(),
            ];
            let rows = database.query(TAKING, sql, &parameters).await?;
            rows.iter()
                .map(|row| row.text(0).map(str::to_owned))
                .collect()
        };
        read.boxed()
    })
}

/// More than one asks for, so that a page is never too short for what is there.
fn page_size(units: usize) -> usize {
    PAGE.max(units)
}

#[cfg(test)]
mod tests {
    use futures_util::future::{join, join_all};
    use tokio::sync::Semaphore;

    use super::*;

    /// A pool whose readings wait until they may go on, and find what is free then.
    struct Pool {
        free: Mutex<Vec<String>>,
        readings: Mutex<u32>,
        may_read: Semaphore,
    }

    impl Pool {
        fn stash(free: usize) -> (Arc<Self>, Arc<Stash>) {
            let pool = Arc::new(Self {
                free: Mutex::new((0..free).map(|number| format!("SN-{number:05}")).collect()),
                readings: Mutex::default(),
                may_read: Semaphore::new(0),
            });
            let read = Arc::clone(&pool);
            let pages: Pages = Box::new(move |after, limit| {
                let pool = Arc::clone(&read);
                async move { Ok(pool.read(&after, limit).await) }.boxed()
            });
            (pool, Arc::new(Stash::new(Runtime::system(), pages)))
        }

        async fn read(&self, after: &str, limit: usize) -> Vec<String> {
            *self.readings.lock().unwrap() += 1;
            let free = self.free.lock().unwrap().clone();
            self.may_read.acquire().await.unwrap().forget();
            let after = free.into_iter().filter(|serial| serial.as_str() > after);
            after.take(limit).collect()
        }

        fn readings(&self) -> u32 {
            *self.readings.lock().unwrap()
        }
    }

    #[tokio::test]
    async fn a_thousand_who_find_a_pool_empty_read_it_twice() {
        let (pool, stash) = Pool::stash(0);
        let grabs = join_all((0..1_000).map(|_| stash.grab(1)));
        let (grabs, ()) = join(grabs, async { pool.may_read.add_permits(1_000) }).await;
        assert!(
            grabs
                .iter()
                .all(|grab| *grab.as_ref().unwrap() == Grab::TooFew)
        );
        // The first one's, and one that began after all others had come.
        assert_eq!(pool.readings(), 2);
    }

    #[tokio::test]
    async fn who_comes_while_a_pool_is_read_learns_what_is_in_it_since() {
        let (pool, stash) = Pool::stash(0);
        let mut first = std::pin::pin!(stash.grab(1));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        // The one that is under way has not seen it.
        pool.free.lock().unwrap().push("SN-NEW".to_owned());
        let later = join_all((0..1_000).map(|_| stash.grab(1)));
        let (first, (later, ())) =
            join(first, join(later, async { pool.may_read.add_permits(2) })).await;
        assert_eq!(first.unwrap(), Grab::TooFew);
        let got = |grab: &&Result<Grab, StoreError>| matches!(grab, Ok(Grab::Some(serials)) if *serials == ["SN-NEW"]);
        assert_eq!(later.iter().filter(got).count(), 1);
        assert_eq!(pool.readings(), 2);
    }

    #[tokio::test]
    async fn a_reading_that_nobody_waits_for_any_more_is_begun_anew() {
        let (pool, stash) = Pool::stash(3);
        {
            let given_up = std::pin::pin!(stash.grab(1));
            assert!(futures_util::poll!(given_up).is_pending());
        }
        pool.may_read.add_permits(1);
        assert!(matches!(stash.grab(2).await, Ok(Grab::Some(serials)) if serials.len() == 2));
        assert_eq!(pool.readings(), 2);
        assert!(matches!(stash.grab(1).await, Ok(Grab::Some(_))), "at hand");
        assert_eq!(pool.readings(), 2);
    }

    #[tokio::test]
    async fn a_thousand_share_a_pool_that_has_one_for_each() {
        let (pool, stash) = Pool::stash(1_000);
        pool.may_read.add_permits(100);
        let grabs = (0..1_000).map(|_| async {
            loop {
                match stash.grab(1).await.unwrap() {
                    Grab::Some(mut serials) => {
                        let serial = serials.remove(0);
                        pool.free.lock().unwrap().retain(|free| *free != serial);
                        return serial;
                    }
                    Grab::Contended => {}
                    Grab::TooFew => panic!("there is one for each"),
                }
            }
        });
        let mut all = join_all(grabs).await;
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 1_000);
        assert!(pool.readings() <= 4, "{}", pool.readings());
    }
}
