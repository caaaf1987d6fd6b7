//! Which of the attempts that are due may begin now: some wait for the journal, some for their port.

use super::Driver;
use crate::definition::{Durability, StepIndex};
use crate::executor::attempt::unless_it_panics;
use crate::planted;
use crate::runtime::Timestamp;
use crate::workflow::plan::inputs;
use crate::workflow::{
    AfterFailure, Direction, Event, Failure, PlannedAttempt, Progress, StepError, StepState,
};

/// What became of the attempts that are due.
pub(super) enum Made {
    /// Those that may begin have begun. `blocked`: another one waits for the journal, for its time or for its port.
    All { blocked: bool },
    /// The workflow turned back: what is due is another question now.
    TurnedBack,
}

/// Whether an attempt may begin as far as its port is concerned.
enum Admission {
    Granted,
    Later,
    TurnedBack,
}

impl Driver {
    /// Begins every attempt that is due and allowed.
    pub(super) fn make_due_attempts(&mut self) -> Made {
        // Busy first, then the look: who pauses sees either that we are busy or that we saw the pause.
        self.set_busy(true);
        if *self.context.paused.borrow_and_update() {
            return self.pauses();
        }
        let now = self.context.runtime.now();
        let mut blocked = false;
        for planned in self.plan().resumes {
            if planned.not_before > now || self.must_wait_for_journal(&planned) {
                // A workflow that waits must be durable: it may wait for long.
                blocked = true;
            } else if planned.direction == Direction::Forward
                || self.has_nothing_to_undo(planned.step)
                || self.may_undo_without_trace()
            {
                match self.admit(&planned, now) {
                    Admission::Granted => self.begin(&planned),
                    Admission::Later => blocked = true,
                    Admission::TurnedBack => return Made::TurnedBack,
                }
            }
        }
        Made::All { blocked }
    }

    /// What is durable waits for the end of the pause, and what is to be undone becomes so. A start of which nothing is durable goes on
    /// with what is under way, and is gone when it is refused; one that has not begun is not owed patience. Were it durable, whoever
    /// refuses it would know nothing of it, and rule it out when it is sent again.
    fn pauses(&mut self) -> Made {
        let is_volatile = self.is_volatile();
        let unbegun = self.unbegun();
        let is_untouched = |(index, progress): (usize, &Progress)| {
            progress.action == StepState::Untouched || unbegun.contains(&StepIndex(index))
        };
        let mut steps = self.state.steps.iter().enumerate();
        if is_volatile && !unbegun.is_empty() && steps.all(is_untouched) {
            let error = StepError::new("paused", "nothing begins at the moment");
            self.turn_back(unbegun, &error);
            return Made::TurnedBack;
        }
        Made::All {
            blocked: !is_volatile,
        }
    }

    /// Whether the step's port has room for it now. If not it waits; a start of which nothing is durable is not owed patience.
    fn admit(&mut self, planned: &PlannedAttempt, now: Timestamp) -> Admission {
        let Some(port) = self.state.definition().step(planned.step).policy.port else {
            return Admission::Granted;
        };
        // What was never durable is undone now or never without a trace.
        if planned.direction == Direction::Backward && self.is_volatile() {
            return Admission::Granted;
        }
        let held_back = self.held_back.get(&planned.step);
        if held_back.is_some_and(|until| *until > now) {
            return Admission::Later;
        }
        self.held_back.remove(&planned.step);
        match self.context.breakers.admit(port, now) {
            Ok(()) => Admission::Granted,
            Err(_) if self.turns_back_at(planned, port) => Admission::TurnedBack,
            Err(not_before) => {
                self.held_back.insert(planned.step, not_before);
                Admission::Later
            }
        }
    }

    fn must_wait_for_journal(&self, planned: &PlannedAttempt) -> bool {
        let all_durable = self.pending.is_empty() && self.appending.is_none();
        if all_durable && self.durable.is_some() {
            return false;
        }
        let definition = self.state.definition();
        let node = definition.step(planned.step);
        let has_rows_pending = |need: &StepIndex| {
            let alternative = definition.step(*need).alternative;
            let either = std::iter::once(*need).chain(alternative);
            either
                .into_iter()
                .any(|step| self.rows_pending.contains(&step))
        };
        match planned.direction {
            // What was never durable is undone without a trace; what is durable turns back durably first.
            Direction::Backward => {
                !self.is_volatile() && !planted::is_on("undone-before-it-is-durable")
            }
            Direction::Forward => {
                node.policy.durability == Durability::Barrier && !planted::is_on("barrier-runs-ahead")
                    // A refusal that is lost is asked for again, and may be no refusal then: nothing takes its place before it
                    // is durable.
                    || node.instead_of.is_some() && !planted::is_on("alternative-runs-ahead")
                    || node.needs.iter().any(has_rows_pending) && !planted::is_on("rows-not-waited-for")
            }
        }
    }

    /// Whether nothing is durable and the step's action does nothing with its input.
    fn has_nothing_to_undo(&self, step: StepIndex) -> bool {
        if self.durable.is_some() {
            return false;
        }
        let inputs = inputs(&self.state, step);
        let node = self.state.definition().step(step);
        let has_effect = || node.step.has_effect(&inputs);
        inputs.len() == node.inputs.len() && !unless_it_panics(has_effect, true)
    }

    /// Turns a start back of which nothing is durable and whose port has no room. `false`: it can't, or need not.
    fn turns_back_at(&mut self, planned: &PlannedAttempt, port: &str) -> bool {
        if planned.direction != Direction::Forward || !self.is_volatile() {
            return false;
        }
        // What was to begin beside it, and did not, has nothing to be undone either.
        let unbegun = self.unbegun();
        if !unbegun.contains(&planned.step) {
            return false;
        }
        let error = StepError::new(
            "port-unavailable",
            format!("`{port}` does not answer at the moment"),
        );
        self.turn_back(unbegun, &error);
        true
    }

    /// Turns a start back of which nothing is durable: these first attempts are not made.
    fn turn_back(&mut self, unbegun: Vec<StepIndex>, error: &StepError) {
        self.unavailable.get_or_insert(error.clone());
        self.acting.extend(unbegun.iter().copied());
        for step in unbegun {
            self.acting.remove(&step);
            let event = Event::AttemptFailed {
                step: self.state.definition().step(step).name.to_string(),
                attempt: 1,
                failure: Failure::NoEffect,
                error: error.clone(),
                then: AfterFailure::TurnBack,
            };
            self.record(event, Vec::new());
        }
    }

    /// The steps whose first attempt is due and was not begun, in this life or another one.
    fn unbegun(&self) -> Vec<StepIndex> {
        let steps = self.state.steps.iter().enumerate();
        let unbegun = steps.filter_map(|(index, progress)| {
            let step = StepIndex(index);
            let is_first = matches!(
                progress.action,
                StepState::Attempting {
                    attempt: 1,
                    effect_may_exist: false,
                    ..
                }
            );
            let inherited = self.inherited.contains(&(step, Direction::Forward, 1));
            let begun = inherited || self.acting.contains(&step);
            (is_first && !begun && self.may_turn_back(step)).then_some(step)
        });
        unbegun.collect()
    }

    /// The next instant at which something is to be done though nothing happens before. It may have come since the last look.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        if *self.context.paused.borrow() {
            return None;
        }
        let mut looked_at = self.looked_at;
        if planted::is_on("due-between-two-looks-lost") {
            looked_at = self.context.runtime.now();
        }
        self.instants()
            .into_iter()
            .filter(|instant| *instant > looked_at)
            .min()
    }
}
