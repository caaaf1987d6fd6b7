//! The outside: services that know every request by its key, leave a tombstone where nothing was held, and say no to what comes
//! too late. Reservations can only be made and released; the gateway can be asked what became of a request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::definition::{AnyStep, Attempt, Outcome, Phase, Probed};
use engine::payload::PayloadError;
use engine::store::change::ChangeKind;
use engine::store::{Change, Table, Value};
use engine::workflow::{Direction, Earlier, Refusal, StepError};
use engine::{Epoch, Payload, WorkflowId};
use tokio::sync::oneshot;

use super::executor::Owner;
use super::faults::{Fault, Plant};
use super::world::{Cut, Party, World};

/// The rows that some steps write with their outcome: one unit under the attempt's key.
static STOCK: Table = Table {
    name: "stock",
    key: &["key"],
    columns: &["held"],
};

/// What a service remembers under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Held,
    Released,
    Refused,
}

/// All that is known under a key.
#[derive(Clone, Debug)]
pub struct Known {
    pub workflow: WorkflowId,
    pub step: String,
    pub standing: Standing,
    /// The newest epoch that was heard of.
    epoch: Epoch,
    /// The first one.
    pub first_epoch: Epoch,
    /// The lives that asked for it.
    pub lives: BTreeSet<u32>,
}

/// Something became true outside.
#[derive(Clone, Debug)]
pub struct Effect {
    pub key: String,
    pub workflow: WorkflowId,
    pub step: String,
    /// It was undone.
    pub undone: bool,
}

/// The services' books.
#[derive(Default)]
pub struct Outside {
    pub keys: BTreeMap<String, Known>,
    /// Every effect, in order: nobody edits this one.
    pub effects: Vec<Effect>,
    /// Who asked for what under which key, in words.
    pub history: BTreeMap<String, Vec<String>>,
    /// How often a key was forgotten because it was allowed.
    pub forgotten: BTreeMap<String, u32>,
}

/// A step, as one life of a process holds it.
pub struct ServiceStep {
    pub world: Arc<World>,
    pub process: usize,
    pub life: u32,
    pub service: Party,
    pub phase: Phase,
    pub with_rows: bool,
}

/// What an attempt hears.
enum Answer {
    Stands(Standing),
    /// It had no effect.
    NotNow,
    /// Nobody knows.
    Silence,
}

fn error(class: &str) -> StepError {
    StepError::new(class, "the service said nothing that helps")
}

impl ServiceStep {
    /// Changes what is known under the attempt's key, and says how it then stands.
    fn meet(&self, attempt: &Attempt, wanted: Standing) -> Standing {
        let world = &self.world;
        let key = attempt.key();
        let mut outside = world.outside.lock().unwrap();
        let Outside {
            keys,
            effects,
            history,
            forgotten,
        } = &mut *outside;
        if world.is_planted(Plant::ForgetsKeys) && world.dice.chance("forgets", 100) {
            keys.remove(&key);
        }
        let mut effect = |undone: bool| {
            effects.push(Effect {
                key: key.clone(),
                workflow: attempt.workflow,
                step: attempt.step.to_string(),
                undone,
            });
        };
        let known = keys.entry(key.clone()).or_insert_with(|| {
            if wanted == Standing::Held {
                effect(false);
            }
            Known {
                workflow: attempt.workflow,
                step: attempt.step.to_string(),
                standing: wanted,
                epoch: attempt.epoch,
                first_epoch: attempt.epoch,
                lives: BTreeSet::new(),
            }
        });
        known.lives.insert(self.life);
        // Whoever lost the partition does not undo what its new owner does under the same key.
        let is_stale = attempt.direction == Direction::Backward && attempt.epoch < known.epoch;
        if !is_stale {
            known.epoch = known.epoch.max(attempt.epoch);
            // What was released or refused stays so; what is held can only be released. An operator sees to what is refused past
            // the point of no return.
            let seen_to = self.phase == Phase::Retriable && world.is_calm();
            match (known.standing, wanted) {
                (Standing::Held, Standing::Released) => {
                    known.standing = Standing::Released;
                    effect(true);
                }
                (Standing::Refused, Standing::Held) if seen_to => {
                    known.standing = Standing::Held;
                    effect(false);
                }
                _ => {}
            }
        }
        let standing = known.standing;
        world.simulation.mix(standing as u64 ^ 0x5e);
        let words = || {
            let Attempt {
                direction,
                number,
                epoch,
                ..
            } = attempt;
            let forget = if attempt.forget { ", may forget" } else { "" };
            format!(
                "{direction:?} {number} under epoch {} by life {}: {wanted:?}{forget}; it is {standing:?}",
                epoch.0, self.life
            )
        };
        world
            .simulation
            .note(|| format!("{:?} {key}: {}", self.service, words()));
        history.entry(key.clone()).or_default().push(words());
        // It need not forget, and does not where requests of other attempts at this key may still be on their way.
        let on_their_way = [
            Fault::ServiceDuplicates,
            Fault::ServiceLate,
            Fault::ServiceHangs,
        ];
        let none = on_their_way
            .iter()
            .all(|fault| !world.scenario.faults.contains(fault));
        if attempt.forget
            && none
            && attempt.number == 1
            && !is_stale
            && standing == Standing::Released
        {
            keys.remove(&key);
            *forgotten.entry(key).or_default() += 1;
        }
        standing
    }

    fn standing(&self, attempt: &Attempt) -> Option<Standing> {
        let outside = self.world.outside.lock().unwrap();
        outside.keys.get(&attempt.key()).map(|known| known.standing)
    }

    /// Sends the request, which arrives once, twice, late, or not at all, whatever becomes of this process.
    async fn request(&self, attempt: &Attempt, wanted: Standing) -> Answer {
        let (world, simulation) = (&self.world, &self.world.simulation);
        let what = format!("{:?}", self.service);
        match world.cut(self.process, self.service) {
            Some(Cut::Refuses) => {
                simulation.sleep(Duration::from_millis(1)).await;
                return Answer::NotNow;
            }
            Some(Cut::Swallows) => return self.hang().await,
            None => {}
        }
        if world.strikes(Fault::ServiceAway, &what, 100) {
            simulation.sleep(world.travel(&what)).await;
            return Answer::NotNow;
        }
        if world.strikes(Fault::ServiceLostRequest, &what, 60) {
            simulation.sleep(Duration::from_millis(300)).await;
            return Answer::Silence;
        }
        let mut late = *world.late.lock().unwrap();
        if late.is_none() && world.strikes(Fault::ServiceLate, &what, 60) {
            late = Some(world.millis("late request", 4_000));
        }
        if let Some(after) = late {
            self.arrives_after(attempt, wanted, after);
            simulation.sleep(Duration::from_millis(50)).await;
            return Answer::Silence;
        }
        if world.strikes(Fault::ServiceHangs, &what, 40) {
            if world.dice.chance("hangs after it", 500) {
                self.arrives_after(attempt, wanted, world.travel(&what));
            }
            return self.hang().await;
        }
        if world.strikes(Fault::ServiceDuplicates, &what, 80) {
            self.arrives_after(attempt, wanted, world.millis("duplicate", 4_000));
        }
        let is_lost = world.strikes(Fault::ServiceLostReply, &what, 60);
        let mut takes = world.travel(&what);
        if world.dice.chance("slow service", 50) {
            takes += world.millis("slow service takes", 800);
        }
        let answered = self.arrives_after(attempt, wanted, takes);
        match answered.await {
            Ok(standing) if !is_lost => {
                simulation.sleep(world.travel(&what)).await;
                Answer::Stands(standing)
            }
            _ => Answer::Silence,
        }
    }

    fn arrives_after(
        &self,
        attempt: &Attempt,
        wanted: Standing,
        after: Duration,
    ) -> oneshot::Receiver<Standing> {
        let (answer, answered) = oneshot::channel();
        let request = ServiceStep {
            world: Arc::clone(&self.world),
            ..*self
        };
        let attempt = attempt.clone();
        self.world.simulation.spawn(Owner::World, async move {
            request.world.simulation.sleep(after).await;
            let _gone = answer.send(request.meet(&attempt, wanted));
        });
        answered
    }

    async fn hang(&self) -> Answer {
        self.world.simulation.sleep(Duration::from_mins(1)).await;
        Answer::Silence
    }

    fn rows(&self, attempt: &Attempt, units: i64) -> Vec<Change> {
        if !self.with_rows {
            return Vec::new();
        }
        vec![Change {
            table: &STOCK,
            key: vec![Value::from(attempt.key())],
            kind: ChangeKind::Add(vec![("held", units)]),
            refusal: Refusal::new("sold-out", "nothing is left"),
        }]
    }

    fn panics(&self, when: &str) {
        if self.world.strikes(Fault::StepPanics, when, 20) {
            std::panic::resume_unwind(Box::new("a step panics, on purpose"));
        }
    }

    fn done(&self, attempt: &Attempt) -> Outcome<Payload> {
        let output = Payload::of(&attempt.key()).expect("text is JSON");
        Outcome::done_with(output, self.rows(attempt, 1))
    }
}

fn refusal(standing: Standing) -> Refusal {
    let code = if standing == Standing::Released {
        "released"
    } else {
        "no"
    };
    Refusal {
        earlier: Earlier::Possible,
        ..Refusal::new(code, "the service says no")
    }
}

#[async_trait]
impl AnyStep for ServiceStep {
    async fn act(&self, attempt: &Attempt, _: &[Payload]) -> Outcome<Payload> {
        let world = &self.world;
        self.panics("before it acts");
        let says_no = world.dice.always(&format!("no to {}", attempt.key()), 120);
        let wanted = if world.has(Fault::ServiceRefuses) && says_no {
            world.happened(Fault::ServiceRefuses);
            Standing::Refused
        } else {
            Standing::Held
        };
        let answer = self.request(attempt, wanted).await;
        self.panics("after it acted");
        match answer {
            Answer::Stands(Standing::Held) => self.done(attempt),
            Answer::Stands(standing) => Outcome::Refused(refusal(standing)),
            Answer::NotNow => Outcome::retry(error("not-now")),
            Answer::Silence => Outcome::Unknown(error("timeout")),
        }
    }

    async fn probe(&self, attempt: &Attempt, _: &[Payload]) -> Probed<Payload> {
        let world = &self.world;
        if self.service == Party::Reservations {
            return Probed::CannotAsk;
        }
        world.simulation.sleep(world.travel("inquiry")).await;
        if world.cut(self.process, self.service).is_some()
            || world.strikes(Fault::ServiceAway, "inquiry", 100)
        {
            return Probed::Unknown(error("timeout"));
        }
        match self.standing(attempt) {
            Some(Standing::Held) => Probed::Done {
                output: Payload::of(&attempt.key()).expect("text is JSON"),
                changes: self.rows(attempt, 1),
            },
            None | Some(Standing::Refused) => Probed::NoEffect,
            Some(standing) => Probed::Refused(refusal(standing)),
        }
    }

    async fn compensate(
        &self,
        attempt: &Attempt,
        _: &[Payload],
        output: Option<&Payload>,
    ) -> Outcome<()> {
        let world = &self.world;
        self.panics("before it undoes");
        if world.strikes(Fault::UndoRefused, "undo", 80) {
            return Outcome::refused("stuck", "an operator must look at it");
        }
        let answer = self.request(attempt, Standing::Released).await;
        self.panics("after it undid");
        match answer {
            // Rows were written with the output, if it is known to be one.
            Answer::Stands(_) => Outcome::done_with(
                (),
                output.map(|_| self.rows(attempt, -1)).unwrap_or_default(),
            ),
            Answer::NotNow => Outcome::retry(error("not-now")),
            Answer::Silence => Outcome::Unknown(error("timeout")),
        }
    }

    fn check_output(&self, _: &Payload) -> Result<(), PayloadError> {
        Ok(())
    }
}
