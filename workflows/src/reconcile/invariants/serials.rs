//! The pools of serial numbers, as a part of I1: a number is in the pool it was taken from, belongs to one purchase, and is on
//! exactly the goods that took it.

use engine::WorkflowId;
use engine::store::{Row, StoreError};

use super::look_up::standings;
use super::{Inputs, InvariantReport};
use crate::domain::ids::SaleId;
use crate::rows::workflow;

/// Numbers that are named of one sale and one way to be wrong.
const NAMED_MAX: i64 = 100;

/// Looks at each number that was taken; a row without a product is no number, but says that a purchase gave its numbers back. One that a purchase has and gave no goods for is an operator's as long as the purchase is.
pub async fn taken_once(
    inputs: &Inputs<'_>,
    sale: &SaleId,
    report: &mut InvariantReport,
) -> Result<(), StoreError> {
    let foreign = "SELECT c.serial, c.workflow_id FROM serial_claims c \
                   LEFT JOIN serials s ON s.sale = c.sale AND s.serial = c.serial \
                   WHERE c.sale = ? AND c.product <> '' AND (s.product IS NULL OR s.product <> c.product) LIMIT ?";
    for row in read(inputs, foreign, sale).await? {
        let serial = row.text(0)?;
        report.violated(format!(
            "{sale}: serial {serial} was taken, and is not in its product's pool"
        ));
    }
    let unclaimed = "SELECT g.serial, g.workflow_id FROM goods g \
                     JOIN products p ON p.sale = g.sale AND p.product = g.product AND p.pooled = 1 \
                     LEFT JOIN serial_claims c ON c.sale = g.sale AND c.serial = g.serial \
                     WHERE g.sale = ? AND (c.workflow_id IS NULL OR c.workflow_id <> g.workflow_id) LIMIT ?";
    for row in read(inputs, unclaimed, sale).await? {
        let (serial, purchase) = (row.text(0)?, workflow(&row, 1)?);
        report.violated(format!(
            "{sale}: {purchase} has goods with serial {serial} and did not take it from the pool"
        ));
    }
    taken_for_goods(inputs, sale, report).await
}

/// Numbers that have no goods. Goods are issued after their numbers were taken: where the purchase stands is read in between.
async fn taken_for_goods(
    inputs: &Inputs<'_>,
    sale: &SaleId,
    report: &mut InvariantReport,
) -> Result<(), StoreError> {
    let mut after = String::new();
    loop {
        let rows = unused(inputs, sale, &after, NAMED_MAX).await?;
        let ids: Vec<WorkflowId> = rows
            .iter()
            .map(|row| workflow(row, 1))
            .collect::<Result<_, _>>()?;
        let there = standings(inputs.database, &ids).await?;
        for (row, purchase) in rows.iter().zip(&ids) {
            let serial = row.text(0)?;
            let standing = there.get(purchase);
            let what = format!("{sale}: {purchase} took serial {serial} and gave no goods for it");
            if standing.is_some_and(|standing| standing.is_under_way()) {
                report.under_way_unless(inputs.at_rest, what);
            } else if !standing.is_some_and(|standing| standing.is_an_operators())
                && is_still_unused(inputs, sale, serial).await?
            {
                report.violated(what);
            }
        }
        match rows.last() {
            Some(last) if i64::try_from(rows.len()).is_ok_and(|count| count >= NAMED_MAX) => {
                last.text(0)?.clone_into(&mut after);
            }
            _ => return Ok(()),
        }
        inputs.pause().await;
    }
}

async fn is_still_unused(
    inputs: &Inputs<'_>,
    sale: &SaleId,
    serial: &str,
) -> Result<bool, StoreError> {
    let sql = "SELECT COUNT(*) FROM serial_claims c \
               LEFT JOIN goods g ON g.sale = c.sale AND g.serial = c.serial AND g.workflow_id = c.workflow_id \
               WHERE c.sale = ? AND c.serial = ? AND c.product <> '' AND g.serial IS NULL";
    let parameters = [sale.as_str().into(), serial.into()];
    let rows = inputs
        .database
        .query("checking a serial number again", sql, &parameters)
        .await?;
    let count = rows.first().map(|row| row.integer(0)).transpose()?;
    Ok(count.is_some_and(|count| count > 0))
}

async fn unused(
    inputs: &Inputs<'_>,
    sale: &SaleId,
    after: &str,
    limit: i64,
) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT c.serial, c.workflow_id FROM serial_claims c \
               LEFT JOIN goods g ON g.sale = c.sale AND g.serial = c.serial AND g.workflow_id = c.workflow_id \
               WHERE c.sale = ? AND c.product <> '' AND g.serial IS NULL AND c.serial > ? ORDER BY c.serial LIMIT ?";
    let parameters = [sale.as_str().into(), after.into(), limit.into()];
    inputs
        .database
        .query("checking the serial numbers", sql, &parameters)
        .await
}

async fn read(
    inputs: &Inputs<'_>,
    sql: &'static str,
    sale: &SaleId,
) -> Result<Vec<Row>, StoreError> {
    let parameters = [sale.as_str().into(), NAMED_MAX.into()];
    inputs
        .database
        .query("checking the serial numbers", sql, &parameters)
        .await
}
