//! One look at one sale: what the gate has and what the database has, read in an order that leaves nothing on its way unexplained.
//!
//! The gate is read before the database, page by page and with pauses, so that buyers are served in between; the journal's rows of
//! what looks odd are read last. What is told of a look is only what both sides said at moments that overlap with nothing: a
//! difference counts when a second look sees it again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use engine::store::{Row, SqlDatabase, Status, StoreError, Value};
use engine::{PartitionId, Runtime, WorkflowId};

use crate::domain::ids::SaleId;
use crate::domain::sale::Sale;
use crate::ports::catalogue::Catalogue;
use crate::ports::reservations::{
    OperationKey, OperationState, ReservationError, Reservations, SaleCounts, StoredOperation,
};
use crate::reconcile::snapshot::{There, workflow_of};
use crate::rows::workflow;

/// Operations that the gate is asked for at a time, and the pause after each such page.
const PAGE: u32 = 500;
const PAUSE: Duration = Duration::from_millis(2);
/// The gate goes on giving pages at most this often: a cursor that never ends is not followed for ever.
const PAGES_MAX: u32 = 100_000;
/// Workflows that one query looks for.
const IDS_AT_A_TIME: usize = 100;

/// What a look needs.
pub(super) struct Eyes<'a> {
    pub runtime: &'a Runtime,
    pub database: &'a SqlDatabase,
    pub catalogue: &'a dyn Catalogue,
    pub reservations: &'a dyn Reservations,
}

/// What was seen of a sale.
pub(super) struct Look {
    pub sale: Arc<Sale>,
    /// The gate's counters before its operations were read.
    pub before: SaleCounts,
    /// The gate's counters after that.
    pub after: SaleCounts,
    /// What has something in the gate, by operation.
    pub gate: BTreeMap<OperationKey, StoredOperation>,
    /// The operations that have nothing, of workflows that are open.
    pub nothing: BTreeSet<OperationKey>,
    /// What has something in the database.
    pub there: There,
    /// The workflows that were open when the look began.
    pub open: HashMap<WorkflowId, Status>,
    /// The epoch of each partition, read before the journal's rows.
    pub epochs: HashMap<PartitionId, u64>,
    /// Operations of the gate that were read.
    pub operations: u64,
}

/// The look was not finished.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    /// The sale can't be compared now.
    #[error("{0}")]
    NotNow(String),
    /// The gate failed.
    #[error(transparent)]
    Reservations(#[from] ReservationError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Eyes<'_> {
    /// Looks at a sale; `None` when there is none of this name.
    pub(super) async fn look(&self, name: &SaleId) -> Result<Option<Look>, LookError> {
        let Some(sale) = self.catalogue.sale_now(name).await? else {
            return Ok(None);
        };
        let open = self.open(name).await?;
        let before = self.counts(name).await?;
        let mut look = Look {
            sale,
            after: before.clone(),
            before,
            gate: BTreeMap::new(),
            nothing: BTreeSet::new(),
            there: There::default(),
            open,
            epochs: HashMap::new(),
            operations: 0,
        };
        self.read_gate(&mut look).await?;
        look.after = self.counts(name).await?;
        look.there = There::without_buyers(self.database, name).await?;
        let partitions = self.database.store().partitions().await?;
        look.epochs = partitions
            .into_iter()
            .map(|row| (row.id, row.epoch.0))
            .collect();
        Ok(Some(look))
    }

    async fn counts(&self, sale: &SaleId) -> Result<SaleCounts, LookError> {
        let counts = self.reservations.counts(sale).await?;
        counts.ok_or_else(|| LookError::NotNow("its gate is closed".to_owned()))
    }

    async fn read_gate(&self, look: &mut Look) -> Result<(), LookError> {
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self
                .reservations
                .operations(&look.sale.sale, cursor.as_deref(), PAGE)
                .await?;
            if page.generation != look.before.generation {
                let why = "it was loaded anew while it was looked at";
                return Err(LookError::NotNow(why.to_owned()));
            }
            for stored in page.operations {
                look.see(stored);
            }
            let Some(next) = page.next else { return Ok(()) };
            cursor = Some(next);
            self.runtime.sleep(PAUSE).await;
        }
        Err(LookError::NotNow(
            "the gate's operations have no end".to_owned(),
        ))
    }

    /// The workflows of the sale that are open.
    async fn open(&self, sale: &SaleId) -> Result<HashMap<WorkflowId, Status>, StoreError> {
        let sql = "SELECT partition_id, ident, status FROM workflows \
                   WHERE status IN ('RUNNING', 'COMPENSATING', 'WAITING', 'PARKED') AND label = ?";
        let rows = self
            .database
            .query(
                "reading a sale's open workflows",
                sql,
                &[sale.as_str().into()],
            )
            .await?;
        heads(&rows)
    }

    /// Where these workflows stand; those that are not there are left out.
    pub(super) async fn statuses(
        &self,
        workflows: &[WorkflowId],
    ) -> Result<HashMap<WorkflowId, Status>, StoreError> {
        static SQL: LazyLock<&'static str> = LazyLock::new(|| {
            in_list("SELECT partition_id, ident, status FROM workflows WHERE ident IN (")
        });
        let mut found = HashMap::new();
        for some in workflows.chunks(IDS_AT_A_TIME) {
            let parameters = padded(some, |id| id.ident().to_vec());
            let rows = self
                .database
                .query("reading where workflows stand", *SQL, &parameters)
                .await?;
            found.extend(heads(&rows)?);
        }
        Ok(found)
    }

    /// Those of these purchases that have goods in this sale. It reads all of the sale's goods: for the few that are odd.
    pub(super) async fn with_goods(
        &self,
        sale: &SaleId,
        purchases: &[WorkflowId],
    ) -> Result<HashSet<WorkflowId>, StoreError> {
        static SQL: LazyLock<&'static str> = LazyLock::new(|| {
            in_list("SELECT DISTINCT workflow_id FROM goods WHERE sale = ? AND workflow_id IN (")
        });
        let mut found = HashSet::new();
        for some in purchases.chunks(IDS_AT_A_TIME) {
            let mut parameters = vec![sale.as_str().into()];
            parameters.extend(padded(some, |id| id.bytes().to_vec()));
            let rows = self
                .database
                .query("reading whose goods were issued", *SQL, &parameters)
                .await?;
            for row in &rows {
                found.insert(workflow(row, 0)?);
            }
        }
        Ok(found)
    }
}

impl Look {
    fn see(&mut self, stored: StoredOperation) {
        self.operations += 1;
        match stored.what {
            OperationState::Holds { .. } | OperationState::Coupon { .. } => {
                self.gate.insert(stored.operation.clone(), stored);
            }
            // It may have been seen with something before, on an earlier page.
            OperationState::Nothing => {
                self.gate.remove(&stored.operation);
                let open = workflow_in(&stored.operation)
                    .is_some_and(|(workflow, _)| self.open.contains_key(&workflow));
                if open {
                    self.nothing.insert(stored.operation);
                }
            }
            // What was sold is counted by product.
            OperationState::Sold { .. } => {
                self.gate.remove(&stored.operation);
            }
        }
    }
}

/// The workflow and the step that an operation is of.
pub(super) fn workflow_in(operation: &OperationKey) -> Option<(WorkflowId, &str)> {
    let (workflow, step) = operation.as_str().split_once('/')?;
    Some((WorkflowId::parse(workflow)?, step))
}

fn heads(rows: &[Row]) -> Result<HashMap<WorkflowId, Status>, StoreError> {
    rows.iter()
        .map(|row| {
            let status = row.text(2)?;
            let known = Status::parse(status);
            let status = known
                .ok_or_else(|| crate::rows::nonsense(&format!("the status `{status}` is none")))?;
            Ok((workflow_of(row)?, status))
        })
        .collect()
}

/// `start`, with a list of [`IDS_AT_A_TIME`] parameters.
fn in_list(start: &str) -> &'static str {
    let marks = vec!["?"; IDS_AT_A_TIME].join(", ");
    Box::leak(format!("{start}{marks})").into_boxed_str())
}

/// Parameters for [`in_list`]: the last one stands for those that are missing.
fn padded(some: &[WorkflowId], bytes: impl Fn(&WorkflowId) -> Vec<u8>) -> Vec<Value> {
    let last = some.last().into_iter();
    let all = some.iter().chain(last.cycle()).take(IDS_AT_A_TIME);
    all.map(|id| Value::Bytes(bytes(id))).collect()
}
