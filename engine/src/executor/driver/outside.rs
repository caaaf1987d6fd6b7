//! How a driver meets the outside: operators' commands, those who wait for the workflow, and its end.

use std::sync::Arc;

use super::Driver;
use crate::command::Unfit;
use crate::engine::View;
use crate::executor::registry::{Discarded, Stage};
use crate::inbox::Handed;
use crate::journal::Staged;
use crate::store::{Answer, CommandState};
use crate::workflow::turned_back_because;

impl Driver {
    /// Records what a command asks for, or the reason why not.
    pub(super) fn command(&mut self, handed: Handed) {
        let now = self.context.runtime.now();
        let command = &handed.row().command;
        let rehearsed = command
            .verb
            .rehearse(&command.by, command.expected_seq, &self.state, now);
        match rehearsed {
            Ok((record, _)) => self.record_at(now, record.event, Vec::new(), Some(handed)),
            Err(Unfit::HasSignal { seq, .. }) => self.answer(handed, CommandState::Done { seq }),
            Err(unfit) => {
                let why = unfit.to_string();
                self.answer(handed, CommandState::Refused { why });
            }
        }
    }

    /// Answers a command that no record carries out.
    pub(super) fn answer(&mut self, handed: Handed, state: CommandState) {
        let answer = Answer {
            id: handed.id(),
            state,
            at: self.context.runtime.now(),
        };
        self.answers.push((handed, answer));
    }

    /// It ended before anything was durable.
    pub(super) fn discard(&mut self) {
        let why = match (&self.unavailable, turned_back_because(&self.state)) {
            (Some(error), _) => Discarded::Unavailable(error.clone()),
            (None, Some(refusal)) => Discarded::Refused(refusal.clone()),
            (None, None) => Discarded::Lost,
        };
        self.discarded = Some(why);
    }

    /// The journal gave the workflow back, with the records that it did not write. The loop ends at its next turn.
    pub(super) fn given_back(&mut self, why: Discarded, staged: Vec<Staged>) {
        if self.gone {
            return;
        }
        if self.durable.is_none() {
            self.leave_over(staged, matches!(why, Discarded::Undecided));
            self.discarded = Some(why);
        }
        self.gone = true;
    }

    pub(super) fn partition_lost(&mut self) {
        let (why, staged) = match self.appending.take() {
            Some(appending) => (Discarded::Undecided, appending.staged),
            None => (Discarded::Lost, Vec::new()),
        };
        self.given_back(why, staged);
    }

    pub(super) fn publish(&self) {
        self.stage.send_replace(Stage::Durable(self.view()));
    }

    pub(super) fn view(&self) -> View {
        View {
            id: self.id,
            head: self.head.clone(),
            state: self.durable.clone().map(Arc::new),
        }
    }
}
