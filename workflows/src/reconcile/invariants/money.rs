//! I3: what the gateway says it took is what the goods cost.

use std::collections::BTreeMap;

use engine::WorkflowId;
use engine::store::{SqlDatabase, Status, StoreError};

use super::{Inputs, InvariantReport, LedgerEntry, VerifyError};
use crate::rows::{unsigned, workflow};

/// Rows that one query reads.
const PAGE_ROWS: i64 = 5_000;

/// A purchase on both sides, in minor units.
#[derive(Default)]
struct Sides {
    captured: u64,
    refunded: u64,
    goods: u64,
}

/// I3. Looks at each purchase that has an entry in the ledger or goods. Money without goods is what an operator's queue is
/// for, so a parked purchase may have it, and one that an operator gave up; goods without money nobody may have.
pub async fn captured_is_issued(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title = "money: captured - refunded in the gateway's ledger = price of the goods issued, for each purchase";
    let mut report = InvariantReport::new("I3", title);
    let mut purchases = goods_by_purchase(inputs.database).await?;
    for entry in inputs.ledger {
        match WorkflowId::parse(&entry.order) {
            Some(workflow) => add(purchases.entry(workflow).or_default(), entry),
            None => report.check(false, || {
                format!("order {}: no purchase of ours", entry.order)
            }),
        }
    }
    for (
        workflow,
        Sides {
            captured,
            refunded,
            goods,
        },
    ) in purchases
    {
        report.checked += 1;
        let Some(net) = captured.checked_sub(refunded) else {
            report.violated(format!(
                "{workflow}: {refunded} refunded of {captured} captured"
            ));
            continue;
        };
        if net == goods || (goods == 0 && is_an_operators(inputs, workflow).await?) {
            continue;
        }
        report.violated(format!(
            "{workflow}: {captured} captured - {refunded} refunded, goods for {goods}"
        ));
    }
    Ok(report.finished())
}

fn add(sides: &mut Sides, entry: &LedgerEntry) {
    sides.captured = sides.captured.saturating_add(entry.captured);
    sides.refunded = sides.refunded.saturating_add(entry.refunded);
}

async fn is_an_operators(inputs: &Inputs<'_>, workflow: WorkflowId) -> Result<bool, StoreError> {
    let head = inputs.store.find(&workflow.ident()).await?;
    Ok(head.is_some_and(|head| {
        head.id == workflow && matches!(head.status, Status::Parked | Status::Abandoned)
    }))
}

async fn goods_by_purchase(
    database: &SqlDatabase,
) -> Result<BTreeMap<WorkflowId, Sides>, StoreError> {
    let sql = "SELECT sale, serial, workflow_id, price FROM goods \
               WHERE sale > ? OR (sale = ? AND serial > ?) ORDER BY sale, serial LIMIT ?";
    let mut purchases: BTreeMap<WorkflowId, Sides> = BTreeMap::new();
    let (mut sale, mut serial) = (String::new(), String::new());
    loop {
        let parameters = [
            sale.as_str().into(),
            sale.as_str().into(),
            serial.as_str().into(),
            PAGE_ROWS.into(),
        ];
        let rows = database
            .query("reading the goods", sql, &parameters)
            .await?;
        for row in &rows {
            purchases.entry(workflow(row, 2)?).or_default().goods += unsigned(row, 3)?;
        }
        match rows.last() {
            Some(last) if i64::try_from(rows.len()).is_ok_and(|count| count >= PAGE_ROWS) => {
                (sale, serial) = (last.text(0)?.to_owned(), last.text(1)?.to_owned());
            }
            _ => return Ok(purchases),
        }
    }
}
