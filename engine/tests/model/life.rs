//! One workflow's life: the pure core inside a small executor that does what the driver does, in random order and with random
//! crashes, beside the plain model. Whatever the core plans, the model must have expected, and the other way round.

use engine::definition::{Phase, StepIndex};
use engine::workflow::{
    AfterFailure, Direction, Event, Failure, Plan, Record, Refusal, StepError, WorkflowState, plan,
};
use engine::{Epoch, Payload, Timestamp};
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::graph::Shape;
use crate::reference::{Attempt, Going, Reference};

/// After so many random moves everything succeeds, so that the life ends.
const WILD_MOVES: u32 = 40;
const MOVES_MAX: u32 = 400;

/// How a life ended.
#[derive(Debug, Default)]
pub struct Ending {
    pub status: &'static str,
    pub records: u64,
    pub crashes: u64,
    pub compensations: u64,
}

/// What the world beyond the saga shows of one step.
#[derive(Clone, Copy, Default)]
struct Effect {
    exists: bool,
    /// How often it came into being.
    made: u32,
    /// Its compensation took effect: the action can't, from now on.
    tombstone: bool,
}

pub struct Life {
    shape: Shape,
    random: StdRng,
    attempts_max: u32,
    state: WorkflowState,
    records: Vec<Record>,
    /// The state after each record.
    states: Vec<WorkflowState>,
    reference: Reference,
    in_flight: Vec<Attempt>,
    world: Vec<Effect>,
    crashes: u64,
    moves: u32,
}

impl Life {
    pub fn new(shape: Shape, mut random: StdRng) -> Self {
        let definition = shape.definition.pinned().clone();
        let event = Event::Started {
            definition,
            input: Payload::null(),
        };
        let mut first = Record {
            seq: 1,
            at: Timestamp(1),
            event,
            starts: Vec::new(),
        };
        let untouched = WorkflowState::start(&shape.definition, &first).unwrap();
        first.starts = plan(&untouched, &|_| false).intents(&untouched);
        let state = WorkflowState::start(&shape.definition, &first).unwrap();
        let mut reference = Reference::new(&shape);
        reference.learn(&shape, &first);
        let world = vec![Effect::default(); shape.steps.len()];
        let attempts_max = random.random_range(1..=3);
        Self {
            random,
            attempts_max,
            states: vec![state.clone()],
            state,
            records: vec![first],
            reference,
            in_flight: Vec::new(),
            world,
            shape,
            crashes: 0,
            moves: 0,
        }
    }

    pub fn run(mut self) -> Ending {
        let stays_parked = self.random.random_bool(0.4);
        loop {
            self.moves += 1;
            assert!(
                self.moves < MOVES_MAX,
                "the life does not end: {:?}",
                self.state.phase
            );
            let plan = self.checked_plan();
            if let Some(end) = plan.end {
                self.record(end);
            }
            let parked = matches!(self.reference.going, Going::Parked { .. });
            let over = matches!(self.reference.going, Going::Completed | Going::Compensated);
            let wild = self.moves < WILD_MOVES;
            if over || (parked && stays_parked && self.in_flight.is_empty()) {
                return self.end();
            }
            match self.random.random_range(0..100) {
                0..5 if wild => self.crash(),
                5..8 if wild => self.turn_back_by_operator(),
                8..9 if wild => self.record(Event::Poisoned { error: error() }),
                _ if parked && self.in_flight.is_empty() => self.retry_by_operator(),
                9..14 if parked => self.retry_by_operator(),
                14..60 if !plan.resumes.is_empty() => {
                    let which = self.random.random_range(0..plan.resumes.len());
                    let planned = &plan.resumes[which];
                    self.begin((planned.step.0, planned.direction, planned.number));
                }
                _ if !self.in_flight.is_empty() => {
                    let which = self.random.random_range(0..self.in_flight.len());
                    let attempt = self.in_flight.swap_remove(which);
                    self.end_attempt(attempt, wild);
                }
                _ => {}
            }
        }
    }

    // ---- the executor ----

    /// The plan, once it is known to be what the model expects.
    fn checked_plan(&mut self) -> Plan {
        if !plan(&self.state, &|step| self.acting(step.0))
            .starts
            .is_empty()
        {
            // A compensation waited for an attempt that died in a crash: as the driver does, a record lets it begin.
            self.record(Event::Resumed { epoch: Epoch(2) });
        }
        let planned = plan(&self.state, &|step| self.acting(step.0));
        assert!(
            planned.starts.is_empty(),
            "what a record did not start, nothing did: {:?}",
            planned.starts
        );
        let mut got: Vec<Attempt> = planned
            .resumes
            .iter()
            .map(|attempt| (attempt.step.0, attempt.direction, attempt.number))
            .collect();
        let mut expected = self.reference.due(&self.shape, &|step| self.acting(step));
        expected.retain(|attempt| !self.in_flight.contains(attempt));
        got.sort_by_key(|attempt| attempt.0);
        expected.sort_by_key(|attempt| attempt.0);
        assert_eq!(
            got, expected,
            "attempts that are due: the plan against the model"
        );
        let end = planned.end.as_ref().map(Event::kind);
        let expected = self.reference.end(&self.shape, &|step| self.acting(step));
        let expected = expected.map(|end| {
            if end == Going::Completed {
                "completed"
            } else {
                "compensated"
            }
        });
        assert_eq!(end, expected, "the end: the plan against the model");
        planned
    }

    fn acting(&self, step: usize) -> bool {
        self.in_flight.iter().any(|attempt| attempt.0 == step)
    }

    fn record(&mut self, event: Event) {
        let at = Timestamp(i64::from(self.state.seq) + 1);
        let mut record = Record {
            seq: self.state.seq + 1,
            at,
            event,
            starts: Vec::new(),
        };
        let Ok(state) = self.state.clone().apply(&record) else {
            panic!(
                "a legal event was refused: {record:?} in {:?}",
                self.state.phase
            )
        };
        let planned = plan(&state, &|step| self.acting(step.0));
        record.starts = planned.intents(&state);
        self.state = self
            .state
            .clone()
            .apply(&record)
            .expect("the plan names only attempts that may begin");
        self.reference.learn(&self.shape, &record);
        self.records.push(record);
        self.states.push(self.state.clone());
    }

    fn begin(&mut self, attempt: Attempt) {
        let (step, direction, _) = attempt;
        let facts = |index: &usize| &self.reference.facts[*index];
        let shape = &self.shape.steps[step];
        assert!(!self.acting(step), "one attempt at a time");
        match direction {
            Direction::Forward => {
                assert!(
                    shape.before.iter().all(|earlier| facts(earlier).done),
                    "an edge was not respected"
                );
                assert!(
                    !self.world[step].tombstone,
                    "nothing is attempted once it was undone"
                );
                assert!(!facts(&step).done, "what is done is not done again");
            }
            Direction::Backward => {
                let gone = |later: &usize| {
                    !self.world[*later].exists || !self.shape.steps[*later].undoable
                };
                assert!(
                    shape.after.iter().all(gone),
                    "what came later is undone first"
                );
                assert!(
                    shape.after.iter().all(|later| !self.acting(*later)),
                    "nothing after it is still being attempted"
                );
                assert!(shape.undoable && facts(&step).attempted && !facts(&step).undone);
            }
        }
        self.in_flight.push(attempt);
    }

    fn end_attempt(&mut self, (step, direction, attempt): Attempt, wild: bool) {
        let luck = if wild {
            self.random.random_range(0..100)
        } else {
            0
        };
        match direction {
            Direction::Forward => self.end_action(step, attempt, luck),
            Direction::Backward => self.end_compensation(step, attempt, luck),
        }
    }

    fn end_action(&mut self, index: usize, attempt: u32, luck: u32) {
        let step = self.shape.steps[index].name.clone();
        let existed = self.world[index].exists;
        let event = match luck {
            0..76 => {
                self.take_effect(index);
                Event::StepDone {
                    step,
                    attempt,
                    output: Payload::null(),
                }
            }
            // The other side knows the key: what exists is not refused.
            76..81 if !existed => {
                let refusal = Refusal::new("no", "no");
                Event::StepRefused {
                    step,
                    attempt,
                    refusal,
                    effect_may_exist: false,
                }
            }
            81..83 => {
                // It took effect, but the store refused its rows.
                self.take_effect(index);
                let refusal = Refusal::new("rows", "no");
                Event::StepRefused {
                    step,
                    attempt,
                    refusal,
                    effect_may_exist: true,
                }
            }
            83..91 if !existed => self.failed(index, attempt, Failure::NoEffect),
            _ => {
                if self.random.random_bool(0.5) {
                    self.take_effect(index);
                }
                self.failed(index, attempt, Failure::Unknown)
            }
        };
        self.record(event);
    }

    fn failed(&mut self, index: usize, attempt: u32, failure: Failure) -> Event {
        let step = &self.shape.steps[index];
        let unanswered = failure == Failure::Unknown || self.reference.facts[index].unanswered;
        let then = match step.phase {
            _ if attempt < self.attempts_max => AfterFailure::RetryAt(self.state.at),
            Phase::Compensable => AfterFailure::TurnBack,
            Phase::Pivot if !unanswered => AfterFailure::TurnBack,
            Phase::Pivot | Phase::Retriable => AfterFailure::Park,
        };
        Event::AttemptFailed {
            step: step.name.clone(),
            attempt,
            failure,
            error: error(),
            then,
        }
    }

    fn end_compensation(&mut self, index: usize, attempt: u32, luck: u32) {
        let step = self.shape.steps[index].name.clone();
        let undone = luck < 70 || self.random.random_bool(0.5);
        if undone {
            self.world[index].exists = false;
            self.world[index].tombstone = true;
        }
        self.record(if luck < 70 {
            Event::CompensationDone { step, attempt }
        } else {
            let again = attempt < self.attempts_max && luck < 95;
            let then = if again {
                AfterFailure::RetryAt(self.state.at)
            } else {
                AfterFailure::Park
            };
            Event::CompensationFailed {
                step,
                attempt,
                error: error(),
                then,
            }
        });
    }

    fn take_effect(&mut self, index: usize) {
        let effect = &mut self.world[index];
        if !effect.exists && !effect.tombstone {
            effect.exists = true;
            effect.made += 1;
        }
    }

    // ---- what happens to it ----

    /// The attempts in flight are lost, each before or after its effect, and the journal is all that is left.
    fn crash(&mut self) {
        self.crashes += 1;
        for (step, direction, _) in std::mem::take(&mut self.in_flight) {
            if self.random.random_bool(0.5) {
                match direction {
                    Direction::Forward => self.take_effect(step),
                    Direction::Backward => {
                        self.world[step].exists = false;
                        self.world[step].tombstone = true;
                    }
                }
            }
        }
        let stored: Vec<String> = self
            .records
            .iter()
            .map(|record| serde_json::to_string(record).unwrap())
            .collect();
        let read: Vec<Record> = stored
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        assert_eq!(read, self.records, "a record is stored as it is");
        let folded = WorkflowState::fold(&self.shape.definition, &read)
            .unwrap()
            .expect("it has records");
        assert_same(&folded, &self.state);
        self.state = folded;
    }

    fn turn_back_by_operator(&mut self) {
        let pivot = self
            .shape
            .steps
            .iter()
            .position(|step| step.phase == Phase::Pivot);
        let past_pivot = pivot.is_some_and(|pivot| self.reference.facts[pivot].may_have_effect());
        let legal = !past_pivot
            && matches!(
                self.reference.going,
                Going::Forward | Going::Parked { back: false }
            );
        let event = Event::CompensationRequested {
            actor: "ann".into(),
            reason: "a mistake".into(),
        };
        self.operate(event, legal);
    }

    fn retry_by_operator(&mut self) {
        let legal = matches!(self.reference.going, Going::Parked { .. });
        self.operate(
            Event::RetryRequested {
                actor: "ann".into(),
                reason: "it works again".into(),
            },
            legal,
        );
    }

    fn operate(&mut self, event: Event, legal: bool) {
        if legal {
            return self.record(event);
        }
        let record = Record {
            seq: self.state.seq + 1,
            at: self.state.at,
            event,
            starts: Vec::new(),
        };
        assert!(
            self.state.clone().apply(&record).is_err(),
            "{record:?} makes no sense in {:?}",
            self.state.phase
        );
    }

    // ---- the end ----

    fn end(self) -> Ending {
        self.check_every_prefix();
        let status = self.state.status().as_str();
        let count = |kind: &str| {
            self.records
                .iter()
                .filter(|record| record.event.kind() == kind)
                .count() as u64
        };
        let ends = count("completed") + count("compensated");
        assert_eq!(
            ends,
            u64::from(self.state.status().is_terminal()),
            "one end, or none for a parked workflow"
        );
        for (index, step) in self.shape.steps.iter().enumerate() {
            let (effect, facts) = (self.world[index], &self.reference.facts[index]);
            let times = |kind: &str| {
                let about = |record: &&Record| {
                    record.event.step() == Some(&step.name) && record.event.kind() == kind
                };
                self.records.iter().filter(about).count()
            };
            assert!(
                effect.made <= 1 && times("step-done") <= 1 && times("compensation-done") <= 1,
                "once each"
            );
            match self.reference.going {
                Going::Completed => {
                    assert!(effect.exists && facts.done, "everything is done");
                    assert_eq!(times("compensation-done"), 0, "nothing is undone");
                }
                Going::Compensated => {
                    let undone = step.undoable && facts.may_have_effect();
                    assert_eq!(
                        times("compensation-done"),
                        usize::from(undone),
                        "exactly what may exist is undone"
                    );
                    assert!(
                        !effect.exists || (step.phase == Phase::Compensable && !step.undoable),
                        "nothing is left"
                    );
                }
                _ => assert!(matches!(self.reference.going, Going::Parked { .. })),
            }
        }
        Ending {
            status,
            records: self.records.len() as u64,
            crashes: self.crashes,
            compensations: count("compensation-done"),
        }
    }

    fn check_every_prefix(&self) {
        let mut folded: Option<WorkflowState> = None;
        for (record, running) in self.records.iter().zip(&self.states) {
            let next = match folded.take() {
                None => WorkflowState::start(&self.shape.definition, record),
                Some(state) => state.apply(record),
            };
            let next = next.expect("the journal folds");
            assert_same(&next, running);
            folded = Some(next);
        }
    }
}

fn assert_same(one: &WorkflowState, other: &WorkflowState) {
    assert_eq!(one.phase, other.phase);
    assert_eq!(one.steps, other.steps);
    assert_eq!(
        (one.seq, one.at, &one.input),
        (other.seq, other.at, &other.input)
    );
    let indexes = (0..one.steps.len()).map(StepIndex);
    assert!(
        indexes
            .clone()
            .all(|index| one.needs_undo(index) == other.needs_undo(index))
    );
}

fn error() -> StepError {
    StepError::new("timeout", "no answer")
}
