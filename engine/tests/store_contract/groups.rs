//! The reasons for which workflows are parked: as many as there are, each with its number of workflows, also where one of them
//! is far larger than the others.

use std::sync::Arc;

use engine::PartitionId;
use engine::runtime::Timestamp;
use engine::store::{ErrorGroup, Journal, ParkedRow};

use crate::harness::{Ground, on_all};
use crate::samples::{following, id};

on_all!(
    what_is_parked_for_the_same_reason_is_one_group,
    a_group_is_gone_with_the_last_of_its_workflows,
    a_large_group_hides_no_other,
    many_groups_are_all_looked_at,
);

/// A reason: class, definition, step, message.
type Reason<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

fn row(partition: PartitionId, number: u32, reason: Reason<'_>, since: i64) -> ParkedRow {
    let (class, definition, step, message) = reason;
    ParkedRow {
        id: id(partition, number),
        definition: definition.to_owned(),
        step: step.map(ToOwned::to_owned),
        class: class.to_owned(),
        message: message.to_owned(),
        since: Timestamp(since),
    }
}

fn group(reason: Reason<'_>, count: u64, first_since: i64, last_since: i64) -> ErrorGroup {
    let (class, definition, step, message) = reason;
    ErrorGroup {
        definition: definition.to_owned(),
        step: step.map(ToOwned::to_owned),
        class: class.to_owned(),
        message: message.to_owned(),
        count,
        first_since: Timestamp(first_since),
        last_since: Timestamp(last_since),
    }
}

async fn begin(ground: &Ground) -> (Box<dyn Journal>, PartitionId) {
    let lease = ground.lease("a").await;
    let journal = ground.store.open_journal(&lease).await;
    (journal.expect("opened"), lease.partition)
}

async fn park(journal: &mut Box<dyn Journal>, rows: Vec<ParkedRow>) {
    let mut batch = following(journal.position().await.expect("read"));
    batch.parked = rows;
    journal.commit(&batch).await.expect("committed");
}

async fn groups(ground: &Ground, limit: u16) -> Vec<ErrorGroup> {
    ground.store.error_groups(limit).await.expect("read")
}

const TIMEOUT: Reason<'_> = ("timeout", "purchase", Some("pay"), "no answer within # ms");
const OTHER_MESSAGE: Reason<'_> = ("timeout", "purchase", Some("pay"), "no answer");
const OTHER_STEP: Reason<'_> = (
    "timeout",
    "purchase",
    Some("deliver"),
    "no answer within # ms",
);
const OTHER_DEFINITION: Reason<'_> = ("timeout", "claim", Some("pay"), "no answer within # ms");
const NO_STEP: Reason<'_> = ("poisoned", "purchase", None, "ü: it's broken");

async fn what_is_parked_for_the_same_reason_is_one_group(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    assert_eq!(groups(&ground, 10).await, []);
    let all = [
        (TIMEOUT, 5_u32),
        (OTHER_MESSAGE, 4),
        (OTHER_STEP, 3),
        (OTHER_DEFINITION, 2),
        (NO_STEP, 1),
    ];
    let mut numbers = 0..;
    let mut rows = Vec::new();
    for (place, (reason, count)) in (1..).zip(all) {
        for (nth, number) in (0..count).zip(numbers.by_ref()) {
            rows.push(row(partition, number, reason, place * 100 + i64::from(nth)));
        }
    }
    park(&mut journal, rows).await;
    let expected = [
        group(TIMEOUT, 5, 100, 104),
        group(OTHER_MESSAGE, 4, 200, 203),
        group(OTHER_STEP, 3, 300, 302),
        group(OTHER_DEFINITION, 2, 400, 401),
        group(NO_STEP, 1, 500, 500),
    ];
    assert_eq!(groups(&ground, 10).await, expected);
    assert_eq!(groups(&ground, 2).await, expected[..2]);
}

async fn a_group_is_gone_with_the_last_of_its_workflows(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    let both = [(1, 10), (2, 20)].map(|(number, since)| row(partition, number, TIMEOUT, since));
    park(&mut journal, both.into()).await;
    for (gone, left) in [(1, vec![group(TIMEOUT, 1, 20, 20)]), (2, vec![])] {
        let mut batch = following(journal.position().await.expect("read"));
        batch.unparked = vec![id(partition, gone)];
        journal.commit(&batch).await.expect("committed");
        assert_eq!(groups(&ground, 10).await, left);
    }
}

async fn a_large_group_hides_no_other(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    // Far more than is read at a time, of several groups that lie between small ones in every column.
    let all = [
        (("a", "purchase", None, ""), 1_u32),
        (("b", "claim", Some("pay"), ""), 2),
        (("b", "purchase", Some("deliver"), "a"), 3),
        (("b", "purchase", Some("deliver"), "b"), 12_000),
        (("b", "purchase", Some("deliver"), "c"), 4),
        (("b", "purchase", Some("pay"), "a"), 5_000),
        (("b", "return", None, "a"), 5),
        (("c", "claim", Some("pay"), "a"), 6_000),
        (("c", "claim", Some("pay"), "b"), 6),
        (("d", "claim", None, ""), 7),
    ];
    let mut numbers = 0..;
    let mut expected = Vec::new();
    for (reason, count) in all {
        let numbers = numbers.by_ref().take(count as usize);
        let since = |nth: u32| i64::from(nth.wrapping_mul(2_654_435_761) % 1_000_003);
        let rows: Vec<_> = (0..)
            .zip(numbers)
            .map(|(nth, number)| row(partition, number, reason, since(nth)))
            .collect();
        let instants = || rows.iter().map(|row| row.since.0);
        let (first, last) = (instants().min(), instants().max());
        expected.push(group(
            reason,
            count.into(),
            first.expect("one"),
            last.expect("one"),
        ));
        park(&mut journal, rows).await;
    }
    expected.sort_by_key(|group| std::cmp::Reverse(group.count));
    assert_eq!(groups(&ground, 100).await, expected);
}

async fn many_groups_are_all_looked_at(ground: Arc<Ground>) {
    let (mut journal, partition) = begin(&ground).await;
    let mut rows = Vec::new();
    for number in 0..6_000_u32 {
        let message = format!("message {}", number % 3_000);
        let reason = ("class", "purchase", Some("pay"), message.as_str());
        rows.push(row(partition, number, reason, i64::from(number)));
    }
    // The largest is the last one.
    for number in 6_000..6_010 {
        rows.push(row(partition, number, ("z", "purchase", None, ""), 1));
    }
    park(&mut journal, rows).await;
    let found = groups(&ground, 65_535).await;
    assert_eq!(found.len(), 3_001);
    assert_eq!((found[0].class.as_str(), found[0].count), ("z", 10));
    assert!(found[1..].iter().all(|group| group.count == 2));
    assert_eq!(groups(&ground, 1).await, found[..1]);
}
