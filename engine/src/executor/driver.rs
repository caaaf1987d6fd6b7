//! Drives one workflow: plan, attempt, record, append, and again, until nothing is left to do here.
//!
//! The driver holds two states: `durable`, what the journal has acknowledged, and `state`, which also has the records that
//! are still pending. Attempts of replayable steps run ahead of the journal; a barrier waits for it. A workflow of which
//! nothing is durable is not owed patience: a "no" or a step that can't be attempted undoes what was done and leaves no trace.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::attempt::{Ended, Work};
use super::busy::Busy;
use super::registry::{Command, Discarded, Registry, Stage, Verb};
use crate::definition::{Attempt, Durability, Outcome, Phase as StepPhase, StepIndex};
use crate::engine::{CommandError, View};
use crate::ids::{Epoch, WorkflowId};
use crate::journal::{AppendError, Entry, JournalHandle, Staged};
use crate::metrics::Metrics;
use crate::payload::Payload;
use crate::runtime::{Runtime, Timestamp};
use crate::store::{Change, Head, HeadUpdate, Status};
use crate::workflow::{
    AfterFailure, Direction, Event, Failure, Phase, Plan, PlannedAttempt, Record, Refusal, StepError,
    StepState, Undo, WorkflowState, plan, turned_back_because,
};

/// What a driver needs of its partition and node.
#[derive(Clone)]
pub(crate) struct DriverContext {
    pub(crate) runtime: Runtime,
    pub(crate) epoch: Epoch,
    pub(crate) journal: JournalHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Arc<Registry>,
    /// Turns true when the partition is no longer ours.
    pub(crate) closed: watch::Receiver<bool>,
    /// While true, no attempt begins.
    pub(crate) paused: watch::Receiver<bool>,
    pub(crate) busy: Arc<Busy>,
    /// Where a workflow goes that was lost before it was durable.
    pub(crate) leftovers: mpsc::UnboundedSender<Leftover>,
}

/// A workflow that lost its partition before anyone knew it to be durable. What it may have done is undone once it is known
/// not to be in the journal.
pub(crate) struct Leftover {
    pub(crate) head: Head,
    pub(crate) state: WorkflowState,
    pub(crate) staged: Vec<Staged>,
}

/// Where a workflow comes from.
pub(crate) enum Origin {
    /// It is being started with this record: nothing is durable.
    Start(Record),
    /// It was folded from the journal.
    Journal,
    /// Its start was lost with these records: nothing is durable, and it turns back.
    Leftover(Vec<Staged>),
}

/// The ends of a workflow's channels that its driver holds.
pub(crate) struct Ends {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) stage: watch::Sender<Stage>,
}

/// The entry that the writer has in hand.
struct Appending {
    reply: oneshot::Receiver<Result<(), AppendError>>,
    staged: Vec<Staged>,
    /// The state once the entry is durable.
    state: WorkflowState,
}

/// The driver's next step.
enum Next {
    Continue,
    End { remember: bool },
}

/// One workflow, being driven.
pub(crate) struct Driver {
    context: DriverContext,
    id: WorkflowId,
    head: Head,
    state: WorkflowState,
    durable: Option<WorkflowState>,
    pending: Vec<Staged>,
    appending: Option<Appending>,
    attempts: FuturesUnordered<BoxFuture<'static, Ended>>,
    acting: HashSet<StepIndex>,
    /// Attempts that the journal names and that another life of this workflow may have made.
    inherited: HashSet<(StepIndex, Direction, u32)>,
    /// Steps whose rows are not durable yet: what needs them waits.
    rows_pending: HashSet<StepIndex>,
    replies: Vec<(u32, oneshot::Sender<Result<View, CommandError>>)>,
    commands: mpsc::Receiver<Command>,
    stage: watch::Sender<Stage>,
    /// Turning back because nothing could be attempted, not because something said no.
    unavailable: Option<StepError>,
    busy: bool,
    /// The journal gave the workflow back: nothing more can be done here.
    gone: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Driver {
    pub(crate) fn new(
        context: DriverContext,
        head: Head,
        state: WorkflowState,
        origin: Origin,
        ends: Ends,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let (durable, inherited, pending) = match &origin {
            Origin::Start(record) => {
                let first = Staged { record: record.clone(), changes: Vec::new() };
                (None, HashSet::new(), vec![first])
            }
            Origin::Journal => (Some(state.clone()), under_way(&state), Vec::new()),
            Origin::Leftover(staged) => (None, under_way(&state), staged.clone()),
        };
        let mut driver = Self {
            context,
            id: head.id,
            head,
            state,
            durable,
            pending,
            appending: None,
            attempts: FuturesUnordered::new(),
            acting: HashSet::new(),
            inherited,
            rows_pending: HashSet::new(),
            replies: Vec::new(),
            commands: ends.commands,
            stage: ends.stage,
            unavailable: None,
            busy: false,
            gone: false,
            _permit: permit,
        };
        if let Origin::Leftover(_) = origin {
            driver.turn_back_leftover();
        }
        driver
    }

    /// A lost start turns back: nothing of it is durable, and what it did must be undone. Steps behind a barrier have not
    /// begun, whatever their intent says.
    fn turn_back_leftover(&mut self) {
        let definition = Arc::clone(self.state.definition());
        for staged in &mut self.pending {
            staged.record.starts.retain(|intent| {
                let step = definition.index_of(&intent.step).map(|index| definition.step(index));
                step.is_some_and(|step| step.policy.durability == Durability::Replayable)
            });
        }
        let records = self.pending.iter().map(|staged| &staged.record);
        match WorkflowState::fold(&definition, records) {
            Ok(Some(state)) => self.state = state,
            Ok(None) | Err(_) => {
                tracing::error!(workflow.id = %self.id, "a lost start does not fold");
                self.gone = true;
                return;
            }
        }
        self.inherited = under_way(&self.state);
        let error =
            StepError::new("start-lost", "the node lost its partition while it started this workflow");
        self.unavailable = Some(error.clone());
        let event =
            Event::CompensationRequested { actor: "engine".to_owned(), reason: error.message };
        if self.fits(&event) {
            self.record(event, Vec::new());
        }
    }

    /// Drives the workflow until it is settled, discarded, or its partition is lost.
    pub(crate) async fn run(mut self) {
        if self.durable.is_some() {
            self.publish();
        }
        let remember = loop {
            match self.advance().await {
                // A command that came while the workflow settled is heard before it leaves memory.
                Next::End { remember } => match self.commands.try_recv() {
                    Ok(command) => self.command(command),
                    Err(_) => break remember,
                },
                Next::Continue => {}
            }
            if *self.context.closed.borrow() {
                self.partition_lost();
            }
            if self.gone {
                break false;
            }
            self.wait().await;
        };
        if self.busy {
            self.context.busy.leave();
        }
        if self.durable.as_ref().is_some_and(|state| state.status().is_terminal() || is_parked(state)) {
            self.context.metrics.settled.add(1);
        }
        self.commands.close();
        self.context.registry.retire(self.id, remember);
        while let Ok(command) = self.commands.try_recv() {
            let _gone = command.reply.send(Err(CommandError::Conflict(
                "the workflow settled at this moment: look at it and decide again".to_owned(),
            )));
        }
    }

    /// Waits for whatever comes first: an attempt's end, the journal, a command, a due attempt, the end of a pause.
    async fn wait(&mut self) {
        let due = self.next_due();
        let runtime = self.context.runtime.clone();
        let until_due = async {
            match due {
                Some(instant) => runtime.sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = turns_true(&mut self.context.closed) => {}
            Some(ended) = self.attempts.next() => self.attempt_ended(ended),
            result = append_answer(&mut self.appending) => self.appended(result),
            Some(command) = self.commands.recv() => self.command(command),
            Ok(()) = self.context.paused.changed() => {}
            () = until_due => {}
        }
    }

    // ---- deciding ----

    /// Does everything that can be done without waiting.
    async fn advance(&mut self) -> Next {
        self.end_if_done();
        if let Some(next) = self.settle() {
            return next;
        }
        let blocked = self.make_due_attempts();
        if self.should_append(blocked) {
            self.append().await;
        }
        self.note_busy();
        Next::Continue
    }

    fn plan(&self) -> Plan {
        plan(&self.state, &|step| self.acting.contains(&step))
    }

    /// Records the event that ends the workflow, when nothing is left to do.
    fn end_if_done(&mut self) {
        if let Some(end) = self.plan().end {
            self.record(end, Vec::new());
        }
        // First attempts may be due that no record names: a compensation waited for an attempt that died with another owner.
        if !self.plan().starts.is_empty() {
            self.record(Event::Resumed { epoch: self.context.epoch }, Vec::new());
        }
    }

    /// Whether the driver has nothing left to do here.
    fn settle(&mut self) -> Option<Next> {
        if let (None, None, Phase::Compensated { .. }) = (&self.durable, &self.appending, &self.state.phase)
        {
            self.discard();
            return Some(Next::End { remember: false });
        }
        let quiet = self.pending.is_empty() && self.appending.is_none() && self.attempts.is_empty();
        let over = self.state.status().is_terminal() || is_parked(&self.state);
        (quiet && over).then_some(Next::End { remember: true })
    }

    /// Begins every attempt that is due and allowed. Returns whether one waits for the journal.
    fn make_due_attempts(&mut self) -> bool {
        // Busy first, then the look: who pauses sees either that we are busy or that we saw the pause.
        self.set_busy(true);
        if *self.context.paused.borrow_and_update() {
            return true;
        }
        let now = self.context.runtime.now();
        let mut blocked = false;
        for planned in self.plan().resumes {
            if planned.not_before > now {
                // A workflow that waits must be durable: it may wait for long.
                blocked = true;
            } else if self.must_wait_for_journal(&planned) {
                blocked = true;
            } else {
                self.begin(&planned);
            }
        }
        blocked
    }

    fn must_wait_for_journal(&self, planned: &PlannedAttempt) -> bool {
        let all_durable = self.pending.is_empty() && self.appending.is_none();
        if all_durable && self.durable.is_some() {
            return false;
        }
        let node = self.state.definition().step(planned.step);
        match planned.direction {
            // What was never durable is undone without a trace; what is durable turns back durably first.
            Direction::Backward => self.durable.is_some() || self.appending.is_some(),
            Direction::Forward => {
                node.policy.durability == Durability::Barrier
                    || node.needs.iter().any(|need| self.rows_pending.contains(need))
            }
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        if *self.context.paused.borrow() {
            return None;
        }
        let now = self.context.runtime.now();
        let waiting = self.plan().resumes.into_iter().map(|planned| planned.not_before);
        waiting.filter(|instant| *instant > now).min()
    }

    /// Pending records go to the journal when something waits for them or nothing else is about to add to them.
    fn should_append(&self, blocked: bool) -> bool {
        !self.pending.is_empty() && self.appending.is_none() && (blocked || self.attempts.is_empty())
    }

    // ---- attempts ----

    fn begin(&mut self, planned: &PlannedAttempt) {
        let node = self.state.definition().step(planned.step);
        let inputs: Option<Vec<Payload>> =
            node.inputs.iter().map(|source| self.state.value_of(*source).cloned()).collect();
        let output = match (planned.direction, &self.state.steps[planned.step.0].action) {
            (Direction::Backward, StepState::Done { output, .. }) => Some(output.clone()),
            _ => None,
        };
        let key = (planned.step, planned.direction, planned.number);
        let work = Work {
            runtime: self.context.runtime.clone(),
            definition: Arc::clone(self.state.definition()),
            step: planned.step,
            attempt: Attempt {
                workflow: self.id,
                step: Arc::clone(&node.name),
                direction: planned.direction,
                number: planned.number,
                epoch: self.context.epoch,
            },
            inputs: inputs.expect("a step is attempted only when what it needs is done"),
            output,
            ask_first: planned.effect_may_exist || self.inherited.contains(&key),
        };
        self.acting.insert(planned.step);
        self.attempts.push(work.begin());
    }

    fn attempt_ended(&mut self, ended: Ended) {
        self.acting.remove(&ended.step);
        if !self.is_expected(&ended) {
            return;
        }
        let step = self.state.definition().step(ended.step).name.to_string();
        match ended.direction {
            Direction::Forward => self.action_ended(step, ended),
            Direction::Backward => self.compensation_ended(step, ended),
        }
    }

    /// An attempt that ends after the workflow moved on changes nothing.
    fn is_expected(&self, ended: &Ended) -> bool {
        let progress = &self.state.steps[ended.step.0];
        match ended.direction {
            Direction::Forward => matches!(
                progress.action,
                StepState::Attempting { attempt, .. } if attempt == ended.number
            ),
            Direction::Backward => {
                matches!(progress.undo, Undo::Attempting { attempt, .. } if attempt == ended.number)
            }
        }
    }

    fn action_ended(&mut self, step: String, ended: Ended) {
        let attempt = ended.number;
        match ended.outcome {
            Outcome::Done { output, changes } => {
                if !changes.is_empty() {
                    self.rows_pending.insert(ended.step);
                }
                self.record(Event::StepDone { step, attempt, output }, changes);
            }
            Outcome::Refused(refusal) => {
                let effect_may_exist = false;
                self.record(
                    Event::StepRefused { step, attempt, refusal, effect_may_exist },
                    Vec::new(),
                );
            }
            Outcome::Unknown(error) => {
                let then = self.after_failure(ended.step, attempt, Failure::Unknown, None);
                let failure = Failure::Unknown;
                self.record(Event::AttemptFailed { step, attempt, failure, error, then }, Vec::new());
            }
            Outcome::Retry { error, after } => {
                let failure = Failure::NoEffect;
                let then = if self.durable.is_none() && self.appending.is_none() {
                    self.unavailable.get_or_insert(error.clone());
                    AfterFailure::TurnBack
                } else {
                    self.after_failure(ended.step, attempt, failure, after)
                };
                self.record(Event::AttemptFailed { step, attempt, failure, error, then }, Vec::new());
            }
        }
    }

    fn compensation_ended(&mut self, step: String, ended: Ended) {
        let attempt = ended.number;
        let (error, after) = match ended.outcome {
            Outcome::Done { changes, .. } => {
                return self.record(Event::CompensationDone { step, attempt }, changes);
            }
            Outcome::Refused(refusal) => {
                let error = StepError::new(refusal.code, refusal.message);
                let then = AfterFailure::Park;
                return self
                    .record(Event::CompensationFailed { step, attempt, error, then }, Vec::new());
            }
            Outcome::Unknown(error) => (error, None),
            Outcome::Retry { error, after } => (error, after),
        };
        let then = match self.delay(ended.step, attempt, after) {
            Some(instant) => AfterFailure::RetryAt(instant),
            None => AfterFailure::Park,
        };
        self.record(Event::CompensationFailed { step, attempt, error, then }, Vec::new());
    }

    /// What follows a failed attempt at an action.
    fn after_failure(
        &self,
        step: StepIndex,
        attempt: u32,
        failure: Failure,
        pause: Option<Duration>,
    ) -> AfterFailure {
        if let Some(instant) = self.delay(step, attempt, pause) {
            return AfterFailure::RetryAt(instant);
        }
        let earlier = matches!(
            self.state.steps[step.0].action,
            StepState::Attempting { effect_may_exist: true, .. }
        );
        match self.state.definition().step(step).phase {
            StepPhase::Compensable => AfterFailure::TurnBack,
            StepPhase::Pivot if failure == Failure::NoEffect && !earlier => AfterFailure::TurnBack,
            StepPhase::Pivot | StepPhase::Retriable => AfterFailure::Park,
        }
    }

    /// When the attempt after this one begins; `None` when retries have ended.
    fn delay(&self, step: StepIndex, attempt: u32, at_least: Option<Duration>) -> Option<Timestamp> {
        let policy = &self.state.definition().step(step).policy;
        let delay = policy.retry.delay_after(attempt, self.context.runtime.next_u64())?;
        let delay = delay.max(at_least.unwrap_or_default());
        Some(self.context.runtime.now().after(delay))
    }

    // ---- records ----

    /// Applies an event and adds it to the pending records, with the attempts that it lets begin.
    fn record(&mut self, event: Event, changes: Vec<Change>) {
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
                state.begin(&record).expect("the plan names only attempts that may begin");
                self.state = state;
                self.pending.push(Staged { record, changes });
            }
            // The driver makes only events that fit: this is a defect, and the workflow is better off untouched.
            Err(illegal) => tracing::error!(workflow.id = %self.id, %illegal, "an event was dropped"),
        }
    }

    async fn append(&mut self) {
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
        self.appending = Some(Appending { reply: answer, staged, state: self.state.clone() });
    }

    fn appended(&mut self, result: Result<(), AppendError>) {
        let Some(appending) = self.appending.take() else { return };
        match result {
            Ok(()) => {
                self.head = self.head_of(&appending.state);
                self.durable = Some(appending.state);
                if self.pending.is_empty() {
                    self.rows_pending.clear();
                } else {
                    let staged = self.pending.iter().filter(|staged| !staged.changes.is_empty());
                    let steps = staged.filter_map(|staged| staged.record.event.step());
                    self.rows_pending =
                        steps.filter_map(|step| self.state.definition().index_of(step)).collect();
                }
                self.publish();
                self.answer_commands();
            }
            Err(AppendError::Refused { staged, refusal }) => self.rows_refused(appending, staged, refusal),
            Err(AppendError::Exists) => self.given_back(Discarded::Exists, Vec::new()),
            Err(AppendError::Poisoned(error)) => self.poisoned(appending, error),
            Err(AppendError::Lost) => self.given_back(Discarded::Lost, appending.staged),
            Err(AppendError::Undecided) => self.given_back(Discarded::Undecided, appending.staged),
        }
    }

    /// A guard in the store said no to one record's rows. That step is refused instead, and everything else that was on its way
    /// is recorded again as far as it still fits.
    fn rows_refused(&mut self, appending: Appending, refused: usize, refusal: Refusal) {
        let mut again = appending.staged;
        again.append(&mut self.pending);
        self.rows_pending.clear();
        let first = again.first().map(|staged| staged.record.clone());
        let start = match (&self.durable, first) {
            (Some(durable), _) => Ok(durable.clone()),
            (None, Some(first)) => {
                let started = WorkflowState::start(self.state.definition(), &first);
                self.pending.push(Staged { record: first, changes: Vec::new() });
                started
            }
            (None, None) => return,
        };
        self.state = start.expect("it was legal before");
        let skip = usize::from(self.durable.is_none());
        for (place, staged) in again.into_iter().enumerate().skip(skip) {
            if place == refused {
                self.refuse_instead(staged.record.event, refusal.clone());
            } else if self.fits(&staged.record.event) {
                let index = staged.record.event.step().and_then(|step| self.state.definition().index_of(step));
                if !staged.changes.is_empty() {
                    self.rows_pending.extend(index);
                }
                self.record(staged.record.event, staged.changes);
            }
        }
    }

    fn refuse_instead(&mut self, event: Event, refusal: Refusal) {
        let event = match event {
            Event::StepDone { step, attempt, .. } => {
                Event::StepRefused { step, attempt, refusal, effect_may_exist: true }
            }
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

    fn fits(&self, event: &Event) -> bool {
        let record = Record {
            seq: self.state.seq + 1,
            at: self.state.at,
            event: event.clone(),
            starts: Vec::new(),
        };
        self.state.clone().apply(&record).is_ok()
    }

    /// The store refuses the workflow's rows for no reason that anyone foresaw: it waits for an operator.
    fn poisoned(&mut self, appending: Appending, error: StepError) {
        tracing::error!(workflow.id = %self.id, %error, "the store refuses a workflow's rows");
        let parking_was_refused =
            appending.staged.iter().any(|staged| matches!(staged.record.event, Event::Poisoned { .. }));
        match self.durable.clone() {
            None => self.given_back(Discarded::Unavailable(error), appending.staged),
            // Nothing more can be written about it; it stays as it durably is, for the auditor and the operator.
            Some(_) if parking_was_refused => self.given_back(Discarded::Lost, Vec::new()),
            Some(durable) => {
                self.pending.clear();
                self.rows_pending.clear();
                self.state = durable;
                self.record(Event::Poisoned { error }, Vec::new());
            }
        }
    }

    // ---- commands ----

    fn command(&mut self, command: Command) {
        let Command { verb, actor, reason, reply } = command;
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

    fn answer_commands(&mut self) {
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

    // ---- ends ----

    /// It ended before anything was durable.
    fn discard(&mut self) {
        let discarded = match (self.unavailable.take(), turned_back_because(&self.state)) {
            (Some(error), _) => Discarded::Unavailable(error),
            (None, Some(refusal)) => Discarded::Refused(refusal.clone()),
            (None, None) => Discarded::Lost,
        };
        self.stage.send_replace(Stage::Discarded(discarded));
    }

    /// The journal gave the workflow back, with the records that it did not write. The loop ends at its next turn.
    fn given_back(&mut self, why: Discarded, staged: Vec<Staged>) {
        if self.durable.is_none() {
            if !matches!(why, Discarded::Exists) {
                self.leave_over(staged);
            }
            self.stage.send_replace(Stage::Discarded(why));
        }
        self.gone = true;
    }

    fn partition_lost(&mut self) {
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
    fn leave_over(&mut self, mut staged: Vec<Staged>) {
        staged.append(&mut self.pending);
        let leftover = Leftover { head: self.head.clone(), state: self.state.clone(), staged };
        let _node_is_gone = self.context.leftovers.send(leftover);
    }

    // ---- showing ----

    fn publish(&self) {
        self.stage.send_replace(Stage::Durable(self.view()));
    }

    fn view(&self) -> View {
        View { id: self.id, head: self.head.clone(), state: self.durable.clone().map(Arc::new) }
    }

    fn current_head(&self) -> Head {
        self.head_of(&self.state)
    }

    fn head_of(&self, state: &WorkflowState) -> Head {
        Head {
            status: state.status(),
            reason: state.reason_code().map(str::to_owned),
            updated_at: state.at,
            ..self.head.clone()
        }
    }

    fn head_update(&self, status: Status) -> HeadUpdate {
        HeadUpdate {
            id: self.id,
            status,
            reason: self.state.reason_code().map(str::to_owned),
            updated_at: self.state.at,
        }
    }

    fn note_busy(&mut self) {
        let busy =
            !self.pending.is_empty() || self.appending.is_some() || !self.attempts.is_empty();
        self.set_busy(busy);
    }

    fn set_busy(&mut self, busy: bool) {
        if busy != self.busy {
            self.busy = busy;
            if busy { self.context.busy.enter() } else { self.context.busy.leave() }
        }
    }
}

/// The answer of the journal to the entry it has in hand; never completes when it has none.
async fn append_answer(appending: &mut Option<Appending>) -> Result<(), AppendError> {
    match appending {
        Some(appending) => (&mut appending.reply).await.unwrap_or(Err(AppendError::Lost)),
        None => std::future::pending().await,
    }
}

/// Completes once the value is true, or nobody can set it any more.
async fn turns_true(value: &mut watch::Receiver<bool>) {
    let _true_or_gone = value.wait_for(|value| *value).await;
}

fn is_parked(state: &WorkflowState) -> bool {
    matches!(state.phase, Phase::Parked { .. })
}

/// The attempts that may have begun in another life of the workflow.
fn under_way(state: &WorkflowState) -> HashSet<(StepIndex, Direction, u32)> {
    let mut found = HashSet::new();
    for (index, progress) in state.steps.iter().enumerate() {
        if let StepState::Attempting { attempt, .. } = progress.action {
            found.insert((StepIndex(index), Direction::Forward, attempt));
        }
        if let Undo::Attempting { attempt, .. } = progress.undo {
            found.insert((StepIndex(index), Direction::Backward, attempt));
        }
    }
    found
}
