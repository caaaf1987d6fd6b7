//! The part of the commands inbox that is in memory: which commands have been handed to their workflow, and who waits for an
//! answer in this process. The inbox itself is the store's: see [`crate::store::CommandStore`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::store::{Answer, CommandId, CommandRow, CommandState};

#[derive(Default)]
struct Known {
    handed: HashSet<CommandId>,
    waiting: HashMap<CommandId, Vec<oneshot::Sender<CommandState>>>,
}

/// What this process knows about commands that are under way. Locked for look-ups only, never over an await.
#[derive(Default)]
pub(crate) struct Inbox {
    known: Mutex<Known>,
    /// Somebody has submitted a command: whoever owns its workflow looks now and not at its next turn.
    pub(crate) nudge: Notify,
}

impl Inbox {
    /// The commands that are with their workflows now. Taken before the pending ones are read, it tells which of those were
    /// handed over already, and may be answered by the time they are looked at.
    pub(crate) fn handed(&self) -> HashSet<CommandId> {
        self.lock().handed.clone()
    }

    /// Marks a command as handed over, until the last clone of the mark is gone; `None` when it is with its workflow already.
    pub(crate) fn hand(self: &Arc<Self>, row: CommandRow) -> Option<Handed> {
        if !self.lock().handed.insert(row.id) {
            return None;
        }
        let inbox = Arc::clone(self);
        Some(Handed(Arc::new(Mark { row, inbox })))
    }

    /// Completes with the command's answer when it is given in this process.
    pub(crate) fn wait(&self, id: CommandId) -> oneshot::Receiver<CommandState> {
        let (sender, answer) = oneshot::channel();
        let mut known = self.lock();
        // Who gave up waiting is forgotten here, so that the map stays as long as the requests under way.
        known.waiting.retain(|_, waiting| {
            waiting.retain(|sender| !sender.is_closed());
            !waiting.is_empty()
        });
        known.waiting.entry(id).or_default().push(sender);
        answer
    }

    /// The answer is durable.
    pub(crate) fn answered(&self, answer: &Answer) {
        for waiting in self.lock().waiting.remove(&answer.id).unwrap_or_default() {
            let _gave_up = waiting.send(answer.state.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command that is with its workflow. When the last clone is gone it is either answered or to be handed over again.
#[derive(Clone)]
pub struct Handed(Arc<Mark>);

struct Mark {
    row: CommandRow,
    inbox: Arc<Inbox>,
}

impl Handed {
    /// The command's number.
    #[must_use]
    pub fn id(&self) -> CommandId {
        self.0.row.id
    }

    /// What was accepted.
    #[must_use]
    pub fn row(&self) -> &CommandRow {
        &self.0.row
    }
}

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handed").field(&self.id()).finish()
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.inbox.lock().handed.remove(&self.row.id);
    }
}
