//! Drives one workflow: plan, attempt, record, append, and again, until nothing is left to do here.
//!
//! The driver holds two states: `durable`, what the journal has acknowledged, and `state`, which also has the records that
//! are still pending. Attempts of replayable steps run ahead of the journal; a barrier waits for it. A workflow of which
//! nothing is durable is not owed patience: a "no" or a step that can't be attempted undoes what was done and leaves no trace,
//! once the store has said that no earlier life of the workflow is durable: that one's effects are under the same keys.

mod attempts;
mod outside;
mod records;
mod standing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::attempt::{Ended, Late};
use super::breaker::Breakers;
use super::busy::Busy;
use super::registry::{Discarded, Registry, Resident, Stage};
use crate::definition::{Durability, StepIndex};
use crate::ids::{Epoch, WorkflowId};
use crate::inbox::{Handed, Inbox};
use crate::journal::{AppendError, Committed, JournalHandle, Staged};
use crate::metrics::Metrics;
use crate::node::timers::Timers;
use crate::runtime::{Runtime, Timestamp};
use crate::store::{Answer, Head, Status, Store, StoreError};
use crate::workflow::{
    By, Direction, Event, Phase, Plan, PlannedAttempt, Record, StepError, StepState, Undo,
    WorkflowState, plan,
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
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committed: Arc<Committed>,
    /// Where a workflow goes that was lost before it was durable.
    pub(crate) leftovers: mpsc::UnboundedSender<Leftover>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) breakers: Arc<Breakers>,
    /// Where a workflow goes that has nothing to do before an instant comes.
    pub(crate) timers: Arc<Timers>,
    /// A workflow that has nothing to do for longer than this leaves memory.
    pub(crate) rest_after: Duration,
}

/// A workflow that lost its partition before anyone knew it to be durable. What it may have done is undone once it is known
/// not to be in the journal.
#[derive(Clone)]
pub(crate) struct Leftover {
    pub(crate) head: Head,
    /// The epoch under which it was lost.
    pub(crate) epoch: Epoch,
    /// Its records were on their way to the database, where they may arrive for as long as the epoch lasts.
    pub(crate) undecided: bool,
    pub(crate) state: WorkflowState,
    pub(crate) staged: Vec<Staged>,
    /// How often it was tried to clear it.
    pub(crate) tries: u32,
}

/// Where a workflow comes from.
pub(crate) enum Origin {
    /// It is being started with this record: nothing is durable.
    Start(Record),
    /// It was folded from the journal: another life may have begun what comes next.
    Journal,
    /// It was folded from the journal, and left memory under this epoch with nothing under way.
    Rest,
    /// Its start was lost: nothing is durable, and it turns back.
    Leftover(Box<Leftover>),
}

/// The ends of a workflow's channels that its driver holds.
pub(crate) struct Ends {
    pub(crate) resident: Resident,
    pub(crate) commands: mpsc::Receiver<Handed>,
    pub(crate) stage: watch::Sender<Stage>,
}

/// The entry that the writer has in hand.
struct Appending {
    reply: oneshot::Receiver<Result<(), AppendError>>,
    staged: Vec<Staged>,
    answers: Vec<(Handed, Answer)>,
    /// The state and the row once the entry is durable.
    state: WorkflowState,
    head: Head,
}

/// Whether an earlier life of a workflow, of which nothing is durable by this one, is in the store.
enum EarlierLife {
    /// Nobody has asked: there was nothing to undo.
    Unasked,
    /// The store is being asked.
    Asked(BoxFuture<'static, Result<Option<Head>, StoreError>>),
    /// There is none: what was done may be undone.
    None,
}

/// What became of the attempts that are due.
enum Made {
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

/// The driver's next step.
enum Next {
    Continue,
    End {
        /// What it was may be shown from memory.
        remember: bool,
        /// It is woken at this instant.
        wake_at: Option<Timestamp>,
    },
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
    /// What is left of actions that were given up.
    late: FuturesUnordered<BoxFuture<'static, Late>>,
    /// Steps whose port has no room for them before this instant.
    held_back: HashMap<StepIndex, Timestamp>,
    /// Attempts that the journal names and that another life of this workflow may have made.
    inherited: HashSet<(StepIndex, Direction, u32)>,
    /// Steps whose rows are not durable yet: what needs them waits.
    rows_pending: HashSet<StepIndex>,
    /// Steps whose rows the store refused: their compensation has no rows to take back.
    rows_never: HashSet<StepIndex>,
    /// Answers to commands that no record carries out.
    answers: Vec<(Handed, Answer)>,
    resident: Resident,
    commands: mpsc::Receiver<Handed>,
    stage: watch::Sender<Stage>,
    earlier_life: EarlierLife,
    /// What it came from, if it came from a lost start: that is what is left over when it can't be cleared now.
    leftover: Option<Box<Leftover>>,
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
        let mut leftover = None;
        let (durable, inherited, pending) = match origin {
            Origin::Start(record) => (None, HashSet::new(), vec![Staged::alone(record)]),
            Origin::Journal => (Some(state.clone()), under_way(&state), Vec::new()),
            Origin::Rest => (Some(state.clone()), HashSet::new(), Vec::new()),
            Origin::Leftover(lost) => {
                let staged = lost.staged.clone();
                leftover = Some(lost);
                (None, under_way(&state), staged)
            }
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
            late: FuturesUnordered::new(),
            held_back: HashMap::new(),
            inherited,
            rows_pending: HashSet::new(),
            rows_never: HashSet::new(),
            answers: Vec::new(),
            resident: ends.resident,
            commands: ends.commands,
            stage: ends.stage,
            earlier_life: EarlierLife::Unasked,
            leftover,
            unavailable: None,
            busy: false,
            gone: false,
            _permit: permit,
        };
        if driver.leftover.is_some() {
            driver.turn_back_leftover();
        }
        driver
    }

    /// A lost start turns back: nothing of it is durable, and what it did must be undone. Steps behind a barrier have not
    /// begun, whatever their intent says; if one was undone all the same, its records say so.
    fn turn_back_leftover(&mut self) {
        let definition = Arc::clone(self.state.definition());
        let told: HashSet<StepIndex> = self
            .pending
            .iter()
            .filter_map(|staged| definition.index_of(staged.record.event.step()?))
            .collect();
        for staged in &mut self.pending {
            staged.record.starts.retain(|intent| {
                definition.index_of(&intent.step).is_some_and(|index| {
                    let durability = definition.step(index).policy.durability;
                    durability == Durability::Replayable || told.contains(&index)
                })
            });
        }
        let records = self.pending.iter().map(|staged| &staged.record);
        let Ok(Some(state)) = WorkflowState::fold(&definition, records) else {
            tracing::error!(workflow.id = %self.id, "a lost start does not fold");
            self.gone = true;
            return;
        };
        self.state = state;
        self.inherited = under_way(&self.state);
        self.earlier_life = EarlierLife::None;
        let error = StepError::new(
            "start-lost",
            "the node lost its partition while it started this workflow",
        );
        self.unavailable = Some(error.clone());
        let by = By {
            actor: "engine".to_owned(),
            reason: error.message,
        };
        let event = Event::CompensationRequested { by: by.clone() };
        let again = Event::RetryRequested { by };
        // It may be going back already, or wait for an operator in the middle of that.
        if let Some(event) = [event, again].into_iter().find(|event| self.fits(event)) {
            self.record(event, Vec::new());
        }
    }

    /// Drives the workflow until it is settled, discarded, or its partition is lost.
    pub(crate) async fn run(mut self) {
        if self.durable.is_some() {
            self.publish();
        }
        let (remember, wake_at) = loop {
            if self.may_not_act() {
                self.partition_lost();
            }
            if self.gone {
                break (false, None);
            }
            match self.advance().await {
                // A command that came while the workflow settled is heard before it leaves memory.
                Next::End { remember, wake_at } => match self.commands.try_recv() {
                    Ok(command) => self.command(command),
                    // What another owner may change from now on is not worth remembering.
                    Err(_) => break (remember && !*self.context.closed.borrow(), wake_at),
                },
                Next::Continue => self.wait().await,
            }
        };
        if self.busy {
            self.context.busy.leave();
        }
        if self
            .durable
            .as_ref()
            .is_some_and(|state| state.is_terminal() || is_parked(state))
        {
            self.context.metrics.settled.add(1);
        }
        // Commands that are dropped here are still pending in the inbox, and are handed over again.
        self.commands.close();
        if remember && !self.state.is_terminal() {
            self.context.timers.rests(self.id.ident());
        }
        self.context.registry.retire(&self.resident, remember);
        if let Some(wake_at) = wake_at {
            self.context.timers.add(wake_at, self.id.ident());
        }
    }

    /// The partition is closed, or about to be: by this node's clock its lease has run out.
    fn may_not_act(&self) -> bool {
        let now = self.context.runtime.now();
        *self.context.closed.borrow() || self.context.committed.lease_has_ended(now)
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
            biased;
            // First of all: once the partition is lost no attempt goes on.
            () = turns_true(&mut self.context.closed) => {}
            Some(ended) = self.attempts.next() => self.attempt_ended(ended),
            Some(late) = self.late.next() => self.ended_late(&late),
            result = append_answer(&mut self.appending) => self.appended(result),
            found = earlier_life(&mut self.earlier_life) => self.earlier_life_found(found),
            Some(command) = self.commands.recv() => self.command(command),
            Ok(()) = self.context.paused.changed() => {}
            () = until_due => {}
        }
    }

    /// Does everything that can be done without waiting.
    async fn advance(&mut self) -> Next {
        let blocked = loop {
            self.let_time_pass();
            self.go_on_if_nothing_happens();
            if let Some(next) = self.settle() {
                return next;
            }
            match self.make_due_attempts() {
                Made::All { blocked } => break blocked,
                Made::TurnedBack => {}
            }
        };
        if self.should_append(blocked) {
            self.append().await;
        }
        self.note_busy();
        Next::Continue
    }

    fn plan(&self) -> Plan {
        plan(&self.state, &|step| self.acting.contains(&step))
    }

    /// First attempts or an end may be due that no record names: something waited for an attempt that died with another owner, or
    /// that ended without a word.
    fn go_on_if_nothing_happens(&mut self) {
        let plan = self.plan();
        if !plan.starts.is_empty() || (plan.end.is_some() && self.late.is_empty()) {
            let epoch = self.context.epoch;
            self.record(Event::Continued { epoch }, Vec::new());
        }
    }

    /// Whether the driver has nothing left to do here.
    fn settle(&mut self) -> Option<Next> {
        if let (None, None, Phase::Compensated { .. }) =
            (&self.durable, &self.appending, &self.state.phase)
        {
            self.discard();
            return Some(Next::End {
                remember: false,
                wake_at: None,
            });
        }
        if !self.is_quiet() {
            return None;
        }
        let over = self.is_over() && !self.row_is_wrong();
        // What its row says, so that whoever finds it there knows when to wake it.
        let rests =
            self.head.status == Status::Waiting && self.standing() == self.durable_standing();
        (over || rests).then_some(Next::End {
            remember: true,
            wake_at: self.head.wake_at.filter(|_| rests),
        })
    }

    /// Nothing is under way and nothing is left to be written.
    fn is_quiet(&self) -> bool {
        let over = self.state.is_terminal();
        self.pending.is_empty()
            && self.answers.is_empty()
            && self.appending.is_none()
            && self.attempts.is_empty()
            && (over || self.late.is_empty())
    }

    /// Begins every attempt that is due and allowed.
    fn make_due_attempts(&mut self) -> Made {
        // Busy first, then the look: who pauses sees either that we are busy or that we saw the pause.
        self.set_busy(true);
        if *self.context.paused.borrow_and_update() {
            return Made::All { blocked: true };
        }
        let now = self.context.runtime.now();
        let mut blocked = false;
        for planned in self.plan().resumes {
            if planned.not_before > now || self.must_wait_for_journal(&planned) {
                // A workflow that waits must be durable: it may wait for long.
                blocked = true;
            } else if planned.direction == Direction::Forward || self.may_undo_without_trace() {
                match self.admit(&planned, now) {
                    Admission::Granted => self.begin(&planned),
                    Admission::Later => blocked = true,
                    Admission::TurnedBack => return Made::TurnedBack,
                }
            }
        }
        Made::All { blocked }
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
        let node = self.state.definition().step(planned.step);
        match planned.direction {
            // What was never durable is undone without a trace; what is durable turns back durably first.
            Direction::Backward => !self.is_volatile(),
            Direction::Forward => {
                node.policy.durability == Durability::Barrier
                    || node
                        .needs
                        .iter()
                        .any(|need| self.rows_pending.contains(need))
            }
        }
    }

    /// Whether what was done may be undone: it is durable, or nothing of it ever was. Asks the store if need be.
    fn may_undo_without_trace(&mut self) -> bool {
        if self.durable.is_some() {
            return true;
        }
        // No journal tells us that the partition has a new owner, who may be making the same attempts forward.
        if self
            .context
            .committed
            .lease_has_ended(self.context.runtime.now())
        {
            self.given_back(Discarded::Lost, Vec::new());
            return false;
        }
        if matches!(self.earlier_life, EarlierLife::None) {
            return true;
        }
        if matches!(self.earlier_life, EarlierLife::Unasked) {
            let (store, ident) = (Arc::clone(&self.context.store), self.id.ident());
            self.earlier_life =
                EarlierLife::Asked(Box::pin(async move { store.find(&ident).await }));
        }
        false
    }

    fn next_due(&self) -> Option<Timestamp> {
        if *self.context.paused.borrow() {
            return None;
        }
        let now = self.context.runtime.now();
        self.instants()
            .into_iter()
            .filter(|instant| *instant > now)
            .min()
    }

    /// Pending records go to the journal when something waits for them or nothing else is about to add to them; so do answers,
    /// and the word that the workflow rests.
    fn should_append(&self, blocked: bool) -> bool {
        if matches!(self.earlier_life, EarlierLife::Asked(_)) && !blocked {
            return false;
        }
        if self.appending.is_some() {
            return false;
        }
        let idle = self.attempts.is_empty();
        let records = !self.pending.is_empty() && (blocked || idle);
        let answers = !self.answers.is_empty() && self.durable.is_some();
        records || answers || self.is_about_to_rest() || self.row_is_wrong()
    }

    /// Nothing of the workflow is durable, nor on its way to be.
    fn is_volatile(&self) -> bool {
        self.durable.is_none() && self.appending.is_none()
    }

    fn note_busy(&mut self) {
        let busy =
            !self.pending.is_empty() || self.appending.is_some() || !self.attempts.is_empty();
        self.set_busy(busy);
    }

    fn set_busy(&mut self, busy: bool) {
        if busy != self.busy {
            self.busy = busy;
            if busy {
                self.context.busy.enter();
            } else {
                self.context.busy.leave();
            }
        }
    }
}

/// The answer of the journal to the entry it has in hand; never completes when it has none.
async fn append_answer(appending: &mut Option<Appending>) -> Result<(), AppendError> {
    match appending {
        Some(appending) => (&mut appending.reply)
            .await
            .unwrap_or(Err(AppendError::Lost)),
        None => std::future::pending().await,
    }
}

/// The answer of the store about an earlier life; never completes when it is not being asked.
async fn earlier_life(asked: &mut EarlierLife) -> Result<Option<Head>, StoreError> {
    match asked {
        EarlierLife::Asked(answer) => answer.await,
        EarlierLife::Unasked | EarlierLife::None => std::future::pending().await,
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
