//! How a driver meets the outside: operators' commands, those who wait for the workflow, and its end.

use super::{Driver, EarlierLife, Leftover};
use crate::engine::{CommandError, View};
use crate::executor::registry::{Command, Discarded, Stage, Verb};
use crate::journal::Staged;
use crate::store::{Head, StoreError};
use crate::workflow::{Event, Record, StepError, turned_back_because};
use std::sync::Arc;

impl Driver {
    pub(super) fn command(&mut self, command: Command) {
        let Command {
            verb,
            actor,
            reason,
            reply,
        } = command;
        let event = match verb {
            Verb::Retry => Event::RetryRequested { actor, reason },
            Verb::Compensate => Event::CompensationRequested { actor, reason },
        };
        let record = Record {
            seq: self.state.seq + 1,
            at: self.context.runtime.now(),
            event: event.clone(),
            starts: Vec::new(),
        };
        if let Err(illegal) = self.state.clone().apply(&record) {
            let _gone = reply.send(Err(CommandError::Conflict(illegal.why)));
            return;
        }
        self.record(event, Vec::new());
        self.replies.push((record.seq, reply));
    }

    pub(super) fn answer_commands(&mut self) {
        let durable = self.durable.as_ref().map_or(0, |state| state.seq);
        let view = self.view();
        for (seq, reply) in std::mem::take(&mut self.replies) {
            if seq <= durable {
                let _gone = reply.send(Ok(view.clone()));
            } else {
                self.replies.push((seq, reply));
            }
        }
    }

    /// The records of these commands won't be written.
    pub(super) fn refuse_commands(&mut self, why: &str) {
        for (_, reply) in std::mem::take(&mut self.replies) {
            let _gone = reply.send(Err(CommandError::Conflict(why.to_owned())));
        }
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
