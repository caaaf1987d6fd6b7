//! The plain model: facts about each step, and what follows from them, in the words of the promise rather than of the code.

use std::collections::BTreeSet;

use engine::definition::{Phase, StepKind};
use engine::workflow::{Direction, End};

use crate::graph::{Shape, Step};

/// An attempt: at which step, which way, its number, and before when it does not begin.
pub type Attempt = (usize, Direction, u32, i64);

/// Where the workflow is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    Forward,
    Back,
    Parked(Parked),
    Completed,
    Compensated,
    Abandoned,
}

/// Waiting for an operator, after whom it goes on forward or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    pub back: bool,
    /// An operator paused it.
    pub paused: bool,
    /// Something went wrong, before it was paused or meanwhile.
    pub trouble: bool,
    /// The step that went wrong last, if it was a step.
    pub about: Option<usize>,
}

/// A wait, which ends at this instant if anything ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub until: Option<i64>,
}

/// What is known about a step.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and the model knows nothing of how they are kept"
)]
pub struct Facts {
    /// An attempt at the action has begun, or may have.
    pub attempted: bool,
    /// An attempt is open: it is being made, was lost in a crash, or is to be made again. Its number, and when.
    pub open: Option<(u32, i64)>,
    /// The number of the last attempt that ended.
    pub attempts: u32,
    /// Some attempt ended without an answer.
    pub unanswered: bool,
    /// It is being waited for.
    pub waiting: Option<Waiting>,
    /// What it gave.
    pub done: Option<String>,
    /// It was refused, and something else is done in its place.
    pub over: bool,
    pub undo_open: Option<(u32, i64)>,
    /// The number of the compensation that took effect last.
    pub undo_attempts: u32,
    pub undone: bool,
    /// How often a compensation took effect, and how often an effect was found after that.
    pub undone_times: u32,
    pub found_after_undone: u32,
}

impl Facts {
    /// It may have an effect in the world.
    pub fn may_have_effect(&self) -> bool {
        self.attempted && (self.done.is_some() || self.open.is_some() || self.unanswered)
    }
}

/// The facts that a history leaves behind.
#[derive(Clone)]
pub struct Reference {
    pub going: Going,
    pub facts: Vec<Facts>,
    pub deadline: Option<i64>,
    /// Why it turned back: what said so first.
    pub why: Option<String>,
    /// What the first early signal said, by step.
    pub early: Vec<Option<String>>,
    pub signal_ids: BTreeSet<String>,
}

impl Reference {
    pub fn new(shape: &Shape, deadline: Option<i64>) -> Self {
        Self {
            going: Going::Forward,
            facts: vec![Facts::default(); shape.steps.len()],
            deadline,
            why: None,
            early: vec![None; shape.steps.len()],
            signal_ids: BTreeSet::new(),
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(
            self.going,
            Going::Completed | Going::Compensated | Going::Abandoned
        )
    }

    pub fn is_parked(&self) -> bool {
        matches!(self.going, Going::Parked(_))
    }

    pub fn is_paused(&self) -> bool {
        matches!(self.going, Going::Parked(Parked { paused: true, .. }))
    }

    /// It goes back, or will when it goes on.
    pub fn is_back(&self) -> bool {
        matches!(
            self.going,
            Going::Back | Going::Parked(Parked { back: true, .. })
        )
    }

    pub fn past_pivot(&self, shape: &Shape) -> bool {
        let no_way_back = |(step, facts): (&Step, &Facts)| {
            step.phase == Phase::Pivot && (facts.may_have_effect() || facts.done.is_some())
        };
        shape.steps.iter().zip(&self.facts).any(no_way_back)
    }

    /// Every step before this one is done, and if it is done in another one's place, that one is over.
    pub fn is_its_turn(&self, shape: &Shape, index: usize) -> bool {
        let step = &shape.steps[index];
        let in_place = step.instead_of.is_none_or(|first| self.facts[first].over);
        in_place
            && step
                .before
                .iter()
                .all(|earlier| self.is_given(shape, *earlier))
    }

    /// It is done, or what is done in its place.
    pub fn is_given(&self, shape: &Shape, index: usize) -> bool {
        let either = [Some(index), shape.steps[index].or_else];
        either
            .into_iter()
            .flatten()
            .any(|index| self.facts[index].done.is_some())
    }

    /// What it did is known to have had no effect, and something else is done in its place.
    pub fn is_over_for_good(&self, index: usize) -> bool {
        self.facts[index].over && !self.facts[index].unanswered
    }

    pub fn is_untouched(&self, index: usize) -> bool {
        let facts = &self.facts[index];
        !facts.attempted && facts.waiting.is_none() && facts.done.is_none()
    }

    /// The attempts that are to be made, or waits to begin, given the steps at which an attempt is being made.
    pub fn due(&self, shape: &Shape, acting: &dyn Fn(usize) -> bool) -> Vec<Attempt> {
        let due = |index: usize| match self.going {
            Going::Forward => self.forward_due(shape, index, acting),
            Going::Back => self.backward_due(shape, index, acting),
            _ => None,
        };
        (0..shape.steps.len()).filter_map(due).collect()
    }

    fn forward_due(
        &self,
        shape: &Shape,
        index: usize,
        acting: &dyn Fn(usize) -> bool,
    ) -> Option<Attempt> {
        if let Some((number, not_before)) = self.facts[index].open {
            return (!acting(index)).then_some((index, Direction::Forward, number, not_before));
        }
        let ready = self.is_untouched(index) && self.is_its_turn(shape, index);
        ready.then_some((index, Direction::Forward, 1, 0))
    }

    fn backward_due(
        &self,
        shape: &Shape,
        index: usize,
        acting: &dyn Fn(usize) -> bool,
    ) -> Option<Attempt> {
        if acting(index) || self.is_clean(shape, index) {
            return None;
        }
        let (number, not_before) = self.facts[index].undo_open.unwrap_or((1, 0));
        let gone = |later: &usize| self.is_clean(shape, *later) && !acting(*later);
        let ready = shape.steps[index].after.iter().all(gone);
        ready.then_some((index, Direction::Backward, number, not_before))
    }

    /// Nothing of it is left to be undone.
    pub fn is_clean(&self, shape: &Shape, index: usize) -> bool {
        let facts = &self.facts[index];
        !facts.may_have_effect() || facts.undone || !shape.steps[index].undoable
    }

    /// The steps whose effect nobody undid, in order.
    pub fn left(&self, shape: &Shape) -> Vec<String> {
        let left = |(_, facts): &(&Step, &Facts)| facts.may_have_effect() && !facts.undone;
        let steps = shape.steps.iter().zip(&self.facts).filter(left);
        steps.map(|(step, _)| step.name.clone()).collect()
    }

    /// The waits that end by the clock.
    pub fn waits(&self) -> Vec<(usize, i64)> {
        if self.going != Going::Forward {
            return Vec::new();
        }
        let until = |(index, facts): (usize, &Facts)| Some((index, facts.waiting?.until?));
        self.facts.iter().enumerate().filter_map(until).collect()
    }

    /// A signal would let it go on.
    pub fn awaits_signal(&self, shape: &Shape) -> bool {
        let awaits = |(step, facts): (&Step, &Facts)| {
            step.kind == StepKind::Signal && facts.waiting.is_some()
        };
        self.going == Going::Forward && shape.steps.iter().zip(&self.facts).any(awaits)
    }

    /// The deadline, while it counts.
    pub fn deadline(&self, shape: &Shape) -> Option<i64> {
        let counts = self.going == Going::Forward && !self.past_pivot(shape);
        self.deadline.filter(|_| counts)
    }

    /// The end, if nothing is left to do.
    pub fn end(&self, shape: &Shape, acting: &dyn Fn(usize) -> bool) -> Option<End> {
        let all = |holds: &dyn Fn(usize) -> bool| (0..shape.steps.len()).all(holds);
        match self.going {
            Going::Forward => {
                let stands_for = |index: usize| shape.steps[index].instead_of.unwrap_or(index);
                all(&|index| self.is_given(shape, stands_for(index))).then_some(End::Completed)
            }
            Going::Back => all(&|index| self.is_clean(shape, index) && !acting(index))
                .then_some(End::Compensated),
            _ => None,
        }
    }
}
