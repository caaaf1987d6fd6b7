//! Who may write: only the holder of a running lease under its epoch, and only what continues the journal.

use std::sync::Arc;
use std::time::Duration;

use engine::NodeName;
use engine::store::{CommitError, JournalPosition, StoreError};

use crate::harness::{Fixture, LONG, on_both};
use crate::samples::{following, ids, starting};

on_both!(
    a_batch_under_a_passed_epoch_is_fenced,
    a_batch_under_an_expired_lease_is_fenced_until_it_is_renewed,
    a_passed_owner_is_not_told_that_a_batch_of_the_new_one_is_its_own,
    a_repeated_batch_is_refused,
    a_journal_that_was_opened_again_shuts_the_former_one_out,
    a_former_owner_can_not_shut_the_new_one_out,
);

async fn a_batch_under_a_passed_epoch_is_fenced(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    fixture
        .store
        .acquire(&NodeName("a".into()), 1, &[], LONG)
        .await
        .expect("taken back");
    let batch = starting(JournalPosition::default(), &ids(&lease, 3));
    let error = journal.commit(&batch).await.expect_err("fenced");
    let CommitError::Fenced { partition, epoch } = error else {
        panic!("{error}")
    };
    assert_eq!((partition, epoch), (lease.partition, lease.epoch));
    assert_eq!(fixture.count("SELECT COUNT(*) FROM events").await, 0);
    assert_eq!(fixture.count("SELECT COUNT(*) FROM workflows").await, 0);
}

async fn a_batch_under_an_expired_lease_is_fenced_until_it_is_renewed(fixture: Arc<Fixture>) {
    let lease = fixture.lease_for("a", Duration::ZERO).await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let batch = starting(JournalPosition::default(), &ids(&lease, 1));
    let error = journal.commit(&batch).await.expect_err("fenced");
    assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
    fixture
        .store
        .renew(std::slice::from_ref(&lease), LONG)
        .await
        .expect("renewed");
    journal.commit(&batch).await.expect("committed");
    assert_eq!(journal.position().await.expect("read").batch, 1);
}

async fn a_passed_owner_is_not_told_that_a_batch_of_the_new_one_is_its_own(fixture: Arc<Fixture>) {
    let old = fixture.lease_for("old", Duration::ZERO).await;
    let mut old_journal = fixture.store.open_journal(&old).await.expect("opened");
    let new = fixture
        .store
        .adopt_expired(&NodeName("new".into()), &[], LONG)
        .await
        .expect("adopted");
    let position = old_journal
        .position()
        .await
        .expect("nobody has written yet");
    let mut new_journal = fixture.store.open_journal(&new[0]).await.expect("opened");
    new_journal
        .commit(&following(position))
        .await
        .expect("committed");
    let error = old_journal.position().await.expect_err("not its own");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert_eq!(new_journal.position().await.expect("read").batch, 1);
}

async fn a_repeated_batch_is_refused(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut journal = fixture.store.open_journal(&lease).await.expect("opened");
    let batch = following(JournalPosition::default());
    journal.commit(&batch).await.expect("committed");
    for wrong in [1, 3] {
        let mut batch = following(JournalPosition::default());
        batch.number = wrong;
        let error = journal.commit(&batch).await.expect_err("does not continue");
        assert!(
            matches!(error, CommitError::Store(StoreError::Corrupt { .. })),
            "{error}"
        );
    }
    let mut batch = starting(journal.position().await.expect("read"), &ids(&lease, 1));
    batch.events[0].partition_seq = 2;
    let error = journal.commit(&batch).await.expect_err("leaves a gap");
    assert!(
        matches!(error, CommitError::Store(StoreError::Corrupt { .. })),
        "{error}"
    );
    assert_eq!(journal.position().await.expect("read").batch, 1);
}

async fn a_journal_that_was_opened_again_shuts_the_former_one_out(fixture: Arc<Fixture>) {
    let lease = fixture.lease("a").await;
    let mut former = fixture.store.open_journal(&lease).await.expect("opened");
    let mut present = fixture.store.open_journal(&lease).await.expect("opened");
    let batch = following(JournalPosition::default());
    let error = former.commit(&batch).await.expect_err("shut out");
    assert!(
        matches!(error, CommitError::Store(StoreError::Corrupt { .. })),
        "{error}"
    );
    present.commit(&batch).await.expect("committed");
}

async fn a_former_owner_can_not_shut_the_new_one_out(fixture: Arc<Fixture>) {
    let old = fixture.lease_for("old", Duration::ZERO).await;
    let new = fixture
        .store
        .adopt_expired(&NodeName("new".into()), &[], LONG)
        .await
        .expect("adopted");
    let mut journal = fixture.store.open_journal(&new[0]).await.expect("opened");
    let mut zombie = fixture.store.open_journal(&old).await.expect("opened");
    let batch = following(JournalPosition::default());
    let error = zombie.commit(&batch).await.expect_err("fenced");
    assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
    journal.commit(&batch).await.expect("committed");
}
