//! One workflow's life: the pure core inside a small executor that does what the driver does, in random order and with random
//! crashes, beside the plain model. Whatever the core plans, the model must have expected, and the other way round.

use std::collections::BTreeMap;

use engine::definition::StepIndex;
use engine::workflow::{
    Direction, End, Event, Plan, Record, StepError, WorkflowState, follow, plan,
};
use engine::{Epoch, Payload, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::checks::{agree, check_plan};
use crate::graph::Shape;
use crate::reference::{Attempt, Going, Reference};
use crate::world::World;

/// After so many random moves everything succeeds, so that the life ends.
const WILD_MOVES: u32 = 45;
const MOVES_MAX: u32 = 600;

/// How a life ended.
#[derive(Debug, Default)]
pub struct Ending {
    pub status: &'static str,
    pub crashes: u64,
    /// Something was done in the place of a step that was refused, and the workflow is completed.
    pub diverted: bool,
    /// How often each kind of event happened.
    pub kinds: BTreeMap<&'static str, u64>,
}

pub struct Life {
    pub shape: Shape,
    pub random: StdRng,
    pub attempts_max: u32,
    pub state: WorkflowState,
    pub records: Vec<Record>,
    /// The state after each record, and which steps were being attempted.
    pub states: Vec<WorkflowState>,
    pub reference: Reference,
    pub in_flight: Vec<Attempt>,
    pub world: World,
    pub now: i64,
    pub crashes: u64,
    moves: u32,
}

/// Something that the executor could do now.
#[derive(Clone, Copy)]
enum Work {
    Begin(Attempt),
    EndAttempt(usize),
    EndLate(usize),
    Fire(usize),
    TurnBackAtDeadline,
}

impl Life {
    pub fn new(shape: Shape, mut random: StdRng) -> Self {
        let deadline = random
            .random_bool(0.3)
            .then(|| Timestamp(random.random_range(1..80)));
        let event = Event::Started {
            definition: shape.definition.pinned().clone(),
            input: Payload::null(),
            deadline,
        };
        let first = Record::new(1, Timestamp(1), event);
        let untouched = WorkflowState::start(&shape.definition, &first).unwrap();
        let (state, first) = follow(untouched, first, &|_| false, None).unwrap();
        let mut reference = Reference::new(&shape, deadline.map(|deadline| deadline.0));
        reference.learn(&shape, &first, &|_| false);
        Self {
            attempts_max: random.random_range(1..=3),
            world: World::new(shape.steps.len(), random.random_bool(0.5)),
            random,
            states: vec![state.clone()],
            state,
            records: vec![first],
            reference,
            in_flight: Vec::new(),
            now: 1,
            shape,
            crashes: 0,
            moves: 0,
        }
    }

    /// The life that begins where this one stood after so many records, with nothing but the journal: from now on everything
    /// succeeds.
    fn recovered(&self, records: usize, random: StdRng) -> Self {
        let known = &self.records[..records];
        let state = WorkflowState::fold(&self.shape.definition, known);
        let state = state.unwrap().expect("it has records");
        let mut reference = Reference::new(&self.shape, self.reference.deadline);
        for record in known {
            reference.learn(&self.shape, record, &|_| false);
        }
        let mut world = World::new(self.shape.steps.len(), true);
        for (effect, facts) in world.effects.iter_mut().zip(&reference.facts) {
            effect.exists = facts.may_have_effect() && !facts.undone;
            effect.made = u32::from(effect.exists);
            effect.undone = facts.undone;
        }
        Self {
            shape: self.shape.clone(),
            random,
            attempts_max: 1,
            states: self.states[..records].to_vec(),
            now: state.at.0,
            state,
            records: known.to_vec(),
            reference,
            in_flight: Vec::new(),
            world,
            crashes: 0,
            moves: WILD_MOVES,
        }
    }

    pub fn run(mut self) -> Ending {
        let stays_parked = self.random.random_bool(0.3);
        self.live(stays_parked);
        self.check_every_prefix();
        self.check_end();
        let seed = StdRng::seed_from_u64(self.random.random());
        let known = self.random.random_range(1..=self.records.len());
        let mut again = self.recovered(known, seed);
        again.live(false);
        again.check_end();
        let mut kinds = BTreeMap::new();
        for record in &self.records {
            *kinds.entry(record.event.kind()).or_default() += 1;
        }
        let diverted = self.reference.going == Going::Completed
            && self.reference.facts.iter().any(|facts| facts.over);
        Ending {
            diverted,
            status: self.state.status().as_str(),
            crashes: self.crashes,
            kinds,
        }
    }

    fn live(&mut self, stays_parked: bool) {
        loop {
            self.moves += 1;
            let wild = self.moves < WILD_MOVES;
            assert!(
                self.moves < MOVES_MAX,
                "the life does not end: {:?}",
                self.state.phase
            );
            let plan = self.checked_plan();
            let idle = self.in_flight.is_empty() && self.world.late.is_empty();
            if self.reference.is_over() || (self.reference.is_parked() && stays_parked && idle) {
                return;
            }
            if wild {
                self.now += self.random.random_range(0..3);
                self.mischief();
                self.mischief_by_intent();
                self.mischief_by_end();
                if self.something_happens() {
                    continue;
                }
            }
            let works = self.works(&plan);
            if works.is_empty() {
                self.wait_or_help(&plan);
            } else {
                let which = self.random.random_range(0..works.len());
                self.work(works[which], wild);
            }
        }
    }

    // ---- the executor ----

    /// The plan, once it is known to be what the model expects.
    fn checked_plan(&mut self) -> Plan {
        let planned = plan(&self.state, &|step| self.acting(step.0));
        let ends = planned.end.is_some() && planned.end != self.held();
        if !planned.starts.is_empty() || ends {
            // A compensation waited for an attempt that died in a crash, or ended without a word: as the driver does, a record
            // lets it begin.
            let epoch = Epoch(2);
            self.record(Event::Continued { epoch });
        }
        let acting = |step| self.acting(step);
        let planned = check_plan(&self.shape, &self.state, &self.reference, &acting);
        assert!(
            planned.starts.is_empty(),
            "what a record did not start, nothing did: {:?}",
            planned.starts
        );
        planned
    }

    pub fn acting(&self, step: usize) -> bool {
        self.in_flight.iter().any(|attempt| attempt.0 == step)
    }

    /// Makes a record of what happened and of all that follows from it.
    pub fn record(&mut self, event: Event) {
        let record = Record::new(self.state.seq + 1, Timestamp(self.now), event);
        let applied = self.state.clone().apply(&record);
        let alone = applied.unwrap_or_else(|illegal| {
            panic!(
                "{illegal}, but it is legal: {record:?} in {:?}",
                self.state.phase
            )
        });
        let held = self.held();
        let acting = |step: StepIndex| self.acting(step.0);
        let (followed, record) = follow(alone, record, &acting, held).unwrap();
        let applied = self.state.clone().apply(&record).expect("it was followed");
        assert!(
            held.is_none() || record.ends != held,
            "what was given up may still take effect"
        );
        let acting = |step| {
            let mut attempts = self.in_flight.iter();
            attempts.any(|attempt| attempt.0 == step)
        };
        self.reference.learn(&self.shape, &record, &acting);
        let end = self.reference.end(&self.shape, &acting);
        assert!(
            end.is_none() || end == held,
            "nothing is left to do: the record ends it"
        );
        agree(&self.shape, &applied, &self.reference);
        agree(&self.shape, &followed, &self.reference);
        self.state = applied;
        self.records.push(record);
        self.states.push(self.state.clone());
    }

    /// The end that waits for what was given up and may still take effect: where it would be undone, and where something else is
    /// done in its place.
    fn held(&self) -> Option<End> {
        let in_flight = self.in_flight.iter().map(|attempt| attempt.0);
        let mut given_up = in_flight.chain(self.world.late.iter().copied());
        if given_up.any(|index| self.reference.is_over_for_good(index)) {
            return Some(End::Completed);
        }
        (!self.world.late.is_empty()).then_some(End::Compensated)
    }

    fn works(&self, plan: &Plan) -> Vec<Work> {
        let mut works = Vec::new();
        for planned in &plan.resumes {
            if planned.not_before.0 <= self.now {
                let not_before = planned.not_before.0;
                let (step, number) = (planned.step.0, planned.number);
                let attempt = (step, planned.direction, number, not_before);
                works.push(Work::Begin(attempt));
            }
        }
        works.extend((0..self.in_flight.len()).map(Work::EndAttempt));
        works.extend((0..self.world.late.len()).map(Work::EndLate));
        let fires = plan.waits.iter().filter(|(_, until)| until.0 <= self.now);
        works.extend(fires.map(|(step, _)| Work::Fire(step.0)));
        if plan.deadline.is_some_and(|deadline| deadline.0 <= self.now) {
            works.push(Work::TurnBackAtDeadline);
        }
        works
    }

    fn work(&mut self, work: Work, wild: bool) {
        match work {
            Work::Begin(attempt) => self.begin(attempt),
            Work::EndAttempt(which) => {
                let attempt = self.in_flight.swap_remove(which);
                self.end_attempt(attempt, wild);
            }
            Work::EndLate(which) => {
                let index = self.world.late.swap_remove(which);
                if self.world.act_late(index) {
                    self.took_effect_late(index);
                }
            }
            Work::Fire(index) => {
                let step = self.name(index);
                self.record(Event::TimerFired { step });
            }
            Work::TurnBackAtDeadline => self.record(Event::DeadlinePassed),
        }
    }

    /// Nothing is to be done before an instant comes, or somebody helps.
    fn wait_or_help(&mut self, plan: &Plan) {
        match plan.next_due() {
            Some(due) => {
                assert!(due.0 > self.now, "what is due is done");
                self.now = due.0;
            }
            None if self.reference.is_parked() => self.help(),
            None => {
                assert!(
                    self.state.awaits_signal(),
                    "nothing will ever happen: {:?}",
                    self.state
                );
                self.send_awaited_signal();
            }
        }
    }

    fn begin(&mut self, attempt: Attempt) {
        let (index, direction, _, not_before) = attempt;
        let (step, facts) = (&self.shape.steps[index], &self.reference.facts[index]);
        if let Some(first) = step.instead_of {
            let first = &self.reference.facts[first];
            assert!(first.over && first.done.is_none(), "only in its place");
        }
        assert!(
            !self.acting(index) && not_before <= self.now,
            "one attempt at a time, in its time"
        );
        assert!(
            !self.reference.is_parked(),
            "nothing begins while it is parked"
        );
        match direction {
            Direction::Forward => {
                assert!(
                    self.reference.is_its_turn(&self.shape, index),
                    "the edges are respected"
                );
                assert!(
                    facts.done.is_none() && !facts.over,
                    "what is done, or over, is not done again"
                );
                assert!(
                    !self.world.effects[index].undone,
                    "nothing is attempted once it was undone"
                );
            }
            Direction::Backward => {
                let gone = |later: &usize| {
                    !self.world.effects[*later].exists || !self.shape.steps[*later].undoable
                };
                assert!(
                    step.after.iter().all(gone),
                    "what came later is undone first"
                );
                assert!(step.undoable && facts.attempted && !facts.undone);
            }
        }
        self.in_flight.push(attempt);
    }

    pub fn name(&self, index: usize) -> String {
        self.shape.steps[index].name.clone()
    }

    pub fn some_output(&mut self) -> Payload {
        Payload::of(&self.random.random_range(0..1_000)).unwrap()
    }
}

pub fn error() -> StepError {
    StepError::new("timeout", "no answer")
}
