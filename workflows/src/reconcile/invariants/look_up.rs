//! Many workflows found at once by their ids, each by a key.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use engine::store::{SqlDatabase, Status, StoreError, Value};
use engine::{PartitionId, Timestamp, WorkflowId};

use crate::rows::{narrow, nonsense, unsigned, workflow};

/// Workflows that one query looks for.
const IDS_AT_A_TIME: usize = 100;

/// Where a workflow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub status: Status,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Standing {
    /// An operator has it, or has given it up as it was.
    pub const fn is_an_operators(self) -> bool {
        matches!(self.status, Status::Parked | Status::Abandoned)
    }

    /// It goes on by itself.
    pub const fn is_under_way(self) -> bool {
        !self.status.is_terminal() && !matches!(self.status, Status::Parked)
    }
}

/// Where these workflows stand; those that are not there under exactly this id are left out.
pub(super) async fn standings(
    database: &SqlDatabase,
    workflows: &[WorkflowId],
) -> Result<HashMap<WorkflowId, Standing>, StoreError> {
    static SQL: LazyLock<&'static str> = LazyLock::new(|| {
        in_list("SELECT ident, partition_id, status, updated_us FROM workflows WHERE ident IN (")
    });
    let mut found = HashMap::new();
    for some in distinct(workflows).chunks(IDS_AT_A_TIME) {
        let parameters = padded(some, |id| id.ident().to_vec());
        let rows = database
            .query("looking workflows up", *SQL, &parameters)
            .await?;
        for row in &rows {
            let ident = row.bytes(0)?.try_into();
            let ident = ident.map_err(|_| nonsense(&"an ident is not of 12 bytes"))?;
            let id = WorkflowId::new(PartitionId(narrow(row, 1)?), ident);
            let status = row.text(2)?;
            let status = Status::parse(status)
                .ok_or_else(|| nonsense(&format!("the status `{status}` is none")))?;
            let updated_at = Timestamp(row.integer(3)?);
            found.insert(id, Standing { status, updated_at });
        }
    }
    let asked: HashSet<&WorkflowId> = workflows.iter().collect();
    found.retain(|id, _| asked.contains(id));
    Ok(found)
}

/// Where one event lies in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub partition: u32,
    pub partition_seq: u64,
}

/// Where all the events of these workflows lie.
pub(super) async fn places(
    database: &SqlDatabase,
    workflows: &[WorkflowId],
) -> Result<HashMap<(WorkflowId, u32), Place>, StoreError> {
    static SQL: LazyLock<&'static str> = LazyLock::new(|| {
        in_list(
            "SELECT workflow_id, seq, partition_id, partition_seq FROM events WHERE workflow_id IN (",
        )
    });
    let mut found = HashMap::new();
    for some in distinct(workflows).chunks(IDS_AT_A_TIME) {
        let parameters = padded(some, |id| id.bytes().to_vec());
        let rows = database
            .query("looking events up", *SQL, &parameters)
            .await?;
        for row in &rows {
            let place = Place {
                partition: narrow(row, 2)?,
                partition_seq: unsigned(row, 3)?,
            };
            found.insert((workflow(row, 0)?, narrow(row, 1)?), place);
        }
    }
    Ok(found)
}

/// A command that was carried out, by the record of this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub workflow: WorkflowId,
    pub seq: u32,
    pub verb: String,
}

/// The commands to these workflows that were carried out.
pub(super) async fn carried_out(
    database: &SqlDatabase,
    workflows: &[WorkflowId],
) -> Result<Vec<Carried>, StoreError> {
    static SQL: LazyLock<&'static str> = LazyLock::new(|| {
        in_list(
            "SELECT workflow_id, seq, verb FROM commands WHERE state = 1 AND seq IS NOT NULL AND workflow_id IN (",
        )
    });
    let mut found = Vec::new();
    for some in distinct(workflows).chunks(IDS_AT_A_TIME) {
        let parameters = padded(some, |id| id.bytes().to_vec());
        let rows = database
            .query("looking commands up", *SQL, &parameters)
            .await?;
        for row in &rows {
            found.push(Carried {
                workflow: workflow(row, 0)?,
                seq: narrow(row, 1)?,
                verb: row.text(2)?.to_owned(),
            });
        }
    }
    Ok(found)
}

/// The price of the goods of each of these purchases that has some. It reads all goods: for the few that are odd.
pub(super) async fn goods_of(
    database: &SqlDatabase,
    purchases: &[WorkflowId],
) -> Result<HashMap<WorkflowId, u64>, StoreError> {
    static SQL: LazyLock<&'static str> =
        LazyLock::new(|| in_list("SELECT workflow_id, price FROM goods WHERE workflow_id IN ("));
    let mut found: HashMap<WorkflowId, u64> = HashMap::new();
    for some in distinct(purchases).chunks(IDS_AT_A_TIME) {
        let parameters = padded(some, |id| id.bytes().to_vec());
        let rows = database
            .query("looking goods up", *SQL, &parameters)
            .await?;
        for row in &rows {
            *found.entry(workflow(row, 0)?).or_default() += unsigned(row, 1)?;
        }
    }
    Ok(found)
}

/// Each of them once: what is asked for twice would be found twice.
fn distinct(workflows: &[WorkflowId]) -> Vec<WorkflowId> {
    let distinct: BTreeSet<WorkflowId> = workflows.iter().copied().collect();
    distinct.into_iter().collect()
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
