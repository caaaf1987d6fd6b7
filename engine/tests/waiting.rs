//! What is promised to workflows that wait: for an instant, for a signal, for a deadline, or for a port that does not answer.

mod support;

#[path = "waiting/waits.rs"]
mod waits;

#[path = "waiting/asked.rs"]
mod asked;
#[path = "waiting/late_attempts.rs"]
mod late_attempts;
#[path = "waiting/operators.rs"]
mod operators;
#[path = "waiting/ports.rs"]
mod ports;

use std::sync::Arc;
use std::time::Duration;

use engine::command::Verb;
use engine::definition::{
    Action, Attempt, Awaited, Compensable, Definition, Durability, Outcome, Policy, Saga,
};
use engine::store::{Status, Store as _};
use engine::{Engine, View, WorkflowId};
use support::operator::signal;
use support::{Harness, Scripted, World};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Charges when it was authorised, and refuses when nobody said anything in time.
struct Charge(Scripted);

impl Action for Charge {
    type Input = (u32, Awaited<u32>);
    type Output = u32;

    fn name(&self) -> &str {
        self.0.name()
    }

    fn policy(&self) -> Policy {
        self.0.policy()
    }

    async fn act(&self, attempt: &Attempt, (held, said): (u32, Awaited<u32>)) -> Outcome<u32> {
        match said {
            Awaited::Arrived(_) => self.0.act(attempt, held).await,
            Awaited::TimedOut => Outcome::refused("nobody-came", "the buyer did not authorise"),
        }
    }
}

fn step(world: &World, name: &'static str) -> Scripted {
    Scripted {
        name,
        world: world.clone(),
        durability: Durability::Barrier,
    }
}

/// `hold`, then `authorised` (a signal, for ten minutes), then `charge` (the pivot), then `cool-off` (an hour), then `last`.
fn purchase(world: &World) -> Arc<Definition> {
    let mut saga = Saga::<u32>::new("purchase", 1);
    let held = saga.compensable(step(world, "hold"), &saga.input());
    let said =
        saga.await_signal::<u32, _>("authorised", &held, |_, now| Some(now.after(10 * MINUTE)));
    let (mut saga, charged) = saga.pivot(Charge(step(world, "charge")), (&held, &said));
    let cooled = saga.sleep_until("cool-off", &charged, |_, now| now.after(HOUR));
    let last = saga.retriable(step(world, "last"), &charged);
    saga.order(&cooled, &last);
    Arc::new(saga.finish(&last).unwrap())
}

fn harness() -> Harness {
    let mut harness = Harness::new(Durability::Barrier);
    harness.definition = purchase(&harness.world);
    harness
}

/// Waits until the workflow has this status.
async fn reaches(engine: &Engine, id: WorkflowId, status: Status) -> View {
    for _ in 0..100_000 {
        let view = engine.view(id).await.unwrap().unwrap();
        if view.head.status == status {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{id} is never {status}");
}

fn arrived() -> Verb {
    signal("authorised", "pg-1", &7)
}

/// How many workflows have this status.
async fn count(harness: &Harness, status: Status) -> u64 {
    let counts = harness.store.count_by_status().await.unwrap();
    let of_status = counts.into_iter().find(|(found, _)| *found == status);
    of_status.map_or(0, |(_, count)| count)
}

/// A scripted step with another policy, which takes its time.
struct Tuned {
    step: Scripted,
    policy: Policy,
    takes: Duration,
}

impl Action for Tuned {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.step.name()
    }

    fn policy(&self) -> Policy {
        self.policy
    }

    async fn act(&self, attempt: &Attempt, input: u32) -> Outcome<u32> {
        tokio::time::sleep(self.takes).await;
        self.step.act(attempt, input).await
    }
}

impl Compensable for Tuned {
    async fn compensate(&self, attempt: &Attempt, input: u32, output: Option<u32>) -> Outcome<()> {
        self.step.compensate(attempt, input, output).await
    }
}
