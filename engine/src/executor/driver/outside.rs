//! How a driver meets the outside: operators' commands, those who wait for the workflow, and its end.

use std::sync::Arc;

use super::{Driver, EarlierLife, Leftover};
use crate::command::Verb;
use crate::engine::View;
use crate::executor::registry::{Discarded, Stage};
use crate::inbox::Handed;
use crate::journal::Staged;
use crate::store::{Answer, CommandState, Head, StoreError};
use crate::workflow::{StepError, turned_back_because};

impl Driver {
    /// Records what a command asks for, or the reason why not.
    pub(super) fn command(&mut self, handed: Handed) {
        let command = &handed.row().command;
        if let Verb::Signal(signal) = &command.verb
            && self.state.has_signal(&signal.id)
        {
            let seq = self.state.seq;
            return self.answer(handed, CommandState::Done { seq });
        }
        let verb = &command.verb;
        let now_at = self.state.seq;
        let checked = match command.expected_seq {
            Some(expected) if expected != now_at => {
                Err(format!("it has moved on: its version is {now_at}"))
            }
            _ => verb.check(self.state.definition()),
        };
        let event = verb.event(&command.by, &self.state);
        match checked.and_then(|()| self.check_fits(&event)) {
            Ok(()) => {
                let now = self.context.runtime.now();
                self.record_at(now, event, Vec::new(), Some(handed));
            }
            Err(why) => self.answer(handed, CommandState::Refused { why }),
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

    /// The store has said whether an earlier life of this workflow is durable.
    pub(super) fn earlier_life_found(&mut self, found: Result<Option<Head>, StoreError>) {
        self.earlier_life = EarlierLife::Unasked;
        // What is on its way to the journal meanwhile, or there by now, says more.
        if !self.is_volatile() {
            return;
        }
        match found {
            Ok(Some(head)) if head.id == self.id => self.given_back(Discarded::Exists, Vec::new()),
            Ok(_) => self.earlier_life = EarlierLife::None,
            Err(error) => {
                let error = StepError::caused_by("store-unavailable", &error);
                self.given_back(Discarded::Unavailable(error), Vec::new());
            }
        }
    }

    /// It ended before anything was durable.
    pub(super) fn discard(&mut self) {
        let discarded = match (self.unavailable.take(), turned_back_because(&self.state)) {
            (Some(error), _) => Discarded::Unavailable(error),
            (None, Some(refusal)) => Discarded::Refused(refusal.clone()),
            (None, None) => Discarded::Lost,
        };
        self.stage.send_replace(Stage::Discarded(discarded));
    }

    /// The journal gave the workflow back, with the records that it did not write. The loop ends at its next turn.
    pub(super) fn given_back(&mut self, why: Discarded, staged: Vec<Staged>) {
        if self.durable.is_none() {
            self.leave_over(staged, matches!(why, Discarded::Undecided));
            self.stage.send_replace(Stage::Discarded(why));
        }
        self.gone = true;
    }

    pub(super) fn partition_lost(&mut self) {
        if self.gone {
            return;
        }
        let (why, staged) = match self.appending.take() {
            Some(appending) => (Discarded::Undecided, appending.staged),
            None => (Discarded::Lost, Vec::new()),
        };
        self.given_back(why, staged);
    }

    /// Hands what may have been done to those who will know whether it is in the journal.
    pub(super) fn leave_over(&mut self, mut staged: Vec<Staged>, undecided: bool) {
        staged.append(&mut self.pending);
        // Commands are still pending in the inbox, for the life of the workflow that the journal has.
        for staged in &mut staged {
            staged.command = None;
        }
        let leftover = match self.leftover.take() {
            Some(leftover) => Leftover {
                epoch: self.context.epoch,
                undecided,
                tries: leftover.tries + 1,
                ..*leftover
            },
            None => Leftover {
                head: self.head.clone(),
                epoch: self.context.epoch,
                undecided,
                state: self.state.clone(),
                staged,
                tries: 0,
            },
        };
        let _node_is_gone = self.context.leftovers.send(leftover);
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
