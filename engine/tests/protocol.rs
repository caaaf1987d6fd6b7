//! The protocol of lease, fence, take-over and relay as a small model, checked in every state that it can come to.
//!
//! One partition, two or three nodes, workflows of one step that can be undone. There is no clock: a lease may run out at any moment,
//! a process may stop for as long as it likes and go on where it was, and what was sent may arrive at the very end. So what holds
//! here holds without any clock being right. Faults (crashes, leases that run out although their owner lives, requests of which
//! nothing is heard) are bounded by a number; everything else is not. `HOLDFAST_MODEL_FAULTS` sets that number for a longer look.
//!
//! `docs/decisions` says what the model leaves out.

#[path = "protocol/actions.rs"]
mod actions;
#[path = "protocol/check.rs"]
mod check;
#[path = "protocol/database.rs"]
mod database;
#[path = "protocol/defects.rs"]
mod defects;
#[path = "protocol/nodes.rs"]
mod nodes;
#[path = "protocol/progress.rs"]
mod progress;
#[path = "protocol/properties.rs"]
mod properties;
#[path = "protocol/state.rs"]
mod state;

use actions::{Action, possible};
use check::{exhaust, find};
use defects::Defect;
use progress::progress;
use state::State;
use stateright::{Model, Property};

/// A model: how many there are of what, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub nodes: usize,
    pub workflows: usize,
    pub faults: u8,
    pub defect: Option<Defect>,
}

impl Protocol {
    /// The protocol as it is.
    const fn sound(nodes: usize, workflows: usize, faults: u8) -> Self {
        Self {
            nodes,
            workflows,
            faults,
            defect: None,
        }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether anything is possible besides faults.
    fn goes_on(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        possible(state, &mut actions);
        let mut helps = actions.into_iter().filter(|action| !action.is_fault(state));
        helps.any(|action| self.happens(&mut state.clone(), action))
    }

    fn step(&self, before: &State, action: Action) -> Option<State> {
        let is_fault = action.is_fault(before);
        if is_fault && before.faults >= self.faults {
            return None;
        }
        let mut state = before.clone();
        state.faults += u8::from(is_fault);
        if !self.happens(&mut state, action) {
            return None;
        }
        state.went_back |= progress(&state) <= progress(before);
        Some(state.in_order())
    }

    /// Lets it happen. `false`: it is impossible now, and what became of the state means nothing.
    fn happens(&self, state: &mut State, action: Action) -> bool {
        match action {
            Action::LeaseRunsOut => std::mem::take(&mut state.partition.held),
            Action::Renew(node) => self.renew(state, node),
            Action::StepDown(node) => {
                let ended = !state.partition.held || !state.is_current(node);
                ended && state.nodes[node].session.take().is_some()
            }
            Action::Crash(node) => state.nodes[node].session.take().is_some(),
            Action::Die(node) => {
                state.nodes[node].alive = false;
                let leaves_one = state.nodes.iter().any(|node| node.alive);
                leaves_one && state.nodes[node].session.take().is_some()
            }
            Action::Take(node) => self.take_over(state, node),
            Action::OpenJournal(node) | Action::OpenAgain(node) => self.open_journal(state, node),
            Action::OpenUnanswered(node) => Self::open_unanswered(state, node),
            Action::Recover(node) => self.recover(state, node),
            Action::Start(node, workflow) => self.start(state, node, workflow),
            Action::Commit(node, entry) => self.commit(state, node, entry),
            Action::CommitUnanswered(node, entry) => self.commit_unanswered(state, node, entry),
            Action::Publish(node) => self.publish(state, node, true),
            Action::PublishUnanswered(node) => self.publish(state, node, false),
            Action::Act(node, workflow, answer) => self.attempt(state, node, workflow, answer),
            Action::ActUnanswered(node, workflow) => {
                Self::attempt_unanswered(state, node, workflow)
            }
            Action::TurnBack(node, workflow) => Self::turn_back(state, node, workflow),
            Action::Compensate(node, workflow) => self.compensate(state, node, workflow),
            Action::Arrive(place) => {
                self.arrive(state, place);
                true
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.nodes, self.workflows)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.step(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::properties()
    }
}

#[test]
fn two_nodes_keep_every_promise_in_every_state() {
    exhaust(&Protocol::sound(2, 1, check::faults(2)));
}

#[test]
fn three_nodes_keep_every_promise_in_every_state() {
    exhaust(&Protocol::sound(3, 1, check::faults(2)));
}

#[test]
fn two_workflows_in_one_journal_keep_every_promise_in_every_state() {
    // Each fault makes some thirty times as many states, and so does a second workflow.
    exhaust(&Protocol::sound(2, 2, check::faults(2).saturating_sub(2)));
}

#[test]
fn each_protection_that_is_taken_away_is_missed() {
    for defect in Defect::ALL {
        find(defect);
    }
}
