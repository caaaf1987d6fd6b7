//! The ceiling: the rows that the engine wrote, written again by a loop that does nothing else, through the same
//! [`Journal::commit`](engine::store::Journal::commit), in batches of the same mean size.

use std::sync::Arc;
use std::time::Duration;

use engine::store::{Batch, EventRow, Head, HeadUpdate, Journal, Lease, Status, Store};
use engine::workflow::{DefinitionRef, Record};
use engine::{NodeName, Runtime, Timestamp, WorkflowId};
use tokio::task::JoinSet;

use super::rate::Measured;
use super::saga;
use crate::exit::{Code, Failure, with_causes};

/// Nobody renews it, so it outlives the measurement.
const LEASE: Duration = Duration::from_mins(10);

/// What the bare loop reached.
pub struct Bare {
    /// Connections that wrote at the same time.
    pub connections: u16,
    /// As many workflows' rows a second.
    pub workflows_per_second: f64,
    /// Rows a second.
    pub rows_per_second: f64,
    /// Rows in each transaction.
    pub rows_per_commit: f64,
}

/// Writes the rows of as many workflows as were measured.
pub async fn measure(
    measured: &Measured,
    connections: u16,
    store: Arc<dyn Store>,
    runtime: &Runtime,
) -> Result<Bare, Failure> {
    let node = NodeName(format!("bare-{connections}"));
    let failed = |error: &dyn std::error::Error| Failure::internal("writing the bare rows", error);
    let leases = store
        .acquire(&node, connections, &[], LEASE)
        .await
        .map_err(|error| failed(&error))?;
    let share = measured.workflows.div_ceil(u32::from(connections));
    let began = runtime.now();
    let mut writers = JoinSet::new();
    for lease in leases.iter().take(usize::from(connections)) {
        let mut journal = store
            .open_journal(lease)
            .await
            .map_err(|error| failed(&error))?;
        let mut loop_ = Loop::new(measured, lease, runtime);
        writers.spawn(async move { loop_.write(journal.as_mut(), share).await });
    }
    let mut written = Written::default();
    while let Some(finished) = writers.join_next().await {
        let part = finished.unwrap_or_else(|error| Err(error.to_string()));
        let part = part.map_err(|error| {
            Failure::new(Code::Internal, format!("writing the bare rows: {error}"))
        })?;
        written.rows += part.rows;
        written.commits += part.commits;
        written.workflows += part.workflows;
    }
    let seconds = runtime.now().since(began).as_secs_f64().max(f64::EPSILON);
    store
        .release(&leases)
        .await
        .map_err(|error| failed(&error))?;
    Ok(Bare {
        connections,
        workflows_per_second: f64::from(written.workflows) / seconds,
        rows_per_second: f64::from(written.rows) / seconds,
        rows_per_commit: f64::from(written.rows) / f64::from(written.commits.max(1)),
    })
}

#[derive(Default)]
struct Written {
    workflows: u32,
    rows: u32,
    commits: u32,
}

/// One connection's loop.
struct Loop {
    /// The events of one workflow, as the engine wrote them.
    events: Vec<(Record, Arc<str>)>,
    /// Whole workflows in a batch, so that it has as many rows as the engine's mean.
    workflows_per_batch: u32,
    lease: Lease,
    runtime: Runtime,
    number: u64,
    last_seq: u64,
}

impl Loop {
    fn new(measured: &Measured, lease: &Lease, runtime: &Runtime) -> Self {
        let events: Vec<(Record, Arc<str>)> = measured
            .sample
            .iter()
            .map(|record| {
                (
                    record.clone(),
                    serde_json::to_string(record).unwrap_or_default().into(),
                )
            })
            .collect();
        // A workflow's row, its events, and the row again when it ends.
        let rows_per_workflow = u32::try_from(events.len() + 2).unwrap_or(u32::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number of rows"
        )]
        let rows_per_batch = measured.rows_per_commit().round() as u32;
        Self {
            events,
            workflows_per_batch: (rows_per_batch / rows_per_workflow).max(1),
            lease: lease.clone(),
            runtime: runtime.clone(),
            number: 0,
            last_seq: 0,
        }
    }

    async fn write(
        &mut self,
        journal: &mut dyn Journal,
        workflows: u32,
    ) -> Result<Written, String> {
        let position = journal
            .position()
            .await
            .map_err(|error| with_causes(&error))?;
        (self.number, self.last_seq) = (position.batch, position.last_seq);
        let mut written = Written::default();
        let mut ended = Vec::new();
        while written.workflows < workflows || !ended.is_empty() {
            let new = self.workflows_per_batch.min(workflows - written.workflows);
            let batch = self.batch(new, &mut ended);
            journal
                .commit(&batch)
                .await
                .map_err(|error| with_causes(&error))?;
            let rows = batch.workflows.len() + batch.events.len() + batch.heads.len();
            written.rows += u32::try_from(rows).unwrap_or(u32::MAX);
            written.workflows += new;
            written.commits += 1;
        }
        Ok(written)
    }

    /// So many new workflows with their events; those of the batch before have ended.
    fn batch(&mut self, new: u32, ended: &mut Vec<WorkflowId>) -> Batch {
        let now = self.runtime.now();
        self.number += 1;
        let mut batch = Batch {
            number: self.number,
            ..Batch::default()
        };
        batch.heads = ended.drain(..).map(|id| head_update(id, now)).collect();
        for _ in 0..new {
            let id = self.new_id();
            batch.workflows.push(head(id, now));
            for (record, payload) in &self.events {
                self.last_seq += 1;
                batch.events.push(EventRow {
                    workflow: id,
                    seq: record.seq,
                    partition_seq: self.last_seq,
                    kind: record.kind(),
                    at: now,
                    payload: Arc::clone(payload),
                });
            }
            ended.push(id);
        }
        batch
    }

    fn new_id(&self) -> WorkflowId {
        let mut ident = [0; 12];
        ident[..8].copy_from_slice(&self.runtime.next_u64().to_be_bytes());
        ident[8..].copy_from_slice(&self.runtime.next_u64().to_be_bytes()[..4]);
        WorkflowId::new(self.lease.partition, ident)
    }
}

fn head(id: WorkflowId, now: Timestamp) -> Head {
    Head {
        id,
        definition: DefinitionRef {
            name: saga::NAME.to_owned(),
            version: 1,
            hash: 0,
        },
        status: Status::Running,
        reason: None,
        wake_at: None,
        label: None,
        request_hash: [0; 32],
        created_at: now,
        updated_at: now,
    }
}

fn head_update(id: WorkflowId, now: Timestamp) -> HeadUpdate {
    HeadUpdate {
        id,
        status: Status::Completed,
        reason: None,
        wake_at: None,
        updated_at: now,
    }
}
