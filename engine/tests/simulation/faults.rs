//! What can go wrong, which of it is switched on in a run (a swarm: never all at once), and how often it went wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::executor::mixed;

macro_rules! faults {
    ($($name:ident $words:literal $per_mille:literal),+ $(,)?) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $(#[doc = $words] $name),+
        }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What it is, in words.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words),+ }
            }

            /// How many runs in a thousand have it switched on.
            const fn per_mille(self) -> u64 {
                match self { $(Self::$name => $per_mille),+ }
            }
        }
    };
}

faults! {
    Crash "processes killed" 450,
    Replaced "processes replaced while they stood still" 150,
    Pause "processes stopped for longer than two leases" 300,
    Drain "processes drained and restarted" 200,
    EnginePause "engines paused and resumed" 150,
    CutStore "partitions from the database" 300,
    CutBus "partitions from the bus" 200,
    CutServices "partitions from the services" 250,
    DatabaseDown "the database away for everybody" 150,
    CommitRefused "commits refused before anything is written" 250,
    CommitContended "commits that lose a race for locks" 250,
    CommitLostRequest "commits lost on the way" 250,
    CommitLostReply "commits whose answer is lost" 300,
    CommitLate "commits that arrive after they were given up" 250,
    SlowDisk "slow disks" 250,
    StatementFails "other statements that fail" 250,
    StatementLostReply "other writes whose answer is lost" 250,
    RowsRefused "rows refused by a guard" 250,
    BusFails "publications that are not acknowledged" 300,
    BusLate "publications that arrive after they were given up" 200,
    BusDuplicates "publications that arrive twice" 200,
    BusRefuses "events refused for good" 150,
    ServiceRefuses "business refusals" 350,
    ServiceAway "services that are not available" 300,
    ServiceLostRequest "requests to services lost" 300,
    ServiceLostReply "answers of services lost" 300,
    ServiceLate "requests to services that arrive after they were given up" 250,
    ServiceDuplicates "requests to services that arrive twice" 200,
    ServiceHangs "services that do not answer" 200,
    StepPanics "steps that panic" 150,
    UndoRefused "compensations refused" 150,
    ClockJump "clocks that jump by an hour" 150,
    ClockDrift "clocks that are wrong and run fast or slow" 300,
    Repeats "starts sent again, to several nodes" 600,
    Operators "operators' commands" 500,
    CommandRepeats "commands sent again, to several nodes" 400,
    ExpectedVersions "commands that count for one version only" 300,
    Batches "batches of commands" 150,
    OldProgram "programs without one of the definitions" 100,
}

/// A defect that is planted on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// The database lets a writer write whose epoch has passed.
    NoFence,
    /// The bus acknowledges what it loses.
    FalseAcknowledgement,
    /// A service forgets the keys that it has seen.
    ForgetsKeys,
    /// The inbox hands out a command again that is answered.
    RepeatsCommands,
}

/// All that a run is made from.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub faults: BTreeSet<Fault>,
    pub nodes: usize,
    pub workflows: u32,
    pub chaos_ms: u64,
    pub plant: Option<Plant>,
}

impl Scenario {
    /// What the seed stands for.
    pub fn of(seed: u64) -> Self {
        let roll = |what: u64, below: u64| mixed(mixed(seed) ^ mixed(what)) % below;
        let faults = Fault::ALL.iter().enumerate();
        let faults = faults
            .filter(|(place, fault)| roll(100 + *place as u64, 1000) < fault.per_mille())
            .map(|(_, fault)| *fault);
        Self {
            seed,
            faults: faults.collect(),
            nodes: 2 + usize::try_from(roll(1, 3)).unwrap_or(0),
            workflows: 3 + u32::try_from(roll(2, 8)).unwrap_or(0),
            chaos_ms: 8_000 + roll(3, 12_000),
            plant: None,
        }
    }

    /// How much more often than usual this kind strikes.
    pub fn intensity(&self, fault: Fault) -> u64 {
        [1, 3, 6][usize::try_from(mixed(self.seed ^ mixed(900 + fault as u64)) % 3).unwrap_or(0)]
    }

    pub fn describe(&self) -> String {
        let faults = self.faults.iter().map(|fault| fault.words());
        let faults: Vec<&str> = faults.collect();
        let plant = self
            .plant
            .map_or(String::new(), |plant| format!(", planted {plant:?}"));
        format!(
            "{} nodes, {} workflows, {} ms of faults{plant}: {}",
            self.nodes,
            self.workflows,
            self.chaos_ms,
            faults.join("; ")
        )
    }
}

/// What was done, in one run or in many.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub faults: BTreeMap<Fault, u64>,
    pub others: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.others.entry(what).or_default() += count;
    }

    pub fn merge(&mut self, other: &Self) {
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (what, count) in &other.others {
            *self.others.entry(what).or_default() += count;
        }
    }

    /// The kinds that never happened.
    pub fn missing(&self) -> Vec<Fault> {
        let all = Fault::ALL.iter().copied();
        all.filter(|fault| !self.faults.contains_key(fault))
            .collect()
    }

    pub fn table(&self) -> String {
        let faults = self.faults.iter();
        let faults = faults.map(|(fault, count)| (fault.words(), count));
        let rows = self.others.iter().map(|(what, count)| (*what, count));
        let lines = rows
            .chain(faults)
            .map(|(what, count)| format!("{count:>12} {what}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}
