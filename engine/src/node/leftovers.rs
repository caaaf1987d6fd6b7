//! Starts that were lost before anyone knew them to be durable, and repeats of a start that turned out to exist elsewhere. What
//! they did is undone, unless the journal has the workflow and answers for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use crate::definition::StepIndex;
use crate::executor::{Leftover, Origin, Resident, Seen};
use crate::ids::{PartitionId, WorkflowId};
use crate::runtime::Timestamp;
use crate::store::{Status, StoreError};

/// So many wait at most; beyond that the oldest is left to whoever reconciles the world with the store.
const LEFTOVERS_MAX: usize = 10_000;

/// The pause before one is looked at again that could not be cleared; it doubles with each time.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Those that are still to be cleared, each with the instant at which it is looked at next.
#[derive(Default)]
pub(super) struct Leftovers(VecDeque<(Timestamp, Leftover)>);

impl Leftovers {
    /// Whether one of them belongs to this partition.
    pub(super) fn has(&self, partition: PartitionId) -> bool {
        self.0
            .iter()
            .any(|(_, leftover)| leftover.head.id.partition() == partition)
    }

    /// Adds one to be looked at after its pause, unless another one says as much. Of several lives of one start an attempt may still
    /// be on its way when another's is over.
    pub(super) fn add(&mut self, mut leftover: Leftover, now: Timestamp) {
        for (_, known) in &mut self.0 {
            if known.head.id == leftover.head.id {
                known.alone = false;
                leftover.alone = false;
            }
        }
        if self
            .0
            .iter()
            .any(|(_, known)| says_as_much(known, &leftover))
        {
            return;
        }
        if self.0.len() >= LEFTOVERS_MAX
            && let Some((_, oldest)) = self.0.pop_front()
        {
            tracing::warn!(workflow.id = %oldest.head.id, "what a lost start did is left to the reconciler");
        }
        let pause = match leftover.tries {
            0 => Duration::ZERO,
            tries => PAUSE.saturating_mul(1 << tries.min(8)).min(PAUSE_MAX),
        };
        self.0.push_back((now.after(pause), leftover));
    }
}

/// Whether clearing `known` clears what `other` did, too.
fn says_as_much(known: &Leftover, other: &Leftover) -> bool {
    let waits_as_long = !other.undecided || (known.undecided && known.epoch >= other.epoch);
    let mut steps = (0..other.state.steps.len()).map(StepIndex);
    known.head.id == other.head.id
        && waits_as_long
        // That it was attempted is not enough: what is known to have had no effect then is not undone.
        && steps.all(|step| known.state.needs_undo(step) || !other.state.needs_undo(step))
}

/// What is to be done about a leftover.
enum Verdict {
    /// The journal has the workflow, with all that was done.
    Forget,
    /// Nobody answers for it.
    Undo,
    /// It can't be told yet.
    Wait,
}

impl Node {
    /// Clears what can be cleared now.
    pub(super) async fn clear(self: &Arc<Self>, leftovers: &mut Leftovers) {
        let now = self.runtime.now();
        for (look_at, mut leftover) in std::mem::take(&mut leftovers.0) {
            if look_at > now {
                leftovers.0.push_back((look_at, leftover));
                continue;
            }
            let cleared = self.clear_one(&leftover).await.unwrap_or_else(|error| {
                tracing::debug!(workflow.id = %leftover.head.id, %error, "a lost start is still to be cleared");
                false
            });
            if !cleared {
                leftover.tries += 1;
                leftovers.add(leftover, now);
            }
        }
    }

    /// Undoes a leftover, unless the journal answers for it. `false`: it is to be looked at again.
    async fn clear_one(self: &Arc<Self>, leftover: &Leftover) -> Result<bool, StoreError> {
        let id = leftover.head.id;
        let seen = self.registry.get(&id.ident());
        // Its client has repeated it, and it goes forward under the same keys: what comes of that is seen later.
        if seen.as_ref().is_some_and(Resident::is_driven) {
            return Ok(false);
        }
        let Some(partition) = self.partition(id.partition()) else {
            return Ok(false);
        };
        // Its records may still arrive, until the epoch under which they were sent has passed.
        if leftover.undecided && partition.lease.epoch <= leftover.epoch {
            return Ok(false);
        }
        match self.verdict(id).await? {
            Verdict::Forget => return Ok(true),
            Verdict::Wait => return Ok(false),
            Verdict::Undo => {}
        }
        let (head, state) = (leftover.head.clone(), leftover.state.clone());
        let origin = Origin::Leftover(Box::new(leftover.clone()));
        Ok(self
            .drive(&partition, head, state, origin, &Seen::Exactly(seen), None)
            .is_ok())
    }

    async fn verdict(&self, id: WorkflowId) -> Result<Verdict, StoreError> {
        let Some(head) = self.store.find(&id.ident()).await? else {
            return Ok(Verdict::Undo);
        };
        if head.id != id {
            // The key's workflow was born elsewhere, and has effects under its own id.
            return Ok(Verdict::Undo);
        }
        Ok(match head.status {
            Status::Completed | Status::Abandoned => Verdict::Forget,
            // Whatever was done under its id is to be undone, whether or not its journal knows of it.
            Status::Compensated => Verdict::Undo,
            Status::Running | Status::Compensating | Status::Waiting | Status::Parked => {
                Verdict::Wait
            }
        })
    }
}
