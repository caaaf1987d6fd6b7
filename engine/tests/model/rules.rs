//! What may happen to a workflow, by the plain model: the other half of every comparison with the core's typed errors.

use engine::definition::{Phase, StepKind};
use engine::workflow::{AfterFailure, Event, Failure, Resolution, SIGNALS_MAX, Signal};

use crate::graph::Shape;
use crate::reference::{Going, Parked, Reference};

impl Reference {
    /// Whether this may happen now, at this instant.
    pub fn allows(&self, shape: &Shape, event: &Event, at: i64) -> bool {
        if self.is_over() {
            return false;
        }
        if let Some(name) = event.step() {
            let place = shape.steps.iter().position(|step| step.name == name);
            return place.is_some_and(|index| self.allows_of_step(shape, index, event, at));
        }
        match event {
            Event::Poisoned { .. } | Event::Continued { .. } => true,
            Event::DeadlinePassed => self.deadline(shape).is_some_and(|deadline| deadline <= at),
            Event::CompensationRequested { .. } => {
                !self.is_paused() && !self.is_back() && !self.past_pivot(shape)
            }
            Event::RetryRequested { .. } => self.may_be_retried(at),
            Event::Paused { .. } => !self.is_parked(),
            Event::Unpaused { .. } => self.is_paused(),
            Event::Abandoned { left, .. } => *left == self.left(shape),
            _ => false,
        }
    }

    fn may_be_retried(&self, at: i64) -> bool {
        match self.going {
            Going::Parked(Parked { paused, .. }) => !paused,
            _ => (0..self.facts.len()).any(|index| {
                let not_before = self.clone().waits_for_its_time(index).copied();
                not_before.is_some_and(|not_before| not_before > at)
            }),
        }
    }

    fn allows_of_step(&self, shape: &Shape, index: usize, event: &Event, at: i64) -> bool {
        let (step, facts) = (&shape.steps[index], &self.facts[index]);
        let is_open = |attempt: u32| facts.open.is_some_and(|(number, _)| number == attempt);
        let is_undo_open =
            |attempt: u32| facts.undo_open.is_some_and(|(number, _)| number == attempt);
        match event {
            Event::StepDone { attempt, .. } | Event::StepRefused { attempt, .. } => {
                is_open(*attempt)
            }
            Event::AttemptFailed {
                attempt,
                failure,
                then,
                ..
            } => {
                let may_exist = *failure == Failure::Unknown || facts.unanswered;
                let way_back = match step.phase {
                    Phase::Compensable => true,
                    Phase::Pivot => !may_exist,
                    Phase::Retriable => false,
                };
                is_open(*attempt) && (*then != AfterFailure::TurnBack || way_back)
            }
            Event::CompensationDone { attempt, .. } => is_undo_open(*attempt),
            Event::CompensationFailed { attempt, then, .. } => {
                is_undo_open(*attempt) && *then != AfterFailure::TurnBack
            }
            Event::EffectFoundLate { .. } => self.is_back() && step.undoable && facts.attempted,
            Event::TimerFired { .. } => {
                let until = facts.waiting.and_then(|waiting| waiting.until);
                until.is_some_and(|until| until <= at)
            }
            Event::SignalReceived(signal) => self.takes(step.kind, signal),
            Event::Resolved { resolution, .. } => {
                !self.is_paused() && self.may_be_resolved(shape, index, resolution)
            }
            Event::Skipped { .. } => {
                let stands = facts.done.is_none() && !facts.over && self.is_its_turn(shape, index);
                stands && !self.is_paused() && !self.is_back()
            }
            _ => false,
        }
    }

    fn takes(&self, kind: StepKind, signal: &Signal) -> bool {
        let is_new = !self.signal_ids.contains(&signal.id);
        kind == StepKind::Signal && is_new && self.signal_ids.len() < SIGNALS_MAX
    }

    fn may_be_resolved(&self, shape: &Shape, index: usize, resolution: &Resolution) -> bool {
        let facts = &self.facts[index];
        match resolution {
            Resolution::Undone => facts.undo_open.is_some(),
            Resolution::Done(_) | Resolution::Refused(_) => {
                let in_doubt = facts.unanswered && facts.done.is_none();
                let given_up = matches!(resolution, Resolution::Refused(_))
                    && self.may_be_given_up(shape, index);
                let stands = facts.undo_open.is_none() && !facts.undone && !facts.over;
                (in_doubt || given_up) && stands
            }
        }
    }

    /// It is parked although nothing became of it, and something else may be done in its place.
    pub fn may_be_given_up(&self, shape: &Shape, index: usize) -> bool {
        let is_open = self.facts[index].open.is_some();
        is_open && shape.steps[index].or_else.is_some() && self.is_parked_about(index)
    }
}
