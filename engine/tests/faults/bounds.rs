//! What has a bound: workflows in flight, the relay's memory, attempts, and what a pause lets begin.

use std::sync::Arc;
use std::time::Duration;

use engine::definition::Durability::Replayable;
use engine::definition::Saga;
use engine::store::Status;
use engine::{StartError, Started};
use futures_util::future::join_all;

use crate::support::effects::Ahead;
use crate::support::site::{Life, Site};
use crate::support::{Harness, Script, Scripted, status};
use crate::{QUIET, on_paused_time, quiet, settled, started, until};

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

/// Starts so many at once, under keys that begin with this.
async fn all_started(site: &Site, life: &Life, prefix: &str, count: u32) {
    let keys: Vec<String> = (0..count).map(|key| format!("{prefix}{key}")).collect();
    join_all(keys.iter().map(|key| started(site, life, key))).await;
}

/// The bus is back, and everything is published. While the relay catches up more is started, so many at once: that does not follow
/// what it remembers.
async fn caught_up(site: &Site, life: &Life, at_once: u32) {
    site.bus.set_fails(0);
    let mut more = 0;
    while life.engine.counters().unpublished > 0 && more < 1_000 {
        all_started(site, life, &format!("more{more}-"), at_once).await;
        more += at_once;
    }
    until("everything is published", || {
        life.engine.counters().unpublished == 0
    })
    .await;
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
        caught_up(site, &life, 10).await;
        life
    });
}

#[test]
fn a_relay_leaves_out_nothing_between_what_it_remembers_and_what_comes_while_it_catches_up() {
    quiet(Ahead::Nothing, async |site| {
        let life = site.open("test").await;
        site.bus.set_fails(1_000);
        // Batches that are so large that what is remembered of them is not published at once.
        for round in 0..40 {
            all_started(site, &life, &format!("{round}-"), 60).await;
        }
        until("more batches than the relay remembers", || {
            life.engine.counters().commits > 100
        })
        .await;
        caught_up(site, &life, 1).await;
        life
    });
}

#[test]
fn a_step_past_a_pivot_that_ran_ahead_of_the_journal_is_parked_like_any_other() {
    on_paused_time(async {
        let mut harness = Harness::new(Replayable);
        let step = |name| Scripted {
            name,
            world: harness.world.clone(),
            durability: Replayable,
        };
        let saga = Saga::<u32>::new("chain", 2);
        let input = saga.input();
        let (mut saga, pivot) = saga.pivot(step("pivot"), &input);
        let last = saga.retriable(step("last"), &pivot);
        harness.definition = Arc::new(saga.finish(&last).unwrap());
        harness
            .world
            .script("last", [Script::Retry, Script::Retry, Script::Retry]);
        let engine = harness.open().await;
        let view = harness.run(&engine, "k").await.unwrap();
        assert_eq!(status(&view), (Status::Parked, Some("scripted")));
        assert_eq!(harness.world.log(), ["pivot", "last", "last", "last"]);
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
