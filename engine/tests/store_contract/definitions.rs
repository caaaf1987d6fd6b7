//! Which definitions and partitions there are.

use std::sync::Arc;
use std::time::Duration;

use engine::Epoch;
use engine::store::{JournalPosition, PartitionRow};
use engine::workflow::DefinitionRef;

use crate::harness::{Ground, LONG, on_all};
use crate::samples::{ids, node, starting};

on_all!(
    a_definition_is_known_as_it_was_first_registered,
    nodes_that_register_at_once_all_succeed,
    partitions_are_told_with_their_journals,
);

fn definition(name: &str, version: u32, hash: u64) -> DefinitionRef {
    DefinitionRef {
        name: name.to_owned(),
        version,
        hash,
    }
}

async fn a_definition_is_known_as_it_was_first_registered(ground: Arc<Ground>) {
    let register = async |definitions: &[DefinitionRef]| {
        let differing = ground.store.register_definitions(definitions).await;
        differing.expect("registered")
    };
    assert_eq!(register(&[]).await, []);
    let first = [
        definition("claim", 1, u64::MAX),
        definition("purchase", 1, 7),
    ];
    assert_eq!(register(&first).await, []);
    assert_eq!(register(&first).await, []);
    // A new version is another definition, and so is a name that only begins alike.
    let more = [
        definition("claim", 2, 1),
        definition("Claim", 1, 2),
        definition("purchase", 1, 7),
    ];
    assert_eq!(register(&more).await, []);
    let changed = [
        definition("claim", 1, u64::MAX - 1),
        definition("claim", 2, 1),
        definition("purchase", 1, 8),
        definition("new", 1, 1),
    ];
    assert_eq!(register(&changed).await, first);
    assert_eq!(register(&changed).await, first, "it was not overwritten");
    assert_eq!(
        register(&[definition("new", 1, 2)]).await,
        [definition("new", 1, 1)]
    );
}

async fn nodes_that_register_at_once_all_succeed(ground: Arc<Ground>) {
    let definitions: Vec<_> = (0..10_u32)
        .map(|number| definition(&format!("saga-{number}"), 1, u64::from(number)))
        .collect();
    let all = (0..6).map(|turn| {
        let ground = Arc::clone(&ground);
        let mut definitions = definitions.clone();
        definitions.rotate_left(turn);
        async move { ground.store.register_definitions(&definitions).await }
    });
    let all = futures_util::future::try_join_all(all)
        .await
        .expect("registered");
    assert!(all.iter().all(Vec::is_empty), "{all:?}");
}

async fn partitions_are_told_with_their_journals(ground: Arc<Ground>) {
    assert_eq!(ground.store.partitions().await.expect("read"), []);
    let leases = ground
        .store
        .acquire(&node("a"), 2, &[], LONG)
        .await
        .expect("acquired");
    let other = ground.lease_for("b", Duration::ZERO).await;
    let mut journal = ground.store.open_journal(&leases[1]).await.expect("opened");
    let mut batch = starting(JournalPosition::default(), &ids(&leases[1], 5));
    batch.published_seq = 3;
    journal.commit(&batch).await.expect("committed");
    let rows = ground.store.partitions().await.expect("read");
    let told: Vec<_> = rows
        .iter()
        .map(|row: &PartitionRow| (row.id, row.owner.0.as_str(), row.epoch, row.retired))
        .collect();
    let expected = [
        (leases[0].partition, "a", Epoch(1), false),
        (leases[1].partition, "a", Epoch(1), false),
        (other.partition, "b", Epoch(1), false),
    ];
    assert_eq!(told, expected);
    let positions: Vec<_> = rows
        .iter()
        .map(|row| (row.last_seq, row.published_seq))
        .collect();
    assert_eq!(positions, [(0, 0), (5, 3), (0, 0)]);
    let long_us = i64::try_from(LONG.as_micros()).expect("small");
    assert!(
        (1..=long_us).contains(&rows[0].lease_left_us),
        "{:?}",
        rows[0]
    );
    assert!(rows[2].lease_left_us <= 0, "{:?}", rows[2]);
}
