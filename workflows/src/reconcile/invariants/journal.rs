//! I4 and I6: where workflows stand, and whether their journals are whole.

use std::collections::HashMap;

use engine::store::{ListFilter, OpenCursor, PartitionRow, Row, Status, StoreError, Value};
use engine::{PartitionId, Timestamp, WorkflowId};

use super::look_up::{places, standings};
use super::{Inputs, InvariantReport, VerifyError};
use crate::opening;
use crate::rows::{narrow, nonsense, unsigned, workflow};

/// Rows that one query reads.
const PAGE_ROWS: i64 = 2_000;
/// Workflows of one page of a list: the most that the store gives.
const LIST_PAGE: u16 = 500;
/// So late a timer may be before it counts as forgotten: nodes fail over within that.
const LATE_MAX_US: i64 = 60_000_000;

/// I4. Looks at each workflow. One that goes on is in flight, as long as somebody can take care of it.
pub async fn all_at_rest(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title = "rest: every workflow has ended, is parked with a reason, is an opening that waits for its time, or goes on";
    let mut report = InvariantReport::new("I4", title);
    for (_, count) in inputs.store.count_by_status().await? {
        report.checked += count;
    }
    name_the_open(inputs, &mut report).await?;
    parked_have_reasons(inputs, &mut report).await?;
    Ok(report.finished())
}

async fn name_the_open(
    inputs: &Inputs<'_>,
    report: &mut InvariantReport,
) -> Result<(), StoreError> {
    let partitions = inputs.store.partitions().await?;
    let partitions: HashMap<PartitionId, PartitionRow> =
        partitions.into_iter().map(|row| (row.id, row)).collect();
    let mut after: Option<OpenCursor> = None;
    loop {
        let page = inputs
            .store
            .open_everywhere(after.take(), u32::from(LIST_PAGE))
            .await?;
        let now = inputs.runtime.now();
        for (partition, row) in &page {
            if row.status == Status::Parked {
                continue;
            }
            let id = WorkflowId::new(*partition, row.ident);
            let forgotten = forgotten(partitions.get(partition), row.wake_at, now);
            if let Some(why) = forgotten {
                // It was read before it may have ended, or changed hands.
                let again = standings(inputs.database, &[id]).await?;
                let is_still = again
                    .get(&id)
                    .is_some_and(|standing| standing.status == row.status);
                if is_still {
                    report.violated(format!("{id} is {}, and {why}", row.status));
                }
                continue;
            }
            // The opening of a sale that has not closed waits, and there is nothing else for it to do.
            if row.status != Status::Waiting || row.cursor.definition != opening::NAME {
                report.under_way_unless(inputs.at_rest, format!("{id} is {}", row.status));
            }
        }
        match page.last() {
            Some((_, last)) => after = Some(last.cursor.clone()),
            None => return Ok(()),
        }
        inputs.pause().await;
    }
}

/// Why nobody takes care of it.
fn forgotten(
    partition: Option<&PartitionRow>,
    wake_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<String> {
    match partition {
        None => return Some("its partition is not known: nobody takes it over".to_owned()),
        Some(row) if row.retired => {
            return Some(format!(
                "its partition {} is retired: nobody takes it over",
                row.id
            ));
        }
        Some(_) => {}
    }
    let late_us = now.0.saturating_sub(wake_at?.0);
    (late_us > LATE_MAX_US).then(|| {
        format!(
            "it was to be woken {} s ago, and nobody did",
            late_us / 1_000_000
        )
    })
}

async fn parked_have_reasons(
    inputs: &Inputs<'_>,
    report: &mut InvariantReport,
) -> Result<(), StoreError> {
    let mut filter = ListFilter {
        status: Some(Status::Parked),
        limit: LIST_PAGE,
        ..ListFilter::default()
    };
    loop {
        let page = inputs.store.list(&filter).await?;
        for head in &page.items {
            let reason = head.reason.as_deref();
            if reason.is_none_or(|reason| reason.trim().is_empty()) {
                report.violated(format!("{} is parked without a reason", head.id));
            }
        }
        if page.next.is_none() {
            return Ok(());
        }
        filter.after = page.next;
        inputs.pause().await;
    }
}

/// I6. Looks at each event, workflow by workflow, a page at a time, and at each workflow.
pub async fn gapless(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title = "journal: each workflow's events are 1..n without a gap, in the order of its partition and of the topic";
    let mut report = InvariantReport::new("I6", title);
    events(inputs, &mut report).await?;
    workflows_have_events(inputs, &mut report).await?;
    Ok(report)
}

async fn events(inputs: &Inputs<'_>, report: &mut InvariantReport) -> Result<(), StoreError> {
    let sql = "SELECT workflow_id, seq, partition_id, partition_seq FROM events \
               WHERE workflow_id > ? OR (workflow_id = ? AND seq > ?) ORDER BY workflow_id, seq LIMIT ?";
    let mut last: Option<Seen> = None;
    loop {
        let (id, seq) = last.as_ref().map_or((Vec::new(), 0), |seen| {
            (seen.workflow.bytes().to_vec(), seen.seq)
        });
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let parameters = [
            Value::Bytes(id.clone()),
            Value::Bytes(id),
            seq.into(),
            PAGE_ROWS.into(),
        ];
        let rows = inputs
            .database
            .query("reading the journal", sql, &parameters)
            .await?;
        let mut begun: Vec<WorkflowId> = Vec::new();
        for row in &rows {
            let seen = Seen::of(row)?;
            report.checked += 1;
            let before = last.as_ref().filter(|last| last.workflow == seen.workflow);
            if before.is_none() {
                begun.push(seen.workflow);
            }
            if let Some(what) = seen.does_not_follow(before) {
                report.violated(format!("{}: {what}", seen.workflow));
            }
            last = Some(seen);
        }
        belong_to_workflows(inputs, report, &begun).await?;
        if i64::try_from(rows.len()).is_ok_and(|count| count < PAGE_ROWS) {
            return Ok(());
        }
        inputs.pause().await;
    }
}

/// A workflow's row is written with its first event, and removed with all of them.
async fn belong_to_workflows(
    inputs: &Inputs<'_>,
    report: &mut InvariantReport,
    begun: &[WorkflowId],
) -> Result<(), StoreError> {
    let there = standings(inputs.database, begun).await?;
    let missing: Vec<WorkflowId> = begun
        .iter()
        .filter(|workflow| !there.contains_key(workflow))
        .copied()
        .collect();
    let still = places(inputs.database, &missing).await?;
    for workflow in missing {
        let events = still.keys().filter(|(of, _)| *of == workflow).count();
        if events > 0 {
            report.violated(format!("{workflow}: {events} events, and no workflow"));
        }
    }
    Ok(())
}

async fn workflows_have_events(
    inputs: &Inputs<'_>,
    report: &mut InvariantReport,
) -> Result<(), StoreError> {
    let sql = "SELECT ident, partition_id FROM workflows WHERE ident > ? ORDER BY ident LIMIT ?";
    let mut after = Vec::new();
    loop {
        let parameters = [Value::Bytes(after), PAGE_ROWS.into()];
        let rows = inputs
            .database
            .query("reading the workflows", sql, &parameters)
            .await?;
        let ids: Vec<WorkflowId> = rows.iter().map(id_of).collect::<Result<_, _>>()?;
        report.checked += ids.len() as u64;
        let there = places(inputs.database, &ids).await?;
        let without = |id: &&WorkflowId| !there.contains_key(&(**id, 1));
        let without: Vec<WorkflowId> = ids.iter().filter(without).copied().collect();
        // Those that are old may have been removed in between.
        let still = standings(inputs.database, &without).await?;
        for workflow in without {
            if still.contains_key(&workflow) {
                report.violated(format!("{workflow}: it has no first event"));
            }
        }
        match rows.last() {
            Some(row) if i64::try_from(rows.len()).is_ok_and(|count| count >= PAGE_ROWS) => {
                after = row.bytes(0)?.to_vec();
            }
            _ => return Ok(()),
        }
        inputs.pause().await;
    }
}

fn id_of(row: &Row) -> Result<WorkflowId, StoreError> {
    let ident = row.bytes(0)?.try_into();
    let ident = ident.map_err(|_| nonsense(&"an ident is not of 12 bytes"))?;
    Ok(WorkflowId::new(PartitionId(narrow(row, 1)?), ident))
}

/// An event's place.
struct Seen {
    workflow: WorkflowId,
    seq: u64,
    partition: u64,
    partition_seq: u64,
}

impl Seen {
    fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            workflow: workflow(row, 0)?,
            seq: unsigned(row, 1)?,
            partition: unsigned(row, 2)?,
            partition_seq: unsigned(row, 3)?,
        })
    }

    /// `last` is the one before it of the same workflow.
    fn does_not_follow(&self, last: Option<&Self>) -> Option<String> {
        let Self {
            workflow,
            seq,
            partition,
            partition_seq,
        } = self;
        if *partition != u64::from(workflow.partition().0) {
            return Some(format!(
                "event {seq} is in partition {partition}, not its own"
            ));
        }
        match last {
            None if *seq != 1 => Some(format!("its first event is number {seq}")),
            Some(last) if *seq != last.seq + 1 => {
                Some(format!("event {seq} follows event {}", last.seq))
            }
            Some(last) if *partition_seq <= last.partition_seq => Some(format!(
                "event {seq} was committed before event {}",
                last.seq
            )),
            _ => None,
        }
    }
}
