//! How a workflow stands by the clock: what time alone makes happen, and whether there is so little to do that it leaves memory.

use super::Driver;
use crate::runtime::Timestamp;
use crate::store::Status;
use crate::workflow::Event;

impl Driver {
    /// Records what the clock alone makes happen: waits that are over, and the deadline.
    pub(super) fn let_time_pass(&mut self) {
        if *self.context.paused.borrow() {
            return;
        }
        let now = self.context.runtime.now();
        let plan = self.plan();
        for (index, until) in plan.waits {
            if until <= now {
                let step = self.state.definition().step(index).name.to_string();
                self.record_at(now, Event::TimerFired { step }, Vec::new(), None);
            }
        }
        let deadline_passed = plan.deadline.is_some_and(|deadline| deadline <= now);
        if deadline_passed && self.fits(&Event::DeadlinePassed) {
            self.record_at(now, Event::DeadlinePassed, Vec::new(), None);
        }
    }

    /// Every instant at which something may be to be done, those that have passed included.
    pub(super) fn instants(&self) -> Vec<Timestamp> {
        let plan = self.plan();
        let attempts = plan.resumes.iter().map(|planned| {
            let held_back = self.held_back.get(&planned.step);
            planned
                .not_before
                .max(held_back.copied().unwrap_or_default())
        });
        let waits = plan.waits.iter().map(|(_, until)| *until);
        attempts.chain(waits).chain(plan.deadline).collect()
    }

    /// What lists show of the workflow, and when it is to be woken.
    pub(super) fn standing(&self) -> (Status, Option<Timestamp>) {
        let status = self.state.status();
        if self.is_over() || !self.attempts.is_empty() {
            return (status, None);
        }
        let rest_until = self.context.runtime.now().after(self.context.rest_after);
        match self.instants().into_iter().min() {
            Some(due) if due > rest_until => (Status::Waiting, Some(due)),
            None if self.state.awaits_signal() => (Status::Waiting, None),
            Some(_) | None => (status, None),
        }
    }

    /// What its row says.
    pub(super) fn durable_standing(&self) -> (Status, Option<Timestamp>) {
        (self.head.status, self.head.wake_at)
    }

    /// Nothing is to be done for a while, and its row does not say so yet.
    pub(super) fn is_about_to_rest(&self) -> bool {
        if self.durable.is_none() || !self.is_quiet() {
            return false;
        }
        let standing = self.standing();
        standing.0 == Status::Waiting && standing != self.durable_standing()
    }

    /// Nothing happens to it any more, unless an operator says so.
    pub(super) fn is_over(&self) -> bool {
        self.state.is_settled()
    }

    /// Its row does not say what its journal says. That is never so by what a driver writes; the auditor found it.
    pub(super) fn row_is_wrong(&self) -> bool {
        self.durable.is_some()
            && self.is_over()
            && self.is_quiet()
            && self.head_update(&self.current_head()).is_some()
    }
}
