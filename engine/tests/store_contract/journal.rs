//! What a batch writes: all of it or nothing, and back as it was.

use std::sync::Arc;

use engine::payload::{PAYLOAD_BYTES_MAX, Payload};
use engine::runtime::Timestamp;
use engine::store::{CommitError, JournalPosition, RefusedRows, Status, StoreError};
use engine::workflow::{Direction, End, Event, Intent, Record};

use crate::harness::{Fixture, add_stock, new_stock, on_both};
use crate::samples::{event, following, head, id, ids, record, starting, update};

on_both!(
    everything_comes_back_as_it_was_written,
    positions_have_no_gap,
    a_workflow_that_exists_is_refused_with_its_whole_batch,
    an_event_that_exists_is_refused_with_its_whole_batch,
    a_head_that_is_not_there_is_refused_with_its_whole_batch,
    a_text_that_is_too_long_is_refused,
    a_batch_of_many_large_payloads_is_written,
    the_last_change_of_a_head_counts,
    a_batch_of_another_partition_is_refused,
);

async fn everything_comes_back_as_it_was_written(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let workflow = id(lease.partition, 1);
    let text = "'quoted' \"twice\" \\ ; -- \u{1F389} 한글 \u{0} ? \n";
    let first = Record {
        seq: 1,
        at: Timestamp(1_700_000_000_123_456),
        event: Event::StepDone {
            step: "coupon-claim".into(),
            attempt: 1,
            output: Payload::of(text).expect("JSON"),
        },
        starts: vec![Intent {
            step: "payment".into(),
            direction: Direction::Forward,
            attempt: 1,
            until: Some(Timestamp(1_700_000_000_999_999)),
        }],
        ends: Some(End::Completed),
    };
    let mut written = head(workflow, 1_700_000_000_000_001);
    written.label = Some(text.to_owned());
    written.reason = Some(text.to_owned());
    written.wake_at = Some(Timestamp(1_700_000_000_000_007));
    let mut batch = following(JournalPosition::default());
    batch.workflows = vec![written.clone()];
    batch.events = vec![event(workflow, &first, 1)];
    batch.published_seq = 0;
    journal.commit(&batch).await.expect("committed");

    assert_eq!(
        fixture.store.find(&workflow.ident()).await.expect("read"),
        Some(written.clone())
    );
    assert_eq!(fixture.store.find(&[0; 12]).await.expect("read"), None);
    assert_eq!(
        fixture.store.records(workflow, 0, 10).await.expect("read"),
        [first]
    );
    let stored = fixture
        .store
        .events_after(lease.partition, 0, 10)
        .await
        .expect("read");
    let row = &batch.events[0];
    assert_eq!(
        (
            stored[0].workflow,
            stored[0].seq,
            stored[0].partition_seq,
            stored[0].at
        ),
        (row.workflow, row.seq, row.partition_seq, row.at)
    );
    assert_eq!(
        (stored[0].kind.as_str(), &stored[0].payload),
        (row.kind, &row.payload)
    );

    let mut parked = update(workflow, Status::Parked, 1_700_000_000_000_009);
    parked.reason = Some("gateway-timeout".into());
    let mut batch = following(journal.position().await.expect("read"));
    batch.heads = vec![parked.clone()];
    journal.commit(&batch).await.expect("committed");
    let found = fixture
        .store
        .find(&workflow.ident())
        .await
        .expect("read")
        .expect("there");
    written.status = parked.status;
    written.reason = parked.reason;
    written.wake_at = parked.wake_at;
    written.updated_at = parked.updated_at;
    assert_eq!(found, written);
}

async fn positions_have_no_gap(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let mut position = journal.position().await.expect("read");
    assert_eq!(position, JournalPosition::default());
    for (batch_number, workflows) in ids(&lease, 9).chunks(3).enumerate() {
        let mut batch = starting(position, workflows);
        batch.published_seq = position.last_seq;
        journal.commit(&batch).await.expect("committed");
        let next = journal.position().await.expect("read");
        let expected = JournalPosition {
            batch: batch_number as u64 + 1,
            last_seq: position.last_seq + 3,
            published_seq: position.last_seq,
        };
        assert_eq!(next, expected);
        position = next;
    }
    // The watermark moves without events, too, and the position is the same for who opens the journal next.
    let mut batch = following(position);
    batch.published_seq = 9;
    journal.commit(&batch).await.expect("committed");
    let mut reopened = fixture.store.open_journal(&lease).await.expect("opened");
    let position = reopened.position().await.expect("read");
    assert_eq!(
        position,
        JournalPosition {
            batch: 4,
            last_seq: 9,
            published_seq: 9
        }
    );
    let seqs = fixture
        .store
        .events_after(lease.partition, 0, 100)
        .await
        .expect("read");
    assert!(seqs.iter().map(|event| event.partition_seq).eq(1..=9));
}

async fn a_workflow_that_exists_is_refused_with_its_whole_batch(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 3);
    journal
        .commit(&starting(JournalPosition::default(), &workflows[..1]))
        .await
        .expect("committed");
    let position = journal.position().await.expect("read");
    let mut batch = starting(position, &workflows);
    batch.changes = vec![new_stock("p", 1)];
    let error = journal.commit(&batch).await.expect_err("refused");
    let CommitError::RowRefused { rows, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(rows, RefusedRows::Workflows);
    assert_eq!(journal.position().await.expect("read"), position);
    assert_eq!(fixture.count("SELECT COUNT(*) FROM workflows").await, 1);
    assert_eq!(fixture.held("p").await, None);
    // The same journal goes on.
    journal
        .commit(&starting(position, &workflows[1..]))
        .await
        .expect("committed");
}

async fn an_event_that_exists_is_refused_with_its_whole_batch(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 2);
    journal
        .commit(&starting(JournalPosition::default(), &workflows[..1]))
        .await
        .expect("committed");
    let position = journal.position().await.expect("read");
    let mut batch = starting(position, &workflows[1..]);
    batch.events.push(event(
        workflows[0],
        &record(1, "again"),
        position.last_seq + 2,
    ));
    let error = journal.commit(&batch).await.expect_err("refused");
    assert!(
        matches!(
            error,
            CommitError::RowRefused {
                rows: RefusedRows::Events,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(journal.position().await.expect("read"), position);
    assert_eq!(fixture.count("SELECT COUNT(*) FROM workflows").await, 1);
}

async fn a_head_that_is_not_there_is_refused_with_its_whole_batch(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 2);
    journal
        .commit(&starting(JournalPosition::default(), &workflows[..1]))
        .await
        .expect("committed");
    let position = journal.position().await.expect("read");
    let mut batch = following(position);
    batch.heads = workflows
        .iter()
        .map(|id| update(*id, Status::Completed, 2_000))
        .collect();
    let error = journal.commit(&batch).await.expect_err("refused");
    assert!(
        matches!(
            error,
            CommitError::RowRefused {
                rows: RefusedRows::Events,
                ..
            }
        ),
        "{error}"
    );
    let head = fixture
        .store
        .find(&workflows[0].ident())
        .await
        .expect("read")
        .expect("there");
    assert_eq!(head.status, Status::Running);
    assert_eq!(journal.position().await.expect("read"), position);
}

async fn a_text_that_is_too_long_is_refused(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let mut batch = starting(JournalPosition::default(), &ids(&lease, 1));
    batch.workflows[0].label = Some("l".repeat(256));
    let error = journal.commit(&batch).await.expect_err("refused");
    assert!(
        matches!(
            error,
            CommitError::RowRefused {
                rows: RefusedRows::Workflows,
                ..
            }
        ),
        "{error}"
    );
    // Beyond what one round trip may carry: told before anything is sent.
    let huge = "x".repeat(16 << 20);
    batch.workflows[0].label = None;
    batch.events[0].payload = Arc::from(huge);
    let error = journal.commit(&batch).await.expect_err("refused");
    assert!(
        matches!(
            error,
            CommitError::RowRefused {
                rows: RefusedRows::Events,
                ..
            }
        ),
        "{error}"
    );
}

async fn a_batch_of_many_large_payloads_is_written(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 300);
    let large = "\u{1F389}".repeat((PAYLOAD_BYTES_MAX - 2) / 4);
    let mut batch = starting(JournalPosition::default(), &workflows);
    for row in &mut batch.events {
        *row = event(row.workflow, &record(1, &large), row.partition_seq);
    }
    batch.changes = vec![new_stock("p", 0), add_stock("p", 1)];
    journal.commit(&batch).await.expect("committed");
    assert_eq!(journal.position().await.expect("read").last_seq, 300);
    let last = workflows.last().expect("one");
    let records = fixture.store.records(*last, 0, 10).await.expect("read");
    assert_eq!(records, [record(1, &large)]);
    assert_eq!(fixture.held("p").await, Some(1));
}

async fn the_last_change_of_a_head_counts(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let workflows = ids(&lease, 150);
    journal
        .commit(&starting(JournalPosition::default(), &workflows))
        .await
        .expect("committed");
    let mut batch = following(journal.position().await.expect("read"));
    for (workflow, at) in workflows.iter().zip(1..) {
        batch
            .heads
            .push(update(*workflow, Status::Compensating, at));
        batch
            .heads
            .push(update(*workflow, Status::Compensated, 1_000 + at));
    }
    journal.commit(&batch).await.expect("committed");
    for (workflow, at) in workflows.iter().zip(1..) {
        let head = fixture
            .store
            .find(&workflow.ident())
            .await
            .expect("read")
            .expect("there");
        assert_eq!(
            (head.status, head.updated_at),
            (Status::Compensated, Timestamp(1_000 + at))
        );
    }
    let counts = fixture.store.count_by_status().await.expect("counted");
    assert_eq!(counts, [(Status::Compensated, 150)]);
}

async fn a_batch_of_another_partition_is_refused(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let other = fixture.lease("b").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let batch = starting(JournalPosition::default(), &ids(&other, 1));
    let error = journal.commit(&batch).await.expect_err("refused");
    assert!(
        matches!(error, CommitError::Store(StoreError::Corrupt { .. })),
        "{error}"
    );
}
