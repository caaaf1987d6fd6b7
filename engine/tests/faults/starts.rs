//! Starts that are repeated, refused, lost, or undecided.

use std::time::Duration;

use engine::store::Status;
use engine::{StartError, Started};

use crate::support::effects::Ahead;
use crate::support::flaky::Next;
use crate::{quiet, settled, started, until};

#[test]
fn a_repeat_that_is_born_in_another_partition_leaves_nothing_behind() {
    quiet(Ahead::First, async |site| {
        let one = site.open("one").await;
        let id = started(site, &one, "k").await;
        assert_eq!(settled(site, &one, id).await, Some(Status::Completed));
        // Another node, with partitions of its own: it does not know the key, begins, and finds out when it writes.
        let two = site.open("two").await;
        let again = site.start(&two.engine, "k").await.unwrap();
        assert!(
            matches!(&again, Started::Existing(view) if view.id == id),
            "{again:?}"
        );
        one.engine.drain(site.after(Duration::from_secs(10))).await;
        two
    });
}

#[test]
fn a_repeat_that_fails_undoes_nothing_of_what_its_first_start_did() {
    for refused in [false, true] {
        quiet(Ahead::First, async |site| {
            let first = site.open("test").await;
            let id = started(site, &first, "k").await;
            assert_eq!(settled(site, &first, id).await, Some(Status::Completed));
            site.kill(&first);
            // The next life has no memory of the key. It begins, under the same keys, and can't go on.
            let next = site.open("test").await;
            site.effects.slow("b", Duration::from_millis(100));
            if refused {
                site.effects.refuse("b");
            } else {
                site.effects.cannot_be_attempted("b");
            }
            let again = site.start(&next.engine, "k").await.unwrap();
            assert!(matches!(again, Started::Existing(_)), "{again:?}");
            next
        });
    }
}

#[test]
fn a_lost_start_that_its_client_repeats_is_not_undone_behind_its_back() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        site.loses_partitions(&life);
        site.store.set_down(true);
        let undecided = site.start(&life.engine, "k").await;
        assert!(undecided.is_err(), "{undecided:?}");
        until("the partitions are lost", || !life.engine.is_serving()).await;
        // Whoever clears up sees that nothing is durable, and hears of it when something is.
        site.store
            .next("finding a workflow", [Next::Slow(Duration::from_secs(3))]);
        site.store.set_down(false);
        until("it serves again", || life.engine.is_serving()).await;
        // By now they have asked, and wait for the answer.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let id = loop {
            match site.start(&life.engine, "k").await {
                Ok(started) => break started.view().id,
                Err(StartError::Refused(refusal)) => panic!("it was undone first: {refusal}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        life
    });
}

#[test]
fn a_start_that_was_lost_is_undone_also_when_its_repeat_fails() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        site.loses_partitions(&life);
        site.store.set_down(true);
        assert!(site.start(&life.engine, "k").await.is_err());
        until("the partitions are lost", || !life.engine.is_serving()).await;
        site.store.set_down(false);
        // The repeat can't attempt `a`, and so knows of no effect; the first one's is there.
        site.effects.cannot_be_attempted("a");
        site.effects.slow("b", Duration::from_millis(800));
        until("it serves again", || life.engine.is_serving()).await;
        let again = site.start(&life.engine, "k").await;
        assert!(again.is_err(), "{again:?}");
        site.effects.calm();
        life
    });
}

#[test]
fn a_start_that_was_lost_in_the_middle_of_undoing_is_undone_to_the_end() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        site.loses_partitions(&life);
        // `c` waits for the journal, which refuses the rows of `a`: all is undone, `c` first, and `b` needs another attempt.
        site.store.refuse_rows_of("a");
        site.effects.slow("b", Duration::from_millis(50));
        site.effects.slow("undo c", Duration::from_millis(300));
        site.effects.cannot_be_attempted("undo b");
        let down = async {
            until("it is going back", || {
                site.effects.attempts_at("undo c") > 0
            })
            .await;
            site.store.set_down(true);
        };
        let (undecided, ()) = tokio::join!(site.start(&life.engine, "k"), down);
        assert!(
            matches!(undecided, Err(StartError::Undecided(_))),
            "{undecided:?}"
        );
        until("the partitions are lost", || !life.engine.is_serving()).await;
        site.store.set_down(false);
        site.effects.calm();
        life
    });
}

#[test]
fn a_start_that_cannot_go_on_while_the_store_is_away_is_undone_when_it_is_back() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        site.effects.cannot_be_attempted("b");
        site.store.next("finding a workflow", [Next::Fails]);
        let unavailable = site.start(&life.engine, "k").await;
        assert!(
            matches!(unavailable, Err(StartError::Unavailable(_))),
            "{unavailable:?}"
        );
        site.effects.calm();
        life
    });
}

#[test]
fn a_batch_that_arrives_when_its_writer_has_given_up_is_found_or_comes_too_late() {
    for (arrives_ms, is_found) in [
        (6_000, true),
        (9_000, true),
        (13_000, false),
        (20_000, false),
    ] {
        quiet(Ahead::First, async |site| {
            let life = site.open("test").await;
            site.loses_partitions(&life);
            let late = Next::ArrivesLate(Duration::from_millis(arrives_ms));
            site.store.next("committing a batch", [late]);
            site.store.set_positions_down(true);
            site.store
                .next("renewing leases", (0..12).map(|_| Next::Fails));
            let undecided = site.start(&life.engine, "k").await;
            assert!(
                matches!(undecided, Err(StartError::Undecided(_))),
                "{undecided:?}"
            );
            until("the lease has run out", || !life.engine.is_serving()).await;
            site.store.set_positions_down(false);
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(site.heads().await.len(), usize::from(is_found));
            life
        });
    }
}

#[test]
fn a_start_that_takes_too_long_is_undecided_and_its_repeat_finds_it() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        site.store
            .next("committing a batch", [Next::Slow(Duration::from_secs(7))]);
        let undecided = site.start(&life.engine, "k").await;
        assert!(
            matches!(undecided, Err(StartError::Undecided(_))),
            "{undecided:?}"
        );
        let again = site.start(&life.engine, "k").await.unwrap();
        assert!(matches!(again, Started::Existing(_)), "{again:?}");
        life
    });
}
