//! The engine over a store, a bus and a world that fail in every way that they can, on Tokio's paused clock.
//!
//! Random cases have seeds, which are printed; `FAULTS_SEED=n` runs one alone.

mod support;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::{StartError, Started};
use support::dice::seeds;
use support::effects::{Ahead, Temper};
use support::flaky::Trouble;
use support::site::{Life, Mix, Site};
use tokio::task::JoinSet;

const QUIET: Mix = Mix {
    temper: Temper { refused: 0, retry: 0, unknown: 0, panic: 0, hang: 0, late: 0, undo_refused: 0 },
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

/// A test on its own paused clock: one runtime a seed, so that each begins alike.
fn on_paused_time<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(test)
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
    let until = site.after(Duration::from_millis(site.dice.roll(&format!("wait {key}"), 2_000)));
    match site.dice.roll(&format!("operator {key}"), 10) {
        0 | 1 => drop(engine.compensate(id, "ann", "a mistake").await),
        2 => drop(engine.retry(id, "ann", "again").await),
        3 => drop(tokio::join!(engine.retry(id, "ann", "again"), engine.retry(id, "ben", "again"))),
        4 => drop(tokio::join!(engine.compensate(id, "ann", "a mistake"), engine.retry(id, "ben", "again"))),
        _ => drop(engine.wait(id, until).await),
    }
    let again = site.start(&engine, key).await;
    if let Ok(again) = again {
        assert!(matches!(again, Started::Existing(_)), "it was acknowledged before: {again:?}");
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
    assert!(counts.values().sum::<usize>() > 0, "something was looked at");
}

fn pause(site: &Site, what: &str, below_ms: u64) -> impl Future<Output = ()> + use<> {
    tokio::time::sleep(Duration::from_millis(site.dice.roll(what, below_ms)))
}

#[test]
fn steps_that_fail_in_every_way_leave_nothing_undone() {
    for seed in seeds(1, 6) {
        for ahead in [Ahead::Nothing, Ahead::First, Ahead::AllButPivot] {
            let mix = Mix { temper: Temper::WILD, ahead, ..QUIET };
            run(seed, mix, 200, async |_, _| {});
        }
    }
}

#[test]
fn rows_that_are_refused_leave_nothing_undone() {
    for seed in seeds(100, 6) {
        for ahead in [Ahead::Nothing, Ahead::First, Ahead::AllButPivot] {
            let trouble = Trouble { rows_refused: 150, ..QUIET.trouble };
            let mix = Mix { temper: Temper::WILD, trouble, ahead, ..QUIET };
            run(seed, mix, 200, async |_, _| {});
        }
    }
}

#[test]
fn commits_that_fail_in_every_way_lose_and_double_nothing() {
    for seed in seeds(200, 6) {
        let mix = Mix { temper: Temper::WILD, trouble: Trouble::WILD, bus_fails: 200, ..QUIET };
        run(seed, mix, 200, async |site, current| {
            // A commit that hangs for longer than the lease loses the partition.
            site.cut_short(&current.lock().unwrap());
        });
    }
}
