//! A partition is retired when nothing is left to do in it, and lives again when one is needed.

use std::sync::Arc;

use engine::Epoch;
use engine::runtime::Timestamp;
use engine::store::{
    Answer, CommandState, CommitError, Journal, JournalPosition, Lease, PartitionRow, Status,
    Submitted,
};

use futures_util::FutureExt as _;

use crate::harness::{Ground, LONG, on_all};
use crate::inbox::command;
use crate::samples::{following, id, ids, node, standing, starting, update};

on_all!(
    a_retired_partition_is_left_alone_until_one_is_needed,
    a_partition_that_lives_again_goes_on_with_its_journal,
    a_partition_with_an_open_workflow_is_not_retired,
    a_partition_with_an_unpublished_event_is_not_retired,
    a_partition_with_an_unanswered_command_is_not_retired,
    only_its_holder_retires_a_partition,
    what_others_have_open_does_not_matter,
    a_retired_partition_has_no_writer,
    a_retirement_and_a_batch_do_not_both_happen,
    a_retirement_that_is_given_up_halfway_leaves_nothing_behind,
);

async fn retire(ground: &Ground, lease: &Lease) -> bool {
    ground.store.retire(lease).await.expect("decided")
}

async fn row(ground: &Ground, lease: &Lease) -> PartitionRow {
    let rows = ground.store.partitions().await.expect("read");
    let mut rows = rows.into_iter();
    rows.find(|row| row.id == lease.partition).expect("there")
}

/// Everything that was written is published.
async fn publish(journal: &mut dyn Journal) {
    let position = journal.position().await.expect("read");
    let mut batch = following(position);
    batch.published_seq = position.last_seq;
    journal.commit(&batch).await.expect("committed");
}

async fn a_retired_partition_is_left_alone_until_one_is_needed(ground: Arc<Ground>) {
    let acquire = async |name: &str, wanted| {
        let leases = ground.store.acquire(&node(name), wanted, &[], LONG).await;
        leases.expect("acquired")
    };
    let two = acquire("a", 2).await;
    assert!(retire(&ground, &two[1]).await);
    let retired = row(&ground, &two[1]).await;
    assert!(retired.retired && retired.lease_left_us <= 0, "{retired:?}");
    let adopted = ground.store.adopt_expired(&node("b"), &[], LONG).await;
    assert_eq!(adopted.expect("looked"), []);
    // Its last owner has no right to it either, as long as one is enough.
    let one = acquire("a", 1).await;
    assert_eq!(one[0].partition, two[0].partition);
    assert_eq!(one.len(), 1);
    // Before a new one is made it lives again, whoever asks.
    let again = acquire("b", 2).await;
    assert_eq!(again[0].partition, two[1].partition);
    assert!(again[0].epoch > two[1].epoch);
    assert!(![two[0].partition, two[1].partition].contains(&again[1].partition));
    let living = row(&ground, &again[0]).await;
    assert!(!living.retired && living.lease_left_us > 0, "{living:?}");
    assert_eq!((living.owner, living.epoch), (node("b"), again[0].epoch));
}

async fn a_partition_that_lives_again_goes_on_with_its_journal(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let ended = [(id(lease.partition, 1), Status::Completed)];
    let batch = standing(JournalPosition::default(), &ended);
    journal.commit(&batch).await.expect("committed");
    publish(journal.as_mut()).await;
    assert!(retire(&ground, &lease).await);
    let again = ground.lease("b").await;
    assert_eq!(again.partition, lease.partition);
    let mut journal = ground.store.open_journal(&again).await.expect("opened");
    let position = journal.position().await.expect("read");
    let before = JournalPosition {
        batch: 2,
        last_seq: 1,
        published_seq: 1,
    };
    assert_eq!(position, before);
    let next = starting(position, &[id(lease.partition, 2)]);
    journal.commit(&next).await.expect("committed");
    assert_eq!(journal.position().await.expect("read").last_seq, 2);
    assert!(!retire(&ground, &again).await, "something is open again");
}

async fn a_partition_with_an_open_workflow_is_not_retired(ground: Arc<Ground>) {
    let open = Status::ALL.into_iter().filter(|one| !one.is_terminal());
    for (number, status) in open.enumerate() {
        let lease = ground.lease(&format!("node-{number}")).await;
        let mut journal = ground.store.open_journal(&lease).await.expect("opened");
        let number = u32::try_from(number).expect("small") * 10;
        let workflows = [
            (id(lease.partition, number), Status::Abandoned),
            (id(lease.partition, number + 1), status),
            (id(lease.partition, number + 2), Status::Compensated),
        ];
        let batch = standing(journal.position().await.expect("read"), &workflows);
        journal.commit(&batch).await.expect("committed");
        publish(journal.as_mut()).await;
        assert!(!retire(&ground, &lease).await, "{status}");
        // Its writer goes on under the same epoch.
        let mut batch = following(journal.position().await.expect("read"));
        batch.heads = vec![update(workflows[1].0, Status::Completed, 9)];
        journal.commit(&batch).await.expect("committed");
        assert!(retire(&ground, &lease).await, "{status} has ended");
    }
}

async fn a_partition_with_an_unpublished_event_is_not_retired(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let ended = [1, 2].map(|number| (id(lease.partition, number), Status::Completed));
    let mut batch = standing(JournalPosition::default(), &ended);
    batch.published_seq = 1;
    journal.commit(&batch).await.expect("committed");
    assert!(!retire(&ground, &lease).await);
    publish(journal.as_mut()).await;
    assert!(retire(&ground, &lease).await);
}

async fn a_partition_with_an_unanswered_command_is_not_retired(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    let ended = id(lease.partition, 1);
    let batch = standing(JournalPosition::default(), &[(ended, Status::Completed)]);
    journal.commit(&batch).await.expect("committed");
    publish(journal.as_mut()).await;
    let submitted = ground.store.submit(&command(ended, "k")).await;
    let Submitted::New(id) = submitted.expect("submitted") else {
        panic!("it is new")
    };
    assert!(!retire(&ground, &lease).await);
    let mut batch = following(journal.position().await.expect("read"));
    batch.published_seq = 1;
    let state = CommandState::Refused {
        why: "it has ended".into(),
    };
    let at = Timestamp(1);
    batch.answers = vec![Answer { id, state, at }];
    journal.commit(&batch).await.expect("committed");
    assert!(retire(&ground, &lease).await);
}

async fn only_its_holder_retires_a_partition(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let foreign = [
        Lease {
            epoch: Epoch(lease.epoch.0 - 1),
            ..lease.clone()
        },
        Lease {
            epoch: Epoch(lease.epoch.0 + 1),
            ..lease.clone()
        },
        Lease {
            partition: engine::PartitionId(77),
            ..lease.clone()
        },
    ];
    for foreign in &foreign {
        assert!(!retire(&ground, foreign).await, "{foreign:?}");
    }
    assert!(retire(&ground, &lease).await);
    for lease in foreign.iter().chain([&lease]) {
        assert!(!retire(&ground, lease).await, "it is retired already");
    }
}

async fn what_others_have_open_does_not_matter(ground: Arc<Ground>) {
    let [lease, other] = [ground.lease("a").await, ground.lease("b").await];
    let mut others = ground.store.open_journal(&other).await.expect("opened");
    let batch = starting(JournalPosition::default(), &ids(&other, 3));
    others.commit(&batch).await.expect("committed");
    let pending = command(id(other.partition, 1), "k");
    ground.store.submit(&pending).await.expect("submitted");
    assert!(retire(&ground, &lease).await);
}

async fn a_retired_partition_has_no_writer(ground: Arc<Ground>) {
    let lease = ground.lease("a").await;
    let mut journal = ground.store.open_journal(&lease).await.expect("opened");
    assert!(retire(&ground, &lease).await);
    let batch = starting(JournalPosition::default(), &ids(&lease, 1));
    let error = journal.commit(&batch).await.expect_err("fenced");
    assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
    let lost = ground.store.renew(std::slice::from_ref(&lease), LONG).await;
    assert_eq!(lost.expect("renewed"), [lease.partition]);
    ground
        .store
        .release(std::slice::from_ref(&lease))
        .await
        .expect("nothing to end");
    assert!(row(&ground, &lease).await.retired);
}

async fn a_retirement_and_a_batch_do_not_both_happen(ground: Arc<Ground>) {
    for round in 0..30 {
        let lease = ground.lease("a").await;
        let mut journal = ground.store.open_journal(&lease).await.expect("opened");
        let position = journal.position().await.expect("read");
        let workflow = id(lease.partition, round);
        let batch = starting(position, &[workflow]);
        let (retired, committed) = if round % 2 == 0 {
            tokio::join!(ground.store.retire(&lease), journal.commit(&batch))
        } else {
            let (committed, retired) =
                tokio::join!(journal.commit(&batch), ground.store.retire(&lease));
            (retired, committed)
        };
        let retired = retired.expect("decided");
        match &committed {
            Ok(()) => assert!(!retired, "a batch got in, and the partition is retired"),
            Err(CommitError::Fenced { .. }) => assert!(retired, "fenced by nobody"),
            Err(error) => panic!("{error}"),
        }
        let found = ground.store.find(&workflow.ident()).await.expect("read");
        assert_eq!(found.is_some(), committed.is_ok());
        if committed.is_ok() {
            let mut batch = following(journal.position().await.expect("read"));
            batch.heads = vec![update(workflow, Status::Completed, 2)];
            batch.published_seq = position.last_seq + 1;
            journal.commit(&batch).await.expect("committed");
        }
    }
}

async fn a_retirement_that_is_given_up_halfway_leaves_nothing_behind(ground: Arc<Ground>) {
    for _ in 0..5 {
        let lease = ground.lease("a").await;
        let mut journal = ground.store.open_journal(&lease).await.expect("opened");
        let position = journal.position().await.expect("read");
        // Polled once, so that it may be under way, and dropped.
        let _given_up = ground.store.retire(&lease).now_or_never();
        // It happened or it did not; no lock and no half of it is left.
        let committed = journal.commit(&following(position)).await;
        let is_retired = row(&ground, &lease).await.retired;
        match committed {
            Ok(()) => assert!(!is_retired),
            Err(CommitError::Fenced { .. }) => assert!(is_retired),
            Err(error) => panic!("{error}"),
        }
    }
}
