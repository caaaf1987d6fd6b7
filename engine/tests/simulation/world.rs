//! What all parts of a run share: the clock, the dice, who can reach whom, and the processes with their lives.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::testing::MemoryStore;
use engine::{Engine, NodeName, Parts, Settings, WorkflowId};
use tokio::sync::oneshot;

use super::bus::{Bus, BusState};
use super::clock::{SimulatedClock, runtime};
use super::executor::{Owner, Simulation, mixed};
use super::faults::{Counts, Fault, Plant, Scenario};
use super::sagas::Shape;
use super::services::Outside;
use super::store::{Disk, SimulatedStore};
use crate::dice::Dice;

/// Whom a process talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    Database,
    Bus,
    Reservations,
    Gateway,
}

/// How the way to a party is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Connections are refused at once.
    Refuses,
    /// Nothing comes through, and nobody says so.
    Swallows,
}

/// A process: a name under which lives follow each other.
#[derive(Default)]
pub struct Process {
    /// The life that goes on under its name, if it has one.
    pub life: Option<u32>,
    pub engine: Option<Engine>,
    pub clock: Option<Arc<SimulatedClock>>,
    /// Somebody starts it again.
    pub starting: bool,
    /// A life whose program lacks a definition.
    pub old_program: Option<u32>,
    /// Earlier lives that do not know that they were replaced.
    pub zombies: BTreeMap<u32, Engine>,
}

/// What clients and operators were told.
#[derive(Default)]
pub struct Told {
    /// By start key.
    pub started: BTreeMap<String, WorkflowId>,
    /// By workflow and key of the command: its number.
    pub commanded: BTreeMap<(WorkflowId, String), u64>,
    /// Workflows that were seen to have ended, and how.
    pub ended: BTreeMap<WorkflowId, engine::store::Status>,
    /// What must not happen, and did.
    pub wrong: Vec<String>,
}

pub struct World {
    pub simulation: Simulation,
    pub scenario: Scenario,
    pub dice: Dice,
    pub memory: MemoryStore,
    pub disk: Mutex<Disk>,
    pub bus: Mutex<BusState>,
    pub outside: Mutex<Outside>,
    pub shapes: Vec<Shape>,
    pub processes: Mutex<Vec<Process>>,
    pub cuts: Mutex<BTreeMap<(usize, Party), Cut>>,
    /// Every request to a service arrives so much later, and its sender hears nothing.
    pub late: Mutex<Option<Duration>>,
    pub told: Mutex<Told>,
    pub counts: Mutex<Counts>,
    pub database_clock: Arc<SimulatedClock>,
    /// Lives that ended, or lost partitions, without a chance to clear up.
    pub cut_short: Mutex<BTreeSet<u32>>,
    calm: AtomicBool,
    lives: AtomicU32,
}

impl World {
    pub fn new(scenario: Scenario, traced: bool) -> Arc<Self> {
        let shapes = Shape::of_seed(scenario.seed);
        Self::with_shapes(scenario, shapes, traced)
    }

    pub fn with_shapes(scenario: Scenario, shapes: Vec<Shape>, traced: bool) -> Arc<Self> {
        let simulation = Simulation::new(scenario.seed, traced);
        let database_clock = SimulatedClock::new(&simulation, 0, 0);
        let database = runtime(&simulation, Owner::World, &database_clock, scenario.seed);
        let processes = (0..scenario.nodes).map(|_| Process::default()).collect();
        Arc::new(Self {
            dice: Dice::new(scenario.seed),
            memory: MemoryStore::new(database),
            disk: Mutex::default(),
            bus: Mutex::default(),
            outside: Mutex::default(),
            shapes,
            processes: Mutex::new(processes),
            cuts: Mutex::default(),
            late: Mutex::default(),
            told: Mutex::default(),
            counts: Mutex::default(),
            database_clock,
            cut_short: Mutex::default(),
            calm: AtomicBool::new(false),
            lives: AtomicU32::new(0),
            simulation,
            scenario,
        })
    }

    // ---- faults ----

    /// Whether this kind of fault is switched on now.
    pub fn has(&self, fault: Fault) -> bool {
        self.scenario.faults.contains(&fault) && !self.is_calm()
    }

    /// Whether this fault happens to `what` now, so many times in a thousand. It is counted if it does.
    pub fn strikes(&self, fault: Fault, what: &str, per_mille: u64) -> bool {
        let per_mille = (per_mille * self.scenario.intensity(fault)).min(500);
        let strikes = self.has(fault) && self.dice.chance(&format!("{fault:?} {what}"), per_mille);
        if strikes {
            self.happened(fault);
        }
        strikes
    }

    pub fn happened(&self, fault: Fault) {
        self.simulation.mix(fault as u64);
        self.counts.lock().unwrap().fault(fault);
    }

    pub fn count(&self, what: &'static str) {
        self.counts.lock().unwrap().add(what, 1);
    }

    /// From now on nothing goes wrong.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::SeqCst);
        self.cuts.lock().unwrap().clear();
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    pub fn is_planted(&self, plant: Plant) -> bool {
        self.scenario.plant == Some(plant)
    }

    pub fn cut(&self, process: usize, party: Party) -> Option<Cut> {
        self.cuts.lock().unwrap().get(&(process, party)).copied()
    }

    /// Milliseconds from 0 to below `below` about `what`.
    pub fn millis(&self, what: &str, below: u64) -> Duration {
        Duration::from_millis(self.dice.roll(what, below.max(1)))
    }

    /// How long a message is on its way: microseconds mostly, sometimes much longer.
    pub fn travel(&self, what: &str) -> Duration {
        let roll = self.dice.roll(what, 1_000);
        let micros = match roll {
            0..900 => 50 + roll,
            900..990 => (roll - 890) * 100,
            _ => (roll - 985) * 20_000,
        };
        Duration::from_micros(micros)
    }

    // ---- processes ----

    /// A life begins, and another one if it can't open, until one is open.
    pub async fn start(self: Arc<Self>, process: usize) {
        self.processes.lock().unwrap()[process].starting = true;
        for _try in 0..1_000 {
            let is_open = self.begin_life(process).await;
            if let Some(life) = self.outdated(process) {
                self.end_life(life);
            } else if is_open {
                self.processes.lock().unwrap()[process].starting = false;
                return;
            }
            self.simulation.sleep(Duration::from_millis(200)).await;
        }
        self.wrong("a process does not open".to_owned());
    }

    /// An old program that was still starting when all faults healed is replaced: what it does not know would wait in its
    /// partitions for as long as it runs.
    fn outdated(&self, process: usize) -> Option<u32> {
        let mut processes = self.processes.lock().unwrap();
        let current = &mut processes[process];
        if !self.is_calm() || current.life != current.old_program {
            return None;
        }
        current.engine = None;
        current.life.take()
    }

    async fn begin_life(self: &Arc<Self>, process: usize) -> bool {
        let life = self.lives.fetch_add(1, Ordering::SeqCst) + 1;
        let clock = self.clock_of();
        let parts = self.parts(process, life, &clock);
        {
            let mut processes = self.processes.lock().unwrap();
            processes[process].life = Some(life);
            processes[process].clock = Some(clock);
            processes[process].engine = None;
        }
        let (opened, open) = oneshot::channel();
        self.simulation.spawn(Owner::Life(life), async move {
            let _gone = opened.send(Engine::open(parts).await);
        });
        let patience = Duration::from_secs(40);
        let result = self.simulation.within(patience, open).await;
        let mut processes = self.processes.lock().unwrap();
        let current = &mut processes[process];
        if current.life != Some(life) {
            return current.engine.is_some();
        }
        match result {
            Some(Ok(Ok(engine))) => {
                self.simulation
                    .note(|| format!("process {process} serves, life {life}"));
                current.engine = Some(engine);
                true
            }
            other => {
                let why =
                    other.map(|opened| opened.map(|open| open.err().map(|it| it.to_string())));
                self.simulation
                    .note(|| format!("process {process} does not open, life {life}: {why:?}"));
                current.life = None;
                drop(processes);
                self.end_life(life);
                false
            }
        }
    }

    fn clock_of(&self) -> Arc<SimulatedClock> {
        let (mut offset_us, mut drift_ppm) = (0, 0);
        if self.has(Fault::ClockDrift) {
            self.happened(Fault::ClockDrift);
            let roll = |what: &str, below: u64| {
                i64::try_from(self.dice.roll(what, below)).unwrap_or_default()
            };
            offset_us = roll("clock offset", 4_000_000) - 2_000_000;
            drift_ppm = roll("clock drift", 60_000) - 30_000;
        }
        if self.is_calm() {
            offset_us = self.disk.lock().unwrap().clock_max_us;
        }
        SimulatedClock::new(&self.simulation, offset_us, drift_ppm)
    }

    fn parts(self: &Arc<Self>, process: usize, life: u32, clock: &Arc<SimulatedClock>) -> Parts {
        let seed = mixed(self.scenario.seed ^ u64::from(life));
        let mut lacking = "";
        if self.shapes.len() > 1 && self.strikes(Fault::OldProgram, "a program", 100) {
            lacking = "saga-1";
            self.processes.lock().unwrap()[process].old_program = Some(life);
        }
        Parts {
            runtime: runtime(&self.simulation, Owner::Life(life), clock, seed),
            store: Arc::new(SimulatedStore::new(self, process, life)),
            bus: Arc::new(Bus::new(self, process, life)),
            definitions: self
                .shapes
                .iter()
                .filter(|shape| shape.name != lacking)
                .map(|shape| shape.definition(self, process, life))
                .collect(),
            settings: self.settings(process),
        }
    }

    fn settings(&self, process: usize) -> Settings {
        let seed = mixed(self.scenario.seed ^ 0x77);
        Settings {
            node: NodeName(format!("process-{process}")),
            partitions: u16::try_from(1 + seed % 2).unwrap_or(1),
            lease: self.lease(),
            batch_entries_max: [1, 3, 512][usize::try_from(seed / 7 % 3).unwrap_or(0)],
            unpublished_batches_max: [1, 4, 64][usize::try_from(seed / 11 % 3).unwrap_or(0)],
            publish_events_max: [1, 3, 2_000][usize::try_from(seed / 13 % 3).unwrap_or(0)],
            start_timeout: Duration::from_secs(3),
            in_flight_max: [2, 64][usize::from(!(seed / 31).is_multiple_of(5))],
            audit_every: Duration::from_secs(10),
            ..Settings::default()
        }
    }

    pub fn lease(&self) -> Duration {
        Duration::from_secs(3 + mixed(self.scenario.seed ^ 0x78) % 3)
    }

    /// Ends a life where it stands.
    pub fn end_life(&self, life: u32) {
        self.cut_short.lock().unwrap().insert(life);
        self.simulation.kill(Owner::Life(life));
    }

    /// Whatever this life holds in memory may be lost from now on.
    pub fn may_lose_memory(&self, life: u32) {
        self.cut_short.lock().unwrap().insert(life);
    }

    /// The process and its life, if it serves.
    pub fn serving(&self, process: usize) -> Option<(u32, Engine)> {
        let processes = self.processes.lock().unwrap();
        let current = &processes[process];
        Some((current.life?, current.engine.clone()?))
    }

    /// Asks a process for something. `None`: it is not there, died meanwhile, or did not answer in time.
    pub async fn ask<T, F>(
        &self,
        process: usize,
        patience: Duration,
        what: impl FnOnce(Engine) -> F,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (life, engine) = self.serving(process)?;
        let (answer, answered) = oneshot::channel();
        let work = what(engine);
        self.simulation.spawn(Owner::Life(life), async move {
            let _gone = answer.send(work.await);
        });
        self.simulation.within(patience, answered).await?.ok()
    }

    pub fn wrong(&self, what: String) {
        self.simulation.note(|| format!("WRONG: {what}"));
        self.told.lock().unwrap().wrong.push(what);
    }
}
