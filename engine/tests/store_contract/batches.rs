//! Commands to many workflows: one node at a time works on a batch, and notes how far it is.

use std::sync::Arc;
use std::time::Duration;

use engine::PartitionId;
use engine::command::Verb;
use engine::runtime::Timestamp;
use engine::store::{
    Answer, BatchProgress, BatchRow, BatchState, CommandState, JournalPosition, ListCursor,
    ListFilter, NewBatch, Status, Submitted,
};
use engine::workflow::{By, Refusal, Resolution};

use crate::harness::{Ground, LONG, on_all};
use crate::inbox::command;
use crate::samples::{following, id, node};

on_all!(
    a_batch_comes_back_as_it_was_submitted,
    a_key_names_one_batch,
    batches_are_listed_newest_first,
    one_node_at_a_time_works_on_a_batch,
    a_batch_whose_worker_is_gone_is_taken_by_another,
    a_node_goes_on_with_its_own_batch,
    only_the_worker_moves_a_batch_on,
    a_stopped_batch_stays_where_it_is,
    progress_counts_the_commands_of_a_batch,
);

fn new_batch(key: &str) -> NewBatch {
    NewBatch {
        key: key.to_owned(),
        filter: ListFilter {
            status: Some(Status::Parked),
            definition: Some("purchase".into()),
            reason: Some("'time' \"out\"".into()),
            label: Some("sale-1".into()),
            step: Some("payment".into()),
            created_from: Some(Timestamp(1)),
            created_before: Some(Timestamp(i64::MAX)),
            after: Some(place(3)),
            limit: 500,
        },
        verb: Verb::Resolve {
            step: "payment".into(),
            resolution: Resolution::Refused(Refusal::new("no", "'No.' \\ \u{1F389}")),
        },
        by: By {
            actor: "operator".into(),
            reason: "the gateway works again".into(),
        },
        per_second: u32::MAX,
        created_at: Timestamp(1_700_000_000_123_456),
    }
}

fn place(number: u32) -> ListCursor {
    ListCursor {
        created_at: Timestamp(i64::from(number)),
        ident: id(PartitionId(7), number).ident(),
    }
}

async fn submit(ground: &Ground, key: &str) -> u64 {
    let submitted = ground.store.submit_batch(&new_batch(key)).await;
    let (row, is_new) = submitted.expect("submitted");
    assert!(is_new);
    row.id
}

/// The batch that the node takes.
async fn take(ground: &Ground, name: &str, lease: Duration) -> Option<u64> {
    let taken = ground.store.take_batch(&node(name), lease).await;
    taken.expect("looked").map(|row| row.id)
}

async fn advance(ground: &Ground, name: &str, id: u64, number: u32, state: BatchState) -> bool {
    let place = place(number);
    let node = node(name);
    let advanced = ground
        .store
        .advance_batch(&node, id, Some(&place), u64::from(number), state);
    advanced.await.expect("decided")
}

async fn row(ground: &Ground, id: u64) -> BatchRow {
    ground.store.batch(id).await.expect("read").expect("there")
}

async fn a_batch_comes_back_as_it_was_submitted(ground: Arc<Ground>) {
    let batch = new_batch("'key' ");
    let (row, is_new) = ground.store.submit_batch(&batch).await.expect("submitted");
    assert!(is_new);
    let expected = BatchRow {
        id: row.id,
        batch,
        state: BatchState::Running,
        place: None,
        submitted: 0,
    };
    assert_eq!(row, expected);
    assert_eq!(
        ground.store.batch(row.id).await.expect("read"),
        Some(expected)
    );
    assert_eq!(ground.store.batch(99).await.expect("read"), None);
}

async fn a_key_names_one_batch(ground: Arc<Ground>) {
    let all = (0..6).map(|number| {
        let ground = Arc::clone(&ground);
        async move {
            let mut batch = new_batch("key");
            batch.per_second = number + 1;
            ground.store.submit_batch(&batch).await.expect("submitted")
        }
    });
    let all = futures_util::future::join_all(all).await;
    assert_eq!(all.iter().filter(|(_, is_new)| *is_new).count(), 1);
    assert!(all.iter().all(|(row, _)| *row == all[0].0), "{all:?}");
    submit(&ground, "key ").await;
}

async fn batches_are_listed_newest_first(ground: Arc<Ground>) {
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(submit(&ground, &format!("key-{number}")).await);
    }
    ids.reverse();
    let mut found: Vec<u64> = Vec::new();
    loop {
        let page = ground
            .store
            .batches(found.last().copied(), 3)
            .await
            .expect("read");
        if page.is_empty() {
            break;
        }
        found.extend(page.iter().map(|row| row.id));
    }
    assert_eq!(found, ids);
}

async fn one_node_at_a_time_works_on_a_batch(ground: Arc<Ground>) {
    assert_eq!(take(&ground, "a", LONG).await, None);
    let ids = [submit(&ground, "one").await, submit(&ground, "two").await];
    let names = ["a", "b", "c", "d"];
    let all = names.map(|name| take(&ground, name, LONG));
    let mut taken: Vec<u64> = futures_util::future::join_all(all)
        .await
        .into_iter()
        .flatten()
        .collect();
    taken.sort_unstable();
    assert_eq!(taken, ids);
}

async fn a_batch_whose_worker_is_gone_is_taken_by_another(ground: Arc<Ground>) {
    let id = submit(&ground, "one").await;
    assert_eq!(take(&ground, "a", LONG).await, Some(id));
    assert!(advance(&ground, "a", id, 5, BatchState::Running).await);
    assert_eq!(take(&ground, "b", LONG).await, None);
    // Its lease ends at once.
    assert_eq!(take(&ground, "a", Duration::ZERO).await, Some(id));
    let taken = ground
        .store
        .take_batch(&node("b"), LONG)
        .await
        .expect("looked");
    let taken = taken.expect("it is free");
    assert_eq!(
        (taken.id, taken.place, taken.submitted),
        (id, Some(place(5)), 5)
    );
    assert!(!advance(&ground, "a", id, 6, BatchState::Running).await);
    assert!(advance(&ground, "b", id, 7, BatchState::Running).await);
}

async fn a_node_goes_on_with_its_own_batch(ground: Arc<Ground>) {
    let first = submit(&ground, "one").await;
    assert_eq!(take(&ground, "a", Duration::ZERO).await, Some(first));
    let second = submit(&ground, "two").await;
    assert_eq!(take(&ground, "b", Duration::ZERO).await, Some(first));
    assert_eq!(take(&ground, "b", LONG).await, Some(first));
    assert_eq!(take(&ground, "a", LONG).await, Some(second));
    assert_eq!(
        take(&ground, "a", LONG).await,
        Some(second),
        "not the oldest, but its own"
    );
}

async fn only_the_worker_moves_a_batch_on(ground: Arc<Ground>) {
    let id = submit(&ground, "one").await;
    assert!(
        !advance(&ground, "a", id, 1, BatchState::Running).await,
        "nobody took it"
    );
    assert_eq!(take(&ground, "a", Duration::ZERO).await, Some(id));
    assert!(
        !advance(&ground, "a", id, 1, BatchState::Running).await,
        "its time is over"
    );
    assert_eq!(take(&ground, "a", LONG).await, Some(id));
    assert!(
        !advance(&ground, "b", id, 1, BatchState::Running).await,
        "another works on it"
    );
    assert!(
        !advance(&ground, "a", 99, 1, BatchState::Running).await,
        "there is none"
    );
    assert_eq!(row(&ground, id).await.place, None);
    assert!(advance(&ground, "a", id, 3, BatchState::Running).await);
    let node = node("a");
    let finished = ground
        .store
        .advance_batch(&node, id, None, 4, BatchState::Finished);
    assert!(finished.await.expect("decided"));
    let found = row(&ground, id).await;
    assert_eq!(
        (found.state, found.place, found.submitted),
        (BatchState::Finished, None, 4)
    );
    assert!(
        !advance(&ground, "a", id, 5, BatchState::Running).await,
        "it is finished"
    );
    assert_eq!(take(&ground, "a", LONG).await, None);
    assert!(!ground.store.stop_batch(id).await.expect("decided"));
}

async fn a_stopped_batch_stays_where_it_is(ground: Arc<Ground>) {
    let id = submit(&ground, "one").await;
    assert_eq!(take(&ground, "a", LONG).await, Some(id));
    assert!(advance(&ground, "a", id, 3, BatchState::Running).await);
    assert!(ground.store.stop_batch(id).await.expect("decided"));
    assert!(!ground.store.stop_batch(id).await.expect("decided"));
    assert!(!advance(&ground, "a", id, 4, BatchState::Finished).await);
    assert_eq!(take(&ground, "a", LONG).await, None);
    let found = row(&ground, id).await;
    assert_eq!(
        (found.state, found.place, found.submitted),
        (BatchState::Stopped, Some(place(3)), 3)
    );
    assert!(!ground.store.stop_batch(99).await.expect("decided"));
}

async fn progress_counts_the_commands_of_a_batch(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut batch = following(JournalPosition::default());
    for number in 0..20_u32 {
        let mut command = command(id(lease.partition, number), "key");
        command.batch = [Some(1), Some(2), None][number as usize % 3];
        let submitted = ground.store.submit(&command).await.expect("submitted");
        let Submitted::New(id) = submitted else {
            panic!("it is new")
        };
        let state = match number {
            0..6 => continue,
            6..12 => CommandState::Done { seq: 1 },
            _ => CommandState::Refused { why: "no".into() },
        };
        let at = Timestamp(1);
        batch.answers.push(Answer { id, state, at });
    }
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    journal.commit(&batch).await.expect("committed");
    for (id, pending, done, refused) in [(1, 2, 2, 3), (2, 2, 2, 3), (3, 0, 0, 0)] {
        let expected = BatchProgress {
            pending,
            done,
            refused,
        };
        assert_eq!(
            ground.store.batch_progress(id).await.expect("read"),
            expected,
            "{id}"
        );
    }
}
