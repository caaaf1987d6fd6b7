//! The engine over a store, a bus and a world that fail in every way that they can, on Tokio's paused clock.
//!
//! Random cases have seeds, which are printed; `FAULTS_SEED=n` runs one alone.

mod support;

#[path = "faults/bounds.rs"]
mod bounds;
#[path = "faults/commands.rs"]
mod commands;
#[path = "faults/ownership.rs"]
mod ownership;
#[path = "faults/random.rs"]
mod random;
#[path = "faults/starts.rs"]
mod starts;

use std::time::Duration;

use engine::store::Status;
use engine::{View, WorkflowId};
use support::effects::Ahead;
use support::lives::on_paused_time;
use support::site::{Life, Mix, Site};

const QUIET: Mix = Mix::QUIET;

/// A site without random trouble, on its own paused clock, whose end is checked.
fn quiet(ahead: Ahead, test: impl AsyncFnOnce(&Site) -> Life) {
    on_paused_time(async {
        let site = Site::new(1, Mix { ahead, ..QUIET });
        let last = test(&site).await;
        site.settle(&last).await;
        site.check().await;
    });
}

/// Waits, for a bounded time, until `holds`.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not within a minute: {what}");
}

fn status_of(view: Option<View>) -> Option<Status> {
    view.map(|view| view.head.status)
}

async fn settled(site: &Site, life: &Life, id: WorkflowId) -> Option<Status> {
    status_of(
        life.engine
            .wait(id, site.after(Duration::from_mins(1)))
            .await
            .unwrap(),
    )
}

async fn started(site: &Site, life: &Life, key: &str) -> WorkflowId {
    site.start(&life.engine, key).await.unwrap().view().id
}

/// A workflow that is parked, because the store refused the rows of this step of it.
async fn parked(site: &Site, life: &Life, key: &str, step: &'static str) -> WorkflowId {
    site.store.refuse_rows_of(step);
    let id = started(site, life, key).await;
    assert_eq!(settled(site, life, id).await, Some(Status::Parked));
    site.store.unpoison();
    id
}
