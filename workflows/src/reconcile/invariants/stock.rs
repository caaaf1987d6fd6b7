//! I1 and I2: units and coupons, in the gate and in the database.
//!
//! What each side says of itself is read at one moment, and must be right at any moment. That both sides say the same can only be
//! seen when nobody buys: where they differ and people do, the reconciler looks at both, operation by operation and twice, and what
//! it finds is a violation; the rest was on its way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::store::{Row, StoreError, Value};

use super::serials::taken_once;
use super::{Inputs, InvariantReport, VerifyError};
use crate::domain::coupon::Campaign;
use crate::domain::ids::{ProductId, SaleId};
use crate::domain::sale::Sale;
use crate::ports::reservations::{CampaignCounts, SaleCounts, StockCounts};
use crate::reconcile::difference::{Kind, ReconcileReport};
use crate::reconcile::reconciler::{Order, ReconcileError};
use crate::rows::{slug, unsigned};

/// Sales read at a time.
const SALES_PAGE: u16 = 100;
/// How long a closer look at a sale may take.
const CLOSER_LOOK_MAX: Duration = Duration::from_mins(1);
/// How often one is tried, and the pause between one and the next.
const CLOSER_LOOKS_MAX: u32 = 3;
const CLOSER_LOOK_PAUSE: Duration = Duration::from_millis(500);

/// What the database says of a product, in units.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    total: u64,
    held: u64,
    sold: u64,
    holds: u64,
    goods: u64,
}

/// Where the gate and the database say other things, each a sentence and by how much.
#[derive(Default)]
struct Differences(Vec<(String, u64)>);

impl Differences {
    fn compare(&mut self, what: &str, gate: u64, stored: u64) {
        if gate != stored {
            let sentence = format!("{gate} {what} in the gate, {stored} in the database");
            self.0.push((sentence, gate.abs_diff(stored)));
        }
    }
}

/// I1 and I2. Looks at each product; at each campaign and each coupon.
pub async fn units_and_coupons(
    inputs: &Inputs<'_>,
) -> Result<(InvariantReport, InvariantReport), VerifyError> {
    let title = "stock: total = available + held + sold in the gate, the database agrees, sold = goods issued, and each serial number is used once";
    let mut units = InvariantReport::new("I1", title);
    let title =
        "coupons: at most one a buyer, claims = coupons in the database <= the campaign's size";
    let mut coupons = InvariantReport::new("I2", title);
    for name in sales(inputs).await? {
        let counts = inputs.reservations.counts(&name).await?;
        let stored = stored_products(inputs, &name).await?;
        for product in unlisted(counts.as_ref(), &stored) {
            units.violated(format!(
                "{name}/{product}: in the gate and not in the database"
            ));
        }
        let mut of_units = Vec::new();
        for (product, stored) in stored {
            let gate = counts
                .as_ref()
                .and_then(|counts| counts.products.get(&product))
                .copied();
            units.checked += 1;
            let place = format!("{name}/{product}");
            for what in product_violations(gate, stored) {
                units.violated(format!("{place}: {what}"));
            }
            of_units.push((place, product_differences(gate, stored)));
        }
        taken_once(inputs, &name, &mut units).await?;
        let mut of_coupons = Vec::new();
        let sale = inputs.catalogue.sale(&name).await?;
        if let Some(sale) = &sale {
            for campaign in &sale.campaigns {
                let place = format!("{name}/{}", campaign.campaign);
                let differs =
                    campaign_checked(inputs, &mut coupons, sale, campaign, counts.as_ref()).await?;
                of_coupons.push((place, differs));
            }
        }
        let differences = [of_units, of_coupons];
        judge(
            inputs,
            &name,
            sale.as_deref(),
            differences,
            [&mut units, &mut coupons],
        )
        .await?;
        inputs.pause().await;
    }
    Ok((units.finished(), coupons.finished()))
}

/// Where the sides differ, by place.
type Places = Vec<(String, Differences)>;

/// Says which differences are violations.
async fn judge(
    inputs: &Inputs<'_>,
    name: &SaleId,
    sale: Option<&Sale>,
    differences: [Places; 2],
    reports: [&mut InvariantReport; 2],
) -> Result<(), VerifyError> {
    let is_equal = |places: &Places| places.iter().all(|(_, differs)| differs.0.is_empty());
    if differences.iter().all(is_equal) {
        return Ok(());
    }
    let closer = closer_look(inputs, name).await?;
    let [units, coupons] = reports;
    // Without a closer look each of them counts as it is.
    let Some(closer) = closer else {
        for (places, report) in differences.into_iter().zip([units, coupons]) {
            for (place, differs) in places {
                for (what, _) in differs.0 {
                    report.violated(format!("{place}: {what}"));
                }
            }
        }
        return Ok(());
    };
    for (places, report) in differences.into_iter().zip([&mut *units, &mut *coupons]) {
        for (place, differs) in places {
            for (what, by) in differs.0 {
                report.under_way(by, || format!("{place}: {what}"));
            }
        }
    }
    for difference in &closer.differences {
        let campaigns = sale.map_or(&[][..], |sale| &sale.campaigns);
        let of_coupons = match difference.kind {
            Kind::ClaimWithoutWorkflow
            | Kind::ClaimOfEndedWorkflow
            | Kind::CouponMissingInGate
            | Kind::CouponDiffers => true,
            Kind::CountersDoNotAddUp => campaigns
                .iter()
                .any(|campaign| Some(campaign.campaign.as_str()) == difference.item.as_deref()),
            _ => false,
        };
        let report = if of_coupons {
            &mut *coupons
        } else {
            &mut *units
        };
        report.violated(format!(
            "{}: {}",
            difference.kind.word(),
            difference.sentence()
        ));
    }
    Ok(())
}

/// What the reconciler finds in this sale; `None` where nothing may be under way, and where it can't look.
async fn closer_look(
    inputs: &Inputs<'_>,
    name: &SaleId,
) -> Result<Option<Arc<ReconcileReport>>, VerifyError> {
    let Some(reconciler) = inputs.reconciler.filter(|_| !inputs.at_rest) else {
        return Ok(None);
    };
    for _ in 0..CLOSER_LOOKS_MAX {
        let order = Order {
            sale: Some(name.clone()),
            repair: false,
        };
        match reconciler.run(order, CLOSER_LOOK_MAX).await {
            Ok(report) if report.not_looked_at.is_empty() => return Ok(Some(report)),
            // It is rebuilt at this moment, or the reconciler has much to do.
            Ok(_) | Err(ReconcileError::NoAnswer) => inputs.runtime.sleep(CLOSER_LOOK_PAUSE).await,
            Err(ReconcileError::NoSuchSale(_)) => return Ok(None),
            Err(ReconcileError::Store(error)) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn unlisted(counts: Option<&SaleCounts>, stored: &BTreeMap<ProductId, Stored>) -> Vec<ProductId> {
    let products = counts.into_iter().flat_map(|counts| counts.products.keys());
    products
        .filter(|product| !stored.contains_key(product))
        .cloned()
        .collect()
}

/// What is wrong at any moment.
fn product_violations(gate: Option<StockCounts>, stored: Stored) -> Vec<String> {
    let Stored {
        total,
        held,
        sold,
        holds,
        goods,
    } = stored;
    let mut wrong = Vec::new();
    if held + sold > total {
        wrong.push(format!(
            "oversold: {held} held and {sold} sold of {total} in the database"
        ));
    }
    if sold != goods {
        wrong.push(format!("{sold} sold in the database, {goods} goods issued"));
    }
    if held != holds {
        wrong.push(format!(
            "{held} held in the database, {holds} units in holds"
        ));
    }
    let Some(gate) = gate else {
        wrong.push("the gate is closed or does not know it".to_owned());
        return wrong;
    };
    if gate.available + gate.held + gate.sold != total {
        let StockCounts {
            available,
            held,
            sold,
        } = gate;
        wrong.push(format!(
            "{available} available + {held} held + {sold} sold in the gate, {total} in all"
        ));
    }
    wrong
}

/// What may differ while people buy.
fn product_differences(gate: Option<StockCounts>, stored: Stored) -> Differences {
    let mut differences = Differences::default();
    if let Some(gate) = gate {
        differences.compare("held", gate.held, stored.held);
        differences.compare("sold", gate.sold, stored.sold);
    }
    differences
}

/// Everything that the database says of a sale's products, by one statement and so of one moment.
async fn stored_products(
    inputs: &Inputs<'_>,
    sale: &SaleId,
) -> Result<BTreeMap<ProductId, Stored>, StoreError> {
    let sql = "SELECT 0, product, total, held, sold FROM stock WHERE sale = ? \
               UNION ALL SELECT 1, product, CAST(SUM(quantity) AS SIGNED), 0, 0 FROM holds WHERE sale = ? GROUP BY product \
               UNION ALL SELECT 2, product, COUNT(*), 0, 0 FROM goods WHERE sale = ? GROUP BY product";
    let parameters = [sale.as_str(); 3].map(Value::from);
    let rows = inputs
        .database
        .query("counting a sale's units", sql, &parameters)
        .await?;
    let mut stored: BTreeMap<ProductId, Stored> = BTreeMap::new();
    for row in &rows {
        let entry = stored.entry(slug(row, 1, ProductId::parse)?).or_default();
        let count = unsigned(row, 2)?;
        match row.integer(0)? {
            0 => {
                entry.total = count;
                entry.held = unsigned(row, 3)?;
                entry.sold = unsigned(row, 4)?;
            }
            1 => entry.holds = count,
            _ => entry.goods = count,
        }
    }
    Ok(stored)
}

/// What the database says of a campaign, all of one moment.
struct StoredCampaign {
    coupons: u64,
    buyers: u64,
    purchases: u64,
    contradictory: u64,
    issued: u64,
}

async fn stored_campaign(
    inputs: &Inputs<'_>,
    campaign: &Campaign,
) -> Result<Option<StoredCampaign>, StoreError> {
    let sql = "SELECT campaigns.issued, COUNT(coupons.buyer), COUNT(DISTINCT coupons.buyer), \
               COUNT(DISTINCT COALESCE(coupons.purchase_id, coupons.claimed_by)), \
               COUNT(CASE WHEN coupons.state NOT IN (0, 1, 2) OR (coupons.state = 0) <> (coupons.purchase_id IS NULL) THEN 1 END) \
               FROM campaigns LEFT JOIN coupons ON coupons.campaign = campaigns.campaign \
               WHERE campaigns.campaign = ? GROUP BY campaigns.campaign, campaigns.issued";
    let parameters = [Value::from(campaign.campaign.as_str())];
    let rows = inputs
        .database
        .query("counting a campaign's coupons", sql, &parameters)
        .await?;
    let stored = |row: &Row| {
        Ok(StoredCampaign {
            issued: unsigned(row, 0)?,
            coupons: unsigned(row, 1)?,
            buyers: unsigned(row, 2)?,
            purchases: unsigned(row, 3)?,
            contradictory: unsigned(row, 4)?,
        })
    };
    rows.first().map(stored).transpose()
}

async fn campaign_checked(
    inputs: &Inputs<'_>,
    report: &mut InvariantReport,
    sale: &Sale,
    campaign: &Campaign,
    counts: Option<&SaleCounts>,
) -> Result<Differences, VerifyError> {
    let name = &campaign.campaign;
    let mut differences = Differences::default();
    let Some(stored) = stored_campaign(inputs, campaign).await? else {
        report.check(false, || {
            format!("{}/{name}: not in the database", sale.sale)
        });
        return Ok(differences);
    };
    let StoredCampaign {
        coupons,
        buyers,
        purchases,
        contradictory,
        issued,
    } = stored;
    let size = u64::from(campaign.size);
    let mut says =
        |holds: bool, what: String| report.check(holds, || format!("{}/{name}: {what}", sale.sale));
    says(coupons <= size, format!("{coupons} coupons of {size}"));
    says(
        buyers == coupons,
        format!("{coupons} coupons for {buyers} buyers"),
    );
    says(
        purchases == coupons,
        format!("{coupons} coupons by {purchases} purchases"),
    );
    says(
        issued == coupons,
        format!("{issued} counted as issued, {coupons} coupons in the database"),
    );
    says(
        contradictory == 0,
        format!("{contradictory} coupons that are with a purchase, or used, contradict themselves"),
    );
    match counts.and_then(|counts| counts.campaigns.get(name)) {
        None => says(false, "the gate is closed or does not know it".to_owned()),
        Some(CampaignCounts {
            size: gate_size,
            issued: claims,
        }) => {
            says(
                *gate_size == size,
                format!("{gate_size} in all in the gate, {size} in the database"),
            );
            says(
                *claims <= size,
                format!("{claims} claimed in the gate, of {size}"),
            );
            differences.compare("claimed", *claims, coupons);
        }
    }
    report.checked += coupons;
    Ok(differences)
}

async fn sales(inputs: &Inputs<'_>) -> Result<Vec<SaleId>, StoreError> {
    let mut sales: Vec<SaleId> = Vec::new();
    loop {
        let page = inputs.catalogue.sales(sales.last(), SALES_PAGE).await?;
        let full = page.len() == usize::from(SALES_PAGE);
        sales.extend(page);
        if !full {
            return Ok(sales);
        }
    }
}
