//! How partitions change hands: when, who gets which, and that nobody loses any by it.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::store::{Lease, Store as _, UpkeepStore as _};
use engine::{NodeName, PartitionId, Settings};

use crate::place::{LEASE, LOOK, Place, on_paused_time};

#[test]
fn two_live_nodes_share_the_partitions_of_a_dead_one_within_two_looks() {
    on_paused_time(async {
        let place = Place::new();
        let rich = Settings {
            partitions: 6,
            ..place.site.settings.clone()
        };
        let dead = place.open_with("dead", rich).await;
        place.site.effects.hang("pivot");
        let ids = place.start(&dead, "k", 30).await;
        let one = place.open("one").await;
        // They do not look at the same time.
        tokio::time::sleep(Duration::from_millis(270)).await;
        let _two = place.open("two").await;
        place.kill(&dead);
        let crashed_for = place
            .until("the first partition to be taken over", || async {
                place.held_by("dead").await.len() < 6
            })
            .await;
        assert!(crashed_for <= LEASE, "{crashed_for:?}");
        tokio::time::sleep(2 * LOOK).await;
        let (one_has, two_has) = (place.held_by("one").await, place.held_by("two").await);
        let counts = (one_has.len(), two_has.len());
        println!("first taken over after {crashed_for:?}; the two have {counts:?}");
        assert_eq!(counts.0 + counts.1, 10);
        assert!(counts.0 >= 4 && counts.1 >= 4, "both share: {counts:?}");
        place.site.effects.calm();
        place
            .until("the workflows to be completed", || {
                place.are_completed(&ids)
            })
            .await;
        place.ends_well(&one).await;
    });
}

#[test]
fn a_node_that_loses_one_partition_takes_only_what_is_missing() {
    on_paused_time(async {
        let place = Place::new();
        let life = place.open("one").await;
        place.site.effects.hang("pivot");
        let ids = place.start(&life, "k", 12).await;
        let store = &place.site.store.memory;
        let mine = place.held_by("one").await;
        assert_eq!(mine.len(), 2);
        // Another takes the first one away, by mistake, and holds it.
        let lost = Lease {
            partition: mine[0].id,
            epoch: mine[0].epoch,
        };
        store.release(std::slice::from_ref(&lost)).await.unwrap();
        let thief = NodeName("thief".into());
        let stolen = store
            .adopt_expired(&thief, &[], Duration::from_secs(5))
            .await
            .unwrap();
        assert_eq!(stolen[0].partition, lost.partition);
        place
            .until("the loss to be made up for", || async {
                place.held_by("one").await.len() == 2 && life.life.engine.is_serving()
            })
            .await;
        place.site.effects.calm();
        tokio::time::sleep(Duration::from_secs(30)).await;
        let kept = place.partitions().await;
        let kept = kept.iter().find(|row| row.id == mine[1].id).unwrap();
        assert_eq!(
            (kept.owner.0.as_str(), kept.epoch),
            ("one", mine[1].epoch),
            "what was not lost was not touched"
        );
        place
            .until("the workflows to be completed", || {
                place.are_completed(&ids)
            })
            .await;
        place.ends_well(&life).await;
    });
}

#[test]
fn what_is_handed_over_in_order_is_taken_up_in_less_than_two_seconds_whatever_the_lease() {
    for lease in [Duration::from_secs(3), Duration::from_mins(5)] {
        on_paused_time(async {
            let mut place = Place::new();
            place.site.settings.lease = lease;
            let leaving = place.open("leaving").await;
            place.site.effects.hang("pivot");
            let ids = place.start(&leaving, "k", 20).await;
            let staying = place.open("staying").await;
            let began = place.site.now();
            // The attempts at the pivot hang: what waits for them would wait for a second.
            let deadline = place.site.after(Duration::from_secs(30));
            let drained = leaving.life.engine.drain(deadline).await;
            assert_eq!((drained.open, drained.unpublished), (20, 0));
            place
                .until("all to be taken up", || async {
                    place.held_by("staying").await.len() == 4
                })
                .await;
            let took = place.site.now().since(began);
            println!("a lease of {lease:?}: handed over in {took:?}");
            assert!(took < Duration::from_secs(2), "{took:?}");
            place.site.effects.calm();
            place
                .until("the workflows to be completed", || {
                    place.are_completed(&ids)
                })
                .await;
            place.ends_well(&staying).await;
        });
    }
}

#[test]
fn a_node_without_company_takes_its_time_to_finish() {
    on_paused_time(async {
        let place = Place::new();
        let alone = place.open("alone").await;
        place.site.effects.slow("f", Duration::from_millis(900));
        let ids = place.start(&alone, "k", 20).await;
        let deadline = place.site.after(Duration::from_secs(30));
        let drained = alone.life.engine.drain(deadline).await;
        assert_eq!((drained.open, drained.unpublished), (0, 0));
        assert!(place.are_completed(&ids).await);
        place.site.check().await;
    });
}

#[test]
fn a_crash_is_made_up_for_a_lease_and_a_look_later() {
    on_paused_time(async {
        let place = Place::new();
        let dead = place.open("dead").await;
        place.site.effects.hang("pivot");
        let ids = place.start(&dead, "k", 20).await;
        let alive = place.open("alive").await;
        place.site.effects.calm();
        place.kill(&dead);
        let took = place
            .until("the workflows to be completed", || {
                place.are_completed(&ids)
            })
            .await;
        println!("completed {took:?} after the crash, with a lease of {LEASE:?}");
        assert!(took < LEASE + Duration::from_secs(2), "{took:?}");
        place.ends_well(&alive).await;
    });
}

#[test]
fn a_partition_that_could_not_be_opened_is_tried_again_at_once() {
    use crate::support::flaky::Next;
    on_paused_time(async {
        let place = Place::new();
        let leaving = place.open("leaving").await;
        place.site.effects.hang("pivot");
        let ids = place.start(&leaving, "k", 10).await;
        let staying = place.open("staying").await;
        place
            .site
            .store
            .next("opening a journal", [Next::Fails, Next::Fails]);
        let deadline = place.site.after(Duration::from_secs(30));
        leaving.life.engine.drain(deadline).await;
        place.site.effects.calm();
        let took = place
            .until("the workflows to be completed", || {
                place.are_completed(&ids)
            })
            .await;
        assert!(took < Duration::from_secs(4), "{took:?}");
        place.ends_well(&staying).await;
    });
}

#[test]
fn nodes_that_come_and_go_leave_every_partition_with_one_owner() {
    on_paused_time(async {
        let place = Place::new();
        let mut ids = Vec::new();
        let mut nodes = Vec::new();
        for number in 0..6 {
            let node = place.open(&format!("node-{number}")).await;
            ids.extend(place.start(&node, &format!("n{number}-"), 10).await);
            nodes.push(node);
            if number % 2 == 1 {
                let gone = nodes.remove(0);
                place.kill(&gone);
                tokio::time::sleep(LEASE / 2).await;
            }
        }
        place
            .until("the workflows to be completed", || {
                place.are_completed(&ids)
            })
            .await;
        let epochs_before = epochs(&place).await;
        tokio::time::sleep(3 * LEASE).await;
        let rows = place.partitions().await;
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        for row in &rows {
            assert!(names.contains(&row.owner.0.as_str()), "{row:?}");
            assert!(row.lease_left_us > 0, "{row:?}");
            assert_eq!(
                epochs_before.get(&row.id),
                Some(&row.epoch.0),
                "nothing changes hands any more: {row:?}"
            );
        }
        for node in &nodes[1..] {
            let deadline = place.site.after(Duration::from_secs(30));
            node.life.engine.drain(deadline).await;
        }
        place.ends_well(&nodes[0]).await;
    });
}

async fn epochs(place: &Place) -> BTreeMap<PartitionId, u64> {
    let rows = place.site.store.memory.partitions().await.unwrap();
    rows.iter().map(|row| (row.id, row.epoch.0)).collect()
}
