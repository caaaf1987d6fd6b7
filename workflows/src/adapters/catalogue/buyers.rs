//! What the catalogue knows of a buyer: the coupons and the purchases, from the rows that the workflows write.

use engine::Timestamp;
use engine::store::{Row, SqlDatabase, StoreError};

use crate::domain::ids::{BuyerId, CampaignId};
use crate::ports::catalogue::{Coupon, CouponState, PurchaseCursor};
use crate::rows::{nonsense, slug, workflow};

/// Coupons that are shown.
const COUPONS_MAX: i64 = 500;
/// Purchases of one page.
const PURCHASES_MAX: u16 = 500;

/// The buyer's coupons.
pub async fn coupons(database: &SqlDatabase, buyer: &BuyerId) -> Result<Vec<Coupon>, StoreError> {
    let sql = "SELECT campaign, state, claimed_by, purchase_id, claimed_us FROM coupons \
               WHERE buyer = ? ORDER BY campaign LIMIT ?";
    let parameters = [buyer.as_str().into(), COUPONS_MAX.into()];
    let rows = database
        .query("reading a buyer's coupons", sql, &parameters)
        .await?;
    rows.iter().map(coupon).collect()
}

fn coupon(row: &Row) -> Result<Coupon, StoreError> {
    let reserved = row.optional_bytes(3)?.is_some();
    Ok(Coupon {
        campaign: slug(row, 0, CampaignId::parse)?,
        state: state(row.integer(1)?)?,
        claimed_by: workflow(row, 2)?,
        purchase: reserved.then(|| workflow(row, 3)).transpose()?,
        claimed_at: Timestamp(row.integer(4)?),
    })
}

fn state(number: i64) -> Result<CouponState, StoreError> {
    [
        CouponState::Issued,
        CouponState::Reserved,
        CouponState::Used,
    ]
    .into_iter()
    .find(|state| state.number() == number)
    .ok_or_else(|| nonsense(&format!("{number} is no state of a coupon")))
}

/// The buyer's purchases, newest first.
pub async fn purchases(
    database: &SqlDatabase,
    buyer: &BuyerId,
    after: Option<PurchaseCursor>,
    limit: u16,
) -> Result<Vec<PurchaseCursor>, StoreError> {
    let sql = "SELECT created_us, workflow_id FROM purchases \
               WHERE buyer = ? AND (created_us < ? OR (created_us = ? AND workflow_id < ?)) \
               ORDER BY created_us DESC, workflow_id DESC LIMIT ?";
    let (created_us, id) = after.map_or((i64::MAX, Vec::new()), |after| {
        (after.created_at.0, after.workflow.bytes().to_vec())
    });
    let parameters = [
        buyer.as_str().into(),
        created_us.into(),
        created_us.into(),
        id.as_slice().into(),
        i64::from(limit.clamp(1, PURCHASES_MAX)).into(),
    ];
    let rows = database
        .query("reading a buyer's purchases", sql, &parameters)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(PurchaseCursor {
                created_at: Timestamp(row.integer(0)?),
                workflow: workflow(row, 1)?,
            })
        })
        .collect()
}
