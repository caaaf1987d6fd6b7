//! What others do to a workflow: operators, senders of signals, and whoever tries what makes no sense at this moment.

use engine::definition::{Phase, StepKind};
use engine::workflow::{
    AfterFailure, By, Direction, End, Event, Failure, Intent, Record, Refusal, Resolution, Signal,
};
use engine::{Epoch, Payload, Timestamp};
use rand::RngExt as _;

use crate::life::{Life, error};

impl Life {
    /// Now and then something happens that no attempt made. `false`: nothing did.
    pub fn something_happens(&mut self) -> bool {
        let event = match self.random.random_range(0..1_000) {
            0..40 => {
                self.crash();
                return true;
            }
            40..55 => Event::CompensationRequested { by: by() },
            55..65 => Event::Poisoned { error: error() },
            65..85 => Event::Paused { by: by() },
            85..88 => Event::Abandoned {
                by: by(),
                left: self.reference.left(&self.shape),
            },
            88..128 => return self.resolve(),
            128..145 => self.skip(),
            145..185 => Event::RetryRequested { by: by() },
            185..205 => Event::Unpaused { by: by() },
            205..250 => match self.signal() {
                Some(event) => event,
                None => return false,
            },
            _ => return false,
        };
        self.ask(event)
    }

    /// Asks for it: it happens if the model says that it may, and is refused otherwise.
    fn ask(&mut self, event: Event) -> bool {
        let allowed = self.reference.allows(&self.shape, &event, self.now);
        if allowed {
            self.record(event);
        } else {
            self.check_refused(&event);
        }
        allowed
    }

    fn check_refused(&self, event: &Event) {
        let record = Record::new(self.state.seq + 1, Timestamp(self.now), event.clone());
        assert!(
            self.state.clone().apply(&record).is_err(),
            "{event:?} makes no sense in {:?}",
            self.state.phase
        );
    }

    /// Tries what comes to mind, without doing it: the core and the model say the same of it.
    pub fn mischief(&mut self) {
        let event = self.any_event();
        let record = Record::new(self.state.seq + 1, Timestamp(self.now), event);
        let applied = self.state.clone().apply(&record);
        let allowed = self.reference.allows(&self.shape, &record.event, self.now);
        assert_eq!(
            applied.is_ok(),
            allowed,
            "{:?} in {:?}: {applied:?}",
            record.event,
            self.state
        );
    }

    /// The same for a record that would end the workflow, and for one that is out of its turn.
    pub fn mischief_by_end(&mut self) {
        let ends = [End::Completed, End::Compensated];
        let end = ends[self.random.random_range(0..2)];
        let event = Event::Continued { epoch: Epoch(3) };
        let mut record = Record::new(self.state.seq + 1, Timestamp(self.now), event);
        record.ends = Some(end);
        let allowed = self.reference.end(&self.shape, &|_| false) == Some(end);
        let applied = self.state.clone().apply(&record);
        assert_eq!(applied.is_ok(), allowed, "{record:?} in {:?}", self.state);
        record.ends = None;
        record.seq = [0, self.state.seq, self.state.seq + 2][self.random.random_range(0..3)];
        assert!(self.state.clone().apply(&record).is_err(), "{record:?}");
    }

    /// The same for a first attempt that a record lets begin.
    pub fn mischief_by_intent(&mut self) {
        let index = self.random.random_range(0..self.shape.steps.len());
        let directions = [Direction::Forward, Direction::Backward];
        let direction = directions[self.random.random_range(0..2)];
        let attempt = self.random.random_range(0..3);
        let event = Event::Continued { epoch: Epoch(3) };
        let mut record = Record::new(self.state.seq + 1, Timestamp(self.now), event);
        record.starts.push(Intent {
            step: self.name(index),
            direction,
            attempt,
            until: None,
        });
        let due = self.reference.due(&self.shape, &|_| false);
        let allowed = attempt == 1 && due.contains(&(index, direction, 1, 0));
        let applied = self.state.clone().apply(&record);
        assert_eq!(applied.is_ok(), allowed, "{record:?} in {:?}", self.state);
    }

    /// Someone helps a parked workflow.
    pub fn help(&mut self) {
        let event = if self.reference.is_paused() {
            Event::Unpaused { by: by() }
        } else {
            Event::RetryRequested { by: by() }
        };
        assert!(self.ask(event));
    }

    // ---- operators who know what became of a step ----

    fn resolve(&mut self) -> bool {
        let in_doubt = |index: &usize| {
            let facts = &self.reference.facts[*index];
            let given_up = self.reference.may_be_given_up(&self.shape, *index);
            facts.undo_open.is_some() || (facts.unanswered && facts.done.is_none()) || given_up
        };
        let steps = 0..self.shape.steps.len();
        let doubtful: Vec<usize> = steps.filter(in_doubt).collect();
        if doubtful.is_empty() {
            return false;
        }
        let index = doubtful[self.random.random_range(0..doubtful.len())];
        let effect = self.world.effects[index];
        let resolution = match self.random.random_range(0..3) {
            0 if !effect.never && !effect.undone => Resolution::Done(self.some_output()),
            1 if self.is_surely_without_effect(index) => {
                Resolution::Refused(Refusal::new("looked-up", "there is no such order"))
            }
            _ => Resolution::Undone,
        };
        let event = Event::Resolved {
            step: self.name(index),
            resolution: resolution.clone(),
            by: by(),
        };
        if !self.reference.allows(&self.shape, &event, self.now) {
            self.check_refused(&event);
            return false;
        }
        // What an operator says is true.
        match resolution {
            Resolution::Done(_) => self.world.act(index),
            Resolution::Undone => self.world.undo(index),
            Resolution::Refused(_) => {
                let step = &self.shape.steps[index];
                self.world.effects[index].never =
                    step.phase == Phase::Pivot || step.or_else.is_some();
            }
        }
        self.record(event);
        true
    }

    /// For all that an operator can find out. An attempt of a step that can be undone may still be on its way: it is found late.
    fn is_surely_without_effect(&self, index: usize) -> bool {
        let on_its_way = self.acting(index) || self.world.is_on_its_way(index);
        let found_late = self.shape.steps[index].undoable;
        !self.world.effects[index].exists && (found_late || !on_its_way)
    }

    fn skip(&mut self) -> Event {
        let reference = &self.reference;
        let is_stuck = |index: &usize| {
            reference.facts[*index].done.is_none() && reference.is_its_turn(&self.shape, *index)
        };
        let stuck: Vec<usize> = (0..self.shape.steps.len()).filter(is_stuck).collect();
        let any = self.random.random_range(0..self.shape.steps.len());
        let index = match stuck.len() {
            0 => any,
            count => stuck[self.random.random_range(0..count)],
        };
        Event::Skipped {
            step: self.name(index),
            output: self.some_output(),
            by: by(),
        }
    }

    // ---- signals ----

    /// A signal that is early, in time or late; now and then one that came before.
    fn signal(&mut self) -> Option<Event> {
        let steps = self.shape.steps.iter();
        let signals: Vec<String> = steps
            .filter(|step| step.kind == StepKind::Signal)
            .map(|step| step.name.clone())
            .collect();
        if signals.is_empty() {
            return None;
        }
        let name = signals[self.random.random_range(0..signals.len())].clone();
        Some(Event::SignalReceived(Signal {
            name,
            id: self.some_signal_id(),
            payload: self.some_output(),
        }))
    }

    fn some_signal_id(&mut self) -> String {
        format!("id-{}", self.random.random_range(0..12))
    }

    pub fn send_awaited_signal(&mut self) {
        let index = self
            .reference
            .facts
            .iter()
            .position(|facts| facts.waiting.is_some());
        let event = Event::SignalReceived(Signal {
            name: self.name(index.expect("one is awaited")),
            id: format!("awaited-{}", self.state.seq),
            payload: Payload::null(),
        });
        assert!(self.ask(event));
    }

    // ---- anything ----

    fn any_event(&mut self) -> Event {
        let index = self.random.random_range(0..self.shape.steps.len());
        let step = if self.random.random_bool(0.02) {
            "nobody".to_owned()
        } else {
            self.name(index)
        };
        let facts = &self.reference.facts[index];
        let (open, undo_open) = (facts.open, facts.undo_open);
        let or_any = |open: Option<(u32, i64)>, any: u32| match open {
            Some((number, _)) if any > 1 => number,
            _ => any,
        };
        let attempt = or_any(open, self.random.random_range(0..5));
        let undo = or_any(undo_open, self.random.random_range(0..5));
        let failure = [Failure::Unknown, Failure::NoEffect][self.random.random_range(0..2)];
        let then = [
            AfterFailure::RetryAt(Timestamp(self.now)),
            AfterFailure::TurnBack,
            AfterFailure::Park,
        ][self.random.random_range(0..3)];
        let refusal = Refusal::new("no", "no");
        let output = self.some_output();
        let resolution = [
            Resolution::Done(output.clone()),
            Resolution::Refused(refusal.clone()),
            Resolution::Undone,
        ][self.random.random_range(0..3)]
        .clone();
        let by = by();
        match self.random.random_range(0..19) {
            0 => self.records[0].event.clone(),
            1 => Event::StepDone {
                step,
                attempt,
                output,
            },
            2 => Event::StepRefused {
                step,
                attempt,
                refusal,
                effect_may_exist: self.random.random_bool(0.5),
            },
            3 => Event::AttemptFailed {
                step,
                attempt,
                failure,
                error: error(),
                then,
            },
            4 => Event::CompensationDone {
                step,
                attempt: undo,
            },
            5 => Event::CompensationFailed {
                step,
                attempt: undo,
                error: error(),
                then,
            },
            6 => Event::EffectFoundLate { step },
            7 => Event::TimerFired { step },
            8 => Event::SignalReceived(Signal {
                name: step,
                id: self.some_signal_id(),
                payload: output,
            }),
            9 => Event::DeadlinePassed,
            10 => Event::Poisoned { error: error() },
            11 => Event::Continued { epoch: Epoch(3) },
            12 => Event::CompensationRequested { by },
            13 => Event::RetryRequested { by },
            14 => Event::Resolved {
                step,
                resolution,
                by,
            },
            15 => Event::Skipped { step, output, by },
            16 => Event::Paused { by },
            17 => Event::Unpaused { by },
            _ => Event::Abandoned {
                by,
                left: if self.random.random_bool(0.5) {
                    self.reference.left(&self.shape)
                } else {
                    vec![step]
                },
            },
        }
    }
}

fn by() -> By {
    By {
        actor: "ann".into(),
        reason: "because".into(),
    }
}
