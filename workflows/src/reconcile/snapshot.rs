//! What the database knows of a sale's reservations, as of one moment: what a rebuild loads, and what the gate is compared with.
//!
//! Everything that has something is read by one statement, which sees one moment, so that a purchase that goes on meanwhile is
//! never counted twice or not at all. What has ended is read before it, and what had not: what ended in between has nothing any more
//! in either, and is known as something that had begun.

use std::collections::BTreeMap;

use engine::store::{Row, SqlDatabase, Status, StoreError, Value};
use engine::{PartitionId, Timestamp, WorkflowId, planted};

use crate::campaign::{self, issue_operation};
use crate::domain::coupon::Campaign;
use crate::domain::ids::{BuyerId, CampaignId, ProductId, SaleId};
use crate::domain::sale::Sale;
use crate::ports::catalogue::CouponState;
use crate::ports::reservations::{
    CampaignSnapshot, ClaimSnapshot, ClaimState, HoldSnapshot, Line, Lines, OperationKey,
    ProductSnapshot, SaleSnapshot, SoldSnapshot,
};
use crate::purchase::{coupon_operation, is_purchase, stock_operation};
use crate::rows::{narrow, nonsense, slug, workflow};

/// Rows that one query for what has begun reads.
const PAGE_ROWS: i64 = 5_000;

/// All that has something in the sale. The first column says what a row is; the others differ.
macro_rules! what_is_there {
    ($sold:literal) => {
        concat!(
            "SELECT 1 AS what, product AS name, '' AS buyer, NULL AS workflow, NULL AS purchase, total AS number, sold AS sold \
             FROM stock WHERE sale = ? \
             UNION ALL SELECT 2, product, buyer, workflow_id, NULL, quantity, 0 FROM holds WHERE sale = ? \
             UNION ALL SELECT 4, coupons.campaign, coupons.buyer, coupons.claimed_by, coupons.purchase_id, coupons.state, 0 \
             FROM campaigns JOIN coupons ON coupons.campaign = campaigns.campaign WHERE campaigns.sale = ?",
            $sold
        )
    };
}

/// What the database knows of a sale's reservations.
pub async fn snapshot(
    database: &SqlDatabase,
    sale: &Sale,
    generation: u64,
) -> Result<SaleSnapshot, StoreError> {
    let begun = begun(database, &sale.sale).await?;
    let mut there = There::with_buyers(database, &sale.sale).await?;
    if planted::is_on("rebuilt-without-holds") {
        there.holds.clear();
    }
    let campaigns = sale
        .campaigns
        .iter()
        .map(|campaign| there.campaign(campaign))
        .collect();
    Ok(SaleSnapshot {
        sale: sale.sale.clone(),
        generation,
        revision: sale.revision,
        is_cancelled: sale.is_cancelled,
        opens_at_ms: unix_ms(sale.opens_at),
        closes_at_ms: unix_ms(sale.closes_at),
        per_buyer_limit: sale.per_buyer_limit,
        products: there.products,
        holds: holds(there.holds)?,
        sold: there.sold,
        campaigns,
        ended: begun.ended,
        open: begun.open,
    })
}

/// The instant as the gate knows it.
pub(super) fn unix_ms(instant: Timestamp) -> i64 {
    instant.0.div_euclid(1_000)
}

/// What has something in a sale, at one moment.
#[derive(Default)]
pub(super) struct There {
    pub products: Vec<ProductSnapshot>,
    /// By purchase.
    pub holds: BTreeMap<WorkflowId, (BuyerId, Vec<Line>)>,
    pub sold: Vec<SoldSnapshot>,
    pub claims: BTreeMap<CampaignId, Vec<ClaimSnapshot>>,
}

impl There {
    /// Everything.
    async fn with_buyers(database: &SqlDatabase, sale: &SaleId) -> Result<Self, StoreError> {
        let sql = what_is_there!(
            " UNION ALL SELECT 3, '', buyer, NULL, NULL, COUNT(*), 0 FROM goods WHERE sale = ? GROUP BY buyer"
        );
        Self::read(database, sql, &[(); 4].map(|()| sale.as_str().into())).await
    }

    /// Everything but what buyers have bought, which takes as long as there are goods.
    pub(super) async fn without_buyers(
        database: &SqlDatabase,
        sale: &SaleId,
    ) -> Result<Self, StoreError> {
        let sql = what_is_there!("");
        Self::read(database, sql, &[(); 3].map(|()| sale.as_str().into())).await
    }

    async fn read(
        database: &SqlDatabase,
        sql: &'static str,
        parameters: &[Value],
    ) -> Result<Self, StoreError> {
        let rows = database
            .query("reading what a sale has", sql, parameters)
            .await?;
        let mut there = Self::default();
        for row in &rows {
            there.add(row)?;
        }
        Ok(there)
    }

    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        match row.integer(0)? {
            1 => self.products.push(ProductSnapshot {
                product: slug(row, 1, ProductId::parse)?,
                total: narrow(row, 5)?,
                sold: narrow(row, 6)?,
            }),
            2 => {
                let line = Line {
                    product: slug(row, 1, ProductId::parse)?,
                    quantity: narrow(row, 5)?,
                };
                let buyer = slug(row, 2, BuyerId::parse)?;
                let held = self.holds.entry(workflow(row, 3)?);
                held.or_insert_with(|| (buyer, Vec::new())).1.push(line);
            }
            3 => self.sold.push(SoldSnapshot {
                buyer: slug(row, 2, BuyerId::parse)?,
                units: narrow(row, 5)?,
            }),
            _ => {
                let campaign = slug(row, 1, CampaignId::parse)?;
                let claim = claim(row)?;
                self.claims.entry(campaign).or_default().push(claim);
            }
        }
        Ok(())
    }

    fn campaign(&mut self, campaign: &Campaign) -> CampaignSnapshot {
        CampaignSnapshot {
            campaign: campaign.campaign.clone(),
            size: campaign.size,
            valid_from_ms: campaign.validity.from.map(unix_ms),
            valid_until_ms: campaign.validity.until.map(unix_ms),
            claims_from_ms: campaign.claims_from.map(unix_ms),
            claim_in_purchase: campaign.claim_in_purchase,
            claims: self.claims.remove(&campaign.campaign).unwrap_or_default(),
        }
    }
}

/// Who has a coupon, by the operation that got it last: the purchase's, or that of the claim ahead.
fn claim(row: &Row) -> Result<ClaimSnapshot, StoreError> {
    let buyer = slug(row, 2, BuyerId::parse)?;
    let claimed_by = workflow(row, 3)?;
    let state = row.integer(5)?;
    let state = match state {
        0 => ClaimState::Issued,
        1 => ClaimState::Held,
        2 => ClaimState::Used,
        other => {
            return Err(nonsense(&format!(
                "a coupon of {buyer} has the state {other}"
            )));
        }
    };
    debug_assert_eq!(CouponState::Used.number(), 2, "the states are numbered so");
    if state == ClaimState::Issued {
        return Ok(ClaimSnapshot {
            operation: issue_operation(claimed_by),
            buyer,
            state,
            taken_from: None,
        });
    }
    let purchase = workflow(row, 4)?;
    Ok(ClaimSnapshot {
        operation: coupon_operation(purchase),
        buyer,
        state,
        taken_from: (purchase != claimed_by).then(|| issue_operation(claimed_by)),
    })
}

/// The holds of live workflows, one for all lines of a workflow.
fn holds(
    held: BTreeMap<WorkflowId, (BuyerId, Vec<Line>)>,
) -> Result<Vec<HoldSnapshot>, StoreError> {
    let snapshot = |(workflow, (buyer, lines))| {
        let lines = Lines::new(lines).map_err(|error| nonsense(&error))?;
        Ok(HoldSnapshot {
            operation: stock_operation(workflow),
            buyer,
            lines,
        })
    };
    held.into_iter().map(snapshot).collect()
}

/// The workflows of a sale that are durable, by their operations.
#[derive(Default)]
struct Begun {
    /// Those of workflows that have ended, so that a repeat of one is turned away and looked up, as it was before the rebuild,
    /// instead of holding something for a workflow that will never use it. What still has something, such as what an operator gave
    /// up as it was, keeps it: the gate loads it first.
    ended: Vec<OperationKey>,
    /// One of each other workflow.
    open: Vec<OperationKey>,
}

impl Begun {
    fn add(&mut self, workflow: WorkflowId, definition: &str, status: Status) {
        let is_issue = definition == campaign::NAME;
        if !is_purchase(definition) && !is_issue {
            return;
        }
        if !status.is_terminal() {
            let operation = if is_issue {
                issue_operation(workflow)
            } else {
                stock_operation(workflow)
            };
            let is_told = !planted::is_on("open-starts-not-loaded");
            self.open.extend(is_told.then_some(operation));
            return;
        }
        let was_undone = status == Status::Compensated;
        if is_issue {
            self.ended
                .extend(was_undone.then(|| issue_operation(workflow)));
            return;
        }
        self.ended.push(stock_operation(workflow));
        self.ended
            .extend(was_undone.then(|| coupon_operation(workflow)));
    }
}

async fn begun(database: &SqlDatabase, sale: &SaleId) -> Result<Begun, StoreError> {
    let sql = "SELECT partition_id, ident, definition, status, created_us FROM workflows \
               WHERE label = ? AND created_us >= ? AND (created_us > ? OR ident > ?) \
               ORDER BY created_us, ident LIMIT ?";
    let mut begun = Begun::default();
    let (mut created, mut ident) = (i64::MIN, Vec::new());
    loop {
        let parameters = [
            sale.as_str().into(),
            created.into(),
            created.into(),
            Value::Bytes(ident),
            PAGE_ROWS.into(),
        ];
        let rows = database
            .query("reading what has begun in a sale", sql, &parameters)
            .await?;
        for row in &rows {
            let (definition, status) = (row.text(2)?, row.text(3)?);
            let Some(status) = Status::parse(status) else {
                return Err(nonsense(&format!("a workflow has the status `{status}`")));
            };
            begun.add(workflow_of(row)?, definition, status);
        }
        let full = i64::try_from(rows.len()).is_ok_and(|count| count >= PAGE_ROWS);
        let Some(last) = rows.last().filter(|_| full) else {
            return Ok(begun);
        };
        (created, ident) = (last.integer(4)?, last.bytes(1)?.to_vec());
    }
}

/// The workflow whose partition and ident are in the first two columns.
pub(super) fn workflow_of(row: &Row) -> Result<WorkflowId, StoreError> {
    let partition = PartitionId(narrow(row, 0)?);
    let ident = row.bytes(1)?;
    let ident = ident
        .try_into()
        .map_err(|_| nonsense(&format!("an ident has {} bytes", ident.len())))?;
    Ok(WorkflowId::new(partition, ident))
}
