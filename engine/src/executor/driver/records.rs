//! What a driver records, and what the journal makes of it.

use tokio::sync::oneshot;

use super::{Appending, Driver};
use crate::definition::StepIndex;
use crate::engine::CommandError;
use crate::executor::registry::Discarded;
use crate::journal::{AppendError, Entry, Staged};
use crate::store::{Change, Head, HeadUpdate, Status};
use crate::workflow::{AfterFailure, Event, Record, Refusal, StepError, WorkflowState, plan};

impl Driver {
    /// Applies an event and adds it to the pending records, with the attempts that it lets begin.
    pub(super) fn record(&mut self, event: Event, changes: Vec<Change>) {
        let mut record = Record {
            seq: self.state.seq + 1,
            at: self.context.runtime.now(),
            event,
            starts: Vec::new(),
        };
        match self.state.clone().apply(&record) {
            Ok(mut state) => {
                let planned = plan(&state, &|step| self.acting.contains(&step));
                record.starts = planned.intents(&state);
                state
                    .begin(&record)
                    .expect("the plan names only attempts that may begin");
                self.state = state;
                self.pending.push(Staged { record, changes });
            }
            // The driver makes only events that fit: this is a defect, and the workflow is better off untouched.
            Err(illegal) => {
                tracing::error!(workflow.id = %self.id, %illegal, "an event was dropped");
            }
        }
    }

    pub(super) async fn append(&mut self) {
        let (reply, answer) = oneshot::channel();
        let staged = std::mem::take(&mut self.pending);
        let status = self.state.status();
        let changed = match &self.durable {
            None => None,
            Some(durable) => (durable.status() != status
                || durable.reason_code() != self.state.reason_code())
            .then(|| self.head_update(status)),
        };
        let entry = Entry {
            workflow: self.id,
            start: self.durable.is_none().then(|| self.current_head()),
            staged: staged.clone(),
            head: changed,
            reply,
        };
        // When the queue is closed the reply is dropped, and `appended` hears of it.
        let _closed = self.context.journal.append(entry).await;
        self.appending = Some(Appending {
            reply: answer,
            staged,
            state: self.state.clone(),
        });
    }

    pub(super) fn appended(&mut self, result: Result<(), AppendError>) {
        let Some(appending) = self.appending.take() else {
            return;
        };
        match result {
            Ok(()) => {
                self.head = self.head_of(&appending.state);
                self.durable = Some(appending.state);
                if self.pending.is_empty() {
                    self.rows_pending.clear();
                } else {
                    let staged = self
                        .pending
                        .iter()
                        .filter(|staged| !staged.changes.is_empty());
                    let steps = staged.filter_map(|staged| staged.record.event.step());
                    self.rows_pending = steps
                        .filter_map(|step| self.state.definition().index_of(step))
                        .collect();
                }
                self.publish();
                self.answer_commands();
            }
            Err(AppendError::Refused { staged, refusal }) => {
                self.rows_refused(appending, staged, &refusal);
            }
            Err(AppendError::Exists) => self.given_back(Discarded::Exists, appending.staged),
            Err(AppendError::Poisoned(error)) => self.poisoned(appending, error),
            Err(AppendError::Lost) => self.given_back(Discarded::Lost, appending.staged),
            Err(AppendError::Undecided) => self.given_back(Discarded::Undecided, appending.staged),
        }
    }

    /// A guard in the store said no to one record's rows. That step is refused instead, after everything else that was on its
    /// way: what ran meanwhile stays known, and is undone if the refusal turns the workflow back.
    pub(super) fn rows_refused(&mut self, appending: Appending, refused: usize, refusal: &Refusal) {
        let mut again = appending.staged;
        again.append(&mut self.pending);
        self.rows_pending.clear();
        let first = again.first().map(|staged| staged.record.clone());
        let start = match (&self.durable, first) {
            (Some(durable), _) => Ok(durable.clone()),
            (None, Some(first)) => {
                let started = WorkflowState::start(self.state.definition(), &first);
                self.pending.push(Staged {
                    record: first,
                    changes: Vec::new(),
                });
                started
            }
            (None, None) => return,
        };
        self.state = start.expect("it was legal before");
        let event = again[refused].record.event.clone();
        if let (Event::StepDone { .. }, Some(step)) = (&event, self.step_of(&event)) {
            self.rows_never.insert(step);
        }
        let skip = usize::from(self.durable.is_none());
        for (place, staged) in again.into_iter().enumerate().skip(skip) {
            if place != refused {
                self.record_again(staged);
            }
        }
        self.refuse_instead(event, refusal.clone());
    }

    /// Records it once more, if it still fits, under the number that it now has.
    fn record_again(&mut self, mut staged: Staged) {
        let event = staged.record.event;
        let reply = self
            .replies
            .iter()
            .position(|(seq, _)| *seq == staged.record.seq);
        let reply = reply.map(|place| self.replies.swap_remove(place).1);
        if !self.fits(&event) {
            if let Some(reply) = reply {
                let why =
                    "a step was refused at this moment: look at the workflow and decide again";
                let _gone = reply.send(Err(CommandError::Conflict(why.to_owned())));
            }
            return;
        }
        let step = self.step_of(&event);
        let undone = matches!(event, Event::CompensationDone { .. });
        if undone && step.is_some_and(|step| self.rows_never.contains(&step)) {
            staged.changes.clear();
        }
        if !staged.changes.is_empty() {
            self.rows_pending.extend(step);
        }
        self.record(event, staged.changes);
        self.replies
            .extend(reply.map(|reply| (self.state.seq, reply)));
    }

    fn step_of(&self, event: &Event) -> Option<StepIndex> {
        self.state.definition().index_of(event.step()?)
    }

    pub(super) fn refuse_instead(&mut self, event: Event, refusal: Refusal) {
        let event = match event {
            Event::StepDone { step, attempt, .. } => Event::StepRefused {
                step,
                attempt,
                refusal,
                effect_may_exist: true,
            },
            Event::CompensationDone { step, attempt } => Event::CompensationFailed {
                step,
                attempt,
                error: StepError::new(refusal.code, refusal.message),
                then: AfterFailure::Park,
            },
            other => {
                tracing::error!(workflow.id = %self.id, event = other.kind(), "rows of an event that has none were refused");
                return;
            }
        };
        self.record(event, Vec::new());
    }

    pub(super) fn fits(&self, event: &Event) -> bool {
        let record = Record {
            seq: self.state.seq + 1,
            at: self.state.at,
            event: event.clone(),
            starts: Vec::new(),
        };
        self.state.clone().apply(&record).is_ok()
    }

    /// The store refuses the workflow's rows for no reason that anyone foresaw: it waits for an operator.
    pub(super) fn poisoned(&mut self, appending: Appending, error: StepError) {
        tracing::error!(workflow.id = %self.id, %error, "the store refuses a workflow's rows");
        let parking_was_refused = appending
            .staged
            .iter()
            .any(|staged| matches!(staged.record.event, Event::Poisoned { .. }));
        match self.durable.clone() {
            None => self.given_back(Discarded::Unavailable(error), appending.staged),
            // Nothing more can be written about it; it stays as it durably is, for the auditor and the operator.
            Some(_) if parking_was_refused => self.given_back(Discarded::Lost, Vec::new()),
            Some(durable) => {
                self.pending.clear();
                self.rows_pending.clear();
                self.refuse_commands(
                    "the store refuses what happens to this workflow: it is parked",
                );
                self.state = durable;
                self.record(Event::Poisoned { error }, Vec::new());
            }
        }
    }

    pub(super) fn current_head(&self) -> Head {
        self.head_of(&self.state)
    }

    pub(super) fn head_of(&self, state: &WorkflowState) -> Head {
        Head {
            status: state.status(),
            reason: state.reason_code().map(str::to_owned),
            updated_at: state.at,
            ..self.head.clone()
        }
    }

    pub(super) fn head_update(&self, status: Status) -> HeadUpdate {
        HeadUpdate {
            id: self.id,
            status,
            reason: self.state.reason_code().map(str::to_owned),
            updated_at: self.state.at,
        }
    }
}
