//! The purchase in the engine's kit: whatever goes wrong with any step, the purchase is whole or there is none of it, in the gate,
//! at the gateway and in the rows.

use std::sync::Arc;

use engine::Payload;
use engine::definition::Definition;
use engine::testing::kit::{Ending, Kit, World};
use workflows::domain::coupon::Campaign;
use workflows::domain::sale::{Product, Sale};
use workflows::ports::payment_gateway::PaymentGateway;
use workflows::ports::reservations::{
    CampaignCounts, CampaignSnapshot, ProductSnapshot, Reservations as _, SaleCounts, SaleSnapshot,
    StockCounts,
};
use workflows::purchase::{self, Gate, GateAlarm, PurchaseRequest};

use crate::support::{FaultyGate, ScriptedGateway, campaign, product, request, sale, sale_id};

/// What one purchase may touch: a gate with the sale of the seed, a gateway, and the rows that the kit keeps.
struct Till {
    request: PurchaseRequest,
    gate: Gate,
    reservations: FaultyGate,
    gateway: Arc<ScriptedGateway>,
}

impl Till {
    async fn open(request: PurchaseRequest) -> Self {
        let reservations = FaultyGate::new();
        reservations
            .rebuild(&untouched(&sale()))
            .await
            .expect("loaded");
        reservations.attach().await.expect("attached");
        Self {
            request,
            gate: Gate {
                reservations: Arc::new(reservations.clone()),
                alarm: GateAlarm::default(),
            },
            reservations,
            gateway: Arc::default(),
        }
    }

    fn units(&self, name: &str) -> u64 {
        let lines = self.request.lines.iter();
        let wanted = lines.filter(|line| line.product == product(name));
        wanted.map(|line| u64::from(line.quantity)).sum()
    }

    /// The gate and the ledger are as they are after so many purchases of this kind.
    async fn is_after(&self, purchases: u64) -> Result<(), String> {
        let counts = self.reservations.counts(&sale_id()).await;
        let counts = counts
            .map_err(|error| error.to_string())?
            .ok_or("the gate is closed")?;
        for (name, total) in [("mug", 10), ("cap", 5)] {
            let sold = purchases * self.units(name);
            let expected = StockCounts {
                available: total - sold,
                held: 0,
                sold,
            };
            let found = counts.products[&product(name)];
            expect(name, &expected, &found)?;
        }
        self.coupons_are_after(purchases, &counts)?;
        let captured: Vec<u64> = self
            .gateway
            .ledger()
            .iter()
            .map(|entry| entry.captured - entry.refunded)
            .collect();
        let times = usize::try_from(purchases).expect("0 or 1");
        let expected = vec![self.request.total.amount; times];
        expect("captured", &expected, &captured)
    }

    fn coupons_are_after(&self, purchases: u64, counts: &SaleCounts) -> Result<(), String> {
        let taken = purchases * u64::from(self.request.campaign.is_some());
        let CampaignCounts { size, issued, .. } = &counts.campaigns[&campaign()];
        expect("coupons", &(3, taken), &(*size, *issued))
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: &T,
    found: &T,
) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    Err(format!("{what}: {found:?} and not {expected:?}"))
}

/// The sale before anyone bought anything.
fn untouched(sale: &Sale) -> SaleSnapshot {
    let product = |product: &Product| ProductSnapshot {
        product: product.product.clone(),
        total: product.stock,
        sold: 0,
    };
    let campaign = |campaign: &Campaign| CampaignSnapshot {
        campaign: campaign.campaign.clone(),
        size: campaign.size,
        claims: Vec::new(),
    };
    SaleSnapshot {
        sale: sale.sale.clone(),
        generation: 1,
        opens_at_ms: sale.opens_at.0.div_euclid(1_000),
        closes_at_ms: sale.closes_at.0.div_euclid(1_000),
        per_buyer_limit: sale.per_buyer_limit,
        products: sale.products.iter().map(product).collect(),
        holds: Vec::new(),
        sold: Vec::new(),
        campaigns: sale.campaigns.iter().map(campaign).collect(),
    }
}

impl World for Till {
    fn definition(&self) -> Definition {
        let gateway: Arc<dyn PaymentGateway> = Arc::clone(&self.gateway) as _;
        purchase::definition(&self.gate, &gateway).expect("a sound saga")
    }

    fn input(&self) -> Payload {
        Payload::of(&self.request).expect("it is JSON")
    }

    async fn clean(&self) -> Result<(), String> {
        self.is_after(0).await
    }

    async fn complete(&self, ending: &Ending) -> Result<(), String> {
        self.is_after(1).await?;
        let rows = &ending.rows;
        let units = self.units("mug") + self.units("cap");
        let coupons = usize::from(self.request.campaign.is_some());
        expect("goods", &units, &(rows.inserted("goods") as u64))?;
        expect("holds", &0, &rows.inserted("holds"))?;
        let units = i64::try_from(units).expect("a few");
        expect("held", &0, &rows.added("stock", "held"))?;
        expect("sold", &units, &rows.added("stock", "sold"))?;
        let price = i64::try_from(self.request.total.amount).expect("a small sum");
        expect("prices", &price, &rows.added("goods", "price"))?;
        expect("coupons", &coupons, &rows.inserted("coupons"))?;
        let used = i64::from(self.request.campaign.is_some());
        expect("used", &used, &rows.added("coupons", "used"))
    }
}

/// Plays the purchase of this request.
fn holds_for(lines: &[(&str, i64)], campaign: Option<&str>) {
    let request = request("ann", lines, campaign);
    let report = Kit::new(|_| Till::open(request.clone())).run();
    report.assert_passed();
    println!("{report}");
}

#[test]
fn a_purchase_with_a_coupon_is_whole_or_there_is_none_of_it() {
    holds_for(&[("mug", 2), ("cap", 1)], Some("first"));
}

#[test]
fn a_purchase_without_one_is_whole_or_there_is_none_of_it() {
    holds_for(&[("mug", 1)], None);
}
