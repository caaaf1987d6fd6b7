//! A sale as rows, both directions.

use std::time::Duration;

use engine::Timestamp;
use engine::store::change::ChangeKind;
use engine::store::{Change, Key, StoreError, Table, Value};
use engine::store::{Row, SqlDatabase};
use engine::workflow::Refusal;

use crate::domain::coupon::{Campaign, Discount, Validity};
use crate::domain::ids::{CampaignId, ProductId, SaleId};
use crate::domain::money::Currency;
use crate::domain::sale::{Product, Sale, SerialSource};
use crate::ports::catalogue::Recorded;
use crate::rows::{narrow, nonsense, slug, unsigned};
use crate::tables::{CAMPAIGNS, PRODUCTS, SALES, STOCK};

const READING: &str = "reading a sale";

/// What is stored of a sale.
pub struct Stored {
    /// The sale.
    pub sale: Sale,
    /// When it opens and closes according to its seed.
    pub seeded_hours: (Timestamp, Timestamp),
    /// What its opening saga has recorded.
    pub recorded: Recorded,
}

/// The stored sale.
pub async fn sale(database: &SqlDatabase, name: &SaleId) -> Result<Option<Stored>, StoreError> {
    let sql = "SELECT name, currency, opens_us, closes_us, per_buyer_limit, hold_seconds, revision, cancelled, \
         seeded_opens_us, seeded_closes_us, opened_us, closed_us FROM sales WHERE sale = ?";
    let key = [Value::from(name.as_str())];
    let rows = database.query(READING, sql, &key).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let (products, campaigns) = (
        products(database, &key).await?,
        campaigns(database, &key).await?,
    );
    let sale = Sale {
        sale: name.clone(),
        name: row.text(0)?.to_owned(),
        currency: Currency::parse(row.text(1)?).map_err(|error| nonsense(&error))?,
        opens_at: Timestamp(row.integer(2)?),
        closes_at: Timestamp(row.integer(3)?),
        per_buyer_limit: narrow(row, 4)?,
        hold_for: Duration::from_secs(unsigned(row, 5)?),
        revision: narrow(row, 6)?,
        is_cancelled: flag(row, 7)?,
        products,
        campaigns,
    };
    Ok(Some(Stored {
        sale,
        seeded_hours: (Timestamp(row.integer(8)?), Timestamp(row.integer(9)?)),
        recorded: Recorded {
            opened_at: recorded(row, 10)?,
            closed_at: recorded(row, 11)?,
        },
    }))
}

/// When something was recorded: 0 is not yet.
pub fn recorded(row: &Row, column: usize) -> Result<Option<Timestamp>, StoreError> {
    let instant = row.integer(column)?;
    Ok((instant != 0).then_some(Timestamp(instant)))
}

async fn products(database: &SqlDatabase, sale: &[Value]) -> Result<Vec<Product>, StoreError> {
    let sql = "SELECT products.product, products.name, products.unit_price, stock.total, products.pooled, products.recalled \
               FROM products JOIN stock ON stock.sale = products.sale AND stock.product = products.product \
               WHERE products.sale = ? ORDER BY products.product";
    let product = |row: &Row| {
        Ok(Product {
            product: slug(row, 0, ProductId::parse)?,
            name: row.text(1)?.to_owned(),
            unit_price: unsigned(row, 2)?,
            stock: narrow(row, 3)?,
            serials: if flag(row, 4)? {
                SerialSource::Pool
            } else {
                SerialSource::Generated
            },
            is_recalled: flag(row, 5)?,
        })
    };
    database
        .query(READING, sql, sale)
        .await?
        .iter()
        .map(product)
        .collect()
}

async fn campaigns(database: &SqlDatabase, sale: &[Value]) -> Result<Vec<Campaign>, StoreError> {
    let sql = "SELECT campaign, name, size, discount_kind, discount_value, minimum_price, \
               valid_from_us, valid_until_us, claims_from_us, in_purchase \
               FROM campaigns WHERE sale = ? ORDER BY campaign";
    let campaign = |row: &Row| {
        Ok(Campaign {
            campaign: slug(row, 0, CampaignId::parse)?,
            name: row.text(1)?.to_owned(),
            size: narrow(row, 2)?,
            discount: match row.text(3)? {
                "amount" => Discount::Amount(unsigned(row, 4)?),
                "percent" => Discount::Percent(narrow(row, 4)?),
                kind => return Err(nonsense(&format!("`{kind}` is no kind of discount"))),
            },
            minimum_price: unsigned(row, 5)?,
            validity: Validity {
                from: instant(row, 6)?,
                until: instant(row, 7)?,
            },
            claims_from: instant(row, 8)?,
            claim_in_purchase: flag(row, 9)?,
        })
    };
    database
        .query(READING, sql, sale)
        .await?
        .iter()
        .map(campaign)
        .collect()
}

fn flag(row: &Row, column: usize) -> Result<bool, StoreError> {
    Ok(row.integer(column)? != 0)
}

fn instant(row: &Row, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.optional_integer(column)?.map(Timestamp))
}

/// The sale that a campaign belongs to.
pub async fn owner_of(
    database: &SqlDatabase,
    campaign: &CampaignId,
) -> Result<Option<SaleId>, StoreError> {
    let sql = "SELECT sale FROM campaigns WHERE campaign = ?";
    let rows = database
        .query("reading a campaign", sql, &[campaign.as_str().into()])
        .await?;
    rows.first()
        .map(|row| slug(row, 0, SaleId::parse))
        .transpose()
}

/// What the opening saga has recorded of a sale; nothing when there is no such sale.
pub async fn recorded_of(database: &SqlDatabase, sale: &SaleId) -> Result<Recorded, StoreError> {
    let sql = "SELECT opened_us, closed_us FROM sales WHERE sale = ?";
    let rows = database
        .query("reading an opening", sql, &[sale.as_str().into()])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Recorded::default());
    };
    Ok(Recorded {
        opened_at: recorded(row, 0)?,
        closed_at: recorded(row, 1)?,
    })
}

/// The row of a product that is recalled, or no longer.
pub fn recall(sale: &SaleId, product: &ProductId, is_recalled: bool) -> Change {
    Change {
        table: &PRODUCTS,
        key: vec![sale.as_str().into(), product.as_str().into()],
        kind: ChangeKind::Set(vec![("recalled", i64::from(is_recalled).into())]),
        refusal: Refusal::new("no-product", "There is no such product."),
    }
}

/// The names of the sales after `after`, in order.
pub async fn sale_names(
    database: &SqlDatabase,
    after: Option<&SaleId>,
    limit: u16,
) -> Result<Vec<SaleId>, StoreError> {
    let sql = "SELECT sale FROM sales WHERE sale > ? ORDER BY sale LIMIT ?";
    let after = after.map_or("", SaleId::as_str);
    let limit = i64::from(limit.clamp(1, 1_000));
    let rows = database
        .query("listing the sales", sql, &[after.into(), limit.into()])
        .await?;
    rows.iter().map(|row| slug(row, 0, SaleId::parse)).collect()
}

/// The rows of a new sale.
pub fn changes(sale: &Sale) -> Vec<Change> {
    let name = || Value::from(sale.sale.as_str());
    let mut changes = vec![insert(
        &SALES,
        vec![name()],
        vec![
            sale.name.as_str().into(),
            sale.currency.to_string().into(),
            sale.opens_at.0.into(),
            sale.closes_at.0.into(),
            i64::from(sale.per_buyer_limit).into(),
            signed(sale.hold_for.as_secs()),
            i64::from(sale.revision).into(),
            i64::from(sale.is_cancelled).into(),
            0.into(),
            0.into(),
            sale.opens_at.0.into(),
            sale.closes_at.0.into(),
        ],
    )];
    for product in &sale.products {
        let key = || vec![name(), product.product.as_str().into()];
        let price = signed(product.unit_price);
        changes.push(insert(
            &PRODUCTS,
            key(),
            vec![
                product.name.as_str().into(),
                price,
                i64::from(product.serials == SerialSource::Pool).into(),
                i64::from(product.is_recalled).into(),
            ],
        ));
        let counters = vec![i64::from(product.stock).into(), 0.into(), 0.into()];
        changes.push(insert(&STOCK, key(), counters));
    }
    changes.extend(
        sale.campaigns
            .iter()
            .map(|campaign| campaign_row(&sale.sale, campaign)),
    );
    changes
}

fn campaign_row(sale: &SaleId, campaign: &Campaign) -> Change {
    let (kind, value) = match campaign.discount {
        Discount::Amount(amount) => ("amount", signed(amount)),
        Discount::Percent(percent) => ("percent", i64::from(percent).into()),
    };
    let values = vec![
        sale.as_str().into(),
        campaign.name.as_str().into(),
        i64::from(campaign.size).into(),
        kind.into(),
        value,
        signed(campaign.minimum_price),
        optional(campaign.validity.from),
        optional(campaign.validity.until),
        optional(campaign.claims_from),
        i64::from(campaign.claim_in_purchase).into(),
        0.into(),
    ];
    insert(&CAMPAIGNS, vec![campaign.campaign.as_str().into()], values)
}

fn insert(table: &'static Table, key: Key, values: Vec<Value>) -> Change {
    let refusal = Refusal::new("exists", "The sale is there already.");
    Change {
        table,
        key,
        kind: ChangeKind::Insert(values),
        refusal,
    }
}

fn optional(instant: Option<Timestamp>) -> Value {
    instant.map_or(Value::Null, |instant| instant.0.into())
}

/// Amounts are checked to be at most [`crate::domain::sale::AMOUNT_MAX`].
fn signed(amount: u64) -> Value {
    i64::try_from(amount).unwrap_or(i64::MAX).into()
}
