//! I4 and I6: where workflows stand, and whether their journals are whole.

use engine::WorkflowId;
use engine::store::{ListFilter, Row, Status, StoreError, Value};

use super::{Inputs, InvariantReport, VerifyError};
use crate::rows::{unsigned, workflow};

/// Rows that one query reads.
const PAGE_ROWS: i64 = 5_000;
/// Workflows of one page of a list: the most that the store gives.
const LIST_PAGE: u16 = 500;

/// I4. Looks at each workflow.
pub async fn all_at_rest(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title =
        "rest: every workflow is completed, compensated, abandoned, or parked with a reason";
    let mut report = InvariantReport::new("I4", title);
    for (status, count) in inputs.store.count_by_status().await? {
        report.checked += count;
        if !status.is_terminal() && status != Status::Parked && count > 0 {
            name_the_open(inputs, &mut report, status).await?;
        }
    }
    parked_have_reasons(inputs, &mut report).await?;
    Ok(report.finished())
}

async fn name_the_open(
    inputs: &Inputs<'_>,
    report: &mut InvariantReport,
    status: Status,
) -> Result<(), StoreError> {
    each_of(inputs, status, |id, _| {
        report.violated(format!("{id} is {status}"));
    })
    .await
}

async fn parked_have_reasons(
    inputs: &Inputs<'_>,
    report: &mut InvariantReport,
) -> Result<(), StoreError> {
    each_of(inputs, Status::Parked, |id, reason| {
        if reason.is_none_or(|reason| reason.trim().is_empty()) {
            report.violated(format!("{id} is parked without a reason"));
        }
    })
    .await
}

async fn each_of(
    inputs: &Inputs<'_>,
    status: Status,
    mut see: impl FnMut(WorkflowId, Option<&str>),
) -> Result<(), StoreError> {
    let mut filter = ListFilter {
        status: Some(status),
        limit: LIST_PAGE,
        ..ListFilter::default()
    };
    loop {
        let page = inputs.store.list(&filter).await?;
        page.items
            .iter()
            .for_each(|head| see(head.id, head.reason.as_deref()));
        if page.next.is_none() {
            return Ok(());
        }
        filter.after = page.next;
    }
}

/// I6. Looks at each event, workflow by workflow, a page at a time.
pub async fn gapless(inputs: &Inputs<'_>) -> Result<InvariantReport, VerifyError> {
    let title =
        "journal: each workflow's events are 1..n without a gap, in the order of its partition";
    let mut report = InvariantReport::new("I6", title);
    let sql = "SELECT workflow_id, seq, partition_id, partition_seq FROM events \
               WHERE workflow_id > ? OR (workflow_id = ? AND seq > ?) ORDER BY workflow_id, seq LIMIT ?";
    let mut last: Option<Seen> = None;
    let mut workflows = 0_u64;
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
        for row in &rows {
            let seen = Seen::of(row)?;
            workflows += u64::from(
                last.as_ref()
                    .is_none_or(|last| last.workflow != seen.workflow),
            );
            report.checked += 1;
            if let Some(what) = seen.does_not_follow(last.as_ref()) {
                report.violated(format!("{}: {what}", seen.workflow));
            }
            last = Some(seen);
        }
        if i64::try_from(rows.len()).is_ok_and(|count| count < PAGE_ROWS) {
            break;
        }
    }
    let stored: u64 = inputs
        .store
        .count_by_status()
        .await?
        .iter()
        .map(|(_, count)| count)
        .sum();
    if stored != workflows {
        report.violated(format!(
            "{stored} workflows are stored, {workflows} have events"
        ));
    }
    Ok(report.finished())
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
        match last.filter(|last| last.workflow == *workflow) {
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
