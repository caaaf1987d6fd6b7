//! Attempts that end after they were given up: an action that takes effect all the same is undone, or an operator must see to it.

use super::Driver;
use crate::definition::{Phase as StepPhase, StepIndex};
use crate::executor::attempt::Late;
use crate::planted;
use crate::workflow::{Event, StepError, StepState, Undo};

impl Driver {
    /// An action that was given up, and watched since, has ended.
    pub(super) fn watched_ended(&mut self, late: &Late) {
        if let Some(place) = self.watched.iter().position(|step| *step == late.step) {
            self.watched.swap_remove(place);
        }
        self.ended_late(late);
    }

    /// An action that was given up has ended after all. If it took effect while the workflow goes back, it is undone, again if
    /// need be, or an operator must see to it; so must one where something else is done in its place, because it had been refused.
    /// Otherwise it changes nothing.
    pub(super) fn ended_late(&mut self, late: &Late) {
        if !late.took_effect || self.state.is_terminal() || planted::is_on("late-effect-forgotten")
        {
            return;
        }
        self.found_late.insert(late.step);
        let node = self.state.definition().step(late.step);
        let step = node.name.to_string();
        if self.would_be_belied(late.step) {
            return self.took_effect_in_vain(
                "refused-step-took-effect",
                format!("`{step}` took effect although it had been refused and something else is done in its place"),
            );
        }
        if !self.state.is_going_back() {
            return;
        }
        let is_still_to_be_undone =
            self.state.needs_undo(late.step) && self.state.steps[late.step.0].undo == Undo::No;
        if node.phase == StepPhase::Pivot {
            self.took_effect_in_vain(
                "pivot-took-effect-late",
                format!("`{step}` took effect after the workflow had turned back"),
            );
        } else if node.undoable && !is_still_to_be_undone {
            self.record(Event::EffectFoundLate { step }, Vec::new());
        }
    }

    /// Something else is done in the step's place because it is known to have had no effect, and would show that it has one.
    pub(super) fn would_be_belied(&self, step: StepIndex) -> bool {
        let known_to_have_none = matches!(
            self.state.steps[step.0].action,
            StepState::Failed {
                effect_may_exist: false,
                ..
            }
        );
        known_to_have_none && self.state.is_diverted(step)
    }

    /// An effect that nothing undoes: an operator must see to it.
    fn took_effect_in_vain(&mut self, class: &str, message: String) {
        let error = StepError::new(class, message);
        tracing::error!(workflow.id = %self.id, %error, "an operator must see to it");
        self.record(Event::Poisoned { error }, Vec::new());
    }

    /// A refusal is not believed where something else would be done in the step's place, and an earlier attempt is known to have
    /// taken effect.
    pub(super) fn is_belied(&self, step: StepIndex) -> bool {
        let has_alternative = self.state.definition().step(step).alternative.is_some();
        has_alternative
            && self.found_late.contains(&step)
            && !planted::is_on("late-refusal-believed")
    }
}
