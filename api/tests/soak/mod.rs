//! Minutes in which everything fails that can fail, under load: three nodes on servers of their own are killed, stopped and cut off, and
//! so is everything that they need. Whatever it is, nobody loses anything.
//!
//! Read in this order: `pace` (how long, and how often), `world` (what there is: `node`, `door`, and the `link` whose `relay` knows the
//! `wire`), `faults` (what happens to it; `redis`), `crowds` (who buys meanwhile), `ending` (what must be true), and `tally` (what has
//! happened).
//!
//! `HOLDFAST_SOAK_MINUTES` makes it long, and `HOLDFAST_SOAK_KILL_EVERY=0.5..2` and its like another pace; otherwise it is half a minute.

mod crowds;
mod door;
mod ending;
mod faults;
mod link;
mod node;
mod pace;
mod redis;
mod relay;
mod tally;
mod wire;
mod world;

use std::sync::Arc;

use loadtest::driver::Acknowledged;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{PATIENCE, seed};
use pace::Pace;
use tally::Counted;
use world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_for_minutes_nobody_loses_anything() {
    let seed = seed();
    let pace = Pace::of(|name| std::env::var(name).ok()).unwrap_or_else(|error| panic!("{error}"));
    let Some(world) = World::start().await else {
        return;
    };
    let world = Arc::new(world);
    let mut run = JoinSet::new();
    run.spawn(whole(Arc::clone(&world), pace, seed));
    if let Some(Err(error)) = run.join_next().await {
        world.tells().await;
        panic!("HOLDFAST_TEST_SEED={seed}: {error}");
    }
}

/// From the first fault until all is well, and counted.
async fn whole(world: Arc<World>, pace: Pace, seed: u64) {
    let began = Instant::now();
    let acknowledged = bought_while_everything_fails(&world, &pace, seed).await;
    let failing = began.elapsed();
    world.tally.more(Counted::CommitsCut, world.commits_cut());
    let looked_at = ending::is_well(&world, &acknowledged).await;
    println!(
        "soak  things failed for {:.1} minutes, and all was well {:.0} s later",
        failing.as_secs_f64() / 60.0,
        began.elapsed().saturating_sub(failing).as_secs_f64()
    );
    for line in world.tally.lines().iter().chain(&looked_at) {
        println!("{line}");
    }
    // A stale batch is refused by its fence before anything else refuses it.
    for what in [
        Counted::Kills,
        Counted::Wakes,
        Counted::StaleBatchesRefused,
        Counted::CommitsCut,
        Counted::RedisFlushed,
        Counted::Acknowledged,
    ] {
        assert!(world.tally.of(what) > 0, "{what:?} never happened");
    }
}

/// Returns what was acknowledged, once nothing fails any more and everyone who came has an outcome.
async fn bought_while_everything_fails(
    world: &Arc<World>,
    pace: &Pace,
    seed: u64,
) -> Vec<Acknowledged> {
    let (is_over, over) = watch::channel(false);
    let mut at_work = JoinSet::new();
    let (failing, buying) = (Arc::clone(world), Arc::clone(world));
    // However long things fail, whoever came is there when they have healed.
    let patience = pace.lasts + PATIENCE;
    let pace = pace.clone();
    at_work.spawn(async move {
        faults::everything_fails(&failing, &pace, seed).await;
        is_over.send_replace(true);
        Vec::new()
    });
    at_work.spawn(async move { crowds::come(&buying, seed, patience, &over).await });
    let mut acknowledged = Vec::new();
    while let Some(ended) = at_work.join_next().await {
        acknowledged.extend(ended.expect("nothing went wrong"));
    }
    acknowledged
}
