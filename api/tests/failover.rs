//! Two nodes on one MySQL, Redis and Kafka: one is stopped and wakes up, leaves in order, or is killed, all under load, and
//! the other goes on with what it had.

mod pair;

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::support::PATIENCE;
use crate::support::rounds::{kept_in_one_round, within};
use pair::{LEASE, Pair};

/// They measure times: one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// So long after its lease a dead node's partitions may still be its own.
const GRACE: Duration = Duration::from_secs(2);
/// How long a hand-over may take that was asked for.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(2);
/// At least so often a node is stopped, and at most.
const STOPS: (u32, u32) = (3, 12);

#[tokio::test]
async fn a_node_that_was_stopped_for_two_leases_under_load_changes_nothing_when_it_wakes_up() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(mut pair) = Pair::start().await else {
        return;
    };
    let mut fenced = 0;
    let mut soonest = Duration::MAX;
    for round in 0..STOPS.1 {
        if round >= STOPS.0 && fenced > 0 && soonest <= LEASE + GRACE {
            break;
        }
        let victim = (round % 2) as usize;
        let crowds = pair.crowds_come(100).await;
        let held = pair.held_by(victim).await;
        let before = pair.fenced(victim).await;
        pair.signal(victim, "STOP").await;
        let stopped = Instant::now();
        let open = pair.open_in(&held).await;
        pair.until_taken_over(&held, 1 - victim).await;
        let taken_over = stopped.elapsed();
        pair.until_settled(&open).await;
        let finished = stopped.elapsed();
        tokio::time::sleep((2 * LEASE + GRACE / 4).saturating_sub(stopped.elapsed())).await;
        pair.signal(victim, "CONT").await;
        pair.until_it_holds_partitions(victim).await;
        let refused = pair.fenced(victim).await - before;
        println!(
            "round {round}: taken over {taken_over:.1?} after the stop, the {} open ones settled after {finished:.1?}; \
             {refused} batches were refused after {:.1?}",
            open.len(),
            stopped.elapsed()
        );
        soonest = soonest.min(taken_over);
        fenced += refused;
        pair.leave_content(crowds).await;
    }
    println!("{fenced} batches of a node that woke up were refused");
    assert!(fenced > 0, "no batch was on its way at any stop");
    assert!(soonest <= LEASE + GRACE, "{soonest:?} at the soonest");
    pair.ends_well().await;
}

#[tokio::test]
async fn a_node_that_is_asked_to_stop_under_load_hands_over_in_less_than_two_seconds() {
    let _alone = ONE_AT_A_TIME.lock().await;
    kept_in_one_round("a hand-over", async |_| {
        let Some(mut pair) = Pair::start().await else {
            return Ok(());
        };
        let crowds = pair.crowds_come(200).await;
        let held = pair.held_by(0).await;
        let asked = Instant::now();
        pair.signal(0, "TERM").await;
        pair.until_taken_over(&held, 1).await;
        let taken_over = asked.elapsed();
        let open = pair.open_in(&held).await;
        let leaving = pair.nodes[0].take().expect("it was there");
        let (status, log) = leaving.process.ended(PATIENCE).await;
        println!("{} workflows were open", open.len());
        assert_eq!(status.code(), Some(0), "{log}");
        pair.until_settled(&open).await;
        pair.leave(crowds).await;
        pair.ends_well().await;
        within("handed over", taken_over, HANDED_OVER_WITHIN)
    })
    .await;
}

#[tokio::test]
async fn a_killed_nodes_workflows_go_on_at_the_other_node_a_lease_later() {
    let _alone = ONE_AT_A_TIME.lock().await;
    kept_in_one_round("a kill", async |_| {
        let Some(mut pair) = Pair::start().await else {
            return Ok(());
        };
        let crowds = pair.crowds_come(200).await;
        let held = pair.held_by(0).await;
        let killed = Instant::now();
        let node = pair.nodes[0].take().expect("it was there");
        node.process.kill().await;
        let open = pair.open_in(&held).await;
        pair.until_taken_over(&held, 1).await;
        let taken_over = killed.elapsed();
        pair.until_settled(&open).await;
        println!(
            "the {} open ones settled after {:.1?}",
            open.len(),
            killed.elapsed()
        );
        pair.leave(crowds).await;
        pair.ends_well().await;
        if open.is_empty() {
            return Err("a kill that says nothing".to_owned());
        }
        within("taken over after the kill", taken_over, LEASE + GRACE)
    })
    .await;
}
