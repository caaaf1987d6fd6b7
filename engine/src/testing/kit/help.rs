//! What a workflow waits for is brought about: instants come at once, signals as the case has it.

use super::World;
use super::cases::Signals;
use super::operator::{tell, view};
use super::stage::{Stage, Stuck};
use crate::command::Verb;
use crate::definition::{StepIndex, StepKind};
use crate::engine::{Engine, View};
use crate::ids::WorkflowId;
use crate::runtime::Clock as _;
use crate::store::{Head, Status};
use crate::workflow::{Signal, StepState};

impl<W: World> Stage<'_, W> {
    /// Brings about what the workflow waits for.
    pub(super) async fn help(&mut self, engine: &Engine, head: &Head) -> Result<(), Stuck> {
        let mut nodes = self.definition.steps().iter();
        let mut waiting = Vec::new();
        if nodes.any(|node| node.kind != StepKind::Action) {
            waiting = self.waiting(&view(engine, head.id).await?);
        }
        if let Some(step) = self.case.crash_while_waiting
            && self.history.crashes == 0
            && waiting.contains(&step)
        {
            return self.script.crash().await;
        }
        for step in &waiting {
            if self.send_signal(engine, head.id, *step).await? {
                return Ok(());
            }
        }
        if head.status != Status::Waiting {
            return Ok(());
        }
        match head.wake_at {
            Some(instant) => {
                self.clock.set(instant.max(self.clock.now()));
                Ok(())
            }
            None => self.give_up(engine, head.id, &waiting).await,
        }
    }

    /// It waits for a signal that never comes, for as long as it takes: an operator turns it back.
    async fn give_up(
        &mut self,
        engine: &Engine,
        id: WorkflowId,
        waiting: &[StepIndex],
    ) -> Result<(), Stuck> {
        if matches!(self.case.signals, Signals::AllBut(_)) {
            self.history.turned_back = true;
            return tell(engine, id, Verb::Compensate, "compensate").await;
        }
        let names: Vec<&str> = waiting
            .iter()
            .map(|step| &*self.definition.step(*step).name)
            .collect();
        let names = names.join("`, `");
        Err(format!(
            "it waits for the signal `{names}`, which the world does not send"
        ))
    }

    /// Sends the signal that a step awaits, if it is to be sent. `false`: it is not.
    async fn send_signal(
        &self,
        engine: &Engine,
        id: WorkflowId,
        step: StepIndex,
    ) -> Result<bool, Stuck> {
        let node = self.definition.step(step);
        if node.kind != StepKind::Signal || self.case.signals == Signals::AllBut(step) {
            return Ok(false);
        }
        let signals = self.world.signals();
        let Some((name, payload)) = signals.into_iter().find(|(name, _)| **name == *node.name)
        else {
            return Ok(false);
        };
        let signal = Signal {
            name: name.to_owned(),
            id: format!("{name} 1"),
            payload,
        };
        let times = if self.case.signals == Signals::Twice {
            2
        } else {
            1
        };
        for time in 0..times {
            let key = format!("{name} {time}");
            tell(engine, id, Verb::Signal(signal.clone()), &key).await?;
        }
        Ok(true)
    }

    pub(super) async fn send_all_signals(
        &self,
        engine: &Engine,
        id: WorkflowId,
    ) -> Result<(), Stuck> {
        let state = view(engine, id).await?.state;
        for (name, payload) in self.world.signals() {
            let signal = Signal {
                name: name.to_owned(),
                id: format!("{name} 1"),
                payload,
            };
            let came = state
                .as_ref()
                .is_some_and(|state| state.is_terminal() || state.has_signal(&signal.id));
            if !came {
                tell(engine, id, Verb::Signal(signal), name).await?;
            }
        }
        Ok(())
    }

    /// The steps that wait for an instant or a signal.
    fn waiting(&self, view: &View) -> Vec<StepIndex> {
        let Some(state) = &view.state else {
            return Vec::new();
        };
        let waits =
            |index: &StepIndex| matches!(state.steps[index.0].action, StepState::Waiting { .. });
        let indexes = (0..self.definition.steps().len()).map(StepIndex);
        if state.is_going_back() {
            return Vec::new();
        }
        indexes.filter(waits).collect()
    }
}
