//! Who owns a partition: by the database's clock, with a new epoch at each change of hands.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use engine::Epoch;
use engine::store::{self, ConnectOptions, JournalPosition, Lease, migrations};

use crate::harness::{Ground, LONG, on_all};
use crate::samples::{following, node};

on_all!(
    a_node_gets_the_partitions_it_wants,
    a_restarted_node_gets_its_own_partitions_back_under_a_new_epoch,
    what_a_node_holds_counts_and_is_left_alone,
    a_running_lease_is_left_alone,
    an_expired_lease_is_adopted_once,
    the_living_share_what_a_dead_node_left,
    nodes_that_adopt_at_once_get_different_partitions,
    a_node_counts_once_however_many_leases_it_holds,
    a_node_without_a_lease_takes_its_share_too,
    a_released_lease_can_be_taken_at_once,
    renewing_extends_leases_and_names_the_lost_ones,
    who_was_replaced_neither_renews_nor_ends_the_lease_of_the_next_one,
    nodes_that_make_partitions_at_once_get_different_ones,
    an_expired_partition_is_taken_before_a_new_one_is_made,
);

async fn a_node_gets_the_partitions_it_wants(ground: Arc<Ground>) {
    let leases = ground
        .store
        .acquire(&node("a"), 3, &[], LONG)
        .await
        .expect("acquired");
    let partitions: HashSet<_> = leases.iter().map(|lease| lease.partition).collect();
    assert_eq!(partitions.len(), 3);
    assert!(leases.iter().all(|lease| lease.epoch == Epoch(1)));
}

async fn a_restarted_node_gets_its_own_partitions_back_under_a_new_epoch(ground: Arc<Ground>) {
    let before = ground
        .store
        .acquire(&node("a"), 2, &[], LONG)
        .await
        .expect("acquired");
    let after = ground
        .store
        .acquire(&node("a"), 1, &[], LONG)
        .await
        .expect("acquired");
    let raised: Vec<_> = before
        .iter()
        .map(|Lease { partition, epoch }| Lease {
            partition: *partition,
            epoch: Epoch(epoch.0 + 1),
        })
        .collect();
    assert_eq!(after, raised);
}

async fn what_a_node_holds_counts_and_is_left_alone(ground: Arc<Ground>) {
    let acquire = async |wanted, held: &[Lease]| {
        let held: Vec<_> = held.iter().map(|lease| lease.partition).collect();
        let leases = ground.store.acquire(&node("a"), wanted, &held, LONG).await;
        leases.expect("acquired")
    };
    let held = acquire(2, &[]).await;
    assert_eq!(acquire(1, &held).await, []);
    assert_eq!(acquire(2, &held).await, []);
    let dead = ground.lease_for("dead", Duration::ZERO).await;
    let more = acquire(4, &held).await;
    assert_eq!(more.len(), 2);
    assert_eq!(more[0].partition, dead.partition);
    let lost = ground.store.renew(&held, LONG).await.expect("renewed");
    assert_eq!(lost, [], "under the same epochs");
    // One that it has lost sight of is its own still.
    let again = acquire(1, &held).await;
    let expected: Vec<_> = more
        .iter()
        .map(|lease| (lease.partition, lease.epoch.0 + 1))
        .collect();
    let again: Vec<_> = again
        .iter()
        .map(|lease| (lease.partition, lease.epoch.0))
        .collect();
    assert_eq!(again.len(), 2);
    assert!(expected.iter().all(|one| again.contains(one)), "{again:?}");
}

async fn a_running_lease_is_left_alone(ground: Arc<Ground>) {
    let first = ground.lease("a").await;
    let second = ground.lease("b").await;
    assert_ne!(first.partition, second.partition);
    let adopted = ground
        .store
        .adopt_expired(&node("b"), &[], LONG)
        .await
        .expect("looked");
    assert_eq!(adopted, []);
    let lost = ground
        .store
        .renew(&[first, second], LONG)
        .await
        .expect("renewed");
    assert_eq!(lost, []);
}

async fn an_expired_lease_is_adopted_once(ground: Arc<Ground>) {
    let dead = ground
        .store
        .acquire(&node("dead"), 4, &[], Duration::ZERO)
        .await
        .expect("acquired");
    let (one, other) = (node("one"), node("other"));
    let (one, other) = tokio::join!(
        ground.store.adopt_expired(&one, &[], LONG),
        ground.store.adopt_expired(&other, &[], LONG),
    );
    let mut adopted = one.expect("adopted");
    adopted.extend(other.expect("adopted"));
    adopted.sort_by_key(|lease| lease.partition);
    let expected: Vec<_> = dead
        .iter()
        .map(|lease| Lease {
            epoch: Epoch(2),
            ..lease.clone()
        })
        .collect();
    assert_eq!(adopted, expected);
}

/// How many partitions the node adopts.
async fn adopt(ground: &Ground, name: &str) -> usize {
    let adopted = ground.store.adopt_expired(&node(name), &[], LONG).await;
    adopted.expect("adopted").len()
}

async fn the_living_share_what_a_dead_node_left(ground: Arc<Ground>) {
    for name in ["a", "b", "c"] {
        ground.lease(name).await;
    }
    let dead = ground
        .store
        .acquire(&node("dead"), 9, &[], Duration::ZERO)
        .await;
    assert_eq!(dead.expect("acquired").len(), 9);
    let mut adopted = Vec::new();
    for name in ["a", "b", "c", "a", "b", "c"] {
        adopted.push(adopt(&ground, name).await);
    }
    // A third of nine, of six, of four, of two and of one, each rounded up.
    assert_eq!(adopted, [3, 2, 2, 1, 1, 0]);
}

async fn nodes_that_adopt_at_once_get_different_partitions(ground: Arc<Ground>) {
    let names = ["a", "b", "c", "d"].map(node);
    for name in &names {
        ground.lease(&name.0).await;
    }
    let dead = ground
        .store
        .acquire(&node("dead"), 12, &[], Duration::ZERO)
        .await;
    let dead: HashSet<_> = dead
        .expect("acquired")
        .into_iter()
        .map(|lease| lease.partition)
        .collect();
    let mut adopted = Vec::new();
    let mut rounds = 0;
    while adopted.len() < dead.len() {
        rounds += 1;
        assert!(rounds <= 12, "every round adopts at least one");
        let all = names
            .iter()
            .map(|name| ground.store.adopt_expired(name, &[], LONG));
        let all = futures_util::future::try_join_all(all)
            .await
            .expect("adopted");
        adopted.extend(all.concat());
    }
    assert!(adopted.iter().all(|lease| lease.epoch == Epoch(2)));
    let partitions: HashSet<_> = adopted.iter().map(|lease| lease.partition).collect();
    assert_eq!((adopted.len(), partitions), (12, dead));
}

async fn a_node_counts_once_however_many_leases_it_holds(ground: Arc<Ground>) {
    ground
        .store
        .acquire(&node("a"), 5, &[], LONG)
        .await
        .expect("acquired");
    ground
        .store
        .acquire(&node("b"), 1, &[], LONG)
        .await
        .expect("acquired");
    ground
        .store
        .acquire(&node("dead"), 4, &[], Duration::ZERO)
        .await
        .expect("acquired");
    assert_eq!(adopt(&ground, "a").await, 2);
}

async fn a_node_without_a_lease_takes_its_share_too(ground: Arc<Ground>) {
    ground.lease("a").await;
    ground
        .store
        .acquire(&node("dead"), 2, &[], Duration::ZERO)
        .await
        .expect("acquired");
    assert_eq!(adopt(&ground, "new").await, 1);
    assert_eq!(adopt(&ground, "a").await, 1);
}

async fn a_released_lease_can_be_taken_at_once(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    ground
        .store
        .release(std::slice::from_ref(&lease))
        .await
        .expect("released");
    let adopted = ground
        .store
        .adopt_expired(&node("b"), &[], LONG)
        .await
        .expect("adopted");
    assert_eq!(
        adopted,
        [Lease {
            partition: lease.partition,
            epoch: Epoch(2)
        }]
    );
    // The former owner has nothing left to end.
    ground.store.release(&[lease]).await.expect("released");
    let adopted = ground
        .store
        .adopt_expired(&node("c"), &[], LONG)
        .await
        .expect("looked");
    assert_eq!(adopted, []);
}

async fn renewing_extends_leases_and_names_the_lost_ones(ground: Arc<Ground>) {
    let kept = ground.lease_for("a", Duration::ZERO).await;
    let lost = ground
        .store
        .renew(std::slice::from_ref(&kept), LONG)
        .await
        .expect("renewed");
    assert_eq!(
        lost,
        [],
        "a lease that ran out and was not taken can be renewed"
    );
    assert_eq!(
        ground
            .store
            .adopt_expired(&node("b"), &[], LONG)
            .await
            .expect("looked"),
        []
    );
    let taken = Lease {
        partition: kept.partition,
        epoch: Epoch(7),
    };
    let lost = ground
        .store
        .renew(&[kept, taken.clone()], LONG)
        .await
        .expect("renewed");
    assert_eq!(lost, [taken.partition]);
    assert_eq!(
        ground.store.renew(&[], LONG).await.expect("nothing to do"),
        []
    );
}

async fn who_was_replaced_neither_renews_nor_ends_the_lease_of_the_next_one(ground: Arc<Ground>) {
    let passed = ground.lease_for("a", Duration::ZERO).await;
    let former = std::slice::from_ref(&passed);
    let adopted = ground.store.adopt_expired(&node("b"), &[], LONG).await;
    let present = adopted.expect("looked").remove(0);
    let lost = ground.store.renew(former, LONG).await.expect("looked");
    assert_eq!(lost, [passed.partition]);
    ground.store.release(former).await.expect("nothing to do");
    let mut journal = ground.store.open_journal(&present).await.expect("opened");
    let batch = following(JournalPosition::default());
    journal.commit(&batch).await.expect("its lease runs on");
}

async fn nodes_that_make_partitions_at_once_get_different_ones(ground: Arc<Ground>) {
    let names: Vec<_> = (0..6)
        .map(|number| node(&format!("node-{number}")))
        .collect();
    let all = names
        .iter()
        .map(|name| ground.store.acquire(name, 2, &[], LONG));
    let leases: Vec<_> = futures_util::future::try_join_all(all)
        .await
        .expect("acquired")
        .concat();
    let partitions: HashSet<_> = leases.iter().map(|lease| lease.partition).collect();
    assert_eq!((leases.len(), partitions.len()), (12, 12));
}

async fn an_expired_partition_is_taken_before_a_new_one_is_made(ground: Arc<Ground>) {
    let dead = ground.lease_for("dead", Duration::ZERO).await;
    let leases = ground
        .store
        .acquire(&node("a"), 2, &[], LONG)
        .await
        .expect("acquired");
    assert_eq!(
        leases[0],
        Lease {
            partition: dead.partition,
            epoch: Epoch(2)
        }
    );
    assert_eq!(leases.len(), 2);
}

#[tokio::test]
async fn a_sqlite_file_that_could_be_opened_has_no_other_owner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("holdfast.db");
    let open = async || {
        store::sqlite::open(&path, &ConnectOptions::default())
            .await
            .expect("opened")
    };
    let former = open().await;
    former.migrate(&migrations()).await.expect("migrated");
    let leases = former
        .store()
        .acquire(&node("former"), 2, &[], LONG)
        .await
        .expect("acquired");
    drop(former);
    let present = open().await.store();
    let adopted = present
        .adopt_expired(&node("present"), &[], LONG)
        .await
        .expect("adopted");
    assert_eq!(adopted.len(), leases.len());
    // The present process's own leases run on.
    let adopted = present
        .adopt_expired(&node("present"), &[], LONG)
        .await
        .expect("looked");
    assert_eq!(adopted, []);
}
