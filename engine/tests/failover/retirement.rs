//! Partitions that were taken over empty themselves and are retired: they do not pile up.

use std::collections::HashSet;
use std::time::Duration;

use engine::store::{Status, UpkeepStore as _};

use crate::place::{LEASE, Place, on_paused_time};
use crate::support::operator::Operator as _;

/// How soon what is empty is retired.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn twenty_restarts_under_new_names_leave_as_many_partitions_as_one_node_wants() {
    on_paused_time(async {
        let place = Place::new();
        let mut life = place.open("node-0").await;
        let mut ids = Vec::new();
        let mut most = 0;
        for number in 1..=20 {
            ids.extend(place.start(&life, &format!("r{number}-"), 5).await);
            // Some lives are long enough for a take-over, some are not.
            tokio::time::sleep(Duration::from_millis(900 * (number % 7))).await;
            if number % 3 == 0 {
                let deadline = place.site.after(Duration::from_secs(5));
                life.life.engine.drain(deadline).await;
            } else {
                place.kill(&life);
            }
            life = place.open(&format!("node-{number}")).await;
            most = most.max(place.partitions().await.len());
        }
        place
            .until("the workflows to be completed", || {
                place.are_completed(&ids)
            })
            .await;
        tokio::time::sleep(LEASE + SOON).await;
        let left = place.partitions().await;
        let made = place.site.store.memory.partitions().await.unwrap().len();
        println!(
            "{made} partitions were made, {most} in use at most, {} are left",
            left.len()
        );
        assert_eq!(left.len(), usize::from(place.site.settings.partitions));
        assert!(most <= 12, "{most}");
        place.ends_well(&life).await;
    });
}

#[test]
fn workflows_are_born_in_a_nodes_own_partitions_and_an_adopted_one_is_retired_once_it_is_empty() {
    on_paused_time(async {
        let place = Place::new();
        let dead = place.open("dead").await;
        place.site.store.refuse_rows_of("d");
        let parked = place.start(&dead, "parked", 1).await[0];
        place
            .until("the workflow to be parked", || async {
                status(&place, parked).await == Some(Status::Parked)
            })
            .await;
        place.site.store.unpoison();
        let alive = place.open("alive").await;
        let own: HashSet<_> = (place.held_by("alive").await.iter())
            .map(|row| row.id)
            .collect();
        place.kill(&dead);
        place
            .until("both to be taken over", || async {
                place.held_by("alive").await.len() == 4
            })
            .await;
        let born = place.start(&alive, "new", 40).await;
        assert!(
            born.iter().all(|id| own.contains(&id.partition())),
            "none is born in what was taken over"
        );
        tokio::time::sleep(SOON).await;
        let mut left: HashSet<_> = (place.partitions().await.iter())
            .map(|row| row.id)
            .collect();
        left.retain(|id| !own.contains(id));
        assert_eq!(
            left,
            HashSet::from([parked.partition()]),
            "the empty one is retired, the one with a parked workflow is not"
        );
        alive
            .life
            .engine
            .retry(parked, "ann", "it works again")
            .await
            .unwrap();
        let took = place
            .until("the other one to be retired", || async {
                place.partitions().await.len() == own.len()
            })
            .await;
        println!("retired {took:?} after its last workflow went on");
        assert_eq!(status(&place, parked).await, Some(Status::Completed));
        place.ends_well(&alive).await;
    });
}

#[test]
fn what_is_retired_is_taken_again_before_a_partition_is_made() {
    on_paused_time(async {
        let place = Place::new();
        let dead = place.open("dead").await;
        place.start(&dead, "k", 5).await;
        let alive = place.open("alive").await;
        place.kill(&dead);
        place
            .until("the adopted ones to be retired", || async {
                place.partitions().await.len() == 2
            })
            .await;
        let third = place.open("third").await;
        let ids = place.start(&third, "third", 5).await;
        let all = place.site.store.memory.partitions().await.unwrap();
        assert_eq!(all.len(), 4, "none was made");
        place
            .until("the workflows to be completed", || {
                place.are_completed(&ids)
            })
            .await;
        let deadline = place.site.after(Duration::from_secs(5));
        third.life.engine.drain(deadline).await;
        place.ends_well(&alive).await;
    });
}

#[test]
fn a_node_that_lost_its_own_partitions_is_served_by_what_it_has_taken_over() {
    on_paused_time(async {
        let place = Place::new();
        let dead = place.open("dead").await;
        place.site.effects.hang("pivot");
        let ids = place.start(&dead, "k", 5).await;
        let alive = place.open("alive").await;
        place.kill(&dead);
        place
            .until("both to be taken over", || async {
                place.held_by("alive").await.len() == 4
            })
            .await;
        place.site.effects.calm();
        for row in place.held_by("alive").await.iter().skip(2) {
            place.is_stolen(row).await;
        }
        tokio::time::sleep(LEASE).await;
        let made = place.site.store.memory.partitions().await.unwrap().len();
        assert_eq!(made, 4, "it has as many as it wants");
        let born = place.start(&alive, "new", 10).await;
        place
            .until("the workflows to be completed", || {
                place.are_completed(&born)
            })
            .await;
        place
            .until("the others to be completed", || place.are_completed(&ids))
            .await;
        place.ends_well(&alive).await;
    });
}

async fn status(place: &Place, id: engine::WorkflowId) -> Option<Status> {
    let heads = place.site.heads().await;
    let head = heads.into_iter().find(|head| head.id == id);
    head.map(|head| head.status)
}
