//! A start that is refused before anything is durable: it asks the store for an earlier life of itself where it has something to
//! undo, and only there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::definition::{
    Action, Attempt, Compensable, Definition, Durability, Outcome, Policy, RetryPolicy, Saga,
    StepIndex,
};
use engine::ids::StartKey;
use engine::store::{Lease, Status, Store as _};
use engine::workflow::{Earlier, Refusal, StepError};
use engine::{Engine, NodeName, Parts, Payload, Settings, Start, StartError, Started};

use crate::support::dice::Dice;
use crate::support::flaky::{FlakyStore, Next, Trouble};
use crate::support::{Harness, Script, Scripted, World};

const FINDING: &str = "finding a workflow";

/// What the workflow is given: what its steps say about their effect.
const WITHOUT_EFFECT: u32 = 0;
const WITH_EFFECT: u32 = 1;
const PANICS: u32 = 2;

/// A step that says whether it has an effect with its input.
struct Telling(Scripted);

impl Action for Telling {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.0.name()
    }

    fn policy(&self) -> Policy {
        self.0.policy()
    }

    async fn act(&self, attempt: &Attempt, input: u32) -> Outcome<u32> {
        self.0.act(attempt, input).await
    }
}

impl Compensable for Telling {
    async fn compensate(&self, attempt: &Attempt, input: u32, output: Option<u32>) -> Outcome<()> {
        self.0.compensate(attempt, input, output).await
    }

    fn has_effect(&self, input: &u32) -> bool {
        assert_ne!(*input, PANICS, "it does not know");
        *input == WITH_EFFECT
    }
}

/// Says no to a repeat, and that this may be about the first.
struct Knowing(World);

impl Action for Knowing {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &'static str {
        "last"
    }

    fn policy(&self) -> Policy {
        replayable()
    }

    async fn act(&self, _: &Attempt, _: u32) -> Outcome<u32> {
        if self.0.log().iter().filter(|entry| *entry == "tell").count() == 1 {
            return Outcome::done(1);
        }
        Outcome::Refused(Refusal {
            earlier: Earlier::Possible,
            ..Refusal::new("known", "the key was used")
        })
    }
}

/// The step of this name says no after so long, and that there is no earlier one.
struct Refuses(&'static str, Duration);

impl Action for Refuses {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.0
    }

    fn policy(&self) -> Policy {
        replayable()
    }

    async fn act(&self, _: &Attempt, _: u32) -> Outcome<u32> {
        tokio::time::sleep(self.1).await;
        Outcome::Refused(Refusal {
            earlier: Earlier::RuledOut,
            ..Refusal::new("sold-out", "nobody ever had anything under this key")
        })
    }
}

impl Compensable for Refuses {
    async fn compensate(&self, _: &Attempt, _: u32, _: Option<u32>) -> Outcome<()> {
        Outcome::done(())
    }
}

/// Two steps side by side that both say no, one soon and one late.
fn refused_twice(world: &World) -> Arc<Definition> {
    let mut saga = Saga::<u32>::new("telling", 1);
    let input = saga.input();
    let soon = saga.compensable(Refuses("soon", Duration::from_millis(100)), &input);
    let late = saga.compensable(Refuses("late", Duration::from_millis(500)), &input);
    let last = saga.without_compensation(step(world, "last"), &input, "it is a test");
    saga.order(&soon, &last);
    saga.order(&late, &last);
    Arc::new(saga.finish(&last).unwrap())
}

fn replayable() -> Policy {
    Policy {
        durability: Durability::Replayable,
        ..Policy::default()
    }
}

fn step(world: &World, name: &'static str) -> Scripted {
    Scripted {
        name,
        world: world.clone(),
        durability: Durability::Replayable,
    }
}

/// These compensable steps, one after the other, of which `tell` says whether it has an effect; then `last`, which is final.
fn saga(
    world: &World,
    names: &[&'static str],
    last: impl Action<Input = u32, Output = u32>,
) -> Arc<Definition> {
    let mut saga = Saga::<u32>::new("telling", 1);
    let input = saga.input();
    let mut before = None;
    for name in names {
        let step = step(world, name);
        let done = match *name {
            "tell" => saga.compensable(Telling(step), &input),
            _ => saga.compensable(step, &input),
        };
        if let Some(before) = before.replace(done.clone()) {
            saga.order(&before, &done);
        }
    }
    let last = saga.without_compensation(last, &input, "it is a test");
    if let Some(before) = before {
        saga.order(&before, &last);
    }
    Arc::new(saga.finish(&last).unwrap())
}

/// A store that counts, under a harness.
struct Place {
    harness: Harness,
    store: FlakyStore,
}

impl Place {
    fn new(names: &[&'static str]) -> Self {
        let mut harness = Harness::new(Durability::Replayable);
        harness.definition = saga(&harness.world, names, step(&harness.world, "last"));
        let store = FlakyStore::new(harness.store.clone(), &Dice::new(1), Trouble::default());
        Self { harness, store }
    }

    /// A process, with no memory of earlier ones.
    async fn open(&self) -> Engine {
        Engine::open(Parts {
            runtime: self.harness.runtime.clone(),
            store: Arc::new(self.store.clone()),
            bus: self.harness.bus.clone(),
            definitions: vec![self.harness.definition.clone()],
            settings: Settings {
                node: NodeName("test".into()),
                ..Settings::default()
            },
        })
        .await
        .unwrap()
    }

    async fn start(&self, engine: &Engine, input: u32) -> Result<Started, StartError> {
        let start = Start {
            input: Payload::of(&input).unwrap(),
            ..self.harness.start("k")
        };
        engine.start(start).await
    }

    fn asked(&self) -> usize {
        self.store.asked(FINDING)
    }
}

fn is_refused(started: &Result<Started, StartError>) -> bool {
    matches!(started, Err(StartError::Refused(refusal)) if refusal.code == "sold-out")
}

#[tokio::test(start_paused = true)]
async fn a_refused_start_with_nothing_to_undo_asks_the_store_nothing() {
    for (input, asks) in [(WITHOUT_EFFECT, 0), (WITH_EFFECT, 1)] {
        let place = Place::new(&["tell"]);
        place
            .harness
            .world
            .script("last", [Script::Refuse("sold-out")]);
        let engine = place.open().await;
        let before = place.asked();
        let refused = place.start(&engine, input).await;
        assert!(is_refused(&refused), "{refused:?}");
        assert_eq!(place.asked() - before, asks, "with input {input}");
        // It is undone all the same: the step itself knows that there is nothing.
        assert_eq!(place.harness.world.log(), ["tell", "last", "undo tell"]);
        assert_eq!(place.harness.store.workflows(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_is_undone_unasked_when_the_refusal_rules_out_an_earlier_one() {
    let mut place = Place::new(&[]);
    let world = place.harness.world.clone();
    place.harness.definition = saga(&world, &["hold"], Refuses("last", Duration::ZERO));
    let engine = place.open().await;
    let before = place.asked();
    let refused = place.start(&engine, WITH_EFFECT).await;
    assert!(is_refused(&refused), "{refused:?}");
    assert_eq!(place.asked(), before);
    assert_eq!(world.log(), ["hold", "undo hold"]);
    assert_eq!(place.harness.store.workflows(), 0);
}

/// What refused it knows nothing of it, and rules it out when it is sent again: so it must not be in the journal.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_while_the_engine_is_paused_leaves_nothing() {
    for after in [0, 50, 200] {
        let mut place = Place::new(&[]);
        place.harness.definition = refused_twice(&place.harness.world);
        let engine = place.open().await;
        let pause = async {
            let runtime = &place.harness.runtime;
            runtime.sleep(Duration::from_millis(after)).await;
            engine
                .pause(runtime.now().after(Duration::from_secs(5)))
                .await
        };
        let (started, paused) = tokio::join!(place.start(&engine, WITHOUT_EFFECT), pause);
        assert!(paused, "after {after} ms");
        engine.resume();
        let gone = matches!(
            started,
            Err(StartError::Refused(_) | StartError::Unavailable(_))
        );
        assert!(gone, "after {after} ms: {started:?}");
        assert_eq!(place.harness.store.workflows(), 0, "after {after} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_cannot_go_on_and_has_nothing_to_undo_asks_the_store_nothing_either() {
    let place = Place::new(&["tell"]);
    place.harness.world.script("last", [Script::Retry]);
    let engine = place.open().await;
    let before = place.asked();
    let unavailable = place.start(&engine, WITHOUT_EFFECT).await;
    assert!(
        matches!(unavailable, Err(StartError::Unavailable(_))),
        "{unavailable:?}"
    );
    assert_eq!(place.asked(), before);
}

#[tokio::test(start_paused = true)]
async fn a_refused_start_with_nothing_to_undo_is_told_so_also_while_the_store_does_not_answer() {
    for (input, told) in [(WITHOUT_EFFECT, true), (WITH_EFFECT, false)] {
        let place = Place::new(&["tell"]);
        place
            .harness
            .world
            .script("last", [Script::Refuse("sold-out")]);
        let engine = place.open().await;
        place.store.next(FINDING, [Next::Fails]);
        let refused = place.start(&engine, input).await;
        assert_eq!(
            is_refused(&refused),
            told,
            "with input {input}: {refused:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_an_effect_is_not_undone_unasked_beside_what_has_none() {
    for names in [["tell", "hold"], ["hold", "tell"]] {
        let place = Place::new(&names);
        let first = place.open().await;
        let first = place.start(&first, WITHOUT_EFFECT).await.unwrap().view().id;
        // The next life has no memory of the key, begins under the same keys, and is told no.
        let next = place.open().await;
        place
            .harness
            .world
            .script("last", [Script::Refuse("sold-out")]);
        let before = place.asked();
        let again = place.start(&next, WITHOUT_EFFECT).await;
        assert!(
            matches!(&again, Ok(Started::Existing(view)) if view.id == first),
            "{names:?}: {again:?}"
        );
        assert!(place.asked() > before);
        let log = place.harness.world.log();
        assert!(
            !log.contains(&"undo hold".to_owned()),
            "{names:?}: it is the first one's: {log:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_with_nothing_to_undo_finds_its_workflow_when_the_refusal_says_that_it_may_be_there()
 {
    let mut place = Place::new(&[]);
    let world = place.harness.world.clone();
    place.harness.definition = saga(&world, &["tell"], Knowing(world.clone()));
    let first = place.open().await;
    let first = place.start(&first, WITHOUT_EFFECT).await.unwrap().view().id;
    let next = place.open().await;
    let again = place.start(&next, WITHOUT_EFFECT).await;
    assert!(
        matches!(&again, Ok(Started::Existing(view)) if view.id == first),
        "{again:?}"
    );
}

/// Says that another copy of the start has what it asks for, as often as it is told to; the first attempt's answer is lost where the
/// workflow is to be durable by then.
struct Beside {
    times: Arc<AtomicU32>,
    first_is_lost: bool,
}

impl Action for Beside {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &'static str {
        "last"
    }

    fn policy(&self) -> Policy {
        replayable()
    }

    async fn act(&self, attempt: &Attempt, _: u32) -> Outcome<u32> {
        if self.first_is_lost && attempt.number == 1 {
            return Outcome::Unknown(StepError::new("lost", "nobody heard the answer"));
        }
        let left = self
            .times
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if left.is_err() {
            return Outcome::done(1);
        }
        Outcome::Refused(Refusal {
            earlier: Earlier::UnderWay,
            ..Refusal::new("sold-out", "nothing is left beside the other copy")
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_copy_is_under_way_elsewhere_is_told_neither_yes_nor_no() {
    let mut place = Place::new(&[]);
    let world = place.harness.world.clone();
    let beside = Beside {
        times: Arc::new(AtomicU32::new(2)),
        first_is_lost: false,
    };
    place.harness.definition = saga(&world, &["hold"], beside);
    let engine = place.open().await;
    for again in 0..2 {
        let undecided = place.start(&engine, WITH_EFFECT).await;
        assert!(
            matches!(undecided, Err(StartError::Undecided(_))),
            "{again}: {undecided:?}"
        );
        assert_eq!(place.harness.store.workflows(), 0);
    }
    assert_eq!(world.log(), ["hold", "undo hold", "hold", "undo hold"]);
    // The copy has come to nothing and given everything back.
    let started = place.start(&engine, WITH_EFFECT).await;
    assert!(matches!(started, Ok(Started::New(_))), "{started:?}");
}

#[tokio::test(start_paused = true)]
async fn a_durable_workflow_waits_for_what_another_copy_of_its_start_left_behind() {
    let mut place = Place::new(&[]);
    let world = place.harness.world.clone();
    let times = Arc::new(AtomicU32::new(3));
    let beside = Beside {
        times: Arc::clone(&times),
        first_is_lost: true,
    };
    place.harness.definition = saga(&world, &["hold"], beside);
    let engine = place.open().await;
    let started = place.start(&engine, WITH_EFFECT).await.unwrap();
    let id = started.view().id;
    let deadline = place.harness.runtime.now().after(Duration::from_mins(1));
    let view = engine.wait(id, deadline).await.unwrap();
    let status = view.map(|view| view.head.status);
    assert_eq!(status, Some(Status::Completed));
    assert_eq!(times.load(Ordering::SeqCst), 0);
    assert_eq!(world.log(), ["hold"], "nothing was undone");
}

/// The answer to the first attempt of its first start is lost, so that it is durable and waits; whoever comes after that is refused by
/// somebody who knows nothing of it.
struct KnowsNothing(Arc<AtomicU32>);

impl Action for KnowsNothing {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &'static str {
        "last"
    }

    fn policy(&self) -> Policy {
        let hours = Duration::from_hours(1);
        Policy {
            retry: RetryPolicy {
                first_delay: hours,
                delay_max: hours,
                attempts_max: 3,
                elapsed_max: None,
            },
            ..replayable()
        }
    }

    async fn act(&self, _: &Attempt, _: u32) -> Outcome<u32> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            return Outcome::Unknown(StepError::new("lost", "nobody heard the answer"));
        }
        Outcome::Refused(Refusal {
            earlier: Earlier::RuledOut,
            ..Refusal::new("sold-out", "nothing is left")
        })
    }
}

/// A key whose start is born in the second of two partitions, and in the first while that is all there is.
fn key_of_the_second_partition(definition: &Definition) -> String {
    let keys = (0..).map(|number| format!("k{number}"));
    let mut of_the_second = keys.filter(|key| {
        let ident = StartKey {
            key_space: definition.key_space().to_owned(),
            scope: "tester".to_owned(),
            key: key.clone(),
        }
        .ident();
        let spread = |sum: usize, byte: &u8| sum.wrapping_mul(31).wrapping_add((*byte).into());
        ident.iter().fold(0, spread) % 2 == 1
    });
    of_the_second.next().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_repeat_finds_its_workflow_while_the_partition_that_has_it_is_being_taken_back() {
    let mut place = Place::new(&[]);
    let last = KnowsNothing(Arc::default());
    place.harness.definition = saga(&place.harness.world, &["hold"], last);
    let key = key_of_the_second_partition(&place.harness.definition);
    let start = || Start {
        input: Payload::of(&WITH_EFFECT).unwrap(),
        ..place.harness.start(&key)
    };
    let engine = place.open().await;
    let first = engine.start(start()).await.unwrap().view().id;
    // Its partition is lost, which is noticed when the leases are renewed, and it takes a while to get it back.
    let second = engine.partitions().await.unwrap().pop().unwrap();
    assert_eq!(first.partition(), second.id);
    let lease = Lease {
        partition: second.id,
        epoch: second.epoch,
    };
    place.harness.store.release(&[lease]).await.unwrap();
    let slow = Next::Slow(Duration::from_secs(6));
    place.store.next("opening a journal", [slow]);
    place.harness.runtime.sleep(Duration::from_secs(5)).await;
    let again = engine.start(start()).await;
    assert!(
        matches!(&again, Ok(Started::Existing(view)) if view.id == first),
        "{again:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_when_it_is_asked_about_its_effect_counts_as_one_that_has_one() {
    let place = Place::new(&["tell"]);
    place
        .harness
        .world
        .script("last", [Script::Refuse("sold-out")]);
    let engine = place.open().await;
    let before = place.asked();
    let refused = place.start(&engine, PANICS).await;
    assert!(is_refused(&refused), "{refused:?}");
    assert_eq!(place.asked() - before, 1);
    assert_eq!(engine.counters().in_flight, 0);
}

#[test]
fn an_input_that_cannot_be_read_counts_as_one_with_an_effect() {
    let world = World::default();
    let saga = saga(&world, &["tell"], step(&world, "last"));
    let tell = &saga.step(StepIndex(0)).step;
    assert!(!tell.has_effect(&[Payload::of(&WITHOUT_EFFECT).unwrap()]));
    assert!(tell.has_effect(&[Payload::of(&WITH_EFFECT).unwrap()]));
    assert!(tell.has_effect(&[Payload::of(&"none").unwrap()]));
}
