//! Owners that stood still while their partition was taken over, again and again: whatever they send when they wake up is refused.
//!
//! `HOLDFAST_WAKES=n` is how many of them; a thousand in the long tests.

use std::sync::Arc;
use std::time::Duration;

use engine::store::{CommitError, Journal, JournalPosition, Lease};

use crate::harness::{Fixture, LONG, on_both};
use crate::samples::{following, ids, node, starting};

const WAKES: u32 = 50;

on_both!(whoever_wakes_up_after_a_take_over_changes_nothing);

async fn whoever_wakes_up_after_a_take_over_changes_nothing(fixture: Arc<Fixture>) {
    let wakes = wakes();
    let (mut written, mut refused) = (JournalPosition::default(), 0);
    for wake in 0..wakes {
        let mut paused = Owner::begins(&fixture, Duration::ZERO).await;
        let position = paused.journal.position().await.expect("its own");
        assert_eq!(position.batch, written.batch, "wake {wake}");
        let mut next = Owner::takes_over(&fixture).await;
        // One in two wakes up before the next owner has written anything.
        let writes_first = wake % 2 == 0;
        if writes_first {
            written = next.writes(written).await;
        }
        refused += paused.wakes_up(&fixture, position).await;
        if !writes_first {
            written = next.writes(written).await;
        }
        assert_eq!(next.journal.position().await.expect("its own"), written);
        let leases = std::slice::from_ref(&next.lease);
        fixture.store.release(leases).await.expect("released");
    }
    assert_eq!(fixture.count("SELECT COUNT(*) FROM events").await, 0);
    assert_eq!(fixture.count("SELECT COUNT(*) FROM workflows").await, 0);
    println!(
        "{wakes} owners woke up after a take-over, {refused} stale batches, leases and openings were refused"
    );
}

/// Somebody who has the partition, or thinks so.
struct Owner {
    lease: Lease,
    journal: Box<dyn Journal>,
}

impl Owner {
    async fn begins(fixture: &Fixture, duration: Duration) -> Self {
        Self::with(fixture, fixture.lease_for("paused", duration).await).await
    }

    async fn takes_over(fixture: &Fixture) -> Self {
        let adopted = fixture
            .store
            .adopt_expired(&node("next"), &[], LONG)
            .await
            .expect("adopted");
        Self::with(fixture, adopted[0].clone()).await
    }

    async fn with(fixture: &Fixture, lease: Lease) -> Self {
        let journal = fixture.store.open_journal(&lease).await.expect("opened");
        Self { lease, journal }
    }

    async fn writes(&mut self, position: JournalPosition) -> JournalPosition {
        let batch = following(position);
        self.journal.commit(&batch).await.expect("committed");
        self.journal.position().await.expect("its own")
    }

    /// It sends what it had in hand, asks for its lease, and opens its journal once more: how often it was refused.
    async fn wakes_up(&mut self, fixture: &Fixture, position: JournalPosition) -> u32 {
        let batch = starting(position, &ids(&self.lease, 3));
        is_fenced(self.journal.commit(&batch).await);
        let leases = std::slice::from_ref(&self.lease);
        let lost = fixture.store.renew(leases, LONG).await.expect("an answer");
        assert_eq!(lost, [self.lease.partition], "its lease is another's");
        let again = fixture.store.open_journal(&self.lease).await;
        is_fenced(again.expect("opened").commit(&batch).await);
        3
    }
}

fn is_fenced(committed: Result<(), CommitError>) {
    let error = committed.expect_err("fenced");
    assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
}

fn wakes() -> u32 {
    let set = std::env::var("HOLDFAST_WAKES").ok();
    set.map_or(WAKES, |text| {
        text.parse().expect("HOLDFAST_WAKES is a number")
    })
}
