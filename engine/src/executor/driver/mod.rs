//! Drives one workflow: plan, attempt, record, append, and again, until nothing is left to do here.
//!
//! The driver holds two states: `durable`, what the journal has acknowledged, and `state`, which also has the records that
//! are still pending. Attempts of replayable steps run ahead of the journal; a barrier waits for it. A workflow of which
//! nothing is durable is not owed patience: a "no" or a step that can't be attempted undoes what was done and leaves no trace,
//! once the store has said that no earlier life of the workflow is durable: that one's effects are under the same keys.

mod context;

mod due;
mod earlier_life;

mod attempts;
mod late;

mod records;

mod outside;
mod standing;

mod leftover;

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::attempt::{Ended, Late};
use super::registry::{Discarded, Resident, Stage};
use crate::definition::StepIndex;
use crate::ids::WorkflowId;
use crate::inbox::Handed;
use crate::journal::{AppendError, Staged};
use crate::planted;
use crate::runtime::Timestamp;
use crate::store::{Answer, Head, Status};
use crate::workflow::{Direction, End, Event, Phase, Plan, StepError, WorkflowState, plan};
pub(crate) use context::{DriverContext, Ends, Origin};
use due::Made;
use earlier_life::{EarlierLife, earlier_life};
pub(crate) use leftover::Leftover;

/// The entry that the writer has in hand.
struct Appending {
    reply: oneshot::Receiver<Result<(), AppendError>>,
    staged: Vec<Staged>,
    answers: Vec<(Handed, Answer)>,
    /// The state and the row once the entry is durable.
    state: WorkflowState,
    head: Head,
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
    /// Whose actions they are.
    watched: Vec<StepIndex>,
    /// Steps of which an action that was given up took effect after all.
    found_late: HashSet<StepIndex>,
    /// What was due by this instant has been looked at: what is due later is still to be waited for, even if it is past by the time
    /// that the waiting begins.
    looked_at: Timestamp,
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
    /// Why there is no workflow, once that is known.
    discarded: Option<Discarded>,
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
            watched: Vec::new(),
            found_late: HashSet::new(),
            looked_at: Timestamp::default(),
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
            discarded: None,
            _permit: permit,
        };
        if driver.leftover.is_some() {
            driver.turn_back_leftover();
        }
        driver
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
                Next::Continue if self.gone => {}
                Next::Continue => self.wait().await,
            }
        };
        if self.busy {
            self.context.busy.leave();
        }
        if self.durable.as_ref().is_some_and(WorkflowState::is_settled) {
            self.context.metrics.settled.add(1);
        }
        // Commands that are dropped here are still pending in the inbox, and are handed over again.
        self.commands.close();
        if remember && !self.state.is_terminal() {
            self.context.timers.rests(self.id.ident());
        }
        self.context.registry.retire(&self.resident, remember);
        // Not before: whoever is told that there is no workflow may send the key again, with another request.
        if let Some(why) = self.discarded.take() {
            self.stage.send_replace(Stage::Discarded(why));
        }
        if let Some(wake_at) = wake_at {
            self.context.timers.add(wake_at, self.id.ident());
        }
    }

    /// The partition is closed, or about to be: by this node's clock its lease has run out.
    fn may_not_act(&self) -> bool {
        let now = self.context.runtime.now();
        let has_ended = self.context.committed.lease_has_ended(now);
        *self.context.closed.borrow() || has_ended && !planted::is_on("acts-after-its-lease")
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
            Some(late) = self.late.next() => self.watched_ended(&late),
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
            self.looked_at = self.context.runtime.now();
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
        let ends = plan.end.is_some() && plan.end != self.held_end();
        if !plan.starts.is_empty() || ends {
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

    /// The end that does not come yet: an attempt that was given up may still turn out to have had its effect. That counts where
    /// something is undone, and where an alternative is done in its place.
    fn held_end(&self) -> Option<End> {
        let mut given_up = self.watched.iter().chain(&self.acting);
        if given_up.any(|step| self.would_be_belied(*step)) {
            return Some(End::Completed);
        }
        (!self.late.is_empty()).then_some(End::Compensated)
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

/// Completes once the value is true, or nobody can set it any more.
async fn turns_true(value: &mut watch::Receiver<bool>) {
    let _true_or_gone = value.wait_for(|value| *value).await;
}

/// The attempts that may have begun in another life of the workflow.
fn under_way(state: &WorkflowState) -> HashSet<(StepIndex, Direction, u32)> {
    let mut found = HashSet::new();
    for (index, progress) in state.steps.iter().enumerate() {
        for direction in [Direction::Forward, Direction::Backward] {
            if let Some(attempt) = progress.attempting(direction) {
                found.insert((StepIndex(index), direction, attempt));
            }
        }
    }
    found
}
