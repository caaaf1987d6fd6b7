//! What a driver records, and what the journal makes of it.

use tokio::sync::oneshot;

use super::{Appending, Driver};
use crate::definition::StepIndex;
use crate::executor::registry::Discarded;
use crate::inbox::Handed;
use crate::journal::{self, AppendError, Entry, Parking, Staged};
use crate::planted;
use crate::runtime::Timestamp;
use crate::store::upkeep::normalised;
use crate::store::{Change, CommandState, Head, HeadUpdate, ParkedRow, Status};
use crate::workflow::plan::follow_as_far;
use crate::workflow::{AfterFailure, Event, Phase, Record, Refusal, StepError, WorkflowState};

impl Driver {
    /// Applies an event and adds it to the pending records, with all that follows from it.
    pub(super) fn record(&mut self, event: Event, changes: Vec<Change>) {
        self.record_at(self.context.runtime.now(), event, changes, None);
    }

    /// Like [`Driver::record`], for an event of this instant that carries out this command.
    pub(super) fn record_at(
        &mut self,
        at: Timestamp,
        event: Event,
        changes: Vec<Change>,
        command: Option<Handed>,
    ) {
        let record = Record::new(self.state.seq + 1, at, event);
        let after = match self.state.clone().apply(&record) {
            Ok(after) => after,
            // The driver makes only events that fit: this is a defect, and the workflow is better off untouched.
            Err(illegal) => {
                tracing::error!(workflow.id = %self.id, %illegal, "an event was dropped");
                return;
            }
        };
        let acting = |step| self.acting.contains(&step);
        let held = self.held_end();
        let (state, record, unreadable) = follow_as_far(after, record, &acting, held);
        self.state = state;
        self.pending.push(Staged {
            record,
            changes,
            command,
        });
        if let Some(error) = unreadable {
            let error = StepError::caused_by("input", &error);
            self.record(Event::Poisoned { error }, Vec::new());
        }
    }

    pub(super) async fn append(&mut self) {
        let (reply, answer) = oneshot::channel();
        let staged = std::mem::take(&mut self.pending);
        let answers = std::mem::take(&mut self.answers);
        let head = self.current_head();
        let entry = Entry {
            workflow: self.id,
            start: self.durable.is_none().then(|| head.clone()),
            staged: staged.clone(),
            head: self.durable.as_ref().and_then(|_| self.head_update(&head)),
            parking: self.parking(),
            answers: answers.iter().map(|(_, answer)| answer.clone()).collect(),
            reply,
        };
        // When the queue is closed the reply is dropped, and `appended` hears of it.
        let _closed = self.context.journal.append(entry).await;
        self.appending = Some(Appending {
            reply: answer,
            staged,
            answers,
            state: self.state.clone(),
            head,
        });
        if planted::is_on("start-acknowledged-early") {
            self.publish();
        }
    }

    pub(super) fn appended(&mut self, result: Result<(), AppendError>) {
        let Some(mut appending) = self.appending.take() else {
            return;
        };
        match result {
            Ok(()) => self.is_durable(appending),
            Err(AppendError::Refused { staged, refusal }) => {
                self.answers.append(&mut appending.answers);
                self.rows_refused(appending, staged, &refusal);
            }
            Err(AppendError::Exists) => self.given_back(Discarded::Exists, appending.staged),
            Err(AppendError::Poisoned(error)) => self.poisoned(appending, error),
            Err(AppendError::Lost) => self.given_back(Discarded::Lost, appending.staged),
            Err(AppendError::Undecided) => self.given_back(Discarded::Undecided, appending.staged),
        }
    }

    fn is_durable(&mut self, appending: Appending) {
        self.head = appending.head;
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
        let carried_out = appending.staged.iter().filter_map(journal::answer);
        let others = appending.answers.iter().map(|(_, answer)| answer.clone());
        for answer in carried_out.chain(others) {
            self.context.inbox.answered(&answer);
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
                self.pending.push(Staged::alone(first));
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
        if self.check_fits(&event).is_err() {
            if let Some(handed) = staged.command {
                let why =
                    "a step was refused at this moment: look at the workflow and decide again"
                        .to_owned();
                self.answer(handed, CommandState::Refused { why });
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
        self.record_at(staged.record.at, event, staged.changes, staged.command);
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
                effect_may_exist: !planted::is_on("effect-of-refused-rows-left"),
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
        self.check_fits(event).is_ok()
    }

    /// Whether the event is legal now, or why not.
    pub(super) fn check_fits(&self, event: &Event) -> Result<(), String> {
        let at = self.context.runtime.now().max(self.state.at);
        let record = Record::new(self.state.seq + 1, at, event.clone());
        match self.state.clone().apply(&record) {
            Ok(_) => Ok(()),
            Err(illegal) => Err(illegal.why),
        }
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
                self.answers.extend(appending.answers);
                let commands = appending
                    .staged
                    .into_iter()
                    .filter_map(|staged| staged.command);
                for handed in commands {
                    let why = "the store refuses what happens to this workflow: it is parked";
                    self.answer(
                        handed,
                        CommandState::Refused {
                            why: why.to_owned(),
                        },
                    );
                }
                self.state = durable;
                self.record(Event::Poisoned { error }, Vec::new());
            }
        }
    }

    /// Its row as it is to be from now on.
    pub(super) fn current_head(&self) -> Head {
        let (status, wake_at) = self.standing();
        Head {
            status,
            wake_at,
            reason: self.state.reason_code().map(str::to_owned),
            updated_at: self.state.at,
            ..self.head.clone()
        }
    }

    /// What of its row changes.
    pub(super) fn head_update(&self, head: &Head) -> Option<HeadUpdate> {
        let changed = head.status != self.head.status
            || head.reason != self.head.reason
            || head.wake_at != self.head.wake_at;
        changed.then(|| HeadUpdate {
            id: self.id,
            status: head.status,
            reason: head.reason.clone(),
            wake_at: head.wake_at,
            updated_at: head.updated_at,
        })
    }

    /// What changes about its being parked.
    fn parking(&self) -> Option<Parking> {
        let is_parked = |state: &&WorkflowState| matches!(state.phase, Phase::Parked { .. });
        let was = self.durable.as_ref().filter(is_parked);
        let Phase::Parked { step, error, .. } = &self.state.phase else {
            let row_says_so = self.durable.is_some() && self.head.status == Status::Parked;
            return (was.is_some() || row_says_so).then_some(Parking::Over);
        };
        let said = self.head.status == Status::Parked && self.head.reason.is_some();
        if said && was.is_some_and(|was| was.phase == self.state.phase) {
            return None;
        }
        let name = |index: StepIndex| self.state.definition().step(index).name.to_string();
        Some(Parking::Parked(ParkedRow {
            id: self.id,
            definition: self.head.definition.name.clone(),
            step: step.map(name),
            class: error.class.clone(),
            message: normalised(&error.message),
            since: self.state.at,
        }))
    }
}
