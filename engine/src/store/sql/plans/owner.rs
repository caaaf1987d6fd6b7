//! What the owner of a partition has a store do: leases, and a batch of everything that a batch can hold.

use super::LEASE;
use super::fill::{HUGE_DEFINITION, HUGE_LABEL, PARTITIONS, created_us, id, young};
use super::probe::{BY_STATE, BY_STATUS, COMMAND, DICTIONARY, Expected, PARKED, Probe, WORKFLOW};
use crate::ids::NodeName;
use crate::runtime::Timestamp;
use crate::store::{
    Answer, Batch, CommandId, CommandState, EventRow, Head, HeadUpdate, Lease, ParkedRow, Status,
    Store,
};
use crate::workflow::DefinitionRef;

/// One round of everything.
pub(super) async fn all(probe: &mut Probe, store: &dyn Store, workflows: u32, round: u32) {
    let lease = leases(probe, store).await;
    journal(probe, store, workflows, round, &lease).await;
}

async fn leases(probe: &mut Probe, store: &dyn Store) -> Lease {
    let node = NodeName("a".into());
    let few = u64::from(PARTITIONS) * 20;
    let expected = Expected::new("acquire partitions", &[], few);
    let leases = store.acquire(&node, 1, &[], LEASE);
    let leases = probe.call(expected, leases).await.expect("acquired");
    assert_eq!(leases.len(), PARTITIONS as usize);
    let expected = Expected::new("adopt partitions", &[], few);
    let adopted = probe
        .call(expected, store.adopt_expired(&node, &[], LEASE))
        .await;
    assert!(adopted.expect("read").is_empty());
    let expected = Expected::new("renew leases", &[], few);
    let lost = probe.call(expected, store.renew(&leases, LEASE)).await;
    assert!(lost.expect("renewed").is_empty());
    let expected = Expected::new("partitions", &[], few);
    probe
        .call(expected, store.partitions())
        .await
        .expect("read");
    let expected = Expected::new("retire a partition", &[BY_STATUS, BY_STATE], few);
    let retired = probe.call(expected, store.retire(&leases[0])).await;
    assert!(!retired.expect("tried"), "it has open workflows");
    let definitions = [reference()];
    let expected = Expected::new("register definitions", &[], DICTIONARY);
    let registered = store.register_definitions(&definitions);
    probe.call(expected, registered).await.expect("noted");
    leases[1].clone()
}

/// A batch of everything that a batch can hold.
async fn journal(probe: &mut Probe, store: &dyn Store, workflows: u32, round: u32, lease: &Lease) {
    const SOME: u32 = 64;
    let expected = Expected::new("open a journal", &[], 10);
    let journal = probe.call(expected, store.open_journal(lease)).await;
    let mut journal = journal.expect("opened");
    let expected = Expected::new("a journal's position", &[], 6);
    let position = probe
        .call(expected, journal.position())
        .await
        .expect("read");
    let here = |number: u32| number * PARTITIONS + lease.partition.0 - 1;
    let new = |number: u32| here(workflows / PARTITIONS + 1 + round * SOME + number);
    let old: Vec<u32> = young()
        .filter(|number| number % PARTITIONS == lease.partition.0 - 1)
        .skip((round * SOME) as usize)
        .take(SOME as usize)
        .collect();
    let (to_park, to_let_go) = old.split_at(old.len() / 2);
    let batch = Batch {
        number: position.batch + 1,
        workflows: (0..SOME).map(|number| head(new(number))).collect(),
        events: (1..=SOME)
            .map(|number| event(new(number - 1), position.last_seq + u64::from(number)))
            .collect(),
        heads: old.iter().map(|number| update(*number)).collect(),
        parked: to_park.iter().map(|number| parked(*number)).collect(),
        unparked: to_let_go.iter().map(|number| id(*number)).collect(),
        answers: (0..SOME)
            .map(|number| answer(round * SOME + number + 1))
            .collect(),
        published_seq: position.published_seq,
        ..Batch::default()
    };
    let by = &[WORKFLOW, PARKED, COMMAND];
    let expected = Expected::new("commit a batch", by, u64::from(SOME) * 12);
    let committed = probe.call(expected, journal.commit(&batch)).await;
    committed.expect("committed");
}

fn head(number: u32) -> Head {
    Head {
        id: id(number),
        definition: reference(),
        status: Status::Running,
        reason: None,
        wake_at: None,
        label: Some(HUGE_LABEL.into()),
        request_hash: [0; 32],
        created_at: Timestamp(created_us(number)),
        updated_at: Timestamp(created_us(number)),
    }
}

fn event(number: u32, partition_seq: u64) -> EventRow {
    EventRow {
        workflow: id(number),
        seq: 1,
        partition_seq,
        kind: "deadline-passed",
        at: Timestamp(0),
        payload: r#"{"seq":1,"at":0,"event":{"type":"deadline-passed"}}"#.into(),
    }
}

fn update(number: u32) -> HeadUpdate {
    HeadUpdate {
        id: id(number),
        status: Status::Parked,
        reason: Some("gateway-timeout".into()),
        wake_at: None,
        updated_at: Timestamp(i64::from(number)),
    }
}

fn parked(number: u32) -> ParkedRow {
    ParkedRow {
        id: id(number),
        definition: HUGE_DEFINITION.into(),
        step: Some("pay".into()),
        class: "gateway-timeout".into(),
        message: String::new(),
        since: Timestamp(0),
    }
}

fn answer(number: u32) -> Answer {
    Answer {
        id: CommandId(number.into()),
        state: CommandState::Done { seq: 1 },
        at: Timestamp(i64::from(number)),
    }
}

fn reference() -> DefinitionRef {
    DefinitionRef {
        name: HUGE_DEFINITION.into(),
        version: 1,
        hash: 1,
    }
}
