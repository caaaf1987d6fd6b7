//! The workflows that are in memory: those being driven, and the last ones that settled.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::{CommandError, View};
use crate::ids::{Ident, PartitionId, WorkflowId};
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

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Let a parked workflow go on.
    Retry,
    /// Turn the workflow back.
    Compensate,
}

/// A command to a workflow that is in memory.
pub(crate) struct Command {
    pub(crate) verb: Verb,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) reply: oneshot::Sender<Result<View, CommandError>>,
}

/// A workflow in memory, as others reach it.
#[derive(Clone)]
pub(crate) struct Resident {
    pub(crate) id: WorkflowId,
    pub(crate) request_hash: [u8; 32],
    pub(crate) stage: watch::Receiver<Stage>,
    /// Closed once the workflow is no longer driven.
    pub(crate) commands: mpsc::Sender<Command>,
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

    /// Puts a resident that is driven from now on in the place of one that was only remembered. The one that is being driven
    /// already stays: then it is returned, and `resident` is not taken.
    pub(crate) fn revive(&self, resident: Resident) -> Result<(), Resident> {
        let mut residents = self.lock();
        let ident = resident.id.ident();
        match residents.by_ident.get(&ident) {
            Some(driven) if !driven.commands.is_closed() => return Err(driven.clone()),
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
    pub(crate) fn retire(&self, id: WorkflowId, remember: bool) {
        let mut residents = self.lock();
        residents.driven -= 1;
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

    /// How many are being driven.
    pub(crate) fn driven(&self) -> usize {
        self.lock().driven
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Residents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
