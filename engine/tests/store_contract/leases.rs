//! Who owns a partition: by the database's clock, with a new epoch at each change of hands.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use engine::store::{self, ConnectOptions, Lease, migrations};
use engine::{Epoch, NodeName};

use crate::harness::{Fixture, LONG, on_both};

on_both!(
    a_node_gets_the_partitions_it_wants,
    a_restarted_node_gets_its_own_partitions_back_under_a_new_epoch,
    a_running_lease_is_left_alone,
    an_expired_lease_is_adopted_once,
    a_released_lease_can_be_taken_at_once,
    renewing_extends_leases_and_names_the_lost_ones,
    nodes_that_make_partitions_at_once_get_different_ones,
    an_expired_partition_is_taken_before_a_new_one_is_made,
);

fn node(name: &str) -> NodeName {
    NodeName(name.to_owned())
}

async fn a_node_gets_the_partitions_it_wants(fixture: Arc<Fixture>) {
    let leases = fixture
        .store
        .acquire(&node("a"), 3, LONG)
        .await
        .expect("acquired");
    let partitions: HashSet<_> = leases.iter().map(|lease| lease.partition).collect();
    assert_eq!(partitions.len(), 3);
    assert!(leases.iter().all(|lease| lease.epoch == Epoch(1)));
}

async fn a_restarted_node_gets_its_own_partitions_back_under_a_new_epoch(fixture: Arc<Fixture>) {
    let before = fixture
        .store
        .acquire(&node("a"), 2, LONG)
        .await
        .expect("acquired");
    let after = fixture
        .store
        .acquire(&node("a"), 1, LONG)
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

async fn a_running_lease_is_left_alone(fixture: Arc<Fixture>) {
    let first = fixture.lease("a").await;
    let second = fixture.lease("b").await;
    assert_ne!(first.partition, second.partition);
    let adopted = fixture
        .store
        .adopt_expired(&node("b"), LONG)
        .await
        .expect("looked");
    assert_eq!(adopted, []);
    let lost = fixture
        .store
        .renew(&[first, second], LONG)
        .await
        .expect("renewed");
    assert_eq!(lost, []);
}

async fn an_expired_lease_is_adopted_once(fixture: Arc<Fixture>) {
    let dead = fixture
        .store
        .acquire(&node("dead"), 4, Duration::ZERO)
        .await
        .expect("acquired");
    let (one, other) = (node("one"), node("other"));
    let (one, other) = tokio::join!(
        fixture.store.adopt_expired(&one, LONG),
        fixture.store.adopt_expired(&other, LONG),
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

async fn a_released_lease_can_be_taken_at_once(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    fixture
        .store
        .release(std::slice::from_ref(&lease))
        .await
        .expect("released");
    let adopted = fixture
        .store
        .adopt_expired(&node("b"), LONG)
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
    fixture.store.release(&[lease]).await.expect("released");
    let adopted = fixture
        .store
        .adopt_expired(&node("c"), LONG)
        .await
        .expect("looked");
    assert_eq!(adopted, []);
}

async fn renewing_extends_leases_and_names_the_lost_ones(fixture: Arc<Fixture>) {
    let kept = fixture.lease_for("a", Duration::ZERO).await;
    let lost = fixture
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
        fixture
            .store
            .adopt_expired(&node("b"), LONG)
            .await
            .expect("looked"),
        []
    );
    let taken = Lease {
        partition: kept.partition,
        epoch: Epoch(7),
    };
    let lost = fixture
        .store
        .renew(&[kept, taken.clone()], LONG)
        .await
        .expect("renewed");
    assert_eq!(lost, [taken.partition]);
    assert_eq!(
        fixture.store.renew(&[], LONG).await.expect("nothing to do"),
        []
    );
}

async fn nodes_that_make_partitions_at_once_get_different_ones(fixture: Arc<Fixture>) {
    let names: Vec<_> = (0..6)
        .map(|number| node(&format!("node-{number}")))
        .collect();
    let all = names
        .iter()
        .map(|name| fixture.store.acquire(name, 2, LONG));
    let leases: Vec<_> = futures_util::future::try_join_all(all)
        .await
        .expect("acquired")
        .concat();
    let partitions: HashSet<_> = leases.iter().map(|lease| lease.partition).collect();
    assert_eq!((leases.len(), partitions.len()), (12, 12));
}

async fn an_expired_partition_is_taken_before_a_new_one_is_made(fixture: Arc<Fixture>) {
    let dead = fixture.lease_for("dead", Duration::ZERO).await;
    let leases = fixture
        .store
        .acquire(&node("a"), 2, LONG)
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
        .acquire(&node("former"), 2, LONG)
        .await
        .expect("acquired");
    drop(former);
    let present = open().await.store();
    let adopted = present
        .adopt_expired(&node("present"), LONG)
        .await
        .expect("adopted");
    assert_eq!(adopted.len(), leases.len());
    // The present process's own leases run on.
    let adopted = present
        .adopt_expired(&node("present"), LONG)
        .await
        .expect("looked");
    assert_eq!(adopted, []);
}
