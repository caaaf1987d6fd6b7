//! A world that steps have effects on: idempotent by key, with tombstones, as every real other side must be. It knows in the
//! end what is left, and who left it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::definition::{
    AnyStep, Attempt, Compensation, Definition, DefinitionBuilder, Durability, Outcome, Phase,
    Policy, Probed, RetryPolicy, Source, StepIndex, StepKind, StepSpec,
};
use engine::payload::PayloadError;
use engine::store::change::ChangeKind;
use engine::store::{Change, Table, Value};
use engine::workflow::{Direction, Earlier, Refusal, StepError};
use engine::{Epoch, Payload, Timestamp, WorkflowId};
use tokio::task::JoinSet;

use super::dice::Dice;

/// The rows that steps `a` and `d` write with their outcome: one unit under the attempt's key.
pub static STOCK: Table = Table {
    name: "stock",
    key: &["key"],
    columns: &["held"],
};

/// What the other side remembers under a key.
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
    /// How often the effect came into being.
    pub made: u32,
    /// The newest epoch under which the action was attempted.
    pub epoch: Epoch,
    /// The lives that attempted it.
    pub lives: BTreeSet<u32>,
    /// What was asked for under this key, by whom, when it is told.
    pub history: Vec<String>,
}

/// How often, in a thousand, an attempt goes wrong, by the way in which it does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Temper {
    pub refused: u64,
    pub retry: u64,
    pub unknown: u64,
    pub panic: u64,
    pub hang: u64,
    /// It answers nothing and takes effect later, unless it is undone before.
    pub late: u64,
    /// A compensation is refused, which parks.
    pub undo_refused: u64,
}

impl Temper {
    pub const WILD: Self = Self {
        refused: 60,
        retry: 60,
        unknown: 80,
        panic: 20,
        hang: 20,
        late: 40,
        undo_refused: 15,
    };
}

struct Inner {
    keys: BTreeMap<String, Known>,
    temper: Temper,
    calm: bool,
    /// What attempts at these steps do until it is calm.
    set: BTreeMap<&'static str, Set>,
    attempts: BTreeMap<String, usize>,
    epochs: BTreeMap<String, Epoch>,
}

/// What a test has set for a step's attempts.
#[derive(Clone, Copy)]
enum Set {
    Hangs,
    CannotBeAttempted,
    Refuses,
    Slow(Duration),
    OnItsWay(Duration),
}

/// The world.
#[derive(Clone)]
pub struct Effects {
    inner: Arc<Mutex<Inner>>,
    dice: Dice,
    /// What is still on its way to the other side: no crash of ours stops it.
    on_their_way: Arc<Mutex<JoinSet<()>>>,
    began: tokio::time::Instant,
}

impl Effects {
    pub fn new(dice: &Dice, temper: Temper) -> Self {
        let inner = Inner {
            keys: BTreeMap::new(),
            temper,
            calm: false,
            set: BTreeMap::new(),
            attempts: BTreeMap::new(),
            epochs: BTreeMap::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            dice: dice.clone(),
            on_their_way: Arc::default(),
            began: tokio::time::Instant::now(),
        }
    }

    /// From now on every attempt succeeds, also at a step past the pivot that was refused: an operator has seen to it.
    pub fn calm(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.temper = Temper::default();
        inner.calm = true;
        inner.set.clear();
    }

    /// Attempts at this step (or `undo` and a step) don't end.
    pub fn hang(&self, step: &'static str) {
        self.inner.lock().unwrap().set.insert(step, Set::Hangs);
    }

    /// Attempts at this step have no effect and say so.
    pub fn cannot_be_attempted(&self, step: &'static str) {
        self.inner
            .lock()
            .unwrap()
            .set
            .insert(step, Set::CannotBeAttempted);
    }

    /// Attempts at this step are refused, whatever is known under the key.
    pub fn refuse(&self, step: &'static str) {
        self.inner.lock().unwrap().set.insert(step, Set::Refuses);
    }

    /// Attempts at this step take so long.
    pub fn slow(&self, step: &'static str, takes: Duration) {
        self.inner
            .lock()
            .unwrap()
            .set
            .insert(step, Set::Slow(takes));
    }

    /// Attempts at this step are with the other side after so long, whatever becomes of the process, which is answered then.
    pub fn on_its_way(&self, step: &'static str, takes: Duration) {
        self.inner
            .lock()
            .unwrap()
            .set
            .insert(step, Set::OnItsWay(takes));
    }

    /// What is sent now is there after so long, also when nobody waits for the answer.
    async fn send(&self, attempt: &Attempt, life: u32, wanted: Standing, takes: Duration) {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (effects, attempt) = (self.clone(), attempt.clone());
        self.on_their_way.lock().unwrap().spawn(async move {
            tokio::time::sleep(takes).await;
            effects.meet(&attempt, life, wanted);
            let _gone = answer.send(());
        });
        answered.await.expect("the other side answers");
    }

    /// How many attempts at this step (or `undo` and a step) have begun.
    pub fn attempts_at(&self, step: &str) -> usize {
        self.inner
            .lock()
            .unwrap()
            .attempts
            .get(step)
            .copied()
            .unwrap_or(0)
    }

    /// The epoch under which an attempt at this step's action last began.
    pub fn epoch_at(&self, step: &str) -> Option<Epoch> {
        self.inner.lock().unwrap().epochs.get(step).copied()
    }

    fn begin(&self, attempt: &Attempt) -> Option<Set> {
        let name = match attempt.direction {
            Direction::Forward => attempt.step.to_string(),
            Direction::Backward => format!("undo {}", attempt.step),
        };
        let mut inner = self.inner.lock().unwrap();
        *inner.attempts.entry(name.clone()).or_default() += 1;
        inner.epochs.insert(name.clone(), attempt.epoch);
        inner.set.get(name.as_str()).copied()
    }

    pub fn known(&self) -> BTreeMap<String, Known> {
        self.inner.lock().unwrap().keys.clone()
    }

    fn temper(&self) -> Temper {
        self.inner.lock().unwrap().temper
    }

    /// Changes what is known under the attempt's key, and returns it.
    fn meet(&self, attempt: &Attempt, life: u32, wanted: Standing) -> Standing {
        let mut inner = self.inner.lock().unwrap();
        let seen_to = inner.calm && matches!(&*attempt.step, "d" | "e-instead" | "f");
        let known = inner.keys.entry(attempt.key()).or_insert_with(|| Known {
            workflow: attempt.workflow,
            step: attempt.step.to_string(),
            standing: wanted,
            made: u32::from(wanted == Standing::Held),
            epoch: attempt.epoch,
            lives: BTreeSet::new(),
            history: Vec::new(),
        });
        known.lives.insert(life);
        let Attempt {
            direction,
            number,
            epoch,
            ..
        } = attempt;
        let at_ms = self.began.elapsed().as_millis();
        known.history.push(format!(
            "{at_ms} ms: {direction:?} {number} under epoch {} by life {life}: {wanted:?}",
            epoch.0
        ));
        // Whoever lost the partition does not undo what its new owner does under the same key.
        let stale = *direction == Direction::Backward && *epoch < known.epoch;
        if stale {
            return known.standing;
        }
        known.epoch = known.epoch.max(*epoch);
        // What was released or refused stays so; what is held can only be released.
        if known.standing == Standing::Held && wanted == Standing::Released {
            known.standing = Standing::Released;
        }
        if known.standing == Standing::Refused && wanted == Standing::Held && seen_to {
            known.standing = Standing::Held;
            known.made += 1;
        }
        known.standing
    }

    fn standing(&self, attempt: &Attempt) -> Option<Standing> {
        self.inner
            .lock()
            .unwrap()
            .keys
            .get(&attempt.key())
            .map(|known| known.standing)
    }
}

/// What an attempt does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Refused,
    Retry,
    Unknown,
    Panic,
    Hang,
    Late,
}

/// A step of a definition that one life of a process holds.
pub struct WorldStep {
    pub effects: Effects,
    pub life: u32,
    pub with_rows: bool,
}

impl WorldStep {
    fn mood(&self, what: &str, refused: u64) -> Mood {
        let temper = self.effects.temper();
        let roll = self.effects.dice.roll(what, 1000);
        let moods = [
            (refused, Mood::Refused),
            (temper.retry, Mood::Retry),
            (temper.unknown, Mood::Unknown),
            (temper.panic, Mood::Panic),
            (temper.hang, Mood::Hang),
            (temper.late, Mood::Late),
        ];
        let mut sum = 0;
        for (share, mood) in moods {
            sum += share;
            if roll < sum {
                return mood;
            }
        }
        Mood::Good
    }

    async fn take_time(&self, what: &str) {
        let slow = self.effects.dice.chance(&format!("{what} slow"), 30);
        let at_most_ms = if slow { 400 } else { 6 };
        let wait_ms = self.effects.dice.roll(&format!("{what} time"), at_most_ms);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
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

    fn done(&self, attempt: &Attempt) -> Outcome<Payload> {
        match self.effects.meet(attempt, self.life, Standing::Held) {
            Standing::Held => {
                Outcome::done_with(Payload::of(&attempt.key()).unwrap(), self.rows(attempt, 1))
            }
            standing => refused(standing),
        }
    }
}

fn refused<T>(standing: Standing) -> Outcome<T> {
    let code = if standing == Standing::Released {
        "released"
    } else {
        "no"
    };
    Outcome::Refused(Refusal {
        earlier: Earlier::Possible,
        ..Refusal::new(code, "the other side says no")
    })
}

fn error() -> StepError {
    StepError::new("timeout", "no answer")
}

#[async_trait]
impl AnyStep for WorldStep {
    async fn act(&self, attempt: &Attempt, _: &[Payload]) -> Outcome<Payload> {
        match self.effects.begin(attempt) {
            Some(Set::Hangs) => return fail(Mood::Hang).await,
            Some(Set::CannotBeAttempted) => return Outcome::retry(error()),
            Some(Set::Refuses) => return refused(Standing::Refused),
            Some(Set::Slow(takes)) => tokio::time::sleep(takes).await,
            Some(Set::OnItsWay(takes)) => {
                let sent = self.effects.send(attempt, self.life, Standing::Held, takes);
                sent.await;
                return self.done(attempt);
            }
            None => {}
        }
        let what = format!("act {}", attempt.key());
        let mood = self.mood(&what, self.effects.temper().refused);
        self.take_time(&what).await;
        let happens = self.effects.dice.chance(&format!("{what} happens"), 500);
        match mood {
            Mood::Good => return self.done(attempt),
            Mood::Refused => {
                return match self.effects.meet(attempt, self.life, Standing::Refused) {
                    Standing::Held => self.done(attempt),
                    standing => refused(standing),
                };
            }
            Mood::Retry => return Outcome::retry(error()),
            Mood::Late => {
                let (effects, attempt, life) = (self.effects.clone(), attempt.clone(), self.life);
                let after = Duration::from_millis(self.effects.dice.roll(&what, 4000));
                self.effects
                    .on_their_way
                    .clone()
                    .lock()
                    .unwrap()
                    .spawn(async move {
                        tokio::time::sleep(after).await;
                        effects.meet(&attempt, life, Standing::Held);
                    });
                return Outcome::Unknown(error());
            }
            Mood::Unknown | Mood::Panic | Mood::Hang => {}
        }
        if happens {
            self.effects.meet(attempt, self.life, Standing::Held);
        }
        fail(mood).await
    }

    async fn probe(&self, attempt: &Attempt, _: &[Payload]) -> Probed<Payload> {
        let what = format!("probe {}", attempt.key());
        self.take_time(&what).await;
        match self.effects.standing(attempt) {
            _ if self.effects.dice.chance(&what, 500) => Probed::CannotAsk,
            _ if self
                .effects
                .dice
                .chance(&what, self.effects.temper().unknown) =>
            {
                Probed::Unknown(error())
            }
            Some(Standing::Held) => Probed::Done {
                output: Payload::of(&attempt.key()).unwrap(),
                changes: self.rows(attempt, 1),
            },
            None | Some(Standing::Refused) => Probed::NoEffect,
            Some(standing) => match refused::<()>(standing) {
                Outcome::Refused(refusal) => Probed::Refused(refusal),
                _ => unreachable!("it is a refusal"),
            },
        }
    }

    async fn compensate(
        &self,
        attempt: &Attempt,
        _: &[Payload],
        output: Option<&Payload>,
    ) -> Outcome<()> {
        match self.effects.begin(attempt) {
            Some(Set::Hangs) => return fail(Mood::Hang).await,
            Some(Set::CannotBeAttempted) => return Outcome::retry(error()),
            Some(Set::Refuses) => return refused(Standing::Refused),
            Some(Set::Slow(takes)) => tokio::time::sleep(takes).await,
            Some(Set::OnItsWay(takes)) => {
                let sent = self
                    .effects
                    .send(attempt, self.life, Standing::Released, takes);
                sent.await;
            }
            None => {}
        }
        let what = format!("undo {}", attempt.key());
        let mood = self.mood(&what, self.effects.temper().undo_refused);
        self.take_time(&what).await;
        let happens = self.effects.dice.chance(&format!("{what} happens"), 500);
        if mood == Mood::Good || (happens && !matches!(mood, Mood::Refused | Mood::Retry)) {
            self.effects.meet(attempt, self.life, Standing::Released);
        }
        match mood {
            // Rows were written with the output, if it is known to be one.
            Mood::Good => Outcome::done_with(
                (),
                output.map(|_| self.rows(attempt, -1)).unwrap_or_default(),
            ),
            Mood::Refused => Outcome::refused("stuck", "an operator must look at it"),
            Mood::Retry => Outcome::retry(error()),
            mood => fail(mood).await,
        }
    }
}

/// A wait in [`definition`]: a nap of a random length, or a word that comes or does not.
struct Wait {
    effects: Effects,
    kind: StepKind,
}

#[async_trait]
impl AnyStep for Wait {
    fn kind(&self) -> StepKind {
        self.kind
    }

    fn wait_until(&self, _: &[Payload], now: Timestamp) -> Result<Option<Timestamp>, PayloadError> {
        let longest_ms = if self.effects.temper().unknown > 0 {
            3_000
        } else {
            1
        };
        let waits_ms = self.effects.dice.roll("wait", longest_ms);
        Ok(Some(now.after(Duration::from_millis(waits_ms))))
    }

    async fn act(&self, _: &Attempt, _: &[Payload]) -> Outcome<Payload> {
        unreachable!("a wait is not attempted")
    }

    async fn compensate(&self, _: &Attempt, _: &[Payload], _: Option<&Payload>) -> Outcome<()> {
        unreachable!("a wait has no effect")
    }
}

async fn fail<T>(mood: Mood) -> Outcome<T> {
    match mood {
        Mood::Panic => panic!("a step panics, on purpose"),
        Mood::Hang => std::future::pending().await,
        _ => Outcome::Unknown(error()),
    }
}

/// Which steps of [`definition`] may run ahead of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// None: every step is a barrier.
    Nothing,
    /// The steps that start at once, as in a purchase.
    First,
    /// All, but for the pivot.
    AllButPivot,
    /// All.
    Everything,
}

/// `a` and `b` at once, `c` and a nap after `b`, then the pivot, `d` and `e` (or else `e-instead`) at once, and `f`, and a word after
/// `d`. `a`, the pivot and `d` write rows.
pub fn definition(effects: &Effects, life: u32, ahead: Ahead) -> Arc<Definition> {
    let mut builder = DefinitionBuilder::new("world", 1);
    let steps: [(&str, Phase, &[usize]); 8] = [
        ("a", Phase::Compensable, &[]),
        ("b", Phase::Compensable, &[]),
        ("c", Phase::Compensable, &[1]),
        ("pivot", Phase::Pivot, &[0, 2]),
        ("d", Phase::Retriable, &[3]),
        ("e", Phase::Retriable, &[3]),
        ("f", Phase::Retriable, &[4, 5]),
        ("e-instead", Phase::Retriable, &[3]),
    ];
    for (name, phase, inputs) in steps {
        let replayable = match ahead {
            Ahead::Nothing => false,
            Ahead::First => matches!(name, "a" | "b"),
            Ahead::AllButPivot => phase != Phase::Pivot,
            Ahead::Everything => true,
        };
        let policy = Policy {
            attempt_timeout: Duration::from_secs(1),
            retry: RetryPolicy {
                first_delay: Duration::from_millis(10),
                delay_max: Duration::from_millis(200),
                attempts_max: 4,
                elapsed_max: None,
            },
            port: None,
            durability: if replayable {
                Durability::Replayable
            } else {
                Durability::Barrier
            },
        };
        let compensation = match phase {
            Phase::Compensable => Compensation::Runs,
            Phase::Pivot | Phase::Retriable => Compensation::None {
                because: "past the point of no return",
            },
        };
        let with_rows = matches!(name, "a" | "pivot" | "d");
        let step = Arc::new(WorldStep {
            effects: effects.clone(),
            life,
            with_rows,
        });
        let inputs = inputs
            .iter()
            .map(|index| Source::Step(StepIndex(*index)))
            .collect();
        builder.step(StepSpec {
            name: name.to_owned(),
            phase,
            compensation,
            policy,
            inputs,
            step,
        });
    }
    builder.or_else(StepIndex(5), StepIndex(7));
    let waits = [
        ("nap", Phase::Compensable, StepKind::Timer, 1),
        ("word", Phase::Retriable, StepKind::Signal, 4),
    ];
    for (name, phase, kind, after) in waits {
        builder.step(StepSpec {
            name: name.to_owned(),
            phase,
            compensation: Compensation::None {
                because: "a wait has no effect",
            },
            policy: Policy::default(),
            inputs: vec![Source::Step(StepIndex(after))],
            step: Arc::new(Wait {
                effects: effects.clone(),
                kind,
            }),
        });
    }
    Arc::new(builder.build(Source::Step(StepIndex(6))).unwrap())
}
