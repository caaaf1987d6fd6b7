//! I1 and I2: units and coupons, in the gate and in the database.

use std::collections::BTreeMap;

use engine::store::{Row, StoreError, Value};

use super::{Inputs, InvariantReport, VerifyError};
use crate::domain::coupon::Campaign;
use crate::domain::ids::{ProductId, SaleId};
use crate::domain::sale::Sale;
use crate::ports::reservations::{CampaignCounts, SaleCounts, StockCounts};
use crate::rows::{slug, unsigned};

/// Sales read at a time.
const SALES_PAGE: u16 = 100;

/// What the database says of a product, in units.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    total: u64,
    held: u64,
    sold: u64,
    holds: u64,
    goods: u64,
}

/// I1. Looks at each product.
pub async fn units(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title = "stock: total = available + held + sold in the gate, the database agrees, and sold = goods issued";
    let mut report = InvariantReport::new("I1", title);
    for sale in sales(inputs).await? {
        let counts = inputs.reservations.counts(&sale).await?;
        let stored = stored_products(inputs, &sale).await?;
        for product in unlisted(counts.as_ref(), &stored) {
            report.violated(format!(
                "{sale}/{product}: in the gate and not in the database"
            ));
        }
        for (product, stored) in stored {
            let gate = counts
                .as_ref()
                .and_then(|counts| counts.products.get(&product))
                .copied();
            let wrong = product_violations(gate, stored);
            report.checked += 1;
            for what in wrong {
                report.violated(format!("{sale}/{product}: {what}"));
            }
        }
    }
    Ok(report.finished())
}

fn unlisted(counts: Option<&SaleCounts>, stored: &BTreeMap<ProductId, Stored>) -> Vec<ProductId> {
    let products = counts.into_iter().flat_map(|counts| counts.products.keys());
    products
        .filter(|product| !stored.contains_key(product))
        .cloned()
        .collect()
}

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
    if gate.held != held {
        wrong.push(format!(
            "{} held in the gate, {held} in the database",
            gate.held
        ));
    }
    if gate.sold != sold {
        wrong.push(format!(
            "{} sold in the gate, {sold} in the database",
            gate.sold
        ));
    }
    wrong
}

async fn stored_products(
    inputs: &Inputs<'_>,
    sale: &SaleId,
) -> Result<BTreeMap<ProductId, Stored>, StoreError> {
    let mut stored: BTreeMap<ProductId, Stored> = BTreeMap::new();
    for left in inputs.catalogue.stock_left(sale).await? {
        let entry = Stored {
            total: left.total,
            held: left.held,
            sold: left.sold,
            ..Stored::default()
        };
        stored.insert(left.product, entry);
    }
    let holds =
        "SELECT product, CAST(SUM(quantity) AS SIGNED) FROM holds WHERE sale = ? GROUP BY product";
    for row in sums(inputs, "counting the holds", holds, sale.as_str()).await? {
        stored
            .entry(slug(&row, 0, ProductId::parse)?)
            .or_default()
            .holds = unsigned(&row, 1)?;
    }
    let goods = "SELECT product, COUNT(*) FROM goods WHERE sale = ? GROUP BY product";
    for row in sums(inputs, "counting the goods", goods, sale.as_str()).await? {
        stored
            .entry(slug(&row, 0, ProductId::parse)?)
            .or_default()
            .goods = unsigned(&row, 1)?;
    }
    Ok(stored)
}

/// I2. Looks at each campaign and each coupon.
pub async fn coupons(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title =
        "coupons: at most one a buyer, claims = coupons in the database <= the campaign's size";
    let mut report = InvariantReport::new("I2", title);
    for name in sales(inputs).await? {
        let Some(sale) = inputs.catalogue.sale(&name).await? else {
            continue;
        };
        let counts = inputs.reservations.counts(&name).await?;
        for campaign in &sale.campaigns {
            campaign_checked(inputs, &mut report, &sale, campaign, counts.as_ref()).await?;
        }
    }
    Ok(report.finished())
}

async fn campaign_checked(
    inputs: &Inputs<'_>,
    report: &mut InvariantReport,
    sale: &Sale,
    campaign: &Campaign,
    counts: Option<&SaleCounts>,
) -> Result<(), VerifyError> {
    let name = &campaign.campaign;
    let row = |rows: Vec<Row>| rows.into_iter().next();
    let sql = "SELECT COUNT(*), COUNT(DISTINCT buyer), COUNT(DISTINCT workflow_id) FROM coupons WHERE campaign = ?";
    let coupons = row(sums(inputs, "counting the coupons", sql, name.as_str()).await?);
    let sql = "SELECT issued FROM campaigns WHERE campaign = ?";
    let issued = row(sums(inputs, "reading the campaign", sql, name.as_str()).await?);
    let (Some(coupons), Some(issued)) = (coupons, issued) else {
        report.check(false, || {
            format!("{}/{name}: not in the database", sale.sale)
        });
        return Ok(());
    };
    let (coupons, buyers, purchases) = (
        unsigned(&coupons, 0)?,
        unsigned(&coupons, 1)?,
        unsigned(&coupons, 2)?,
    );
    let issued = unsigned(&issued, 0)?;
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
                *claims == coupons,
                format!("{claims} claimed in the gate, {coupons} coupons in the database"),
            );
        }
    }
    report.checked += coupons;
    Ok(())
}

async fn sums(
    inputs: &Inputs<'_>,
    doing: &'static str,
    sql: &'static str,
    key: &str,
) -> Result<Vec<Row>, StoreError> {
    inputs.database.query(doing, sql, &[Value::from(key)]).await
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
