//! A take-over goes in its order: fence, publish what is left, load what is open.

use std::collections::HashMap;
use std::time::Duration;

use engine::PartitionId;
use engine::store::StoredEvent;

use crate::place::{Place, on_paused_time};

#[test]
fn what_the_dead_left_unpublished_is_published_before_anything_of_the_next_owner() {
    for bus_is_back_early in [true, false] {
        on_paused_time(async {
            let place = Place::new();
            let one = place.open("one").await;
            place.site.bus.set_fails(1000);
            place.site.effects.hang("pivot");
            let ids = place.start(&one, "k", 20).await;
            place.kill(&one);
            let left = place.site.store.memory.events();
            let told_before = place.site.bus.taken().len();
            if bus_is_back_early {
                place.site.bus.set_fails(0);
            }
            let two = place.open("two").await;
            place.site.effects.calm();
            place
                .until("the workflows to be completed", || {
                    place.are_completed(&ids)
                })
                .await;
            place.site.bus.set_fails(0);
            place
                .until("everything to be published", || async {
                    two.life.engine.counters().unpublished == 0
                })
                .await;
            let journal = place.site.store.memory.events();
            assert!(left.len() >= 20 && journal.len() > left.len() + 20);
            let told = place.site.bus.taken();
            assert_told_in_order(&told[told_before..]);
            place.ends_well(&two).await;
        });
    }
}

/// In each partition, whatever was not told before comes right after what was.
fn assert_told_in_order(told: &[StoredEvent]) {
    let mut last: HashMap<PartitionId, u64> = HashMap::new();
    for event in told {
        let partition = event.workflow.partition();
        let last = last.entry(partition).or_default();
        assert!(
            event.partition_seq <= *last + 1,
            "{partition}: {} was told right after {last}",
            event.partition_seq
        );
        *last = (*last).max(event.partition_seq);
    }
}

#[test]
fn a_batch_of_the_dead_that_arrives_late_is_shut_out_before_what_is_open_is_loaded() {
    use crate::support::flaky::Next;
    on_paused_time(async {
        let place = Place::new();
        let one = place.open("one").await;
        place.site.effects.hang("pivot");
        let ids = place.start(&one, "k", 8).await;
        // The next batches are sent, and reach the database when they like: also after the take-over.
        let late = |seconds| Next::ArrivesLate(Duration::from_secs(seconds));
        let commits = (5..25).map(late);
        place.site.store.next("committing a batch", commits);
        place.site.effects.calm();
        tokio::time::sleep(Duration::from_secs(2)).await;
        place.kill(&one);
        let two = place.open("two").await;
        place.site.store.calm();
        place
            .until("the workflows to be completed", || {
                place.are_completed(&ids)
            })
            .await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        place.ends_well(&two).await;
    });
}
