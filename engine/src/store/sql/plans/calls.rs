//! Everything that nodes and operators have a store do, again and again, each with what it may cost whatever the size of the
//! store.

use std::time::Duration;

use super::fill::{HUGE_DEFINITION, HUGE_LABEL, PARTITIONS, created_us, id};
use super::probe::{Expected, Probe};
use crate::command::Verb;
use crate::ids::{NodeName, PartitionId};
use crate::runtime::Timestamp;
use crate::store::{
    Answer, Batch, BatchState, CommandId, CommandState, EventRow, Head, HeadUpdate, Lease,
    ListCursor, ListFilter, NewBatch, NewCommand, ParkedRow, Status, Store,
};
use crate::workflow::{By, DefinitionRef};

const LEASE: Duration = Duration::from_mins(10);

/// What a server may read of its own dictionary when it uses a small table for the first time.
const DICTIONARY: u64 = 100;

const WORKFLOW: (&str, &str) = ("workflows", "PRIMARY");
const BY_STATUS: (&str, &str) = ("workflows", "workflows_by_status");
const BY_LABEL: (&str, &str) = ("workflows", "workflows_by_label");
const BY_REASON: (&str, &str) = ("workflows", "workflows_by_reason");
const BY_STEP: (&str, &str) = ("parked", "parked_by_step");
const BY_ERROR: (&str, &str) = ("parked", "parked_by_error");
const PARKED: (&str, &str) = ("parked", "PRIMARY");
const EVENT: (&str, &str) = ("events", "PRIMARY");
const BY_WORKFLOW: (&str, &str) = ("events", "events_by_workflow");
const COMMAND: (&str, &str) = ("commands", "PRIMARY");
const BY_NAME: (&str, &str) = ("commands", "commands_by_name");
const BY_STATE: (&str, &str) = ("commands", "commands_by_state");
const BY_BATCH: (&str, &str) = ("commands", "commands_by_batch");

/// One round of everything. `round` differs from time to time.
pub(super) async fn all(probe: &mut Probe, store: &dyn Store, workflows: u32, round: u32) {
    reads(probe, store, workflows).await;
    commands(probe, store, workflows, round).await;
    lists(probe, store, workflows).await;
    upkeep(probe, store, workflows).await;
    let lease = leases(probe, store).await;
    journal(probe, store, workflows, round, &lease).await;
}

async fn reads(probe: &mut Probe, store: &dyn Store, workflows: u32) {
    let one = id(workflows / 2);
    let expected = Expected::new("find", &[WORKFLOW], 3);
    let found = probe.call(expected, store.find(&one.ident())).await;
    assert_eq!(found.expect("read").expect("there").id, one);

    let expected = Expected::new("records", &[BY_WORKFLOW], 12);
    let records = probe.call(expected, store.records(one, 0, 10)).await;
    assert_eq!(records.expect("read").len(), 1);

    let idents: Vec<_> = young().take(500).map(|number| id(number).ident()).collect();
    let expected = Expected::new("load 500", &[WORKFLOW, BY_WORKFLOW], 3_000);
    let loaded = probe.call(expected, store.load(&idents)).await;
    assert_eq!(loaded.expect("read").len(), 500);

    let expected = Expected::new("events after", &[EVENT], 220);
    let events = store.events_after(PartitionId(2), 100, 200);
    assert_eq!(probe.call(expected, events).await.expect("read").len(), 200);

    // All that is open is read through for one partition's part of it, a page at a time.
    let open = u64::from(workflows / 1_000) * 8;
    let (mut after, mut pages) = (None, 0);
    loop {
        let expected = Expected::new("open workflows", &[BY_STATUS], open);
        let page = store.open_workflows(PartitionId(3), after, 20);
        let page = probe.call(expected, page).await.expect("read");
        pages += 1;
        match page.last() {
            Some(last) if page.len() == 20 => after = Some(last.cursor.clone()),
            _ => break,
        }
    }
    assert!(pages > 1);
}

async fn commands(probe: &mut Probe, store: &dyn Store, workflows: u32, round: u32) {
    for after in [None, Some(CommandId(500))] {
        let expected = Expected::new("pending commands", &[BY_STATE], 120);
        let pending = store.pending_commands(PartitionId(1), after, 50);
        assert!(
            !probe
                .call(expected, pending)
                .await
                .expect("read")
                .is_empty()
        );
    }
    let expected = Expected::new("a command", &[COMMAND], 3);
    let one = probe.call(expected, store.command(CommandId(1_000))).await;
    assert!(one.expect("read").is_some());
    let expected = Expected::new("a workflow's commands", &[BY_NAME], 30).sorting();
    let few = store.commands(Some(id(9)), None, None, 20);
    assert!(!probe.call(expected, few).await.expect("read").is_empty());
    for before in [None, Some(CommandId(1_500))] {
        let expected = Expected::new("a batch's commands", &[BY_BATCH], 60);
        let page = store.commands(None, Some(1), before, 50);
        assert_eq!(probe.call(expected, page).await.expect("read").len(), 50);
        let expected = Expected::new("all commands", &[COMMAND], 60).walking();
        let page = store.commands(None, None, before, 50);
        assert_eq!(probe.call(expected, page).await.expect("read").len(), 50);
    }
    let command = NewCommand {
        workflow: id(workflows - 1),
        key: format!("round {round}"),
        verb: Verb::Retry,
        by: by(),
        expected_seq: None,
        batch: None,
        accepted_at: Timestamp(0),
    };
    let expected = Expected::new("submit a command", &[], DICTIONARY);
    probe
        .call(expected, store.submit(&command))
        .await
        .expect("new");
    let expected = Expected::new("submit it again", &[BY_NAME], 5);
    probe
        .call(expected, store.submit(&command))
        .await
        .expect("known");
    batches(probe, store, round).await;
}

async fn batches(probe: &mut Probe, store: &dyn Store, round: u32) {
    let batch = NewBatch {
        key: format!("round {round}"),
        filter: filter(),
        verb: Verb::Retry,
        by: by(),
        per_second: 10,
        created_at: Timestamp(0),
    };
    let expected = Expected::new("submit a batch", &[], DICTIONARY);
    let (row, _) = probe
        .call(expected, store.submit_batch(&batch))
        .await
        .expect("new");
    let node = NodeName("a".into());
    let expected = Expected::new("take a batch", &[], DICTIONARY);
    let taken = probe.call(expected, store.take_batch(&node, LEASE)).await;
    assert_eq!(taken.expect("read").map(|taken| taken.id), Some(row.id));
    let expected = Expected::new("advance a batch", &[], DICTIONARY);
    let advanced = store.advance_batch(&node, row.id, None, 1, BatchState::Finished);
    assert!(probe.call(expected, advanced).await.expect("written"));
    let expected = Expected::new("batches", &[], DICTIONARY);
    probe
        .call(expected, store.batches(None, 20))
        .await
        .expect("read");
    // All of its commands are counted, by their rows.
    let expected = Expected::new("a batch's progress", &[BY_BATCH], 110_000).sorting();
    probe
        .call(expected, store.batch_progress(1))
        .await
        .expect("read");
}

fn by() -> By {
    By {
        actor: "op".into(),
        reason: "why".into(),
    }
}

/// The numbers of workflows that are not among the oldest, which a round removes.
fn young() -> impl Iterator<Item = u32> {
    (0..).filter(|number| created_us(*number) > i64::from(u32::MAX / 2))
}

/// The pages of a list's beginning and of its middle.
async fn list(probe: &mut Probe, store: &dyn Store, expected: Expected, filter: &ListFilter) {
    let middle = ListCursor {
        created_at: Timestamp(i64::from(u32::MAX / 2)),
        ident: id(3).ident(),
    };
    for after in [None, Some(middle)] {
        let filter = ListFilter {
            after,
            ..filter.clone()
        };
        let page = probe.call(expected, store.list(&filter)).await;
        assert!(!page.expect("listed").items.is_empty(), "{filter:?}");
    }
}

fn filter() -> ListFilter {
    ListFilter {
        limit: 50,
        ..ListFilter::default()
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

async fn lists(probe: &mut Probe, store: &dyn Store, workflows: u32) {
    // The bound of one index: its entries, the rows of each, and the same once more where a statement puts them together.
    const EXACT: u64 = 250;
    const LOOKED_THROUGH: u64 = 2_000 * 2 + 2_000 + 500;

    let expected = Expected::new("list", &[BY_STATUS, WORKFLOW], 21 * 2 * 51 + 300);
    list(probe, store, expected, &filter()).await;
    for status in Status::ALL {
        let expected = Expected::new("list by status", &[BY_STATUS, WORKFLOW], 3 * 2 * 51 + 250);
        let filter = ListFilter {
            status: Some(status),
            ..filter()
        };
        list(probe, store, expected, &filter).await;
    }
    let expected = Expected::new(
        "list by definition",
        &[BY_STATUS, WORKFLOW],
        7 * 2 * 51 + 250,
    );
    let by_definition = ListFilter {
        definition: text(HUGE_DEFINITION),
        ..filter()
    };
    list(probe, store, expected, &by_definition).await;
    let expected = Expected::new(
        "list by status and definition",
        &[BY_STATUS, WORKFLOW],
        EXACT,
    );
    let both = ListFilter {
        status: Some(Status::Completed),
        ..by_definition.clone()
    };
    list(probe, store, expected, &both).await;
    let expected = Expected::new("list by label", &[BY_LABEL, WORKFLOW], EXACT);
    let by_label = ListFilter {
        label: text(HUGE_LABEL),
        ..filter()
    };
    list(probe, store, expected, &by_label).await;
    let expected = Expected::new("list by reason", &[BY_REASON, WORKFLOW], EXACT);
    let by_reason = ListFilter {
        reason: text("gateway-timeout"),
        ..filter()
    };
    list(probe, store, expected, &by_reason).await;
    let expected = Expected::new("list by step", &[BY_STEP, WORKFLOW], EXACT);
    let by_step = ListFilter {
        step: text("pay"),
        ..filter()
    };
    list(probe, store, expected, &by_step).await;
    let expected = Expected::new(
        "list by step and more",
        &[BY_STEP, WORKFLOW],
        LOOKED_THROUGH,
    );
    let step_and_more = ListFilter {
        reason: text("bad-data"),
        label: text(HUGE_LABEL),
        created_from: Some(Timestamp(9)),
        created_before: Some(Timestamp(created_us(u32::MAX))),
        ..by_step
    };
    list(probe, store, expected, &step_and_more).await;
    let between = ListFilter {
        created_from: Some(Timestamp(i64::from(u32::MAX / 4))),
        created_before: Some(Timestamp(i64::from(u32::MAX / 4 * 3))),
        ..both.clone()
    };
    let expected = Expected::new("list between instants", &[BY_STATUS, WORKFLOW], EXACT);
    list(probe, store, expected, &between).await;
    several(probe, store, workflows).await;
}

/// Lists by several filters that each have an index: all of these are begun.
async fn several(probe: &mut Probe, store: &dyn Store, workflows: u32) {
    const LOOKED_THROUGH: u64 = 2_000 * 2;
    const ROWS: u64 = 2_000 + 500;
    // Fewer than are looked through, in a small store.
    let rows = ROWS.min(u64::from(workflows));
    let label_and_status = ListFilter {
        label: text(HUGE_LABEL),
        ..filter()
    };
    for status in [Status::Completed, Status::Compensated, Status::Parked] {
        let by = &[BY_LABEL, BY_STATUS, WORKFLOW];
        let reads_max = LOOKED_THROUGH * (1 + 3) + rows;
        let expected = Expected::new("list by label and status", by, reads_max);
        let filter = ListFilter {
            status: Some(status),
            ..label_and_status.clone()
        };
        list(probe, store, expected, &filter).await;
    }
    let by = &[BY_LABEL, BY_STATUS, WORKFLOW];
    let reads_max = LOOKED_THROUGH * (1 + 7) + rows;
    let expected = Expected::new("list by label and definition", by, reads_max);
    let filter = ListFilter {
        definition: text("claim"),
        ..label_and_status.clone()
    };
    list(probe, store, expected, &filter).await;
    let by = &[BY_LABEL, BY_REASON, WORKFLOW];
    let expected = Expected::new("list by label and reason", by, LOOKED_THROUGH * 2 + rows);
    let label_and_reason = ListFilter {
        reason: text("sold-out"),
        ..label_and_status
    };
    list(probe, store, expected, &label_and_reason).await;
    let by = &[BY_LABEL, BY_REASON, BY_STATUS, WORKFLOW];
    let expected = Expected::new("list by all of these", by, LOOKED_THROUGH * 3 + rows);
    let all = ListFilter {
        status: Some(Status::Compensated),
        definition: text(HUGE_DEFINITION),
        created_from: Some(Timestamp(1)),
        ..label_and_reason
    };
    list(probe, store, expected, &all).await;
}

async fn upkeep(probe: &mut Probe, store: &dyn Store, workflows: u32) {
    // As many as are parked, twice: they are put together by what they have in common.
    let parked = u64::from(workflows) / 1_000 * 3 + 200;
    let expected = Expected::new("error groups", &[BY_ERROR], parked.min(200_000) * 4).sorting();
    let groups = probe.call(expected, store.error_groups(100)).await;
    assert!(groups.expect("read").len() > 7);

    let by = &[BY_STATUS, WORKFLOW, BY_WORKFLOW];
    let reads_max = 9 * 1_000 * 2 + 4 * 1_000 + 2_000;
    let before = Timestamp(i64::from(u32::MAX));
    let expected = Expected::new("purgeable", by, reads_max);
    let old = probe.call(expected, store.purgeable(before, 500)).await;
    let old = old.expect("read");
    assert_eq!(old.len(), 500);
    let idents: Vec<_> = old.iter().map(|(head, _)| head.id.ident()).collect();
    let by = &[WORKFLOW, BY_WORKFLOW, BY_NAME, PARKED];
    let expected = Expected::new("purge 500", by, 500 * 16).sorting();
    let purged = probe.call(expected, store.purge(&idents)).await;
    assert_eq!(purged.expect("removed").workflows, 500);

    let expected = Expected::new("purgeable, nothing", &[BY_STATUS], 200);
    let none = probe
        .call(expected, store.purgeable(Timestamp(0), 500))
        .await;
    assert!(none.expect("read").is_empty());
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
        .call(expected, store.adopt_expired(&node, LEASE))
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
        label: text(HUGE_LABEL),
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
        reason: text("gateway-timeout"),
        wake_at: None,
        updated_at: Timestamp(i64::from(number)),
    }
}

fn parked(number: u32) -> ParkedRow {
    ParkedRow {
        id: id(number),
        definition: HUGE_DEFINITION.into(),
        step: text("pay"),
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
