//! The event bus: it loses acknowledgements, takes half of what is sent, takes it late or twice, and refuses some for good.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::outbox::{BusError, EventBus, Refused};
use engine::store::StoredEvent;

use super::executor::Owner;
use super::faults::{Fault, Plant};
use super::world::{Cut, Party, World};

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);

/// What the bus has.
#[derive(Default)]
pub struct BusState {
    /// Everything it has taken, in order, with repeats.
    pub taken: Vec<StoredEvent>,
    /// Those of which a dead letter says that they are not on it.
    pub dead: Vec<StoredEvent>,
}

/// The bus as one life of a process reaches it.
pub struct Bus {
    world: Arc<World>,
    process: usize,
    life: u32,
}

impl Bus {
    pub fn new(world: &Arc<World>, process: usize, life: u32) -> Self {
        Self {
            world: Arc::clone(world),
            process,
            life,
        }
    }

    async fn reach(&self) -> Result<(), BusError> {
        let simulation = &self.world.simulation;
        match self.world.cut(self.process, Party::Bus) {
            Some(Cut::Refuses) => {
                simulation.sleep(Duration::from_millis(1)).await;
                Err(unacknowledged("connection refused"))
            }
            Some(Cut::Swallows) => {
                simulation.sleep(PUBLISH_TIMEOUT).await;
                Err(unacknowledged("no answer"))
            }
            None => {
                simulation.sleep(self.world.travel("bus")).await;
                Ok(())
            }
        }
    }

    fn refuses(&self, event: &StoredEvent) -> bool {
        let what = format!("refused for good {} {}", event.workflow, event.seq);
        self.world.scenario.faults.contains(&Fault::BusRefuses) && self.world.dice.always(&what, 20)
    }
}

fn unacknowledged(why: &str) -> BusError {
    BusError::Unacknowledged(why.to_owned())
}

fn take(world: &World, events: &[StoredEvent]) {
    for event in events {
        world.simulation.mix(u64::from(event.seq) << 1);
        world
            .simulation
            .note(|| format!("bus: {} record {}", event.workflow, event.seq));
    }
    world
        .counts
        .lock()
        .unwrap()
        .add("events published", events.len() as u64);
    world
        .bus
        .lock()
        .unwrap()
        .taken
        .extend(events.iter().cloned());
}

#[async_trait]
impl EventBus for Bus {
    async fn publish<'events>(
        &self,
        events: &'events [StoredEvent],
    ) -> Result<Vec<Refused<'events>>, BusError> {
        let world = &self.world;
        self.reach().await?;
        let (refused, good): (Vec<_>, Vec<_>) =
            events.iter().partition(|event| self.refuses(event));
        let good: Vec<StoredEvent> = good.into_iter().cloned().collect();
        if world.is_planted(Plant::FalseAcknowledgement) && world.dice.chance("acknowledged", 50) {
            return Ok(Vec::new());
        }
        if world.strikes(Fault::BusLate, "bus", 60) {
            let (late, after) = (Arc::clone(world), world.millis("late on the bus", 8_000));
            world.simulation.spawn(Owner::World, async move {
                late.simulation.sleep(after).await;
                take(&late, &good);
            });
            return Err(unacknowledged("given up"));
        }
        if world.strikes(Fault::BusFails, "bus", 200) {
            let taken = world.dice.roll("half of it", good.len() as u64 + 1);
            take(world, &good[..usize::try_from(taken).unwrap_or(0)]);
            return Err(unacknowledged("no acknowledgement"));
        }
        take(world, &good);
        if world.strikes(Fault::BusDuplicates, "bus", 100) {
            take(world, &good);
        }
        self.world
            .simulation
            .sleep(world.travel("acknowledgement"))
            .await;
        if !refused.is_empty() {
            world.happened(Fault::BusRefuses);
        }
        let refused = refused.into_iter().map(|event| Refused {
            event,
            reason: "too large".to_owned(),
        });
        Ok(refused.collect())
    }

    async fn publish_dead_letter(&self, refused: &Refused<'_>) -> Result<(), BusError> {
        self.reach().await?;
        if self.world.strikes(Fault::BusFails, "dead letter", 200) {
            return Err(unacknowledged("no acknowledgement"));
        }
        let _whoever = self.life;
        let mut bus = self.world.bus.lock().unwrap();
        bus.dead.push(refused.event.clone());
        Ok(())
    }
}
