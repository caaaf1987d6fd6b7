//! What each record adds to the facts of the plain model.

use engine::definition::{Phase, StepKind};
use engine::workflow::{
    AfterFailure, Direction, End, Event, Failure, Intent, Record, Refusal, Resolution, Signal,
};

use crate::graph::{Shape, Step};
use crate::reference::{Going, Parked, Reference, Waiting};

impl Reference {
    /// The record: what happened, what begins, and whether that is the end. `acting` as it was when it was made.
    pub fn learn(&mut self, shape: &Shape, record: &Record, acting: &dyn Fn(usize) -> bool) {
        self.hear(shape, &record.event, record.at.0);
        for intent in &record.starts {
            self.start(shape, intent, record.at.0, acting);
        }
        if let Some(end) = record.ends {
            assert_eq!(
                self.end(shape, acting),
                Some(end),
                "it ends when nothing is left to do, and so"
            );
            self.going = match end {
                End::Completed => Going::Completed,
                End::Compensated => Going::Compensated,
            };
        }
    }

    fn start(&mut self, shape: &Shape, intent: &Intent, at: i64, acting: &dyn Fn(usize) -> bool) {
        let index = shape.place_of(&intent.step);
        let step = &shape.steps[index];
        let begins = self.due(shape, acting);
        assert!(
            begins.contains(&(index, intent.direction, 1, 0)) && intent.attempt == 1,
            "{intent:?} may not begin in {:?}",
            self.going
        );
        let facts = &mut self.facts[index];
        match (intent.direction, step.kind) {
            (Direction::Backward, _) => facts.undo_open = Some((1, at)),
            (Direction::Forward, StepKind::Action) => {
                facts.attempted = true;
                facts.open = Some((1, at));
            }
            (Direction::Forward, StepKind::Timer | StepKind::Signal) => {
                let until = step.lasts_us.map(|lasts| at + lasts);
                assert_eq!(
                    intent.until.map(|until| until.0),
                    until,
                    "how long it waits"
                );
                match self.early[index].take() {
                    Some(said) => facts.done = Some(said),
                    None => facts.waiting = Some(Waiting { until }),
                }
            }
        }
    }

    fn hear(&mut self, shape: &Shape, event: &Event, at: i64) {
        if let Some(name) = event.step() {
            return self.hear_of_step(shape, shape.place_of(name), event, at);
        }
        match event {
            Event::Poisoned { .. } => self.park(None),
            Event::DeadlinePassed => self.turn_back("deadline-passed"),
            Event::CompensationRequested { by } => {
                self.going = Going::Forward;
                self.turn_back(if by.actor == "engine" {
                    "start-lost"
                } else {
                    "compensated-by-operator"
                });
            }
            Event::RetryRequested { .. } => self.retry(at),
            Event::Paused { .. } => {
                self.going = Going::Parked(Parked {
                    back: self.is_back(),
                    paused: true,
                    trouble: false,
                    about: None,
                });
            }
            Event::Unpaused { .. } => {
                if let Going::Parked(parked) = &mut self.going {
                    parked.paused = false;
                    if !parked.trouble {
                        self.go_on();
                    }
                }
            }
            Event::Abandoned { .. } => self.going = Going::Abandoned,
            _ => {}
        }
    }

    fn hear_of_step(&mut self, shape: &Shape, index: usize, event: &Event, at: i64) {
        let step = &shape.steps[index];
        match event {
            Event::StepDone { output, .. } => self.done(index, output.as_str()),
            Event::StepRefused {
                attempt,
                refusal,
                effect_may_exist,
                ..
            } => self.refused(step, index, *attempt, refusal, *effect_may_exist),
            Event::AttemptFailed { .. } => self.attempt_failed(index, event, at),
            Event::CompensationDone { attempt, .. } => self.undone(index, *attempt),
            Event::CompensationFailed { attempt, then, .. } => {
                let not_before = match then {
                    AfterFailure::RetryAt(instant) => instant.0,
                    _ => at,
                };
                self.facts[index].undo_open = Some((attempt + 1, not_before));
                if *then == AfterFailure::Park {
                    self.park(Some(index));
                }
            }
            Event::EffectFoundLate { .. } => self.found_late(index, at),
            Event::TimerFired { .. } => match shape.steps[index].kind {
                StepKind::Signal => self.done(index, "\"timed-out\""),
                _ => self.done(index, &at.to_string()),
            },
            Event::SignalReceived(signal) => self.told(index, signal),
            Event::Resolved { resolution, .. } => self.resolved(step, index, resolution, at),
            Event::Skipped { output, .. } => {
                self.done(index, output.as_str());
                self.go_on_if_about(index, at);
            }
            _ => {}
        }
    }

    fn done(&mut self, index: usize, output: &str) {
        let facts = &mut self.facts[index];
        facts.open = None;
        facts.waiting = None;
        facts.done = Some(output.to_owned());
    }

    fn undone(&mut self, index: usize, attempt: u32) {
        let facts = &mut self.facts[index];
        facts.undo_open = None;
        facts.undo_attempts = attempt;
        facts.undone = true;
        facts.undone_times += 1;
    }

    fn told(&mut self, index: usize, signal: &Signal) {
        self.signal_ids.insert(signal.id.clone());
        let said = format!("{{\"arrived\":{}}}", signal.payload.as_str());
        if self.facts[index].waiting.is_some() {
            self.done(index, &said);
        } else if self.is_untouched(index) {
            self.early[index].get_or_insert(said);
        }
    }

    fn refused(
        &mut self,
        step: &Step,
        index: usize,
        attempt: u32,
        refusal: &Refusal,
        rows_only: bool,
    ) {
        let facts = &mut self.facts[index];
        facts.attempts = attempt;
        facts.open = None;
        facts.unanswered = rows_only;
        if step.or_else.is_some() {
            facts.over = true;
            return;
        }
        let no_way_back = match step.phase {
            Phase::Compensable => false,
            Phase::Pivot => rows_only,
            Phase::Retriable => true,
        };
        if no_way_back {
            self.park(Some(index));
        } else {
            self.turn_back(&refusal.code);
        }
    }

    fn attempt_failed(&mut self, index: usize, event: &Event, at: i64) {
        let Event::AttemptFailed {
            attempt,
            failure,
            error,
            then,
            ..
        } = event
        else {
            return;
        };
        let back = self.is_back();
        let facts = &mut self.facts[index];
        facts.attempts = *attempt;
        facts.unanswered |= *failure == Failure::Unknown;
        facts.open = None;
        match then {
            AfterFailure::RetryAt(instant) if !back => facts.open = Some((attempt + 1, instant.0)),
            AfterFailure::RetryAt(_) => {}
            AfterFailure::TurnBack => self.turn_back(&error.class),
            AfterFailure::Park => {
                facts.open = Some((attempt + 1, at));
                self.park(Some(index));
            }
        }
    }

    fn found_late(&mut self, index: usize, at: i64) {
        let facts = &mut self.facts[index];
        facts.unanswered = true;
        if facts.undone {
            facts.found_after_undone += 1;
            facts.undo_open = Some((facts.undo_attempts + 1, at));
        } else if let Some((number, _)) = facts.undo_open {
            facts.undo_open = Some((number + 1, at));
        }
        facts.undone = false;
    }

    fn resolved(&mut self, step: &Step, index: usize, resolution: &Resolution, at: i64) {
        let facts = &mut self.facts[index];
        match resolution {
            Resolution::Done(output) => {
                self.done(index, output.as_str());
                self.go_on_if_about(index, at);
            }
            Resolution::Undone => {
                let number = facts.undo_open.map_or(0, |(number, _)| number);
                self.undone(index, number);
                self.go_on_if_about(index, at);
            }
            Resolution::Refused(refusal) => {
                let attempt = facts.open.map_or(facts.attempts, |(number, _)| number);
                if self.is_parked_about(index) && step.or_else.is_none() {
                    self.go_on();
                }
                self.refused(step, index, attempt, refusal, false);
                if step.or_else.is_some() {
                    self.go_on_if_about(index, at);
                }
            }
        }
    }

    fn turn_back(&mut self, why: &str) {
        if !self.is_back() {
            self.why = Some(why.to_owned());
        }
        match &mut self.going {
            Going::Parked(parked) => parked.back = true,
            going => *going = Going::Back,
        }
    }

    fn park(&mut self, about: Option<usize>) {
        self.going = Going::Parked(Parked {
            back: self.is_back(),
            paused: self.is_paused(),
            trouble: true,
            about,
        });
    }

    pub fn is_parked_about(&self, index: usize) -> bool {
        matches!(self.going, Going::Parked(Parked { about: Some(about), .. }) if about == index)
    }

    /// Forward or back, wherever it was going.
    fn go_on(&mut self) {
        self.going = if self.is_back() {
            Going::Back
        } else {
            Going::Forward
        };
    }

    fn go_on_if_about(&mut self, index: usize, at: i64) {
        if self.is_parked_about(index) {
            self.retry(at);
        }
    }

    /// A parked workflow goes on: whatever was refused with no way back is tried again. In another one nothing waits for its time
    /// any more.
    fn retry(&mut self, at: i64) {
        let Going::Parked(parked) = self.going else {
            return (0..self.facts.len()).for_each(|index| self.bring_forward(index, at));
        };
        if let Some(index) = parked.about {
            self.bring_forward(index, at);
        }
        self.go_on();
        if !parked.back {
            for facts in &mut self.facts {
                let is_stuck = facts.attempted && facts.done.is_none() && facts.open.is_none();
                if is_stuck && !facts.over {
                    facts.open = Some((facts.attempts + 1, at));
                }
            }
        }
    }

    fn bring_forward(&mut self, index: usize, at: i64) {
        if let Some(not_before) = self.waits_for_its_time(index) {
            *not_before = at.min(*not_before);
        }
    }

    /// When the next attempt at it, forward or back, is to be made.
    pub fn waits_for_its_time(&mut self, index: usize) -> Option<&mut i64> {
        let facts = &mut self.facts[index];
        let open = match &mut facts.undo_open {
            Some(open) => Some(open),
            None if !facts.undone => facts.open.as_mut(),
            None => None,
        };
        open.map(|(_, not_before)| not_before)
    }
}
