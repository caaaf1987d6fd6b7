//! The sagas in the engine's kit: whatever goes wrong with any step, a purchase is whole, or was paid back, or there is none of it, in
//! the gate, at the gateway, in the pools and in the rows; and a coupon is the buyer's or nobody's.

use std::sync::Arc;
use std::time::Duration;

use engine::definition::Definition;
use engine::testing::kit::{Ending, Kit, World};
use engine::{Epoch, Payload, Runtime};
use workflows::campaign::{self, ClaimAhead};
use workflows::domain::coupon::Campaign;
use workflows::domain::sale::{Product, Sale};
use workflows::ports::reservations::{
    CampaignCounts, CampaignSnapshot, ClaimPurpose, ClaimReply, ClaimRequest, OperationKey,
    ProductSnapshot, Reservations as _, SaleCounts, SaleSnapshot, StockCounts,
};
use workflows::purchase::{
    self, AUTHORISATION, Authorisation, Gate, GateAlarm, PaymentMeans, Ports, PurchaseRequest,
    definition_name,
};

use crate::support::{
    FaultyGate, ScriptedGateway, StillCatalogue, StillSerials, campaign, product, request, sale,
    sale_id,
};

/// What one workflow may touch: a gate with the sale of the seed, a gateway, pools, and the rows that the kit keeps.
struct Till {
    request: PurchaseRequest,
    gate: Gate,
    reservations: FaultyGate,
    gateway: Arc<ScriptedGateway>,
    catalogue: Arc<StillCatalogue>,
    serials: Arc<StillSerials>,
    /// The buyer has a coupon already.
    has_coupon: bool,
}

impl Till {
    async fn open(request: PurchaseRequest) -> Self {
        let reservations = FaultyGate::new();
        reservations
            .rebuild(&untouched(&sale()))
            .await
            .expect("loaded");
        reservations.attach().await.expect("attached");
        let (catalogue, serials) = (StillCatalogue::new(sale()), StillSerials::default());
        catalogue.pool("cap");
        serials.put("cap", 10);
        Self {
            request,
            gate: Gate {
                reservations: Arc::new(reservations.clone()),
                alarm: GateAlarm::default(),
            },
            reservations,
            gateway: Arc::default(),
            catalogue: Arc::new(catalogue),
            serials: Arc::new(serials),
            has_coupon: false,
        }
    }

    /// The same, and the buyer has claimed a coupon ahead.
    async fn with_coupon(request: PurchaseRequest) -> Self {
        let till = Self::open(request).await;
        let ahead = ClaimRequest {
            sale: sale_id(),
            campaign: campaign(),
            buyer: till.request.buyer.clone(),
            operation: OperationKey::parse("before/coupon-issue").expect("short"),
            epoch: Epoch(1).0,
            purpose: ClaimPurpose::Ahead,
            remember_refusal: false,
        };
        let claimed = till.reservations.claim(&ahead).await.expect("answered");
        assert_eq!(claimed, ClaimReply::Held { taken_from: None });
        Self {
            has_coupon: true,
            ..till
        }
    }

    fn units(&self, name: &str) -> u64 {
        let lines = self.request.lines.iter();
        let wanted = lines.filter(|line| line.product == product(name));
        wanted.map(|line| u64::from(line.quantity)).sum()
    }

    /// Gate, ledger and pools are as they are after so many purchases of this kind.
    async fn is_after(&self, purchases: u64) -> Result<(), String> {
        let counts = counts(&self.reservations).await?;
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
        let bought = purchases * u64::from(self.request.campaign.is_some());
        expect_coupons(&counts, bought.max(u64::from(self.has_coupon)))?;
        let kept = self.gateway.ledger();
        let kept = kept.iter().map(|entry| entry.captured - entry.refunded);
        let kept: Vec<u64> = kept.filter(|kept| *kept > 0).collect();
        let times = usize::try_from(purchases).expect("0 or 1");
        expect("captured", &vec![self.request.total.amount; times], &kept)?;
        let serials = purchases * self.units("cap");
        expect("serials", &serials, &(self.serials.taken() as u64))
    }

    async fn is_refunded(&self, ending: &Ending) -> Result<(), String> {
        self.is_after(0).await?;
        let refunded: u64 = self
            .gateway
            .ledger()
            .iter()
            .map(|entry| entry.refunded)
            .sum();
        expect("refunded", &self.request.total.amount, &refunded)?;
        let rows = &ending.rows;
        for table in ["goods", "holds", "coupons"] {
            expect(table, &0, &rows.inserted(table))?;
        }
        expect("held", &0, &rows.added("stock", "held"))?;
        expect("sold", &0, &rows.added("stock", "sold"))?;
        expect("issued", &0, &rows.added("campaigns", "issued"))
    }

    async fn is_issued(&self, ending: &Ending) -> Result<(), String> {
        self.is_after(1).await?;
        let rows = &ending.rows;
        let units = self.units("mug") + self.units("cap");
        expect("goods", &units, &(rows.inserted("goods") as u64))?;
        expect("holds", &0, &rows.inserted("holds"))?;
        let units = i64::try_from(units).expect("a few");
        expect("held", &0, &rows.added("stock", "held"))?;
        expect("sold", &units, &rows.added("stock", "sold"))?;
        let price = i64::try_from(self.request.total.amount).expect("a small sum");
        expect("prices", &price, &rows.added("goods", "price"))?;
        let coupons = self.request.campaign.is_some() && !self.has_coupon;
        expect("coupons", &usize::from(coupons), &rows.inserted("coupons"))?;
        let issued = i64::from(coupons);
        expect("issued", &issued, &rows.added("campaigns", "issued"))?;
        expect("used", &(2 * issued), &rows.added("coupons", "state"))
    }
}

async fn counts(reservations: &FaultyGate) -> Result<SaleCounts, String> {
    let counts = reservations.counts(&sale_id()).await;
    let counts = counts.map_err(|error| error.to_string())?;
    counts.ok_or_else(|| "the gate is closed".to_owned())
}

fn expect_coupons(counts: &SaleCounts, expected: u64) -> Result<(), String> {
    let CampaignCounts { size, issued, .. } = &counts.campaigns[&campaign()];
    expect("coupons", &(3, expected), &(*size, *issued))
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

/// The sale before anyone bought anything. Coupons can be claimed ahead of it.
fn untouched(sale: &Sale) -> SaleSnapshot {
    let product = |product: &Product| ProductSnapshot {
        product: product.product.clone(),
        total: product.stock,
        sold: 0,
    };
    let campaign = |campaign: &Campaign| CampaignSnapshot {
        campaign: campaign.campaign.clone(),
        size: campaign.size,
        valid_from_ms: None,
        valid_until_ms: None,
        claims_from_ms: Some(0),
        claim_in_purchase: true,
        claims: Vec::new(),
    };
    SaleSnapshot {
        sale: sale.sale.clone(),
        generation: 1,
        revision: 1,
        is_cancelled: false,
        opens_at_ms: sale.opens_at.0.div_euclid(1_000),
        closes_at_ms: sale.closes_at.0.div_euclid(1_000),
        per_buyer_limit: sale.per_buyer_limit,
        products: sale.products.iter().map(product).collect(),
        holds: Vec::new(),
        sold: Vec::new(),
        campaigns: sale.campaigns.iter().map(campaign).collect(),
        ended: Vec::new(),
        open: Vec::new(),
    }
}

impl World for Till {
    fn definition(&self) -> Definition {
        let ports = Ports {
            gate: self.gate.clone(),
            gateway: Arc::clone(&self.gateway) as _,
            catalogue: Arc::clone(&self.catalogue) as _,
            serials: Arc::clone(&self.serials) as _,
        };
        let definitions = purchase::definitions(&ports).expect("sound sagas");
        definitions
            .into_iter()
            .find(|definition| definition.pinned().name == definition_name(&self.request))
            .expect("the saga of this means of payment")
    }

    fn input(&self) -> Payload {
        Payload::of(&self.request).expect("it is JSON")
    }

    async fn clean(&self) -> Result<(), String> {
        self.is_after(0).await
    }

    async fn complete(&self, ending: &Ending) -> Result<(), String> {
        if ending.rows.inserted("goods") == 0 {
            return self.is_refunded(ending).await;
        }
        self.is_issued(ending).await
    }

    fn signals(&self) -> Vec<(&'static str, Payload)> {
        if self.request.payment != PaymentMeans::Redirect {
            return Vec::new();
        }
        let authorised = Authorisation::Authorised {
            token: ScriptedGateway::authorisation_of_any(),
        };
        let authorised = Payload::of(&authorised).expect("it is JSON");
        vec![(AUTHORISATION, authorised)]
    }

    /// A buyer's list names every purchase that was begun.
    fn keeps(&self) -> &'static [&'static str] {
        &["purchases"]
    }
}

#[track_caller]
fn passes(report: &engine::testing::kit::Report) {
    report.assert_passed();
    println!("{report}");
}

/// A request that is authorised at the gateway, within ten minutes by the kit's clock.
fn redirect(mut request: PurchaseRequest, runtime: &Runtime) -> PurchaseRequest {
    request.payment = PaymentMeans::Redirect;
    request.accepted_at = runtime.now();
    request.hold_until = runtime.now().after(Duration::from_mins(10));
    request
}

#[test]
fn a_purchase_with_a_coupon_and_serial_numbers_is_whole_or_there_is_none_of_it() {
    let request = request("ann", &[("mug", 2), ("cap", 1)], Some("first"));
    passes(&Kit::new(|_| Till::open(request.clone())).run());
}

#[test]
fn a_purchase_without_either_is_whole_or_there_is_none_of_it() {
    let request = request("ann", &[("mug", 1)], None);
    passes(&Kit::new(|_| Till::open(request.clone())).run());
}

#[test]
fn a_purchase_with_a_coupon_from_before_is_whole_or_the_buyer_has_the_coupon_still() {
    let request = request("ann", &[("mug", 2)], Some("first"));
    passes(&Kit::new(|_| Till::with_coupon(request.clone())).run());
}

#[test]
fn a_purchase_that_is_authorised_at_the_gateway_is_whole_or_there_is_none_of_it() {
    let request = request("ann", &[("mug", 2), ("cap", 1)], Some("first"));
    let open = |runtime: Runtime| Till::open(redirect(request.clone(), &runtime));
    passes(&Kit::new(open).run());
}

/// A coupon that is claimed ahead.
struct Counter {
    claim: ClaimAhead,
    gate: Gate,
    reservations: FaultyGate,
}

impl World for Counter {
    fn definition(&self) -> Definition {
        campaign::definition(&self.gate).expect("a sound saga")
    }

    fn input(&self) -> Payload {
        Payload::of(&self.claim).expect("it is JSON")
    }

    async fn clean(&self) -> Result<(), String> {
        expect_coupons(&counts(&self.reservations).await?, 0)
    }

    async fn complete(&self, ending: &Ending) -> Result<(), String> {
        expect_coupons(&counts(&self.reservations).await?, 1)?;
        let rows = &ending.rows;
        expect("coupons", &1, &rows.inserted("coupons"))?;
        expect("state", &0, &rows.added("coupons", "state"))?;
        expect("issued", &1, &rows.added("campaigns", "issued"))
    }
}

#[test]
fn a_coupon_is_the_buyers_or_nobodys() {
    let till = |_| async {
        let till = Till::open(request("ann", &[("mug", 1)], None)).await;
        Counter {
            claim: ClaimAhead {
                buyer: till.request.buyer.clone(),
                sale: sale_id(),
                campaign: campaign(),
                accepted_at: till.request.accepted_at,
            },
            gate: till.gate,
            reservations: till.reservations,
        }
    };
    passes(&Kit::new(till).run());
}
