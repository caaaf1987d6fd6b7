//! What a node reads when it takes a partition over: its open workflows and its unpublished events, page by page.

use std::sync::Arc;

use engine::WorkflowId;
use engine::runtime::Timestamp;
use engine::store::{Head, JournalPosition, Lease, OpenCursor, OpenRow, Status};

use crate::harness::{Ground, on_all};
use crate::samples::{definition, event, following, head, id, ids, record, starting, update};

on_all!(
    open_workflows_are_seen_once_in_the_order_of_their_index,
    a_page_begins_where_the_last_one_ended_whatever_has_moved_on,
    a_partition_without_open_workflows_has_none,
    workflows_are_loaded_with_all_their_records_in_the_order_asked_for,
    records_are_read_from_where_they_are_asked_for,
    events_are_read_in_the_order_of_their_partition,
);

/// Workflows of three definitions, in every status, several to an instant, in two partitions. Returns the leases and the open
/// workflows of the first partition in the order of their index.
async fn fill(ground: &Ground) -> ([Lease; 2], Vec<OpenRow>) {
    let leases = [ground.lease("a").await, ground.lease("b").await];
    let mut open = Vec::new();
    for (lease, first) in leases.iter().zip([0, 1_000]) {
        let mut batch = starting(JournalPosition::default(), &[]);
        for number in 0..105_u32 {
            // The order of the idents is that of nothing else.
            let ident = first + number.wrapping_mul(37) % 105;
            let mut one = head(id(lease.partition, ident), i64::from(number / 40));
            one.definition = definition(["claim", "opening", "purchase"][number as usize % 3]);
            one.status = Status::ALL[number as usize % 7];
            one.wake_at = (one.status == Status::Waiting && !number.is_multiple_of(2))
                .then_some(Timestamp(i64::from(number)));
            batch.workflows.push(one);
        }
        let mut journal = ground.store.open_journal(lease).await.expect("opened");
        journal.commit(&batch).await.expect("committed");
        if first == 0 {
            open = batch
                .workflows
                .iter()
                .filter(|head| !head.status.is_terminal())
                .map(open_row)
                .collect();
        }
    }
    open.sort_by_key(|row| {
        let cursor = row.cursor.clone();
        (
            cursor.status.as_str(),
            cursor.definition,
            cursor.created_at,
            cursor.ident,
        )
    });
    (leases, open)
}

fn open_row(head: &Head) -> OpenRow {
    let (status, ident) = (head.status, head.id.ident());
    OpenRow {
        ident,
        status,
        version: head.definition.version,
        wake_at: head.wake_at,
        cursor: OpenCursor {
            status,
            definition: head.definition.name.clone(),
            created_at: head.created_at,
            ident,
        },
    }
}

async fn open_workflows_are_seen_once_in_the_order_of_their_index(ground: Arc<Ground>) {
    let ([lease, _], expected) = fill(&ground).await;
    assert_eq!(expected.len(), 60);
    for limit in [1, 7, 59, 60, 500] {
        let mut found: Vec<OpenRow> = Vec::new();
        loop {
            let after = found.last().map(|row| row.cursor.clone());
            let page = ground
                .store
                .open_workflows(lease.partition, after, limit)
                .await
                .expect("read");
            assert!(page.len() <= limit as usize);
            let is_last = page.len() < limit as usize;
            found.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
}

async fn a_page_begins_where_the_last_one_ended_whatever_has_moved_on(ground: Arc<Ground>) {
    let ([lease, _], expected) = fill(&ground).await;
    let first = ground
        .store
        .open_workflows(lease.partition, None, 20)
        .await
        .expect("read");
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let mut batch = following(journal.position().await.expect("read"));
    // All of the first page have ended, the one that the cursor names among them.
    let ended = first
        .iter()
        .map(|row| WorkflowId::new(lease.partition, row.ident));
    batch.heads = ended.map(|id| update(id, Status::Completed, 9)).collect();
    journal.commit(&batch).await.expect("committed");
    let after = first.last().map(|row| row.cursor.clone());
    let rest = ground
        .store
        .open_workflows(lease.partition, after, 500)
        .await
        .expect("read");
    assert_eq!(rest, expected[20..]);
    let again = ground
        .store
        .open_workflows(lease.partition, None, 500)
        .await
        .expect("read");
    assert_eq!(again, expected[20..]);
}

async fn a_partition_without_open_workflows_has_none(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let open = ground
        .store
        .open_workflows(lease.partition, None, 10)
        .await
        .expect("read");
    assert_eq!(open, []);
}

async fn workflows_are_loaded_with_all_their_records_in_the_order_asked_for(ground: Arc<Ground>) {
    let leases = [ground.lease("a").await, ground.lease("b").await];
    let mut ids = Vec::new();
    for (lease, numbers) in leases.iter().zip([0..100, 100..200]) {
        let mine: Vec<_> = numbers.map(|number| id(lease.partition, number)).collect();
        let mut batch = starting(JournalPosition::default(), &mine);
        for (workflow, seq) in mine.iter().zip(101..) {
            batch.events.push(event(*workflow, &record(2, "more"), seq));
        }
        let mut journal = ground.store.open_journal(lease).await.expect("opened");
        journal.commit(&batch).await.expect("committed");
        ids.extend(mine);
    }
    ids.reverse();
    let mut asked: Vec<_> = ids.iter().map(WorkflowId::ident).collect();
    asked.insert(3, [0; 12]);
    asked.push([1; 12]);
    let loaded = ground.store.load(&asked).await.expect("loaded");
    let found: Vec<_> = loaded.iter().map(|(head, _)| head.id).collect();
    assert_eq!(found, ids);
    for (_, records) in &loaded {
        assert_eq!(records, &[record(1, "started"), record(2, "more")]);
    }
    assert_eq!(ground.store.load(&[]).await.expect("loaded"), []);
}

async fn records_are_read_from_where_they_are_asked_for(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 2);
    let mut batch = starting(JournalPosition::default(), &workflows);
    for seq in 2..=7 {
        batch.events.push(event(
            workflows[0],
            &record(seq, "next"),
            u64::from(seq) + 1,
        ));
    }
    journal.commit(&batch).await.expect("committed");
    let seqs = async |after, limit| {
        let records = ground
            .store
            .records(workflows[0], after, limit)
            .await
            .expect("read");
        records.iter().map(|record| record.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0, 100).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(seqs(2, 3).await, [3, 4, 5]);
    assert_eq!(seqs(7, 3).await, [0; 0]);
}

async fn events_are_read_in_the_order_of_their_partition(ground: Arc<Ground>) {
    let (lease, other) = (ground.lease("a").await, ground.lease("b").await);
    for (lease, skip) in [(&lease, 0), (&other, 30)] {
        let mut journal = ground.store.open_journal(lease).await.expect("opened");
        let workflows = ids(lease, 25 + skip).split_off(skip as usize);
        journal
            .commit(&starting(JournalPosition::default(), &workflows))
            .await
            .expect("committed");
    }
    let mut after = 0;
    loop {
        let page = ground
            .store
            .events_after(lease.partition, after, 10)
            .await
            .expect("read");
        for stored in &page {
            after += 1;
            assert_eq!(
                (stored.partition_seq, stored.workflow.partition()),
                (after, lease.partition)
            );
        }
        if page.len() < 10 {
            break;
        }
    }
    assert_eq!(after, 25);
}
