//! Everything that nodes and operators have a store do, again and again, each with what it may cost whatever the size of the
//! store. A bound says how many entries of indexes and rows of tables are read, all together.

use super::fill::{id, young};
use super::probe::{
    BY_BATCH, BY_ERROR, BY_NAME, BY_STATE, BY_STATUS, BY_WORKFLOW, COMMAND, DICTIONARY, EVENT,
    Expected, PARKED, Probe, WORKFLOW,
};
use super::{LEASE, lists, owner};
use crate::command::Verb;
use crate::ids::{NodeName, PartitionId};
use crate::runtime::Timestamp;
use crate::store::{BatchState, CommandId, ListFilter, NewBatch, NewCommand, Store};
use crate::workflow::By;

/// One round of everything. `round` differs from time to time.
pub(super) async fn all(probe: &mut Probe, store: &dyn Store, workflows: u32, round: u32) {
    reads(probe, store, workflows).await;
    commands(probe, store, workflows, round).await;
    lists::all(probe, store).await;
    upkeep(probe, store, workflows).await;
    owner::all(probe, store, workflows, round).await;
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
    let expected = Expected::new("open everywhere", &[BY_STATUS], 4 * 100 + 20);
    let everywhere = probe.call(expected, store.open_everywhere(None, 100)).await;
    assert_eq!(everywhere.expect("read").len(), 100);
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
    let expected = Expected::new("a command by its key", &[BY_NAME], 3);
    let one = probe
        .call(expected, store.command_of_key(id(9), "k9"))
        .await;
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
        filter: ListFilter::default(),
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

async fn upkeep(probe: &mut Probe, store: &dyn Store, workflows: u32) {
    // As many as are parked, twice: they are put together by what they have in common.
    let parked = u64::from(workflows) / 1_000 * 3 + 200;
    let expected = Expected::new("error groups", &[BY_ERROR], parked.min(200_000) * 4)
        .sorting()
        .walking();
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
