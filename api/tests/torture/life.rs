//! The lives of the node that is armed: whoever dies is started again, as any supervisor does it, and who is frozen thaws.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::plan::{Armed, Cell};
use super::world::{LEASE, World};
use crate::support::PATIENCE;
use crate::support::process::Running;

/// How often the process is looked at.
const POLL: Duration = Duration::from_millis(10);
/// So long after its crowds a node is left alone that has not come to a point of its heartbeat, which beats three times a lease.
const HEARTBEATS: Duration = LEASE.saturating_mul(3);
/// Whoever dies more often has a defect.
const LIVES_MAX: usize = 6;

/// What became of the points that were armed.
#[derive(Clone, Debug, Default)]
pub struct Fired {
    /// Which of them fired.
    pub points: Vec<String>,
    /// How many lives the node had.
    pub lives: usize,
}

/// Runs the node, life after life, until it is told that the cell is over; then lets it stop in an orderly way.
pub async fn live(world: &World, cell: &Cell, mut over: oneshot::Receiver<()>) -> Fired {
    let mut armed = [Some(&cell.first), cell.second.as_ref()]
        .into_iter()
        .flatten();
    let mut fired = Fired::default();
    let mut through_since = None;
    let mut is_over = false;
    while !is_over {
        fired.lives += 1;
        assert!(fired.lives <= LIVES_MAX, "it dies again and again");
        let armed = armed.next();
        let mut process = born(world, armed);
        let ended = loop {
            if let Some(status) = process.has_ended() {
                break status;
            }
            if process.is_stopped() {
                sleep(2 * LEASE).await;
                process.signal("CONT").await;
            }
            if over.try_recv().is_ok() {
                through_since = Some(Instant::now());
            }
            let may_end = through_since.is_some_and(|since: Instant| {
                !is_to_come(armed, &process) || since.elapsed() >= HEARTBEATS
            });
            // Who has just been born again may not know yet what to do when it is asked to stop.
            if !is_over && may_end && process.serves() {
                is_over = true;
                // It may end by itself at this very moment.
                process.try_signal("TERM").await;
                let ended = timeout(PATIENCE, until_it_ends(&mut process)).await;
                assert!(ended.is_ok(), "it does not stop\n{}", process.said());
            }
            sleep(POLL).await;
        };
        process.last_words().await;
        let has_fired = armed.is_some_and(|armed| process.has_said(&armed.announcement()));
        if let Some(armed) = armed.filter(|_| has_fired) {
            fired.points.push(armed.to_string());
        }
        let is_orderly = is_over && ended.success();
        assert!(
            has_fired || is_orderly,
            "it ended by itself: {ended}\n{}",
            process.said()
        );
    }
    fired
}

/// What it is armed with comes with time, and has not come yet.
fn is_to_come(armed: Option<&Armed>, process: &Running) -> bool {
    armed.is_some_and(|armed| {
        armed.is_of_the_heartbeat() && !process.has_said(&armed.announcement())
    })
}

/// A process that is frozen on its way out thaws as well.
async fn until_it_ends(process: &mut Running) {
    let mut frozen_since = None;
    while process.has_ended().is_none() {
        if process.is_stopped() {
            let since = *frozen_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= 2 * LEASE {
                process.signal("CONT").await;
            }
        }
        sleep(POLL).await;
    }
}

fn born(world: &World, armed: Option<&Armed>) -> Running {
    match armed {
        Some(armed) => world
            .settings
            .clone()
            .with("FAILPOINTS", armed.variable())
            .spawn(),
        None => world.settings.spawn(),
    }
}
