//! The part of the commands inbox that is in memory: which commands have been handed to their workflow, and who waits for an
//! answer in this process. The inbox itself is the store's: see [`crate::store::CommandStore`].

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

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
    pub(crate) fn wait(self: &Arc<Self>, id: CommandId) -> Waiting {
        let (sender, answer) = oneshot::channel();
        self.lock().waiting.entry(id).or_default().push(sender);
        let inbox = Arc::clone(self);
        Waiting { id, answer, inbox }
    }

    /// One who waited for this is gone.
    fn forget_waiting(&self, id: CommandId) {
        let mut known = self.lock();
        if let Entry::Occupied(mut waiting) = known.waiting.entry(id) {
            waiting.get_mut().retain(|sender| !sender.is_closed());
            if waiting.get().is_empty() {
                waiting.remove();
            }
        }
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

/// The answer to a command, to come. Who gives up waiting is forgotten at once, so that the map stays as long as the requests
/// under way.
pub(crate) struct Waiting {
    id: CommandId,
    answer: oneshot::Receiver<CommandState>,
    inbox: Arc<Inbox>,
}

impl Future for Waiting {
    type Output = Result<CommandState, oneshot::error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.answer.close();
        self.inbox.forget_waiting(self.id);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Timestamp;

    #[tokio::test]
    async fn everyone_who_waits_is_told_once_and_who_gives_up_is_forgotten_at_once() {
        let inbox = Arc::new(Inbox::default());
        let id = CommandId(7);
        let (one, two, other) = (inbox.wait(id), inbox.wait(id), inbox.wait(CommandId(8)));
        drop(two);
        assert_eq!(inbox.lock().waiting[&id].len(), 1);
        drop(other);
        assert_eq!(inbox.lock().waiting.len(), 1);
        let done = CommandState::Done { seq: 3 };
        inbox.answered(&Answer {
            id,
            state: done.clone(),
            at: Timestamp(0),
        });
        assert_eq!(one.await, Ok(done));
        assert!(inbox.lock().waiting.is_empty());
    }
}
