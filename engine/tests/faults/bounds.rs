//! What has a bound: workflows in flight, the relay's memory, attempts, and what a pause lets begin.

use std::sync::Arc;
use std::time::Duration;

use engine::definition::Durability::Replayable;
use engine::definition::Saga;
use engine::store::Status;
use engine::{StartError, Started};
use futures_util::future::join_all;

use crate::support::effects::Ahead;
use crate::support::site::Site;
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
        // What comes in while it catches up does not follow what it remembers.
        let mut more = 0;
        while life.engine.counters().unpublished > 0 && more < 1_000 {
            let keys: Vec<String> = (0..10).map(|key| format!("more{}", more + key)).collect();
            more += 10;
            join_all(keys.iter().map(|key| started(site, &life, key))).await;
        }
        until("everything is published", || {
            life.engine.counters().unpublished == 0
        })
        .await;
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
