//! The plain model: facts about each step, and what follows from them, in the words of the promise rather than of the code.

use engine::definition::Phase;
use engine::workflow::{AfterFailure, Direction, Event, Failure, Record};

use crate::graph::{Shape, Step};

/// An attempt: at which step, which way, and its number.
pub type Attempt = (usize, Direction, u32);

/// Where the workflow is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    Forward,
    Back,
    /// Waiting for an operator, after whom it goes on forward or back.
    Parked {
        back: bool,
    },
    Completed,
    Compensated,
}

/// What is known about a step.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "plain facts, each true by itself"
)]
pub struct Facts {
    /// An attempt at the action has begun, or may have.
    pub attempted: bool,
    /// An attempt is open: it is being made, was lost in a crash, or is to be made again.
    pub open: Option<u32>,
    /// The number of the last attempt that ended.
    pub attempts: u32,
    /// Some attempt ended without an answer.
    pub unanswered: bool,
    pub done: bool,
    /// It said no.
    pub refused: bool,
    pub undo_open: Option<u32>,
    pub undone: bool,
}

impl Facts {
    /// It may have an effect in the world.
    pub fn may_have_effect(&self) -> bool {
        self.done || self.open.is_some() || (self.attempted && self.unanswered && !self.refused)
    }
}

/// The facts that a history leaves behind.
#[derive(Clone)]
pub struct Reference {
    pub going: Going,
    pub facts: Vec<Facts>,
}

impl Reference {
    pub fn new(shape: &Shape) -> Self {
        Self {
            going: Going::Forward,
            facts: vec![Facts::default(); shape.steps.len()],
        }
    }

    /// The attempts that are to be under way or due now, given the actions that are being made in this life.
    pub fn due(&self, shape: &Shape, acting: &dyn Fn(usize) -> bool) -> Vec<Attempt> {
        let due = |(index, step): (usize, &Step)| match self.going {
            Going::Forward => self.forward_due(index, step),
            Going::Back if !acting(index) => self.backward_due(shape, index, acting),
            _ => None,
        };
        shape.steps.iter().enumerate().filter_map(due).collect()
    }

    fn forward_due(&self, index: usize, step: &Step) -> Option<Attempt> {
        let facts = &self.facts[index];
        if let Some(attempt) = facts.open {
            return Some((index, Direction::Forward, attempt));
        }
        let ready = !facts.attempted && step.before.iter().all(|earlier| self.facts[*earlier].done);
        ready.then_some((index, Direction::Forward, 1))
    }

    fn backward_due(
        &self,
        shape: &Shape,
        index: usize,
        acting: &dyn Fn(usize) -> bool,
    ) -> Option<Attempt> {
        let (step, facts) = (&shape.steps[index], &self.facts[index]);
        if !step.undoable || !facts.may_have_effect() || facts.undone {
            return None;
        }
        if let Some(attempt) = facts.undo_open {
            return Some((index, Direction::Backward, attempt));
        }
        let gone = |later: &usize| self.clean(shape, *later) && !acting(*later);
        step.after
            .iter()
            .all(gone)
            .then_some((index, Direction::Backward, 1))
    }

    /// Nothing of it is left to be undone.
    fn clean(&self, shape: &Shape, index: usize) -> bool {
        let facts = &self.facts[index];
        !facts.may_have_effect() || facts.undone || !shape.steps[index].undoable
    }

    /// The end, if nothing is left to do.
    pub fn end(&self, shape: &Shape, acting: &dyn Fn(usize) -> bool) -> Option<Going> {
        let all = |holds: &dyn Fn(usize) -> bool| (0..shape.steps.len()).all(holds);
        match self.going {
            Going::Forward => all(&|index| self.facts[index].done).then_some(Going::Completed),
            Going::Back => {
                let clean = |index| self.clean(shape, index) && !acting(index);
                all(&clean).then_some(Going::Compensated)
            }
            _ => None,
        }
    }

    /// What a record adds to the facts.
    pub fn learn(&mut self, shape: &Shape, record: &Record) {
        let at = |name: &str| {
            shape
                .steps
                .iter()
                .position(|step| step.name == name)
                .expect("a step of the saga")
        };
        self.hear(shape, &record.event, &at);
        for intent in &record.starts {
            let facts = &mut self.facts[at(&intent.step)];
            match intent.direction {
                Direction::Forward => {
                    facts.attempted = true;
                    facts.open = Some(1);
                }
                Direction::Backward => facts.undo_open = Some(1),
            }
        }
    }

    fn hear(&mut self, shape: &Shape, event: &Event, at: &dyn Fn(&str) -> usize) {
        match event {
            Event::Started { .. } | Event::Resumed { .. } => {}
            Event::StepDone { step, .. } => {
                let facts = &mut self.facts[at(step)];
                facts.open = None;
                facts.done = true;
            }
            Event::StepRefused {
                step,
                attempt,
                effect_may_exist,
                ..
            } => {
                let index = at(step);
                let facts = &mut self.facts[index];
                facts.attempts = *attempt;
                facts.open = None;
                facts.refused = !*effect_may_exist;
                facts.unanswered |= *effect_may_exist;
                let no_way_back = match shape.steps[index].phase {
                    Phase::Compensable => false,
                    Phase::Pivot => *effect_may_exist,
                    Phase::Retriable => true,
                };
                if no_way_back {
                    self.park();
                } else {
                    self.turn_back();
                }
            }
            Event::AttemptFailed {
                step,
                attempt,
                failure,
                then,
                ..
            } => {
                let index = at(step);
                let going_back = self.going == Going::Back;
                let facts = &mut self.facts[index];
                facts.unanswered |= *failure == Failure::Unknown;
                let again = match then {
                    AfterFailure::RetryAt(_) => !going_back,
                    AfterFailure::TurnBack => false,
                    AfterFailure::Park => true,
                };
                facts.open = again.then_some(*attempt + 1);
                match then {
                    AfterFailure::RetryAt(_) => {}
                    AfterFailure::TurnBack => self.turn_back(),
                    AfterFailure::Park => self.park(),
                }
            }
            Event::CompensationDone { step, .. } => {
                let facts = &mut self.facts[at(step)];
                facts.undo_open = None;
                facts.undone = true;
            }
            Event::CompensationFailed {
                step,
                attempt,
                then,
                ..
            } => {
                self.facts[at(step)].undo_open = Some(*attempt + 1);
                if *then == AfterFailure::Park {
                    self.park();
                }
            }
            Event::Poisoned { .. } => self.park(),
            Event::CompensationRequested { .. } => self.going = Going::Back,
            Event::RetryRequested { .. } => self.retry(),
            Event::Completed { .. } => self.going = Going::Completed,
            Event::Compensated => self.going = Going::Compensated,
        }
    }

    fn turn_back(&mut self) {
        self.going = match self.going {
            Going::Parked { .. } => Going::Parked { back: true },
            _ => Going::Back,
        };
    }

    fn park(&mut self) {
        let back = matches!(self.going, Going::Back | Going::Parked { back: true });
        self.going = Going::Parked { back };
    }

    /// Whatever waited for the operator goes on, and whatever was refused with no way back is tried again.
    fn retry(&mut self) {
        let Going::Parked { back } = self.going else {
            panic!("only a parked workflow is retried")
        };
        self.going = if back { Going::Back } else { Going::Forward };
        if !back {
            for facts in &mut self.facts {
                if facts.attempted && !facts.done && facts.open.is_none() {
                    facts.open = Some(facts.attempts + 1);
                    facts.refused = false;
                }
            }
        }
    }
}
