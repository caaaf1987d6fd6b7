//! A catalogue and pools of serial numbers in memory, for tests that need no database.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use engine::WorkflowId;
use engine::store::StoreError;
use workflows::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};
use workflows::domain::sale::{Sale, SerialSource};
use workflows::domain::seed::SaleSeed;
use workflows::ports::catalogue::{
    Catalogue, Coupon, PurchaseCursor, Recorded, RescheduleError, ScheduleChange, SeedError,
    Seeded, StockLeft,
};
use workflows::ports::serials::{FillError, PoolLevel, SerialLine, Serials};

/// A catalogue of one sale, whose products are recalled when a test says so. Nothing else can be asked of it.
pub struct StillCatalogue {
    sale: Mutex<Sale>,
}

impl StillCatalogue {
    pub fn new(sale: Sale) -> Self {
        Self {
            sale: Mutex::new(sale),
        }
    }

    /// This product's serial numbers come from a pool.
    pub fn pool(&self, product: &str) {
        self.change(product, |product| product.serials = SerialSource::Pool);
    }

    /// This product is recalled.
    pub fn recall(&self, product: &str) {
        self.change(product, |product| product.is_recalled = true);
    }

    fn change(&self, name: &str, change: impl Fn(&mut workflows::domain::sale::Product)) {
        let mut sale = self.sale.lock().unwrap();
        let mut products = sale.products.iter_mut();
        change(
            products
                .find(|product| product.product.as_str() == name)
                .expect("a product"),
        );
    }
}

fn not_here<T>() -> Result<T, StoreError> {
    Err(StoreError::Corrupt {
        doing: "asking a catalogue that stands still",
        cause: "it knows of nothing but its sale".to_owned(),
    })
}

#[async_trait]
impl Catalogue for StillCatalogue {
    async fn sale(&self, name: &SaleId) -> Result<Option<Arc<Sale>>, StoreError> {
        let sale = self.sale.lock().unwrap();
        Ok((sale.sale == *name).then(|| Arc::new(sale.clone())))
    }

    async fn sale_now(&self, name: &SaleId) -> Result<Option<Arc<Sale>>, StoreError> {
        self.sale(name).await
    }

    async fn seed(&self, _: &SaleSeed) -> Result<Seeded, SeedError> {
        Ok(not_here()?)
    }

    async fn seed_all(&self, _: &[SaleSeed]) -> Result<Vec<Seeded>, SeedError> {
        Ok(not_here()?)
    }

    async fn reschedule(&self, _: &ScheduleChange) -> Result<Arc<Sale>, RescheduleError> {
        Ok(not_here()?)
    }

    async fn recall(&self, _: &SaleId, _: &ProductId, _: bool) -> Result<bool, StoreError> {
        not_here()
    }

    async fn recorded(&self, _: &SaleId) -> Result<Recorded, StoreError> {
        not_here()
    }

    async fn coupons_of(&self, _: &BuyerId) -> Result<Vec<Coupon>, StoreError> {
        not_here()
    }

    async fn purchases_of(
        &self,
        _: &BuyerId,
        _: Option<PurchaseCursor>,
        _: u16,
    ) -> Result<Vec<PurchaseCursor>, StoreError> {
        not_here()
    }

    async fn sale_of(&self, _: &CampaignId) -> Result<Option<SaleId>, StoreError> {
        not_here()
    }

    async fn sales(&self, _: Option<&SaleId>, _: u16) -> Result<Vec<SaleId>, StoreError> {
        not_here()
    }

    async fn stock_left(&self, _: &SaleId) -> Result<Vec<StockLeft>, StoreError> {
        not_here()
    }
}

#[derive(Default)]
struct Pools {
    free: BTreeMap<ProductId, VecDeque<String>>,
    taken: BTreeMap<(WorkflowId, u32), (ProductId, Vec<String>)>,
}

/// Pools of one sale.
#[derive(Default)]
pub struct StillSerials(Mutex<Pools>);

impl StillSerials {
    /// Puts so many numbers into a product's pool.
    pub fn put(&self, product: &str, count: u32) {
        let mut pools = self.0.lock().unwrap();
        let name = ProductId::parse(product).expect("a slug");
        let numbers = (0..count).map(|number| format!("{product}-{number:04}"));
        pools.free.entry(name).or_default().extend(numbers);
    }

    /// Numbers that purchases have.
    pub fn taken(&self) -> usize {
        let pools = self.0.lock().unwrap();
        pools.taken.values().map(|(_, numbers)| numbers.len()).sum()
    }
}

#[async_trait]
impl Serials for StillSerials {
    async fn take(&self, line: &SerialLine) -> Result<Option<Vec<String>>, StoreError> {
        let mut pools = self.0.lock().unwrap();
        let key = (line.workflow, line.line);
        if let Some((_, numbers)) = pools.taken.get(&key) {
            return Ok(Some(numbers.clone()));
        }
        let units = usize::try_from(line.units).expect("a few");
        let free = pools.free.entry(line.product.clone()).or_default();
        if free.len() < units {
            return Ok(None);
        }
        let numbers: Vec<String> = free.drain(..units).collect();
        let taken = (line.product.clone(), numbers.clone());
        pools.taken.insert(key, taken);
        Ok(Some(numbers))
    }

    async fn give_back(&self, _: &SaleId, workflow: WorkflowId) -> Result<(), StoreError> {
        let mut pools = self.0.lock().unwrap();
        let mut kept = BTreeMap::new();
        for (key, (product, numbers)) in std::mem::take(&mut pools.taken) {
            if key.0 == workflow {
                pools.free.entry(product).or_default().extend(numbers);
            } else {
                kept.insert(key, (product, numbers));
            }
        }
        pools.taken = kept;
        Ok(())
    }

    async fn fill(&self, _: &SaleId, _: &ProductId, _: &[String]) -> Result<u64, FillError> {
        Ok(not_here()?)
    }

    async fn level(&self, _: &SaleId, _: &ProductId) -> Result<PoolLevel, StoreError> {
        not_here()
    }
}
