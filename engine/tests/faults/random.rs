//! Random cases: some hundred workflows at once, while steps, commits, processes and databases fail.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::command::Verb;
use engine::{StartError, Started};
use tokio::task::JoinSet;

use crate::support::dice::seeds;
use crate::support::effects::{Ahead, Temper};
use crate::support::flaky::Trouble;
use crate::support::operator::{Operator as _, signal};
use crate::support::site::{Life, Mix, Site};
use crate::{QUIET, on_paused_time};

const AHEADS: [Ahead; 4] = [
    Ahead::Nothing,
    Ahead::First,
    Ahead::AllButPivot,
    Ahead::Everything,
];

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
    match site.dice.roll(&format!("operator {key}"), 13) {
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
        5 | 6 => {
            let word = || signal("word", &format!("word to {key}"), &1);
            drop(tokio::join!(
                engine.tell(id, word(), "gateway", "said"),
                engine.tell(id, word(), "gateway", "said twice")
            ));
        }
        7 => {
            drop(engine.tell(id, Verb::Pause, "ann", "to look at it").await);
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(engine.tell(id, Verb::Resume, "ann", "all is well").await);
        }
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
