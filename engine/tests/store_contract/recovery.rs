//! What a node reads when it takes a partition over: its open workflows and its unpublished events, page by page.

use std::sync::Arc;

use engine::store::{JournalPosition, Status};

use crate::harness::{Fixture, on_both};
use crate::samples::{event, following, ids, record, starting, update};

on_both!(
    open_workflows_come_with_all_their_records_page_by_page,
    records_are_read_from_where_they_are_asked_for,
    events_are_read_in_the_order_of_their_partition,
);

async fn open_workflows_come_with_all_their_records_page_by_page(fixture: Arc<Fixture>) {
    let (lease, other) = (fixture.lease("a").await, fixture.lease("b").await);
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let mut others = fixture.store.open_journal(&other).await.expect("opened");
    let workflows = ids(&lease, 150);
    journal
        .commit(&starting(JournalPosition::default(), &workflows))
        .await
        .expect("committed");
    // Idents are unique in the store, whatever the partition: those of the other one follow.
    let foreign: Vec<_> = ids(&other, 200).split_off(150);
    others
        .commit(&starting(JournalPosition::default(), &foreign))
        .await
        .expect("committed");

    let position = journal.position().await.expect("read");
    let mut batch = following(position);
    for (number, workflow) in workflows.iter().enumerate() {
        let seq = position.last_seq + 1 + number as u64;
        batch.events.push(event(*workflow, &record(2, "more"), seq));
        let status = Status::ALL[number % 5];
        batch.heads.push(update(*workflow, status, 2_000));
    }
    journal.commit(&batch).await.expect("committed");

    let open: Vec<_> = (0..150)
        .filter(|number| number % 5 < 3)
        .map(|n| workflows[n])
        .collect();
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = fixture
            .store
            .open_workflows(lease.partition, after, 40)
            .await
            .expect("read");
        let Some((last, _)) = page.last() else { break };
        after = Some(last.id.ident());
        for (head, records) in page {
            assert!(!head.status.is_terminal());
            assert_eq!(records, [record(1, "started"), record(2, "more")]);
            found.push(head.id);
        }
    }
    assert_eq!(found, open);
}

async fn records_are_read_from_where_they_are_asked_for(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
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
        let records = fixture
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

async fn events_are_read_in_the_order_of_their_partition(fixture: Arc<Fixture>) {
    let (lease, other) = (fixture.lease("a").await, fixture.lease("b").await);
    for (lease, skip) in [(&lease, 0), (&other, 30)] {
        let mut journal = fixture.store.open_journal(lease).await.expect("opened");
        let workflows = ids(lease, 25 + skip).split_off(skip as usize);
        journal
            .commit(&starting(JournalPosition::default(), &workflows))
            .await
            .expect("committed");
    }
    let mut after = 0;
    loop {
        let page = fixture
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
