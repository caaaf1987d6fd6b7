//! A place where engines live and die over one database, one bus and one world; and what must be true of all of it in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::command::Verb;
use engine::definition::StepKind;
use engine::store::{Head, ListFilter, Status, Store as _};
use engine::testing::MemoryStore;
use engine::workflow::{Record, StepState, WorkflowState};
use engine::{
    CommandError, Engine, NodeName, OpenError, Parts, Payload, Runtime, Settings, Start,
    StartError, Started, Timestamp, WorkflowId,
};

use super::dice::Dice;
use super::effects::{Ahead, Effects, Known, Standing, Temper, definition};
use super::flaky::{FlakyBus, FlakyStore, Trouble};
use super::lives::{SharedClock, Tasks};
use super::operator::Operator as _;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub temper: Temper,
    pub trouble: Trouble,
    pub bus_fails: u64,
    pub ahead: Ahead,
}

impl Mix {
    /// Nothing goes wrong by itself.
    pub const QUIET: Self = Self {
        temper: Temper {
            refused: 0,
            retry: 0,
            unknown: 0,
            panic: 0,
            hang: 0,
            late: 0,
            undo_refused: 0,
        },
        trouble: Trouble {
            unavailable: 0,
            contended: 0,
            lost_before: 0,
            lost_after: 0,
            late: 0,
            hang: 0,
            rows_refused: 0,
            reads: 0,
        },
        bus_fails: 0,
        ahead: Ahead::First,
    };
}

/// One life of a process.
#[derive(Clone)]
pub struct Life {
    pub number: u32,
    pub engine: Engine,
    pub tasks: Tasks,
}

/// The place.
pub struct Site {
    pub dice: Dice,
    pub effects: Effects,
    pub store: FlakyStore,
    pub bus: FlakyBus,
    pub settings: Settings,
    clock: SharedClock,
    runtime: Runtime,
    mix: Mix,
    lives: Mutex<u32>,
    /// Lives that ended without a chance to clear up.
    cut_short: Mutex<BTreeSet<u32>>,
    /// Lives that lost partitions.
    lost_partitions: Mutex<BTreeSet<u32>>,
    /// What clients were told, by key.
    acknowledged: Mutex<HashMap<String, WorkflowId>>,
}

impl Site {
    pub fn new(seed: u64, mix: Mix) -> Self {
        let dice = Dice::new(seed);
        let clock = SharedClock::new();
        let runtime = Tasks::default().runtime(&clock, seed);
        let memory = MemoryStore::new(runtime.clone());
        Self {
            effects: Effects::new(&dice, mix.temper),
            store: FlakyStore::new(memory, &dice, mix.trouble),
            bus: FlakyBus::new(&dice, mix.bus_fails),
            settings: Settings {
                node: NodeName("test".into()),
                ..Settings::default()
            },
            clock,
            runtime,
            mix,
            lives: Mutex::new(0),
            cut_short: Mutex::default(),
            lost_partitions: Mutex::default(),
            acknowledged: Mutex::default(),
            dice,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    pub fn after(&self, duration: Duration) -> Timestamp {
        self.runtime.now().after(duration)
    }

    /// A process starts, under this name, once.
    pub async fn try_open(&self, node: &str) -> Result<Life, (OpenError, Tasks)> {
        let number = {
            let mut lives = self.lives.lock().unwrap();
            *lives += 1;
            *lives
        };
        let tasks = Tasks::default();
        let parts = Parts {
            runtime: tasks.runtime(&self.clock, u64::from(number)),
            store: Arc::new(self.store.clone()),
            bus: Arc::new(self.bus.clone()),
            definitions: vec![definition(&self.effects, number, self.mix.ahead)],
            settings: Settings {
                node: NodeName(node.into()),
                ..self.settings.clone()
            },
        };
        match Engine::open(parts).await {
            Ok(engine) => Ok(Life {
                number,
                engine,
                tasks,
            }),
            Err(error) => {
                self.cut_short.lock().unwrap().insert(number);
                Err((error, tasks))
            }
        }
    }

    /// A process starts, and starts again until the database lets it. What a failed start leaves behind dies with it.
    pub async fn open(&self, node: &str) -> Life {
        for _ in 0..1_000 {
            match self.try_open(node).await {
                Ok(life) => return life,
                Err((_, tasks)) => tasks.kill(),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the engine does not open");
    }

    /// `kill -9`.
    pub fn kill(&self, life: &Life) {
        self.cut_short.lock().unwrap().insert(life.number);
        life.tasks.kill();
    }

    /// This life loses partitions: what it knows only from memory of a workflow that is in the journal is gone.
    pub fn loses_partitions(&self, life: &Life) {
        self.lost_partitions.lock().unwrap().insert(life.number);
    }

    pub fn request(key: &str) -> Start {
        Start {
            definition: "world".into(),
            input: Payload::of(&1).unwrap(),
            key: Some(("tester".into(), key.into())),
            request_hash: [1; 32],
            label: None,
        }
    }

    /// One start by a client, who remembers what it was told.
    pub async fn start(&self, engine: &Engine, key: &str) -> Result<Started, StartError> {
        let result = engine.start(Self::request(key)).await;
        if let Ok(started) = &result {
            let id = started.view().id;
            let told = *self
                .acknowledged
                .lock()
                .unwrap()
                .entry(key.to_owned())
                .or_insert(id);
            assert_eq!(told, id, "a repeat under {key} gives the same id");
        }
        assert!(
            !matches!(result, Err(StartError::KeyReused(_))),
            "the request was the same: {result:?}"
        );
        result
    }

    /// Everything works from now on; one life is left. Waits until every workflow has ended, retrying what is parked as an
    /// operator would, and ends that life in order.
    pub async fn settle(&self, life: &Life) {
        self.effects.calm();
        self.store.calm();
        self.store.unpoison();
        self.bus.set_fails(0);
        self.until("it serves", || async { life.engine.is_serving() })
            .await;
        self.until("everything has ended", || self.retry_parked(&life.engine))
            .await;
        // What lost starts left behind is cleared at the node's next pulses.
        tokio::time::sleep(Duration::from_mins(1)).await;
        self.until("everything has ended again", || {
            self.retry_parked(&life.engine)
        })
        .await;
        let drained = life.engine.drain(self.after(Duration::from_secs(30))).await;
        assert_eq!(
            (drained.open, drained.unpublished),
            (0, 0),
            "an engine without work drains to nothing"
        );
        life.tasks.assert_none_panicked();
    }

    /// Whether every workflow has ended.
    async fn retry_parked(&self, engine: &Engine) -> bool {
        let heads = self.heads().await;
        for head in heads.iter().filter(|head| head.status == Status::Parked) {
            // One of them is right: it was paused, or it failed.
            for verb in [Verb::Resume, Verb::Retry] {
                match engine
                    .tell(head.id, verb, "operator", "it works again")
                    .await
                {
                    // It is owned by the dead until their leases end.
                    Ok(_) | Err(CommandError::Conflict(_) | CommandError::Undecided) => {}
                    Err(error) => panic!("a parked workflow can't be retried: {error}"),
                }
            }
        }
        heads.iter().all(|head| head.status.is_terminal())
    }

    /// Waits, for a bounded time, until `holds`.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        let deadline = self.after(Duration::from_mins(10));
        while !holds().await {
            if self.now() > deadline {
                let open = self
                    .heads()
                    .await
                    .into_iter()
                    .filter(|head| !head.status.is_terminal());
                let open: Vec<_> = open
                    .map(|head| (head.id, head.status, head.reason))
                    .collect();
                panic!("not within ten minutes: {what}; open: {open:?}");
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Every workflow's row.
    pub async fn heads(&self) -> Vec<Head> {
        let mut heads = Vec::new();
        let mut after = None;
        loop {
            let filter = ListFilter {
                after,
                limit: 500,
                ..ListFilter::default()
            };
            let page = self.store.memory.list(&filter).await.unwrap();
            heads.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return heads,
            }
        }
    }

    // ---- what must be true in the end ----

    /// Checks everything, and returns how many workflows there are with each status.
    pub async fn check(&self) -> BTreeMap<&'static str, usize> {
        let heads = self.heads().await;
        let states = self.check_journal(&heads);
        self.check_acknowledged(&heads);
        self.check_bus();
        self.check_effects(&states);
        self.check_rows(&states);
        let mut counts = BTreeMap::new();
        for head in &heads {
            *counts.entry(head.status.as_str()).or_default() += 1;
        }
        counts
    }

    /// Per workflow 1..n without a gap, a fold that is what the row says, and one end, which is last.
    fn check_journal(&self, heads: &[Head]) -> HashMap<WorkflowId, WorkflowState> {
        let definition = definition(&self.effects, 0, self.mix.ahead);
        let mut records: HashMap<WorkflowId, Vec<Record>> = HashMap::new();
        for event in self.store.memory.events() {
            let record: Record = serde_json::from_str(&event.payload).unwrap();
            assert_eq!(
                (record.seq, record.kind()),
                (event.seq, event.kind.as_str())
            );
            records.entry(event.workflow).or_default().push(record);
        }
        assert_eq!(
            records.len(),
            heads.len(),
            "a row for each journal, and a journal for each row"
        );
        let mut states = HashMap::new();
        for head in heads {
            let records = &records[&head.id];
            let numbers: Vec<u32> = records.iter().map(|record| record.seq).collect();
            let gapless: Vec<u32> = (1..).take(numbers.len()).collect();
            assert_eq!(numbers, gapless, "{}: numbered without a gap", head.id);
            let state = WorkflowState::fold(&definition, records).unwrap().unwrap();
            assert_eq!(
                (state.status(), state.reason_code()),
                (head.status, head.reason.as_deref()),
                "{}",
                head.id
            );
            let is_end = |record: &&Record| record.ends.is_some();
            let ends = records.iter().filter(is_end).count();
            assert_eq!(
                ends,
                usize::from(head.status.is_terminal()),
                "{}: one end",
                head.id
            );
            states.insert(head.id, state);
        }
        states
    }

    fn check_acknowledged(&self, heads: &[Head]) {
        let stored: BTreeSet<WorkflowId> = heads.iter().map(|head| head.id).collect();
        for (key, id) in &*self.acknowledged.lock().unwrap() {
            assert!(
                stored.contains(id),
                "the start under {key} was acknowledged as {id} and is not in the store"
            );
        }
    }

    /// Without repeats, what the bus took is the journal, in order for each workflow.
    fn check_bus(&self) {
        let mut journal: BTreeMap<(WorkflowId, u32), String> = BTreeMap::new();
        for event in self.store.memory.events() {
            journal.insert((event.workflow, event.seq), event.payload.to_string());
        }
        let mut taken: BTreeMap<(WorkflowId, u32), String> = BTreeMap::new();
        let mut last: HashMap<WorkflowId, u32> = HashMap::new();
        for event in self.bus.taken() {
            if taken
                .insert((event.workflow, event.seq), event.payload.to_string())
                .is_none()
            {
                let last = last.entry(event.workflow).or_default();
                assert_eq!(
                    event.seq,
                    *last + 1,
                    "{}: in order on the bus",
                    event.workflow
                );
                *last = event.seq;
            }
        }
        assert_eq!(taken, journal, "the bus has the journal, and nothing else");
    }

    /// A completed workflow has the effects of all that is done in it, and no other, and every other one has none.
    fn check_effects(&self, states: &HashMap<WorkflowId, WorkflowState>) {
        let known = self.effects.known();
        for (id, state) in states
            .iter()
            .filter(|(_, state)| state.status() == Status::Completed)
        {
            let steps = state.definition().steps().iter();
            for node in steps.filter(|node| node.kind == StepKind::Action) {
                let known = known.get(&format!("{id}/{}", node.name));
                let is_done = state.output_of(&node.name).is_some();
                assert_eq!(
                    known.is_some_and(|known| known.standing == Standing::Held),
                    is_done,
                    "{id} is completed, and {} is not as it should be: {known:#?}, {:#?}",
                    node.name,
                    self.journal_of(*id)
                );
            }
        }
        for (key, known) in &known {
            assert!(known.made <= 1, "{key} took effect twice");
            let state = states.get(&known.workflow);
            let completed = state.is_some_and(|state| state.status() == Status::Completed);
            if known.standing == Standing::Held && !completed {
                let found = state.map(WorkflowState::status);
                assert!(
                    self.is_excused(known, state),
                    "{key} is left over: {known:#?}, its workflow is {found:?}: {:#?}",
                    self.journal_of(known.workflow)
                );
            }
        }
    }

    /// A workflow's journal, for whoever has to find out what went wrong.
    fn journal_of(&self, id: WorkflowId) -> Vec<String> {
        let events = self.store.memory.events().into_iter();
        let own = events.filter(|event| event.workflow == id);
        own.map(|event| format!("{} us: {}", event.at.0, event.payload))
            .collect()
    }

    /// What only the memory of a life knew, and died with it, is for a reconciler to find: attempts of a start that was never
    /// durable, and attempts that ran ahead of the journal of a workflow that is.
    fn is_excused(&self, known: &Known, state: Option<&WorkflowState>) -> bool {
        let action = state.map(|state| {
            let index = state.definition().index_of(&known.step).unwrap();
            state.steps[index.0].action.clone()
        });
        let untouched = action == Some(StepState::Untouched);
        let unknown_to_the_journal = matches!(
            action,
            None | Some(
                StepState::Untouched
                    | StepState::Failed {
                        effect_may_exist: false,
                        ..
                    }
            )
        );
        let made_by = |lives: &Mutex<BTreeSet<u32>>| {
            let lives = lives.lock().unwrap();
            known.lives.iter().any(|life| lives.contains(life))
        };
        (unknown_to_the_journal && made_by(&self.cut_short))
            || (untouched && made_by(&self.lost_partitions))
    }

    /// The rows of a completed workflow are there once, those of any other add up to nothing.
    fn check_rows(&self, states: &HashMap<WorkflowId, WorkflowState>) {
        let rows = self.store.rows();
        for (id, state) in states {
            for step in ["a", "pivot", "d"] {
                let key = format!("{id}/{step}");
                let expected = i64::from(state.status() == Status::Completed);
                assert_eq!(
                    rows.get(&key).copied().unwrap_or(0),
                    expected,
                    "the rows of {key}"
                );
            }
        }
        let belongs = |key: &String| states.keys().any(|id| key.starts_with(&id.to_string()));
        assert!(rows.keys().all(belongs), "rows without a workflow");
    }
}
