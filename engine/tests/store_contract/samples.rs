//! Heads, events and batches to write.

use std::sync::Arc;

use engine::payload::Payload;
use engine::runtime::Timestamp;
use engine::store::{Batch, EventRow, Head, HeadUpdate, JournalPosition, Lease, Status};
use engine::workflow::{DefinitionRef, Event, Record};
use engine::{NodeName, PartitionId, WorkflowId};

pub fn definition(name: &str) -> DefinitionRef {
    DefinitionRef {
        name: name.to_owned(),
        version: 3,
        hash: u64::MAX - 7,
    }
}

/// The workflow with this number in the partition.
pub fn id(partition: PartitionId, number: u32) -> WorkflowId {
    let mut ident = [0x5a; 12];
    // The bytes before hold the UUID's version and variant.
    ident[8..].copy_from_slice(&number.to_be_bytes());
    WorkflowId::new(partition, ident)
}

pub fn head(id: WorkflowId, created_at: i64) -> Head {
    Head {
        id,
        definition: definition("purchase"),
        status: Status::Running,
        reason: None,
        wake_at: None,
        label: Some("sale-1".to_owned()),
        request_hash: [0xab; 32],
        created_at: Timestamp(created_at),
        updated_at: Timestamp(created_at),
    }
}

pub fn update(id: WorkflowId, status: Status, at: i64) -> HeadUpdate {
    HeadUpdate {
        id,
        status,
        reason: None,
        wake_at: None,
        updated_at: Timestamp(at),
    }
}

pub fn record(seq: u32, text: &str) -> Record {
    let event = Event::StepDone {
        step: "step".to_owned(),
        attempt: 1,
        output: Payload::of(text).expect("text is JSON"),
    };
    Record::new(seq, Timestamp(i64::from(seq)), event)
}

pub fn event(workflow: WorkflowId, record: &Record, partition_seq: u64) -> EventRow {
    EventRow {
        workflow,
        seq: record.seq,
        partition_seq,
        kind: record.kind(),
        at: record.at,
        payload: Arc::from(serde_json::to_string(record).expect("a record is JSON")),
    }
}

/// A batch that follows `position` and starts `workflows` with an event each.
pub fn starting(position: JournalPosition, workflows: &[WorkflowId]) -> Batch {
    let numbered = workflows.iter().zip(position.last_seq + 1..);
    Batch {
        number: position.batch + 1,
        workflows: workflows.iter().map(|id| head(*id, 1_000)).collect(),
        events: numbered
            .map(|(id, seq)| event(*id, &record(1, "started"), seq))
            .collect(),
        published_seq: position.published_seq,
        ..Batch::default()
    }
}

/// An empty batch that follows `position`.
pub fn following(position: JournalPosition) -> Batch {
    starting(position, &[])
}

/// Starts these workflows and gives each its status, in one batch.
pub fn standing(position: JournalPosition, workflows: &[(WorkflowId, Status)]) -> Batch {
    let ids: Vec<_> = workflows.iter().map(|(id, _)| *id).collect();
    let mut batch = starting(position, &ids);
    for (head, (_, status)) in batch.workflows.iter_mut().zip(workflows) {
        head.status = *status;
    }
    batch
}

pub fn node(name: &str) -> NodeName {
    NodeName(name.to_owned())
}

/// The partition's `n` first workflows.
pub fn ids(lease: &Lease, n: u32) -> Vec<WorkflowId> {
    (1..=n).map(|number| id(lease.partition, number)).collect()
}
