//! Starts that are lost before anyone knows them to be durable: how one is left over, and how it is taken up again to be undone.

use std::collections::HashSet;
use std::sync::Arc;

use super::earlier_life::EarlierLife;
use super::{Driver, under_way};
use crate::definition::{Durability, StepIndex};
use crate::ids::Epoch;
use crate::journal::Staged;
use crate::store::Head;
use crate::workflow::{By, Event, START_LOST, StepError, WorkflowState};

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
    /// No other life of it is left over, whose attempts may still be on their way: what was undone need not be remembered where it was
    /// done.
    pub(crate) alone: bool,
}

impl Driver {
    /// A lost start turns back: nothing of it is durable, and what it did must be undone. Steps behind a barrier have not
    /// begun, whatever their intent says; if one was undone all the same, its records say so.
    pub(super) fn turn_back_leftover(&mut self) {
        let definition = Arc::clone(self.state.definition());
        let told: HashSet<StepIndex> = self
            .pending
            .iter()
            .filter_map(|staged| definition.index_of(staged.record.event.step()?))
            .collect();
        for staged in &mut self.pending {
            // Ahead of the journal it may have come to its end, which does not count.
            staged.record.ends = None;
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
            START_LOST,
            "the node lost its partition while it started this workflow",
        );
        self.unavailable = Some(error.clone());
        let by = By::engine(error.message);
        let event = Event::CompensationRequested { by: by.clone() };
        let again = Event::RetryRequested { by };
        // It may be going back already, or wait for an operator in the middle of that.
        if let Some(event) = [event, again].into_iter().find(|event| self.fits(event)) {
            self.record(event, Vec::new());
        }
    }

    /// Hands what may have been done to those who will know whether it is in the journal.
    pub(super) fn leave_over(&mut self, mut staged: Vec<Staged>, undecided: bool) {
        staged.append(&mut self.pending);
        // Commands are still pending in the inbox, for the life of the workflow that the journal has.
        for staged in &mut staged {
            staged.command = None;
        }
        let leftover = match self.leftover.take() {
            Some(leftover) => Leftover {
                epoch: self.context.epoch,
                undecided,
                tries: leftover.tries + 1,
                ..*leftover
            },
            None => Leftover {
                head: self.head.clone(),
                epoch: self.context.epoch,
                undecided,
                state: self.state.clone(),
                staged,
                tries: 0,
                alone: true,
            },
        };
        let _node_is_gone = self.context.leftovers.send(leftover);
    }
}
