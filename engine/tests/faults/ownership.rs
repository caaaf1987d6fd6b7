//! Partitions that change hands, are lost and come back, and processes that end.

use std::time::Duration;

use engine::store::{Lease, Status, Store as _};
use engine::{CommandError, Epoch, NodeName, StartError, Started};

use crate::support::effects::Ahead;
use crate::support::flaky::Next;
use crate::support::operator::Operator as _;
use crate::support::site::Site;
use crate::{QUIET, on_paused_time, quiet, settled, started, until};

#[test]
fn a_workflow_is_taken_over_although_a_repeat_of_its_start_is_under_way() {
    quiet(Ahead::First, async |site| {
        let one = site.open("one").await;
        site.effects.hang("pivot");
        let id = started(site, &one, "k").await;
        let two = site.open("two").await;
        site.kill(&one);
        // From now until the take-over its client repeats the start at the other node, where it is born elsewhere.
        site.effects.slow("b", Duration::from_millis(900));
        let attempts = site.effects.attempts_at("pivot");
        let deadline = site.after(Duration::from_secs(30));
        while site.effects.attempts_at("pivot") == attempts && site.now() < deadline {
            match site.start(&two.engine, "k").await {
                Ok(again) => assert!(matches!(again, Started::Existing(_)), "{again:?}"),
                // What the last repeat did is being undone.
                Err(error) => assert!(matches!(error, StartError::Unavailable(_)), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        site.effects.calm();
        assert_eq!(settled(site, &two, id).await, Some(Status::Completed));
        two
    });
}

#[test]
fn open_workflows_go_on_when_their_node_loses_its_partitions_and_gets_them_back() {
    for ahead in [Ahead::Nothing, Ahead::First] {
        quiet(ahead, async |site| {
            let life = site.open("test").await;
            site.effects.hang("pivot");
            let id = started(site, &life, "k").await;
            until("the pivot is attempted", || {
                site.effects.attempts_at("pivot") > 0
            })
            .await;
            // A second process of the same name takes everything, and dies at once.
            let thief = site.open("test").await;
            site.kill(&thief);
            site.effects.calm();
            until("it serves again", || life.engine.is_serving()).await;
            assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
            life
        });
    }
}

#[test]
fn a_workflow_has_one_driver_also_when_its_partition_comes_back_before_the_last_one_has_ended() {
    on_paused_time(async {
        let mut site = Site::new(1, QUIET);
        site.settings.lease = Duration::from_secs(3);
        let life = site.open("test").await;
        site.effects.hang("pivot");
        let id = started(&site, &life, "k").await;
        until("the pivot is attempted", || {
            site.effects.attempts_at("pivot") > 0
        })
        .await;
        // Another node has the partition for a moment and lets go of it: no await on the way lets the old driver run.
        site.store.set_instant(true);
        let partition = id.partition();
        let lease = |epoch| Lease {
            partition,
            epoch: Epoch(epoch),
        };
        let (store, thief) = (&site.store.memory, NodeName("thief".into()));
        store.release(&[lease(1)]).await.unwrap();
        let stolen = store
            .adopt_expired(&thief, &[], Duration::from_secs(20))
            .await;
        assert_eq!(stolen.unwrap(), [lease(2)]);
        store.release(&[lease(2)]).await.unwrap();
        until("the pivot is attempted under the next epoch", || {
            site.effects.epoch_at("pivot") == Some(Epoch(3))
        })
        .await;
        site.effects.calm();
        let refused = life.engine.compensate(id, "ann", "a mistake").await;
        assert!(
            matches!(refused, Err(CommandError::Conflict(_))),
            "{refused:?}"
        );
        assert_eq!(life.engine.counters().in_flight, 1, "one driver");
        assert_eq!(settled(&site, &life, id).await, Some(Status::Completed));
        site.settle(&life).await;
        site.check().await;
    });
}

#[test]
fn a_writer_that_ends_late_does_not_close_the_partition_that_was_taken_back() {
    on_paused_time(async {
        let mut site = Site::new(1, QUIET);
        site.settings.partitions = 1;
        let life = site.open("test").await;
        for key in 0..20 {
            started(&site, &life, &format!("k{key}")).await;
        }
        until("all has ended and is published", || {
            let counters = life.engine.counters();
            counters.in_flight == 0 && counters.unpublished == 0
        })
        .await;
        // The old writer is in the middle of writing the watermark when it loses the partition, and hears of it seconds later.
        site.store
            .next("committing a batch", [Next::Slow(Duration::from_secs(9))]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let thief = site.open("test").await;
        site.kill(&thief);
        until("the loss is noticed", || !life.engine.is_serving()).await;
        until("it serves again", || life.engine.is_serving()).await;
        let epoch_passed = site.after(Duration::from_secs(12));
        for key in 20.. {
            let started = site.start(&life.engine, &format!("k{key}")).await;
            assert!(
                started.is_ok(),
                "nobody else wants the partition: {started:?}"
            );
            if site.now() > epoch_passed {
                break;
            }
        }
        assert_eq!(life.engine.counters().fenced, 1, "the old writer");
        site.settle(&life).await;
        site.check().await;
    });
}

#[test]
fn a_recovery_that_takes_longer_than_a_lease_keeps_it() {
    quiet(Ahead::First, async |site| {
        let first = site.open("test").await;
        site.effects.hang("pivot");
        let id = started(site, &first, "k").await;
        site.kill(&first);
        site.effects.calm();
        let slow = Next::Slow(Duration::from_secs(15));
        site.store
            .next("reading open workflows", [slow, slow, slow]);
        let next = site.open("test").await;
        assert_eq!(settled(site, &next, id).await, Some(Status::Completed));
        assert_eq!(next.engine.counters().fenced, 0);
        next
    });
}

#[test]
fn a_drain_that_takes_longer_than_a_lease_keeps_it() {
    on_paused_time(async {
        let mut site = Site::new(1, QUIET);
        site.settings.lease = Duration::from_millis(600);
        let life = site.open("test").await;
        site.effects.hang("pivot");
        let id = started(&site, &life, "k").await;
        until("the pivot is attempted", || {
            site.effects.attempts_at("pivot") > 0
        })
        .await;
        site.effects.calm();
        // The attempt ends after a second, unanswered, and the next one succeeds.
        let drained = life.engine.drain(site.after(Duration::from_secs(30))).await;
        assert_eq!(drained.open, 0, "there was time enough");
        assert_eq!(site.heads().await[0].status, Status::Completed, "{id}");
        assert_eq!(life.engine.counters().fenced, 0);
        site.check().await;
    });
}

#[test]
fn what_a_drain_could_not_finish_goes_on_in_the_next_life() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        site.effects.hang("pivot");
        for key in 0..20 {
            started(site, &life, &format!("k{key}")).await;
        }
        let drained = life
            .engine
            .drain(site.after(Duration::from_millis(900)))
            .await;
        assert_eq!(drained.open, 20);
        assert!(matches!(
            site.start(&life.engine, "late").await,
            Err(StartError::NotServing(_))
        ));
        site.effects.calm();
        // Another name: it was handed over, nobody waits for a lease to end.
        let next = site.open("other").await;
        for head in site.heads().await {
            assert_eq!(settled(site, &next, head.id).await, Some(Status::Completed));
        }
        until("everything of the drained life has ended", || {
            life.tasks.alive() == 0
        })
        .await;
        next
    });
}

#[test]
fn a_node_that_could_not_open_leaves_nothing_running() {
    quiet(Ahead::First, async |site| {
        let first = site.open("test").await;
        site.effects.hang("pivot");
        for key in 0..20 {
            started(site, &first, &format!("k{key}")).await;
        }
        site.kill(&first);
        site.store.next(
            "opening a journal",
            [Next::Slow(Duration::ZERO), Next::Fails],
        );
        let (_error, tasks) = site
            .try_open("test")
            .await
            .err()
            .expect("the second journal does not open");
        until("everything that it began has ended", || tasks.alive() == 0).await;
        site.effects.calm();
        site.open("test").await
    });
}
