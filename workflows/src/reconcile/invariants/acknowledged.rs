//! I8: what was acknowledged is there, under the same name.
//!
//! Whoever was told of a purchase has it in `purchases`, and whoever was given a coupon in `coupons`: both are written in the
//! transaction that makes the start durable. A workflow is stored under the part of its id that its key gives, so a repeat of a
//! start finds what is stored under it: if that has the id that was told, the repeat gives the same id. Keys themselves are not
//! stored; those who know theirs bring them along.

use std::collections::HashMap;

use engine::ids::StartKey;
use engine::store::{StoreError, Value};
use engine::{Timestamp, WorkflowId};

use super::look_up::standings;
use super::{Acknowledged, Inputs, InvariantReport, VerifyError};
use crate::rows::workflow;

/// Rows that one query reads.
const PAGE_ROWS: i64 = 1_000;

/// A start that somebody was told of.
struct Told {
    workflow: WorkflowId,
    /// Whom, in words.
    whom: String,
    at: Timestamp,
}

/// I8. Looks at each purchase and each coupon that a buyer has, and at each start that whoever asks knows of.
pub async fn found_again(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title =
        "starts: every acknowledged start is found, and its key always gives the same workflow";
    let mut report = InvariantReport::new("I8", title);
    keys(inputs.acknowledged, &mut report);
    let now = inputs.runtime.now();
    let known = inputs.acknowledged.iter().map(|start| Told {
        workflow: start.workflow,
        whom: "a client".to_owned(),
        at: now,
    });
    let known: Vec<Told> = known.collect();
    for some in known.chunks(1_000) {
        found(inputs, some, &mut report).await?;
    }
    purchases(inputs, &mut report).await?;
    coupons(inputs, &mut report).await?;
    Ok(report.finished())
}

fn keys(acknowledged: &[Acknowledged], report: &mut InvariantReport) {
    let mut by_key: HashMap<&StartKey, WorkflowId> = HashMap::new();
    for start in acknowledged {
        report.checked += 1;
        let Some(key) = &start.key else { continue };
        let first = *by_key.entry(key).or_insert(start.workflow);
        if first != start.workflow {
            report.violated(format!(
                "key {}: acknowledged as {first} and as {}",
                key.key, start.workflow
            ));
        }
        if key.ident() != start.workflow.ident() {
            report.violated(format!(
                "key {}: {} is not its workflow",
                key.key, start.workflow
            ));
        }
    }
}

async fn purchases(inputs: &Inputs<'_>, report: &mut InvariantReport) -> Result<(), VerifyError> {
    let sql = "SELECT buyer, created_us, workflow_id FROM purchases \
               WHERE buyer > ? OR (buyer = ? AND (created_us > ? OR (created_us = ? AND workflow_id > ?))) \
               ORDER BY buyer, created_us, workflow_id LIMIT ?";
    let (mut buyer, mut created, mut last) = (String::new(), i64::MIN, Vec::new());
    loop {
        let parameters: [Value; 6] = [
            buyer.as_str().into(),
            buyer.as_str().into(),
            created.into(),
            created.into(),
            Value::Bytes(last),
            PAGE_ROWS.into(),
        ];
        let rows = inputs
            .database
            .query("reading the purchases", sql, &parameters)
            .await?;
        let told = rows.iter().map(|row| {
            Ok(Told {
                workflow: workflow(row, 2)?,
                whom: format!("buyer {}", row.text(0)?),
                at: Timestamp(row.integer(1)?),
            })
        });
        let told: Vec<Told> = told.collect::<Result<_, StoreError>>()?;
        report.checked += told.len() as u64;
        found(inputs, &told, report).await?;
        let Some(row) = rows.last().filter(|_| is_full(rows.len())) else {
            return Ok(());
        };
        (buyer, created, last) = (
            row.text(0)?.to_owned(),
            row.integer(1)?,
            row.bytes(2)?.to_vec(),
        );
        inputs.pause().await;
    }
}

async fn coupons(inputs: &Inputs<'_>, report: &mut InvariantReport) -> Result<(), VerifyError> {
    let sql = "SELECT campaign, buyer, claimed_us, claimed_by FROM coupons \
               WHERE campaign > ? OR (campaign = ? AND buyer > ?) ORDER BY campaign, buyer LIMIT ?";
    let (mut campaign, mut buyer) = (String::new(), String::new());
    loop {
        let parameters = [
            campaign.as_str().into(),
            campaign.as_str().into(),
            buyer.as_str().into(),
            PAGE_ROWS.into(),
        ];
        let rows = inputs
            .database
            .query("reading the coupons", sql, &parameters)
            .await?;
        let told = rows.iter().map(|row| {
            Ok(Told {
                workflow: workflow(row, 3)?,
                whom: format!("buyer {}, for a coupon of {}", row.text(1)?, row.text(0)?),
                at: Timestamp(row.integer(2)?),
            })
        });
        let told: Vec<Told> = told.collect::<Result<_, StoreError>>()?;
        report.checked += told.len() as u64;
        found(inputs, &told, report).await?;
        let Some(row) = rows.last().filter(|_| is_full(rows.len())) else {
            return Ok(());
        };
        (campaign, buyer) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
        inputs.pause().await;
    }
}

/// Each of them is stored under the id that was told.
async fn found(
    inputs: &Inputs<'_>,
    told: &[Told],
    report: &mut InvariantReport,
) -> Result<(), VerifyError> {
    let ids: Vec<WorkflowId> = told.iter().map(|told| told.workflow).collect();
    let there = standings(inputs.database, &ids).await?;
    for Told { workflow, whom, at } in told {
        // What was told is durable before, and goes only when it is old.
        if !there.contains_key(workflow) && !inputs.may_be_removed(*at) {
            report.violated(format!("{workflow}: acknowledged to {whom} and not found"));
        }
    }
    Ok(())
}

fn is_full(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= PAGE_ROWS)
}
