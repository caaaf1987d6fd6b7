//! What time and signals do to a workflow.

use super::{IllegalTransition, SIGNALS_MAX, illegal};
use crate::definition::{StepIndex, StepKind};
use crate::payload::Payload;
use crate::planted;
use crate::runtime::Timestamp;
use crate::workflow::event::{Record, Refusal, Signal};
use crate::workflow::state::{Phase, StepState, WorkflowState};

impl WorkflowState {
    pub(super) fn timer_fired(
        &mut self,
        record: &Record,
        step: &str,
    ) -> Result<(), IllegalTransition> {
        let (index, until) = self.waiting(record, step)?;
        if until.is_none_or(|until| until > record.at) {
            return Err(illegal(
                record,
                &format!("the time of `{step}` has not come"),
            ));
        }
        let output = match self.definition.step(index).kind {
            StepKind::Signal => awaited::timed_out(),
            StepKind::Timer | StepKind::Action => awaited::instant(record.at),
        };
        self.settle(record, index, StepState::Done { attempt: 1, output });
        Ok(())
    }

    pub(super) fn signal_received(
        &mut self,
        record: &Record,
        signal: &Signal,
    ) -> Result<(), IllegalTransition> {
        self.open(record)?;
        let index = self.index_of(record, &signal.name)?;
        if self.definition.step(index).kind != StepKind::Signal {
            return Err(illegal(
                record,
                &format!("`{}` awaits no signal", signal.name),
            ));
        }
        if self.signal_ids.len() >= SIGNALS_MAX {
            return Err(illegal(
                record,
                &format!("it has taken {SIGNALS_MAX} signals, which is the limit"),
            ));
        }
        if !self.signal_ids.insert(signal.id.clone()) && !planted::is_on("signal-counts-twice") {
            return Err(illegal(
                record,
                &format!("signal `{}` was received already", signal.id),
            ));
        }
        let first_of_its_name = !self.kept.iter().any(|kept| kept.name == signal.name);
        match self.steps[index.0].action {
            StepState::Waiting { .. } => {
                let output = awaited::arrived(&signal.payload);
                self.settle(record, index, StepState::Done { attempt: 1, output });
            }
            // Its step takes one signal: a second one that came early would be kept for nothing.
            StepState::Untouched if first_of_its_name => self.kept.push(signal.clone()),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn deadline_passed(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        let due = self.deadline.is_some_and(|deadline| deadline <= record.at);
        let too_late = self.past_pivot() && !planted::is_on("turned-back-past-the-pivot");
        if !due || self.phase != Phase::Running || too_late {
            return Err(illegal(
                record,
                "its deadline has not come, or does not count any more",
            ));
        }
        self.go_back(Refusal::new(
            "deadline-passed",
            "the workflow was not past its pivot at its deadline",
        ));
        Ok(())
    }

    /// Waiting, unless the signal has come already.
    pub(super) fn wait(&mut self, index: StepIndex, until: Option<Timestamp>) -> StepState {
        let name = &*self.definition.step(index).name;
        let kept = self.kept.iter().position(|signal| signal.name == name);
        match kept {
            Some(place) => StepState::Done {
                attempt: 1,
                output: awaited::arrived(&self.kept.remove(place).payload),
            },
            None => StepState::Waiting { until },
        }
    }

    pub(super) fn waiting(
        &self,
        record: &Record,
        step: &str,
    ) -> Result<(StepIndex, Option<Timestamp>), IllegalTransition> {
        self.open(record)?;
        let index = self.index_of(record, step)?;
        match self.steps[index.0].action {
            StepState::Waiting { until } => Ok((index, until)),
            _ => Err(illegal(record, &format!("`{step}` does not wait"))),
        }
    }
}

/// What a wait gives, in the stored form of [`crate::definition::Awaited`] and of [`Timestamp`].
mod awaited {
    use super::{Payload, Timestamp};

    pub(super) fn arrived(payload: &Payload) -> Payload {
        Payload::from_json(format!("{{\"arrived\":{}}}", payload.as_str()))
    }

    pub(super) fn timed_out() -> Payload {
        Payload::from_json("\"timed-out\"".to_owned())
    }

    pub(super) fn instant(at: Timestamp) -> Payload {
        Payload::from_json(at.0.to_string())
    }
}
