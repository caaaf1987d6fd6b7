//! The workflows that are in memory: those being driven, and the last ones that settled.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::engine::View;
use crate::ids::{Ident, PartitionId, WorkflowId};
use crate::inbox::Handed;
use crate::runtime::Timestamp;
use crate::workflow::{Refusal, StepError};

/// Settled workflows that stay in memory, so that a repeat or a look at them costs no query.
const SETTLED_MAX: usize = 8_192;

/// What those who wait for a workflow see of it.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Nothing of it is durable yet.
    Volatile,
    /// It is durable, and this is how.
    Durable(View),
    /// It ended before anything was durable: there is no workflow.
    Discarded(Discarded),
}

/// Why a workflow was discarded before it was durable.
#[derive(Clone, Debug)]
pub(crate) enum Discarded {
    /// A step said no.
    Refused(Refusal),
    /// A step could not be attempted.
    Unavailable(StepError),
    /// Another start with its key was first.
    Exists,
    /// The partition was lost.
    Lost,
    /// The partition was lost while it was being written.
    Undecided,
}

/// A workflow in memory, as others reach it.
#[derive(Clone)]
pub(crate) struct Resident {
    pub(crate) id: WorkflowId,
    pub(crate) request_hash: [u8; 32],
    pub(crate) stage: watch::Receiver<Stage>,
    /// Closed once the workflow is no longer driven.
    pub(crate) commands: mpsc::Sender<Handed>,
    /// True once its partition is no longer ours: its driver is about to end.
    pub(crate) closed: watch::Receiver<bool>,
}

impl Resident {
    /// A driver takes care of it.
    pub(crate) fn is_driven(&self) -> bool {
        !self.commands.is_closed() && !*self.closed.borrow()
    }

    /// The two are one and the same stay in memory.
    fn is(&self, other: &Self) -> bool {
        self.commands.same_channel(&other.commands)
    }
}

/// What was in memory under an ident before the workflow was read from the store.
pub(crate) enum Seen {
    /// This, or nothing.
    Exactly(Option<Resident>),
    /// It does not matter: the workflow was found in a journal that nobody else can have written meanwhile.
    Whatever,
}

/// A resident was not revived.
#[derive(Debug)]
pub(crate) enum NotRevived {
    /// It is being driven already.
    Driven,
    /// It was in memory after the caller had looked: what the caller then read may be old.
    Stale,
}

#[derive(Default)]
struct Residents {
    by_ident: HashMap<Ident, Resident>,
    settled: VecDeque<WorkflowId>,
    driven: usize,
}

/// All of them. Locked for look-ups only, never over an await.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Residents>);

impl Registry {
    /// The resident of this ident.
    pub(crate) fn get(&self, ident: &Ident) -> Option<Resident> {
        self.lock().by_ident.get(ident).cloned()
    }

    /// The resident of this ident, or else the one that `make` makes, which is being driven from now on.
    pub(crate) fn get_or_insert<E>(
        &self,
        ident: &Ident,
        make: impl FnOnce() -> Result<Resident, E>,
    ) -> Result<(Resident, bool), E> {
        let mut residents = self.lock();
        if let Some(resident) = residents.by_ident.get(ident) {
            return Ok((resident.clone(), false));
        }
        let resident = make()?;
        residents.by_ident.insert(*ident, resident.clone());
        residents.driven += 1;
        Ok((resident, true))
    }

    /// Puts a resident that is driven from now on in the place of one that was only remembered, unless somebody was in memory
    /// since the workflow was read from the store: they may have changed it.
    pub(crate) fn revive(&self, resident: Resident, seen: &Seen) -> Result<(), NotRevived> {
        let mut residents = self.lock();
        let ident = resident.id.ident();
        match (residents.by_ident.get(&ident), seen) {
            // A repeat of its start, born in another partition, is about to find out that it is one: it gives way.
            (Some(now), Seen::Whatever) if now.id != resident.id => {}
            (Some(now), _) if now.is_driven() => return Err(NotRevived::Driven),
            (Some(now), Seen::Exactly(seen)) if !seen.as_ref().is_some_and(|seen| seen.is(now)) => {
                return Err(NotRevived::Stale);
            }
            _ => {}
        }
        residents.by_ident.insert(ident, resident);
        residents.driven += 1;
        Ok(())
    }

    /// Forgets what is only remembered of this partition: another node may change it from now on.
    pub(crate) fn forget(&self, partition: PartitionId) {
        let mut residents = self.lock();
        let keep = |resident: &Resident| {
            resident.id.partition() != partition || !resident.commands.is_closed()
        };
        residents.by_ident.retain(|_, resident| keep(resident));
    }

    /// The workflow is no longer driven. It is remembered for a while if `remember`, and forgotten otherwise.
    pub(crate) fn retire(&self, resident: &Resident, remember: bool) {
        let id = resident.id;
        let mut residents = self.lock();
        residents.driven -= 1;
        // Its partition may have been lost and taken back, and the workflow with it.
        let replaced = residents
            .by_ident
            .get(&id.ident())
            .is_none_or(|now| !now.is(resident));
        if replaced {
            return;
        }
        if !remember {
            residents.by_ident.remove(&id.ident());
            return;
        }
        residents.settled.push_back(id);
        if residents.settled.len() > SETTLED_MAX
            && let Some(oldest) = residents.settled.pop_front()
        {
            // It may be driven again: an operator retried it.
            let ident = oldest.ident();
            if residents
                .by_ident
                .get(&ident)
                .is_some_and(|resident| resident.commands.is_closed())
            {
                residents.by_ident.remove(&ident);
            }
        }
    }

    /// Forgets what is only remembered of workflows that were settled before this instant.
    pub(crate) fn forget_settled(&self, before: Timestamp) {
        let mut residents = self.lock();
        let is_old = |resident: &Resident| {
            let stage = resident.stage.borrow();
            matches!(&*stage, Stage::Durable(view) if view.head.updated_at < before)
        };
        residents
            .by_ident
            .retain(|_, resident| !resident.commands.is_closed() || !is_old(resident));
    }

    /// Whether a workflow of this partition is being driven.
    pub(crate) fn drives(&self, partition: PartitionId) -> bool {
        let residents = self.lock();
        residents.driven > 0
            && residents.by_ident.values().any(|resident| {
                resident.id.partition() == partition && !resident.commands.is_closed()
            })
    }

    /// How many are being driven.
    pub(crate) fn driven(&self) -> usize {
        self.lock().driven
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Residents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
