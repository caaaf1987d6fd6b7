//! The engine over a store, a bus and a world that fail in every way that they can, on Tokio's paused clock.
//!
//! Random cases have seeds, which are printed; `FAULTS_SEED=n` runs one alone.

mod support;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::store::Status;
use engine::{CommandError, StartError, Started, View, WorkflowId};
use support::dice::seeds;
use support::effects::{Ahead, Temper};
use support::flaky::{Next, Trouble};
use support::site::{Life, Mix, Site};
use tokio::task::JoinSet;

const QUIET: Mix = Mix {
    temper: Temper {
        refused: 0,
        retry: 0,
        unknown: 0,
        panic: 0,
        hang: 0,
        late: 0,
        undo_refused: 0,
    },
    trouble: Trouble {
        unavailable: 0,
        contended: 0,
        lost_before: 0,
        lost_after: 0,
        late: 0,
        hang: 0,
        rows_refused: 0,
        reads: 0,
    },
    bus_fails: 0,
    ahead: Ahead::First,
};

const AHEADS: [Ahead; 4] = [
    Ahead::Nothing,
    Ahead::First,
    Ahead::AllButPivot,
    Ahead::Everything,
];

/// A test on its own paused clock: one runtime a seed, so that each begins alike.
fn on_paused_time<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

/// Who can be asked at the moment.
type Current = Arc<Mutex<Life>>;

/// A client that starts workflow `key`, now and then twice at once, until it knows what became of it.
async fn client(site: Arc<Site>, current: Current, key: String) {
    for _ in 0..60 {
        let pause = site.dice.roll(&format!("client {key}"), 800);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let engine = current.lock().unwrap().engine.clone();
        match site.start(&engine, &key).await {
            Ok(started) => return operate(&site, &current, &key, &started).await,
            Err(StartError::Refused(_)) => return,
            Err(_) => {}
        }
    }
}

/// What operators and curious clients do meanwhile.
async fn operate(site: &Site, current: &Current, key: &str, started: &Started) {
    let id = started.view().id;
    let engine = current.lock().unwrap().engine.clone();
    let until = site.after(Duration::from_millis(
        site.dice.roll(&format!("wait {key}"), 2_000),
    ));
    match site.dice.roll(&format!("operator {key}"), 10) {
        0 | 1 => drop(engine.compensate(id, "ann", "a mistake").await),
        2 => drop(engine.retry(id, "ann", "again").await),
        3 => drop(tokio::join!(
            engine.retry(id, "ann", "again"),
            engine.retry(id, "ben", "again")
        )),
        4 => drop(tokio::join!(
            engine.compensate(id, "ann", "a mistake"),
            engine.retry(id, "ben", "again")
        )),
        _ => drop(engine.wait(id, until).await),
    }
    let again = site.start(&engine, key).await;
    if let Ok(again) = again {
        assert!(
            matches!(again, Started::Existing(_)),
            "it was acknowledged before: {again:?}"
        );
    }
}

/// The workflows of one case, all at once, while `troubles` happen.
fn run(seed: u64, mix: Mix, workflows: u32, troubles: impl AsyncFnOnce(&Arc<Site>, &Current)) {
    on_paused_time(async {
        println!("seed {seed}, {:?}", mix.ahead);
        case(Arc::new(Site::new(seed, mix)), workflows, troubles).await;
    });
}

async fn case(site: Arc<Site>, workflows: u32, troubles: impl AsyncFnOnce(&Arc<Site>, &Current)) {
    let first = site.open("test").await;
    let current: Current = Arc::new(Mutex::new(first));
    let mut clients = JoinSet::new();
    for number in 0..workflows {
        let key = format!("k{number}");
        for _ in 0..=site.dice.roll(&format!("copies {key}"), 2) {
            clients.spawn(client(Arc::clone(&site), Arc::clone(&current), key.clone()));
        }
    }
    troubles(&site, &current).await;
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let last = current.lock().unwrap().clone();
    site.settle(&last).await;
    let counts = site.check().await;
    println!("{counts:?}");
    assert!(
        counts.values().sum::<usize>() > 0,
        "something was looked at"
    );
}

fn pause(site: &Site, what: &str, below_ms: u64) -> impl Future<Output = ()> + use<> {
    tokio::time::sleep(Duration::from_millis(site.dice.roll(what, below_ms)))
}

// ---- one thing at a time ----

/// A site without random trouble, on its own paused clock, whose end is checked.
fn quiet(ahead: Ahead, test: impl AsyncFnOnce(&Site) -> Life) {
    on_paused_time(async {
        let site = Site::new(1, Mix { ahead, ..QUIET });
        let last = test(&site).await;
        site.settle(&last).await;
        site.check().await;
    });
}

/// Waits, for a bounded time, until `holds`.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not within a minute: {what}");
}

fn status_of(view: Option<View>) -> Option<Status> {
    view.map(|view| view.head.status)
}

async fn settled(site: &Site, life: &Life, id: WorkflowId) -> Option<Status> {
    status_of(
        life.engine
            .wait(id, site.after(Duration::from_mins(1)))
            .await
            .unwrap(),
    )
}

async fn started(site: &Site, life: &Life, key: &str) -> WorkflowId {
    site.start(&life.engine, key).await.unwrap().view().id
}

/// A workflow that is parked, because the store refused the rows of this step of it.
async fn parked(site: &Site, life: &Life, key: &str, step: &'static str) -> WorkflowId {
    site.store.refuse_rows_of(step);
    let id = started(site, life, key).await;
    assert_eq!(settled(site, life, id).await, Some(Status::Parked));
    site.store.unpoison();
    id
}

#[test]
fn a_parked_workflow_goes_on_as_soon_as_it_is_retried() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "d").await;
        life.engine
            .retry(id, "ann", "it works again")
            .await
            .unwrap();
        assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        life
    });
}

#[test]
fn a_command_that_makes_no_sense_does_not_keep_a_settled_workflow_in_memory() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "d").await;
        let refused = life.engine.compensate(id, "ann", "a mistake").await;
        assert!(matches!(refused, Err(CommandError::Conflict(why)) if why.contains("pivot")));
        until("it left memory", || life.engine.counters().in_flight == 0).await;
        life
    });
}

#[test]
fn a_parked_workflow_that_two_operators_retry_at_once_is_retried_once() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "d").await;
        // The second one reads the workflow as it was, and its answer comes when the first one's work is done.
        site.store.next(
            "reading records",
            [
                Next::Slow(Duration::ZERO),
                Next::Slow(Duration::from_secs(2)),
            ],
        );
        let (ann, ben) = tokio::join!(
            life.engine.retry(id, "ann", "it works"),
            life.engine.retry(id, "ben", "it works")
        );
        assert!(ann.is_ok() || ben.is_ok(), "{ann:?} {ben:?}");
        assert!(
            [&ann, &ben]
                .iter()
                .any(|one| matches!(one, Err(CommandError::Conflict(_)))),
            "one came too late and was told so: {ann:?} {ben:?}"
        );
        assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        let retries = site
            .store
            .memory
            .events()
            .iter()
            .filter(|event| event.kind == "retry-requested")
            .count();
        assert_eq!(retries, 1);
        life
    });
}

#[test]
fn a_command_is_not_confirmed_when_the_store_refuses_it() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "d").await;
        site.store.poison(id, "retry-requested");
        let refused = life.engine.retry(id, "ann", "it works again").await;
        assert!(refused.is_err(), "nobody retried it: {refused:?}");
        assert_eq!(settled(site, &life, id).await, Some(Status::Parked));
        life
    });
}

#[test]
fn a_pivot_whose_rows_the_store_refuses_is_parked_and_nothing_is_undone() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "pivot").await;
        let refused = life.engine.compensate(id, "ann", "a mistake").await;
        assert!(matches!(refused, Err(CommandError::Conflict(why)) if why.contains("pivot")));
        assert!(
            !site
                .store
                .memory
                .events()
                .iter()
                .any(|event| event.kind.starts_with("compensation"))
        );
        life
    });
}

#[test]
fn a_workflow_that_the_store_refuses_is_parked_with_the_error_and_goes_on_when_it_is_retried() {
    quiet(Ahead::Nothing, async |site| {
        let life = site.open("test").await;
        site.store.poison_kind("completed");
        let id = started(site, &life, "k").await;
        let view = life
            .engine
            .wait(id, site.after(Duration::from_mins(1)))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (view.head.status, view.head.reason.as_deref()),
            (Status::Parked, Some("journal-refused"))
        );
        site.store.unpoison();
        life.engine
            .retry(id, "ann", "the store is repaired")
            .await
            .unwrap();
        assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        life
    });
}

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
fn a_workflow_is_taken_over_although_a_repeat_of_its_start_is_under_way() {
    quiet(Ahead::First, async |site| {
        let one = site.open("one").await;
        site.effects.hang("pivot");
        let id = started(site, &one, "k").await;
        let two = site.open("two").await;
        site.kill(&one);
        // From now until the take-over its client repeats the start at the other node, where it is born elsewhere.
        site.effects.slow("b", Duration::from_millis(900));
        let taken_over = site.after(Duration::from_secs(20));
        while site.now() < taken_over {
            match site.start(&two.engine, "k").await {
                Ok(again) => assert!(matches!(again, Started::Existing(_)), "{again:?}"),
                // What the last repeat did is being undone.
                Err(error) => assert!(matches!(error, StartError::Unavailable(_)), "{error:?}"),
            }
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
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        site.effects.hang("pivot");
        let id = started(site, &life, "k").await;
        until("the pivot is attempted", || {
            site.effects.attempts_at("pivot") > 0
        })
        .await;
        // No await of the node gives the old driver a chance to run.
        site.store.set_instant(true);
        let thief = site.open("test").await;
        site.kill(&thief);
        let before = site.effects.attempts_at("pivot");
        until("it is attempted under the new epoch", || {
            site.effects.attempts_at("pivot") > before
        })
        .await;
        site.effects.calm();
        let refused = life.engine.compensate(id, "ann", "a mistake").await;
        assert!(
            matches!(refused, Err(CommandError::Conflict(_))),
            "{refused:?}"
        );
        assert_eq!(life.engine.counters().in_flight, 1, "one driver");
        assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        life
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
                .next("renewing leases", [Next::Fails, Next::Fails, Next::Fails]);
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

#[test]
fn a_node_that_is_full_refuses_starts_and_takes_them_again() {
    on_paused_time(async {
        let mut site = Site::new(1, QUIET);
        site.settings.in_flight_max = 2;
        let life = site.open("test").await;
        site.effects.hang("pivot");
        let first = started(&site, &life, "k0").await;
        started(&site, &life, "k1").await;
        let third = site.start(&life.engine, "k2").await;
        assert!(matches!(third, Err(StartError::Busy)), "{third:?}");
        assert!(
            matches!(site.start(&life.engine, "k0").await, Ok(Started::Existing(view)) if view.id == first)
        );
        site.effects.calm();
        until("one has ended", || life.engine.counters().in_flight < 2).await;
        started(&site, &life, "k2").await;
        site.settle(&life).await;
        site.check().await;
    });
}

#[test]
fn a_relay_that_is_far_behind_publishes_everything_in_order_when_the_bus_is_back() {
    quiet(Ahead::Nothing, async |site| {
        let life = site.open("test").await;
        site.bus.set_fails(1_000);
        for key in 0..100 {
            let id = started(site, &life, &format!("k{key}")).await;
            assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        }
        let counters = life.engine.counters();
        assert!(
            counters.commits > 300,
            "more batches than the relay remembers: {}",
            counters.commits
        );
        assert_eq!(
            counters.unpublished,
            (site.store.memory.events().len() - site.bus.acknowledged()) as u64
        );
        site.bus.set_fails(0);
        until("everything is published", || {
            life.engine.counters().unpublished == 0
        })
        .await;
        life
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
fn an_attempt_that_ends_after_its_workflow_turned_back_is_undone_with_what_it_gave() {
    quiet(Ahead::Nothing, async |site| {
        let life = site.open("test").await;
        site.effects.slow("b", Duration::from_millis(600));
        let id = started(site, &life, "k").await;
        until("b is attempted", || site.effects.attempts_at("b") > 0).await;
        let view = life
            .engine
            .compensate(id, "ann", "a mistake")
            .await
            .unwrap();
        assert_eq!(view.head.status, Status::Compensating);
        assert_eq!(settled(site, &life, id).await, Some(Status::Compensated));
        let kinds: Vec<String> = site
            .store
            .memory
            .events()
            .into_iter()
            .map(|event| event.kind)
            .collect();
        let of_b = kinds.iter().rposition(|kind| kind == "step-done").unwrap();
        let turned = kinds
            .iter()
            .position(|kind| kind == "compensation-requested")
            .unwrap();
        assert!(turned < of_b, "the attempt ended later: {kinds:?}");
        life
    });
}

#[test]
fn a_pause_stops_retries_that_were_waiting_and_a_resume_lets_them_go_on() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        site.effects.cannot_be_attempted("pivot");
        let id = started(site, &life, "k").await;
        until("the pivot is attempted", || {
            site.effects.attempts_at("pivot") > 0
        })
        .await;
        assert!(life.engine.pause(site.after(Duration::from_secs(5))).await);
        let before = site.effects.attempts_at("pivot");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(
            site.effects.attempts_at("pivot"),
            before,
            "nothing begins during a pause"
        );
        site.effects.calm();
        life.engine.resume();
        assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        life
    });
}

#[test]
fn commands_that_race_with_the_end_of_their_workflow_are_answered() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        for key in 0..300_u64 {
            let id = started(site, &life, &format!("k{key}")).await;
            tokio::time::sleep(Duration::from_micros(site.dice.roll("race", 40_000))).await;
            let answers = tokio::join!(
                life.engine.compensate(id, "ann", "a mistake"),
                life.engine.retry(id, "ben", "again"),
                life.engine.compensate(id, "cid", "a mistake"),
            );
            for answer in [answers.0, answers.1, answers.2] {
                assert!(
                    matches!(answer, Ok(_) | Err(CommandError::Conflict(_))),
                    "{answer:?}"
                );
            }
        }
        until("all have left memory", || {
            life.engine.counters().in_flight == 0
        })
        .await;
        life
    });
}

// ---- random cases ----

#[test]
fn steps_that_fail_in_every_way_leave_nothing_undone() {
    for seed in seeds(1, 6) {
        for ahead in AHEADS {
            let mix = Mix {
                temper: Temper::WILD,
                ahead,
                ..QUIET
            };
            run(seed, mix, 200, async |_, _| {});
        }
    }
}

#[test]
fn rows_that_are_refused_leave_nothing_undone() {
    for seed in seeds(100, 6) {
        for ahead in AHEADS {
            let trouble = Trouble {
                rows_refused: 150,
                ..QUIET.trouble
            };
            let mix = Mix {
                temper: Temper::WILD,
                trouble,
                ahead,
                ..QUIET
            };
            run(seed, mix, 200, async |_, _| {});
        }
    }
}

#[test]
fn commits_that_fail_in_every_way_lose_and_double_nothing() {
    for seed in seeds(200, 6) {
        let mix = Mix {
            temper: Temper::WILD,
            trouble: Trouble::WILD,
            bus_fails: 200,
            ..QUIET
        };
        run(seed, mix, 200, async |site, current| {
            // A commit that hangs for longer than the lease loses the partition.
            site.loses_partitions(&current.lock().unwrap());
        });
    }
}

/// Everything at once, but for what happens to the processes.
fn wild(seed: u64) -> Mix {
    let ahead = AHEADS[usize::try_from(seed % 3).unwrap()];
    Mix {
        temper: Temper::WILD,
        trouble: Trouble::WILD,
        bus_fails: 200,
        ahead,
    }
}

#[test]
fn processes_that_are_killed_lose_and_double_nothing() {
    for seed in seeds(300, 8) {
        run(seed, wild(seed), 150, async |site, current| {
            for _ in 0..6 {
                pause(site, "until the next kill", 4_000).await;
                let life = current.lock().unwrap().clone();
                site.kill(&life);
                pause(site, "until the restart", 2_000).await;
                let next = site.open("test").await;
                *current.lock().unwrap() = next;
            }
            site.loses_partitions(&current.lock().unwrap());
        });
    }
}

#[test]
fn owners_that_do_not_know_that_they_were_replaced_change_nothing() {
    for seed in seeds(400, 8) {
        run(seed, wild(seed), 150, async |site, current| {
            for _ in 0..5 {
                pause(site, "until the next theft", 4_000).await;
                let stale = current.lock().unwrap().clone();
                // The same name: it takes the partitions at once. The stale owner finds out, and takes them back.
                let next = site.open("test").await;
                *current.lock().unwrap() = next;
                pause(site, "until the stale owner dies", 9_000).await;
                site.kill(&stale);
            }
            site.loses_partitions(&current.lock().unwrap());
        });
    }
}

#[test]
fn another_node_takes_over_from_one_that_died() {
    for seed in seeds(500, 8) {
        run(seed, wild(seed), 150, async |site, current| {
            for node in ["one", "two", "three"] {
                let next = site.open(node).await;
                pause(site, "both are alive", 6_000).await;
                let dying = std::mem::replace(&mut *current.lock().unwrap(), next);
                pause(site, "until the old one dies", 3_000).await;
                site.kill(&dying);
            }
            site.loses_partitions(&current.lock().unwrap());
        });
    }
}

#[test]
fn a_database_and_a_bus_that_come_and_go_stop_things_and_change_nothing() {
    for seed in seeds(600, 8) {
        run(seed, wild(seed), 150, async |site, current| {
            site.loses_partitions(&current.lock().unwrap());
            for _ in 0..4 {
                pause(site, "until it is away", 4_000).await;
                site.bus.set_fails(1_000);
                site.store.set_down(true);
                pause(site, "until it is back", 25_000).await;
                site.store.set_down(false);
                pause(site, "until the bus is back", 5_000).await;
                site.bus.set_fails(200);
            }
        });
    }
}

#[test]
fn pauses_and_drains_in_the_middle_of_everything_change_nothing() {
    for seed in seeds(700, 8) {
        run(seed, wild(seed), 150, async |site, current| {
            for _ in 0..4 {
                pause(site, "until the pause", 3_000).await;
                let life = current.lock().unwrap().clone();
                life.engine.pause(site.after(Duration::from_secs(2))).await;
                pause(site, "until it is resumed", 2_000).await;
                life.engine.resume();
                pause(site, "until the drain", 3_000).await;
                life.engine.drain(site.after(Duration::from_secs(3))).await;
                // The process ends here: what it could not finish goes on in the next one.
                site.kill(&life);
                let next = site.open("test").await;
                *current.lock().unwrap() = next;
            }
            site.loses_partitions(&current.lock().unwrap());
        });
    }
}
