//! How attempts end, in time, late, or in a crash.

use engine::Timestamp;
use engine::definition::Phase;
use engine::workflow::{AfterFailure, Direction, Event, Failure, Record, Refusal, WorkflowState};
use rand::RngExt as _;

use crate::life::{Life, error};
use crate::reference::Attempt;

/// Actions that were given up and that are on their way at one time.
const LATE_MAX: usize = 3;

impl Life {
    pub fn end_attempt(&mut self, (index, direction, attempt, _): Attempt, wild: bool) {
        let luck = if wild {
            self.random.random_range(0..100)
        } else {
            0
        };
        let facts = &self.reference.facts[index];
        let open = match direction {
            Direction::Forward => facts.open,
            Direction::Backward => facts.undo_open,
        };
        let is_expected = !self.reference.is_over() && open.is_some_and(|(n, _)| n == attempt);
        match direction {
            Direction::Forward if is_expected => self.end_action(index, attempt, luck),
            // The workflow moved on meanwhile. If it took effect, it did so late.
            Direction::Forward => {
                if luck < 66 && self.world.act_late(index) {
                    self.took_effect_late(index);
                }
            }
            Direction::Backward if is_expected => self.end_compensation(index, attempt, luck),
            Direction::Backward => self.world.undo(index),
        }
    }

    fn end_action(&mut self, index: usize, attempt: u32, luck: u32) {
        let step = self.name(index);
        let existed = self.world.effects[index].exists;
        // What has an alternative is refused more often, or else that would be rare.
        let luck = match self.shape.steps[index].or_else {
            Some(_) if (30..66).contains(&luck) => 66,
            _ => luck,
        };
        let refusal = Refusal::new("no", "no");
        let event = match luck {
            0..66 => {
                self.world.act(index);
                let output = self.some_output();
                Event::StepDone {
                    step,
                    attempt,
                    output,
                }
            }
            // The other side knows the key: what exists is not refused, and what is refused never exists.
            66..73 if !existed => {
                // An operator may see to it that a retriable step is not refused for ever, unless that is over.
                let step_here = &self.shape.steps[index];
                self.world.effects[index].never =
                    step_here.phase != Phase::Retriable || step_here.or_else.is_some();
                Event::StepRefused {
                    step,
                    attempt,
                    refusal,
                    effect_may_exist: false,
                }
            }
            73..75 => {
                // It took effect, but the store refused its rows.
                self.world.act(index);
                Event::StepRefused {
                    step,
                    attempt,
                    refusal,
                    effect_may_exist: true,
                }
            }
            75..84 if !existed => self.failed(index, attempt, Failure::NoEffect),
            _ => {
                match self.random.random_range(0..4) {
                    0 => self.world.act(index),
                    1..3 if self.world.late.len() < LATE_MAX => self.world.late.push(index),
                    _ => {}
                }
                self.failed(index, attempt, Failure::Unknown)
            }
        };
        self.record(event);
    }

    fn failed(&mut self, index: usize, attempt: u32, failure: Failure) -> Event {
        let unanswered = failure == Failure::Unknown || self.reference.facts[index].unanswered;
        let then = match self.shape.steps[index].phase {
            _ if attempt < self.attempts_max => self.retry_after(),
            Phase::Compensable => AfterFailure::TurnBack,
            Phase::Pivot if !unanswered => AfterFailure::TurnBack,
            Phase::Pivot | Phase::Retriable => AfterFailure::Park,
        };
        Event::AttemptFailed {
            step: self.name(index),
            attempt,
            failure,
            error: error(),
            then,
        }
    }

    fn retry_after(&mut self) -> AfterFailure {
        AfterFailure::RetryAt(Timestamp(self.now + self.random.random_range(0..8)))
    }

    fn end_compensation(&mut self, index: usize, attempt: u32, luck: u32) {
        let step = self.name(index);
        if luck < 70 || self.random.random_bool(0.5) {
            self.world.undo(index);
        }
        let event = if luck < 70 {
            Event::CompensationDone { step, attempt }
        } else {
            let again = attempt < self.attempts_max && luck < 95;
            let then = if again {
                self.retry_after()
            } else {
                AfterFailure::Park
            };
            Event::CompensationFailed {
                step,
                attempt,
                error: error(),
                then,
            }
        };
        self.record(event);
    }

    /// As the driver does: what is still to be undone for the first time will be; what was undone before, or is being undone, is
    /// undone again.
    pub fn took_effect_late(&mut self, index: usize) {
        let facts = &self.reference.facts[index];
        let will_be_undone = facts.may_have_effect() && !facts.undone && facts.undo_open.is_none();
        let undoable = self.shape.steps[index].undoable;
        if !self.reference.is_over() && undoable && self.reference.is_back() && !will_be_undone {
            let step = self.name(index);
            self.record(Event::EffectFoundLate { step });
        }
    }

    // ---- a crash ----

    /// The attempts in flight are lost, each before or after its effect, and the journal is all that is left.
    pub fn crash(&mut self) {
        self.crashes += 1;
        let lost = std::mem::take(&mut self.in_flight);
        let late = std::mem::take(&mut self.world.late);
        for (index, direction) in lost
            .into_iter()
            .map(|attempt| (attempt.0, attempt.1))
            .chain(late.into_iter().map(|index| (index, Direction::Forward)))
        {
            if self.random.random_bool(0.5) {
                self.takes_effect_in_crash(index, direction);
            }
        }
        let stored: Vec<String> = self
            .records
            .iter()
            .map(|record| serde_json::to_string(record).unwrap())
            .collect();
        let read: Vec<Record> = stored
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        assert_eq!(read, self.records, "a record is stored as it is");
        let folded = WorkflowState::fold(&self.shape.definition, &read);
        let folded = folded.unwrap().expect("it has records");
        assert_eq!(
            format!("{folded:?}"),
            format!("{:?}", self.state),
            "the journal folds to the state, to the last field"
        );
        self.state = folded;
    }

    /// What was on its way when the node died takes effect only where its compensation has not closed its key.
    fn takes_effect_in_crash(&mut self, index: usize, direction: Direction) {
        let facts = &self.reference.facts[index];
        match direction {
            Direction::Backward => self.world.undo(index),
            Direction::Forward
                if facts.may_have_effect() && !facts.undone && facts.undo_open.is_none() =>
            {
                self.world.act(index);
            }
            Direction::Forward => {}
        }
    }
}
