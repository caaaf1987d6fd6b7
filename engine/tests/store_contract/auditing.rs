//! What the auditor asks of a store: the open workflows of all partitions, and a partition that can be taken over again.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::store::change::ChangeKind;
use engine::store::{Change, JournalPosition, Lease, OpenCursor, Status, Table};
use engine::workflow::Refusal;
use engine::{NodeName, PartitionId};

use crate::harness::{Fixture, Ground, LONG, on_all};
use crate::samples::{head, id, starting};

on_all!(
    open_workflows_of_all_partitions_are_seen_once,
    a_partition_in_use_stays_as_it_is,
    a_retired_partition_can_be_taken_over_again,
);

mod rows {
    use super::a_partition_whose_row_is_lost_goes_on_after_its_last_event;

    crate::harness::on_both!(a_partition_whose_row_is_lost_goes_on_after_its_last_event);
}

static PARTITIONS: Table = Table {
    name: "partitions",
    key: &["id"],
    columns: &["owner"],
};
static JOURNALS: Table = Table {
    name: "journals",
    key: &["partition_id"],
    columns: &["epoch"],
};

/// Workflows in every status in each of two partitions.
async fn fill(ground: &Ground) -> [Lease; 2] {
    let leases = [ground.lease("a").await, ground.lease("b").await];
    for (lease, first) in leases.iter().zip([0, 1_000]) {
        let mut batch = starting(JournalPosition::default(), &[]);
        for number in 0..21_u32 {
            let mut one = head(id(lease.partition, first + number), i64::from(number / 8));
            one.status = Status::ALL[number as usize % 7];
            batch.workflows.push(one);
        }
        let mut journal = ground.store.open_journal(lease).await.expect("opened");
        journal.commit(&batch).await.expect("committed");
    }
    leases
}

async fn open_workflows_of_all_partitions_are_seen_once(ground: Arc<Ground>) {
    let leases = fill(&ground).await;
    let mut of_each = BTreeSet::new();
    for Lease { partition, .. } in &leases {
        let rows = ground.store.open_workflows(*partition, None, 500).await;
        let rows = rows.expect("read").into_iter();
        of_each.extend(rows.map(|row| (*partition, row.ident)));
    }
    assert_eq!(of_each.len(), 24);
    for limit in [1, 5, 24, 500] {
        let mut found = Vec::new();
        let mut after: Option<OpenCursor> = None;
        loop {
            let page = ground.store.open_everywhere(after, limit).await;
            let page = page.expect("read");
            assert!(page.len() <= limit as usize);
            after = page.last().map(|(_, row)| row.cursor.clone());
            found.extend(page.into_iter().map(|(id, row)| (id, row.ident)));
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), 24, "in pages of {limit}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), of_each);
    }
}

async fn adopted(ground: &Ground) -> Vec<PartitionId> {
    let node = NodeName("heir".into());
    let leases = ground.store.adopt_expired(&node, &[], LONG).await;
    leases
        .expect("adopted")
        .into_iter()
        .map(|it| it.partition)
        .collect()
}

async fn a_partition_in_use_stays_as_it_is(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let before = ground.store.partitions().await.expect("read");
    assert!(ground.store.reopen(lease.partition).await.expect("done"));
    let after = ground.store.partitions().await.expect("read");
    assert_eq!(
        (after[0].epoch, &after[0].owner),
        (before[0].epoch, &before[0].owner)
    );
    assert!(after[0].lease_left_us > 0);
    assert_eq!(adopted(&ground).await, []);
}

async fn a_retired_partition_can_be_taken_over_again(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    assert!(ground.store.retire(&lease).await.expect("it is empty"));
    assert_eq!(adopted(&ground).await, []);
    assert!(ground.store.reopen(lease.partition).await.expect("done"));
    assert_eq!(adopted(&ground).await, [lease.partition]);
}

async fn forget(fixture: &Fixture, table: &'static Table, partition: PartitionId) {
    let change = Change {
        table,
        key: vec![i64::from(partition.0).into()],
        kind: ChangeKind::Delete,
        refusal: Refusal::new("absent", "The row is not there."),
    };
    let done = fixture.database.transact("losing a row", &[change]).await;
    done.expect("the row was there");
}

async fn a_partition_whose_row_is_lost_goes_on_after_its_last_event(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let partition = lease.partition;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let ids = [id(partition, 1), id(partition, 2)];
    let batch = starting(JournalPosition::default(), &ids);
    journal.commit(&batch).await.expect("committed");
    drop(journal);
    for tables in [&[&PARTITIONS][..], &[&JOURNALS], &[&PARTITIONS, &JOURNALS]] {
        for table in tables {
            forget(&fixture, table, partition).await;
        }
        for _time in ["once", "once more"] {
            assert!(fixture.store.reopen(partition).await.expect("done"));
        }
        let rows = fixture.store.partitions().await.expect("read");
        assert_eq!((rows.len(), rows[0].last_seq), (1, 2), "{tables:?}");
        assert!(rows[0].epoch > lease.epoch, "nobody had this epoch");
    }
    assert_eq!(adopted(&fixture).await, [partition]);
    let events = fixture.store.events_after(partition, 0, 10).await;
    assert_eq!(events.expect("read").len(), 2);
}
