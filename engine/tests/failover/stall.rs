//! A process that stands still: it stops acting in time if it can, and changes nothing if it could not.

use std::time::Duration;

use engine::store::Status;
use engine::{Epoch, WorkflowId};

use crate::place::{LEASE, Place, Process, on_paused_time};
use crate::support::effects::Standing;
use crate::support::flaky::Next;

#[test]
fn a_node_that_cannot_renew_stops_before_its_lease_ends() {
    for hangs in [true, false] {
        on_paused_time(async {
            let place = Place::new();
            let life = place.open("one").await;
            place.site.effects.cannot_be_attempted("pivot");
            place.start(&life, "k", 10).await;
            let renewal = if hangs {
                Next::Slow(Duration::from_mins(2))
            } else {
                Next::Fails
            };
            place
                .site
                .store
                .next("renewing leases", std::iter::repeat_n(renewal, 1000));
            let mut left_at_the_end = i64::MAX;
            place
                .until("it to stop", || async { !life.life.engine.is_serving() })
                .await;
            for row in place.partitions().await {
                left_at_the_end = left_at_the_end.min(row.lease_left_us);
            }
            println!(
                "it stopped {} ms before its lease ended",
                left_at_the_end / 1000
            );
            let lease_us = i64::try_from(LEASE.as_micros()).unwrap();
            // Its clock and the database's need not go at the same pace.
            assert!(left_at_the_end > lease_us / 20, "{left_at_the_end}");
            assert!(left_at_the_end < lease_us / 4, "{left_at_the_end}");
            place.kill(&life);
            let next = place.open("one").await;
            place.site.effects.calm();
            place.site.store.next("renewing leases", []);
            place.ends_well(&next).await;
        });
    }
}

#[test]
fn a_stopped_node_that_wakes_up_after_two_leases_writes_nothing_and_begins_nothing() {
    on_paused_time(async {
        let place = Place::new();
        let stopped = place.open("stopped").await;
        let other = place.open("other").await;
        place.site.effects.slow("pivot", Duration::from_millis(700));
        let ids = place.start(&stopped, "k", 20).await;
        stopped.stop();
        let took = place
            .until("the other to finish", || place.are_completed(&ids))
            .await;
        println!("completed by the other {took:?} after the stop, with a lease of {LEASE:?}");
        assert!(took < LEASE + Duration::from_secs(3), "{took:?}");
        tokio::time::sleep(2 * LEASE).await;
        let (events, begun) = (place.site.store.memory.events().len(), attempts(&place));
        stopped.go_on();
        tokio::time::sleep(LEASE).await;
        assert_eq!(place.site.store.memory.events().len(), events);
        assert_eq!(attempts(&place), begun);
        drain(&place, &stopped).await;
        place.ends_well(&other).await;
    });
}

#[test]
fn a_stopped_node_that_was_about_to_try_again_does_not_when_it_wakes_up_after_its_lease() {
    on_paused_time(async {
        let place = Place::new();
        let stopped = place.open("stopped").await;
        let other = place.open("other").await;
        place.site.effects.cannot_be_attempted("pivot");
        let ids = place.start(&stopped, "k", 10).await;
        place
            .until("the pivots to be attempted", || async {
                place.site.effects.attempts_at("pivot") >= 10
            })
            .await;
        // The next attempt needs no word from the journal: only the clock stands in its way.
        stopped.stop();
        place.site.effects.calm();
        place
            .until("the other to finish", || place.are_completed(&ids))
            .await;
        tokio::time::sleep(2 * LEASE).await;
        let begun = attempts(&place);
        stopped.go_on();
        tokio::time::sleep(LEASE).await;
        assert_eq!(attempts(&place), begun);
        drain(&place, &stopped).await;
        place.ends_well(&other).await;
    });
}

#[test]
fn a_node_whose_clock_stood_still_is_fenced_and_changes_nothing() {
    on_paused_time(async {
        let place = Place::new();
        let stopped = place.open("stopped").await;
        let other = place.open("other").await;
        place
            .site
            .effects
            .on_its_way("pivot", Duration::from_millis(700));
        let ids = place.start(&stopped, "k", 20).await;
        place
            .until("the pivots to be attempted", || async {
                place.site.effects.attempts_at("pivot") == 20
            })
            .await;
        stopped.stop_with_its_clock();
        place
            .until("the other to finish", || place.are_completed(&ids))
            .await;
        tokio::time::sleep(2 * LEASE).await;
        let events = place.site.store.memory.events().len();
        // By its own clock no time has passed: it takes the answers that it finds, and tries to record them.
        stopped.go_on();
        place
            .until("it to be told", || async {
                stopped.life.engine.counters().fenced > 0
            })
            .await;
        println!(
            "{} batches were fenced",
            stopped.life.engine.counters().fenced
        );
        tokio::time::sleep(LEASE).await;
        assert_eq!(place.site.store.memory.events().len(), events);
        drain(&place, &stopped).await;
        place.ends_well(&other).await;
    });
}

#[test]
fn an_attempt_that_spans_the_take_over_changes_nothing_and_the_new_owner_probes() {
    on_paused_time(async {
        let place = Place::new();
        let stopped = place.open("stopped").await;
        let other = place.open("other").await;
        // It began under the old owner, and is with the other side only after the take-over.
        place
            .site
            .effects
            .on_its_way("pivot", LEASE + Duration::from_secs(5));
        let ids = place.start(&stopped, "k", 10).await;
        place
            .until("the pivots to be attempted", || async {
                place.site.effects.attempts_at("pivot") == 10
            })
            .await;
        stopped.stop();
        place.site.effects.calm();
        place
            .until("the other to finish", || place.are_completed(&ids))
            .await;
        tokio::time::sleep(2 * LEASE).await;
        stopped.go_on();
        tokio::time::sleep(LEASE).await;
        for id in &ids {
            let known = &place.site.effects.known()[&format!("{id}/pivot")];
            assert_eq!((known.made, known.standing), (1, Standing::Held));
            assert_eq!(known.lives.len(), 2, "both met it: {known:#?}");
            assert_eq!(known.epoch, Epoch(2), "{known:#?}");
            assert_eq!(done(&place, *id, "pivot"), 1, "recorded once");
        }
        drain(&place, &stopped).await;
        place.ends_well(&other).await;
    });
}

#[test]
fn what_was_attempted_before_the_take_over_is_undone_by_the_new_owner_also_when_it_arrives_late() {
    on_paused_time(async {
        let place = Place::new();
        let stopped = place.open("stopped").await;
        let other = place.open("other").await;
        place
            .site
            .effects
            .on_its_way("c", LEASE + Duration::from_secs(5));
        let ids = place.start(&stopped, "k", 10).await;
        place
            .until("the steps to be attempted", || async {
                place.site.effects.attempts_at("c") == 10
            })
            .await;
        stopped.stop();
        // The new owner can't take the step, and turns back.
        place.site.effects.cannot_be_attempted("c");
        place
            .until("the other to turn them back", || async {
                let heads = place.site.heads().await;
                heads.iter().all(|head| head.status == Status::Compensated)
            })
            .await;
        tokio::time::sleep(2 * LEASE).await;
        stopped.go_on();
        tokio::time::sleep(LEASE).await;
        for id in &ids {
            for step in ["a", "b", "c"] {
                let known = place.site.effects.known();
                let known = known.get(&format!("{id}/{step}"));
                let held = known.is_some_and(|known| known.standing == Standing::Held);
                assert!(!held, "{id}/{step} is left over: {known:#?}");
            }
        }
        drain(&place, &stopped).await;
        place.ends_well(&other).await;
    });
}

/// How many attempts have begun at anything.
fn attempts(place: &Place) -> Vec<usize> {
    let steps = [
        "a",
        "b",
        "c",
        "pivot",
        "d",
        "e",
        "e-instead",
        "f",
        "undo a",
        "undo b",
        "undo c",
    ];
    steps
        .map(|step| place.site.effects.attempts_at(step))
        .into()
}

/// How often the journal says that this step was done.
fn done(place: &Place, id: WorkflowId, step: &str) -> usize {
    let events = place.site.store.memory.events();
    let of_step = events.iter().filter(|event| {
        let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
        event.workflow == id
            && payload["event"]["type"] == "step-done"
            && payload["event"]
                .to_string()
                .contains(&format!("\"{step}\""))
    });
    of_step.count()
}

async fn drain(place: &Place, process: &Process) {
    let deadline = place.site.after(Duration::from_secs(10));
    process.life.engine.drain(deadline).await;
}
