//! The gate's content from the database: what is sold, held and claimed by workflows that are durable. Whoever calls this
//! has seen to it that nothing is held in the gate that is not durable yet.

use std::collections::{BTreeMap, HashMap};

use engine::store::change::ChangeKind;
use engine::store::{
    Change, CommitError, Head, ListFilter, SqlDatabase, Status, StoreError, Value,
};
use engine::workflow::Refusal;
use engine::{Timestamp, WorkflowId};
use futures_util::stream::{self, TryStreamExt as _};

use crate::domain::coupon::Campaign;
use crate::domain::ids::{BuyerId, ProductId, SaleId};
use crate::domain::sale::Sale;
use crate::ports::reservations::{
    CampaignSnapshot, ClaimSnapshot, ClaimState, HoldSnapshot, Line, Lines, ProductSnapshot,
    ReleaseRequest, ReservationError, Reservations, SaleSnapshot, SoldSnapshot,
};
use crate::purchase::{self, coupon_operation, stock_operation};
use crate::rows::{narrow, nonsense, slug, workflow};
use crate::tables::GATE_REBUILDS;

/// Rows that one query reads.
const PAGE_ROWS: i64 = 5_000;
/// Ended purchases of one page of the list, and how many of them the gate is told of at a time.
const ENDED_PAGE: u16 = 500;
const ENDED_AT_A_TIME: usize = 64;
/// Times that a generation is asked for when others take it.
const GENERATION_ATTEMPTS_MAX: u32 = 10;

/// The gate could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database failed while the snapshot was read or the generation was taken.
    #[error("the database failed while the gate was rebuilt")]
    Store(#[from] StoreError),
    /// The reservations failed while the snapshot was loaded: the sale's gate is closed.
    #[error("the reservations failed while the gate was rebuilt")]
    Reservations(#[from] ReservationError),
    /// Others took one generation after another.
    #[error("no generation could be taken for the rebuild: others rebuild at the same time")]
    Contended,
}

/// Takes the next generation for a rebuild of the gate that is this incarnation. Nobody else gets the same.
pub async fn begin(
    database: &SqlDatabase,
    incarnation: &str,
    now: Timestamp,
) -> Result<u64, RebuildError> {
    for _ in 0..GENERATION_ATTEMPTS_MAX {
        let sql = "SELECT COALESCE(MAX(generation), 0) FROM gate_rebuilds";
        let rows = database
            .query("reading the gate's generation", sql, &[])
            .await?;
        let last = rows.first().map_or(Ok(0), |row| row.integer(0))?;
        let generation = last + 1;
        let values = vec![incarnation.into(), 0.into(), now.0.into()];
        let begun = [gate_rebuild(generation, ChangeKind::Insert(values))];
        match database
            .transact("taking a generation for the gate", &begun)
            .await
        {
            Ok(()) => return u64::try_from(generation).map_err(|error| nonsense(&error).into()),
            Err(CommitError::RowRefused { .. } | CommitError::Contended(_)) => {}
            Err(error) => return Err(stored(error)),
        }
    }
    Err(RebuildError::Contended)
}

/// Records that every sale was loaded under this generation.
pub async fn finish(database: &SqlDatabase, generation: u64) -> Result<(), RebuildError> {
    let generation = i64::try_from(generation).unwrap_or(i64::MAX);
    let finished = [gate_rebuild(
        generation,
        ChangeKind::Set(vec![("finished", 1.into())]),
    )];
    database
        .transact("recording the gate's rebuild", &finished)
        .await
        .map_err(stored)
}

/// The incarnation that the last finished rebuild loaded.
pub async fn last_rebuilt(database: &SqlDatabase) -> Result<Option<String>, StoreError> {
    let sql =
        "SELECT incarnation FROM gate_rebuilds WHERE finished = 1 ORDER BY generation DESC LIMIT 1";
    let rows = database
        .query("reading the gate's last rebuild", sql, &[])
        .await?;
    rows.first()
        .map(|row| Ok(row.text(0)?.to_owned()))
        .transpose()
}

/// Loads one sale into the gate, which is closed until all of it is there.
pub async fn rebuild(
    database: &SqlDatabase,
    reservations: &dyn Reservations,
    sale: &Sale,
    generation: u64,
) -> Result<(), RebuildError> {
    let snapshot = snapshot(database, sale, generation).await?;
    Ok(reservations.rebuild(&snapshot).await?)
}

/// Tells the gate of the purchases in these sales that have ended, so that a repeat of one is turned away and looked up, as
/// it was before the rebuild, instead of holding units for a workflow that will never use them. What a purchase held when an
/// operator gave it up stays held.
pub async fn remember_ended(
    database: &SqlDatabase,
    reservations: &dyn Reservations,
    sales: &[SaleId],
) -> Result<(), RebuildError> {
    if sales.is_empty() {
        return Ok(());
    }
    let store = database.store();
    let sales: HashMap<&str, &SaleId> = sales.iter().map(|sale| (sale.as_str(), sale)).collect();
    for status in Status::ALL
        .into_iter()
        .filter(|status| status.is_terminal())
    {
        let mut filter = ListFilter {
            status: Some(status),
            definition: Some(purchase::NAME.to_owned()),
            limit: ENDED_PAGE,
            ..ListFilter::default()
        };
        loop {
            let page = store.list(&filter).await?;
            let ended = page.items.iter().filter_map(|head| {
                let sale = *sales.get(head.label.as_deref()?)?;
                Some(Ok((sale, head)))
            });
            stream::iter(ended)
                .try_for_each_concurrent(ENDED_AT_A_TIME, |(sale, head)| {
                    remember(database, reservations, sale, head)
                })
                .await?;
            if page.next.is_none() {
                break;
            }
            filter.after = page.next;
        }
    }
    Ok(())
}

/// Leaves a tombstone in the gate for a purchase that holds nothing.
async fn remember(
    database: &SqlDatabase,
    reservations: &dyn Reservations,
    sale: &SaleId,
    head: &Head,
) -> Result<(), RebuildError> {
    if head.status == Status::Abandoned && still_holds(database, sale, head.id).await? {
        return Ok(());
    }
    let request = ReleaseRequest {
        sale: sale.clone(),
        operation: stock_operation(head.id),
        forget: false,
    };
    match reservations.release(&request).await {
        // A sale that could not be loaded stays closed.
        Ok(_) | Err(ReservationError::Unavailable(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn still_holds(
    database: &SqlDatabase,
    sale: &SaleId,
    workflow: WorkflowId,
) -> Result<bool, StoreError> {
    let sql = "SELECT product FROM holds WHERE sale = ? AND workflow_id = ? LIMIT 1";
    let parameters = [
        sale.as_str().into(),
        Value::Bytes(workflow.bytes().to_vec()),
    ];
    let rows = database.query("reading a hold", sql, &parameters).await?;
    Ok(!rows.is_empty())
}

/// What the database knows of a sale's reservations.
pub async fn snapshot(
    database: &SqlDatabase,
    sale: &Sale,
    generation: u64,
) -> Result<SaleSnapshot, StoreError> {
    let mut campaigns = Vec::with_capacity(sale.campaigns.len());
    for campaign in &sale.campaigns {
        campaigns.push(campaign_snapshot(database, campaign).await?);
    }
    Ok(SaleSnapshot {
        sale: sale.sale.clone(),
        generation,
        opens_at_ms: sale.opens_at.0.div_euclid(1_000),
        closes_at_ms: sale.closes_at.0.div_euclid(1_000),
        per_buyer_limit: sale.per_buyer_limit,
        products: products(database, &sale.sale).await?,
        holds: holds(database, &sale.sale).await?,
        sold: sold(database, &sale.sale).await?,
        campaigns,
    })
}

async fn products(
    database: &SqlDatabase,
    sale: &SaleId,
) -> Result<Vec<ProductSnapshot>, StoreError> {
    let sql = "SELECT product, total, sold FROM stock WHERE sale = ? ORDER BY product";
    let rows = database
        .query("reading the stock", sql, &[sale.as_str().into()])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ProductSnapshot {
                product: slug(row, 0, ProductId::parse)?,
                total: narrow(row, 1)?,
                sold: narrow(row, 2)?,
            })
        })
        .collect()
}

/// The holds of live workflows, one for all lines of a workflow.
async fn holds(database: &SqlDatabase, sale: &SaleId) -> Result<Vec<HoldSnapshot>, StoreError> {
    let sql = "SELECT workflow_id, product, buyer, quantity FROM holds \
               WHERE sale = ? AND (workflow_id > ? OR (workflow_id = ? AND product > ?)) \
               ORDER BY workflow_id, product LIMIT ?";
    let mut held: BTreeMap<WorkflowId, (BuyerId, Vec<Line>)> = BTreeMap::new();
    let (mut last_workflow, mut last_product) = (Vec::new(), String::new());
    loop {
        let workflow_bytes = || Value::Bytes(last_workflow.clone());
        let parameters = [
            sale.as_str().into(),
            workflow_bytes(),
            workflow_bytes(),
            last_product.as_str().into(),
            PAGE_ROWS.into(),
        ];
        let rows = database
            .query("reading the holds", sql, &parameters)
            .await?;
        for row in &rows {
            let line = Line {
                product: slug(row, 1, ProductId::parse)?,
                quantity: narrow(row, 3)?,
            };
            let buyer = slug(row, 2, BuyerId::parse)?;
            held.entry(workflow(row, 0)?)
                .or_insert_with(|| (buyer, Vec::new()))
                .1
                .push(line);
        }
        let Some(last) = full(&rows) else { break };
        (last_workflow, last_product) = (last.bytes(0)?.to_vec(), last.text(1)?.to_owned());
    }
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

/// The units that each buyer has bought.
async fn sold(database: &SqlDatabase, sale: &SaleId) -> Result<Vec<SoldSnapshot>, StoreError> {
    let sql =
        "SELECT serial, buyer FROM goods WHERE sale = ? AND serial > ? ORDER BY serial LIMIT ?";
    let mut units: BTreeMap<BuyerId, u32> = BTreeMap::new();
    let mut last_serial = String::new();
    loop {
        let parameters = [
            sale.as_str().into(),
            last_serial.as_str().into(),
            PAGE_ROWS.into(),
        ];
        let rows = database
            .query("reading the goods", sql, &parameters)
            .await?;
        for row in &rows {
            *units.entry(slug(row, 1, BuyerId::parse)?).or_default() += 1;
        }
        let Some(last) = full(&rows) else { break };
        last.text(0)?.clone_into(&mut last_serial);
    }
    Ok(units
        .into_iter()
        .map(|(buyer, units)| SoldSnapshot { buyer, units })
        .collect())
}

async fn campaign_snapshot(
    database: &SqlDatabase,
    campaign: &Campaign,
) -> Result<CampaignSnapshot, StoreError> {
    let sql = "SELECT buyer, workflow_id, used FROM coupons \
               WHERE campaign = ? AND buyer > ? ORDER BY buyer LIMIT ?";
    let mut claims = Vec::new();
    let mut last_buyer = String::new();
    loop {
        let campaign = campaign.campaign.as_str().into();
        let parameters = [campaign, last_buyer.as_str().into(), PAGE_ROWS.into()];
        let rows = database
            .query("reading the coupons", sql, &parameters)
            .await?;
        for row in &rows {
            claims.push(ClaimSnapshot {
                operation: coupon_operation(workflow(row, 1)?),
                buyer: slug(row, 0, BuyerId::parse)?,
                state: if row.integer(2)? == 0 {
                    ClaimState::Held
                } else {
                    ClaimState::Used
                },
            });
        }
        let Some(last) = full(&rows) else { break };
        last.text(0)?.clone_into(&mut last_buyer);
    }
    Ok(CampaignSnapshot {
        campaign: campaign.campaign.clone(),
        size: campaign.size,
        claims,
    })
}

/// The last row of a full page, after which another page may follow.
fn full<R>(rows: &[R]) -> Option<&R> {
    let full = i64::try_from(rows.len()).is_ok_and(|count| count >= PAGE_ROWS);
    if full { rows.last() } else { None }
}

fn gate_rebuild(generation: i64, kind: ChangeKind) -> Change {
    let refusal = Refusal::new("gate-rebuild", "Another rebuild has this generation.");
    Change {
        table: &GATE_REBUILDS,
        key: vec![generation.into()],
        kind,
        refusal,
    }
}

fn stored(error: CommitError) -> RebuildError {
    match error {
        CommitError::Store(error) => error.into(),
        other => nonsense(&other).into(),
    }
}
