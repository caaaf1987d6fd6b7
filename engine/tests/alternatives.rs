//! What is promised about a step past the pivot that has an alternative: it is done, or refused and the alternative done, and
//! never both because nobody knew.

mod support;

use std::sync::Arc;
use std::time::Duration;

use engine::command::Verb;
use engine::definition::{
    Action, Attempt, Definition, Durability, Outcome, Policy, RetryPolicy, Saga,
};
use engine::store::change::ChangeKind;
use engine::store::{Change, Status, Table, Value};
use engine::testing::MemoryStore;
use engine::workflow::{Event, Phase, Refusal, Resolution};
use engine::{CommandError, Engine, Payload, View, WorkflowId};
use futures_util::future::join_all;
use support::operator::Operator as _;
use support::{Harness, Script, Scripted, World, status, until};
use tokio::sync::Notify;

static STOCK: Table = Table {
    name: "stock",
    key: &["product"],
    columns: &["held"],
};

/// Done outside, with a row that the store refuses.
fn done_with_refused_row() -> Script {
    Script::DoneWith(vec![Change {
        table: &STOCK,
        key: vec![Value::from("tee")],
        kind: ChangeKind::Add(vec![("held", -1)]),
        refusal: Refusal::new("sold-out", "nothing is left"),
    }])
}

/// Scripted, with an output of its own.
struct Gives(Scripted, u32);

impl Action for Gives {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.0.name
    }

    fn policy(&self) -> Policy {
        self.0.policy()
    }

    async fn act(&self, attempt: &Attempt, input: u32) -> Outcome<u32> {
        match self.0.act(attempt, input).await {
            Outcome::Done { changes, .. } => Outcome::done_with(self.1, changes),
            other => other,
        }
    }
}

/// Gives what it takes.
struct Echo(Scripted);

impl Action for Echo {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.0.name
    }

    async fn act(&self, attempt: &Attempt, input: u32) -> Outcome<u32> {
        match self.0.act(attempt, input).await {
            Outcome::Done { changes, .. } => Outcome::done_with(input, changes),
            other => other,
        }
    }
}

fn step(world: &World, name: &'static str, durability: Durability) -> Scripted {
    Scripted {
        name,
        world: world.clone(),
        durability,
    }
}

/// `pay` (the pivot), then `issue` (gives 10) or else `refund` (gives 20), then `settle` (gives what it takes).
fn purchase(world: &World, first: impl Action<Input = u32, Output = u32>) -> Arc<Definition> {
    let barrier = |name| step(world, name, Durability::Barrier);
    let saga = Saga::<u32>::new("purchase", 1);
    let input = saga.input();
    let (mut saga, paid) = saga.pivot(barrier("pay"), &input);
    let goods = saga.retriable(first, &paid);
    // That it would run ahead of the journal is of no use to it.
    let refund = Gives(step(world, "refund", Durability::Replayable), 20);
    let either = saga.or_else(&goods, refund, &paid);
    let settled = saga.retriable(Echo(barrier("settle")), &either);
    Arc::new(saga.finish(&settled).unwrap())
}

fn issue(world: &World) -> Gives {
    Gives(step(world, "issue", Durability::Barrier), 10)
}

fn harness() -> Harness {
    let mut harness = Harness::new(Durability::Barrier);
    harness.definition = purchase(&harness.world, issue(&harness.world));
    harness
}

fn output(view: &View) -> Option<&str> {
    match &view.state.as_ref()?.phase {
        Phase::Completed { output } => Some(output.as_str()),
        _ => None,
    }
}

async fn refusal(engine: &Engine, id: WorkflowId) -> (Event, Vec<String>) {
    let records = engine.records(id, 0, 100).await.unwrap();
    let refused = |record: &&engine::workflow::Record| record.event.kind() == "step-refused";
    let record = records.iter().find(refused).expect("it was refused");
    let starts = record.starts.iter().map(|intent| intent.step.clone());
    (record.event.clone(), starts.collect())
}

async fn tell(engine: &Engine, id: WorkflowId, verb: Verb) -> Result<View, CommandError> {
    engine.tell(id, verb, "ann", "she looked it up").await
}

async fn ended(engine: &Engine, id: WorkflowId) -> View {
    let deadline = engine.runtime().now().after(Duration::from_mins(1));
    engine.wait(id, deadline).await.unwrap().unwrap()
}

fn resolved(step: &str, resolution: Resolution) -> Verb {
    Verb::Resolve {
        step: step.into(),
        resolution,
    }
}

fn refused() -> Resolution {
    Resolution::Refused(Refusal::new("recalled", "there are none"))
}

fn skipped(step: &str, output: u32) -> Verb {
    Verb::Skip {
        step: step.into(),
        output: Payload::of(&output).unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_refused_gives_way_to_its_alternative_in_one_record() {
    let harness = harness();
    harness.world.script("issue", [Script::Refuse("recalled")]);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(status(&view), (Status::Completed, None));
    assert_eq!(output(&view), Some("20"), "later steps take what there is");
    assert_eq!(harness.world.log(), ["pay", "issue", "refund", "settle"]);
    let (_, starts) = refusal(&engine, view.id).await;
    assert_eq!(starts, ["refund"]);
    assert_eq!(
        engine.counters().commits,
        5,
        "one before each attempt and one at the end: the refusal waits for nothing of its own"
    );
    let state = view.state.unwrap();
    assert_eq!(state.output_of("issue"), None);
    assert_eq!(state.output_of("refund").unwrap().as_str(), "20");
}

#[tokio::test(start_paused = true)]
async fn the_alternative_of_a_step_that_is_done_never_starts() {
    let harness = harness();
    harness
        .world
        .script("issue", [Script::Unknown, Script::Retry]);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(status(&view), (Status::Completed, None));
    assert_eq!(output(&view), Some("10"));
    assert_eq!(
        harness.world.log(),
        ["pay", "issue", "issue", "issue", "settle"]
    );
    let records = engine.records(view.id, 0, 100).await.unwrap();
    let mut intents = records.iter().flat_map(|record| &record.starts);
    assert!(intents.all(|intent| intent.step != "refund"));
}

#[tokio::test(start_paused = true)]
async fn rows_that_the_store_refuses_give_way_to_the_alternative_too_also_out_of_a_full_batch() {
    let harness = harness();
    harness.world.script("issue", [done_with_refused_row()]);
    harness.store.refuse_changes("stock");
    let engine = harness.open().await;
    let keys: Vec<String> = (0..50).map(|key| key.to_string()).collect();
    let runs = join_all(keys.iter().map(|key| harness.run(&engine, key))).await;
    let views: Vec<View> = runs.into_iter().map(Result::unwrap).collect();
    assert!(views.iter().all(|view| output(view).is_some()));
    let diverted: Vec<&View> = views
        .iter()
        .filter(|view| output(view) == Some("20"))
        .collect();
    assert_eq!(diverted.len(), 1);
    assert!(engine.counters().splits > 0, "the batch was split");
    let (event, starts) = refusal(&engine, diverted[0].id).await;
    assert!(
        matches!(event, Event::StepRefused { refusal, effect_may_exist: true, .. } if refusal.code == "sold-out")
    );
    assert_eq!(starts, ["refund"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_unknown_or_only_failed_is_parked_and_never_gives_way() {
    let timed_out = [Script::Hang, Script::Panic, Script::Unknown];
    let failed = [Script::Retry, Script::Retry, Script::Retry];
    for script in [timed_out, failed] {
        let harness = harness();
        harness.world.script("issue", script);
        let engine = harness.open().await;
        let view = harness.run(&engine, "k").await.unwrap();
        assert_eq!(status(&view), (Status::Parked, Some("scripted")));
        assert_eq!(harness.world.log(), ["pay", "issue", "issue", "issue"]);
        let id = view.id;
        for verb in [
            resolved("refund", refused()),
            skipped("refund", 7),
            Verb::Compensate,
        ] {
            let conflict = tell(&engine, id, verb.clone()).await;
            assert!(
                matches!(conflict, Err(CommandError::Conflict(_))),
                "{verb:?}"
            );
        }
        // An operator may say that it is refused for good.
        tell(&engine, id, resolved("issue", refused()))
            .await
            .unwrap();
        let view = ended(&engine, id).await;
        assert_eq!(output(&view), Some("20"));
        assert_eq!(harness.world.log()[4..], ["refund", "settle"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_knows_better_gives_the_output_of_whichever_it_is_the_turn() {
    let harness = harness();
    harness
        .world
        .script("issue", [Script::Unknown, Script::Unknown, Script::Unknown]);
    let engine = harness.open().await;
    let resolved_done = resolved("issue", Resolution::Done(Payload::of(&11).unwrap()));
    for (key, verb) in [("k", resolved_done), ("l", skipped("issue", 11))] {
        harness
            .world
            .script("issue", [Script::Unknown, Script::Unknown, Script::Unknown]);
        let view = harness.run(&engine, key).await.unwrap();
        assert_eq!(view.head.status, Status::Parked);
        tell(&engine, view.id, verb).await.unwrap();
        assert_eq!(output(&ended(&engine, view.id).await), Some("11"));
    }
    harness.world.script("issue", [Script::Refuse("recalled")]);
    harness.world.script("refund", [Script::Refuse("closed")]);
    let view = harness.run(&engine, "m").await.unwrap();
    assert_eq!(status(&view), (Status::Parked, Some("closed")));
    tell(&engine, view.id, skipped("refund", 21)).await.unwrap();
    assert_eq!(output(&ended(&engine, view.id).await), Some("21"));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_gave_way_is_over_and_when_the_alternative_is_refused_an_operator_retries_that()
{
    let harness = harness();
    harness.world.script("issue", [done_with_refused_row()]);
    harness.store.refuse_changes("stock");
    harness.world.script("refund", [Script::Refuse("closed")]);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(status(&view), (Status::Parked, Some("closed")));
    let id = view.id;
    let done = Resolution::Done(Payload::of(&11).unwrap());
    for verb in [
        resolved("issue", refused()),
        resolved("issue", done),
        skipped("issue", 11),
    ] {
        let conflict = tell(&engine, id, verb).await;
        assert!(
            matches!(&conflict, Err(CommandError::Conflict(why)) if why.contains("`issue` was refused and is over")),
            "{conflict:?}"
        );
    }
    tell(&engine, id, Verb::Retry).await.unwrap();
    let view = ended(&engine, id).await;
    assert_eq!(output(&view), Some("20"));
    assert_eq!(
        harness.world.log(),
        ["pay", "issue", "refund", "refund", "settle"]
    );
}

/// `issue`, which says that it has begun, and is refused when it is told so.
struct Told {
    step: Scripted,
    has_begun: Arc<Notify>,
    refusal: Arc<Notify>,
}

impl Action for Told {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.step.name
    }

    async fn act(&self, _: &Attempt, _: u32) -> Outcome<u32> {
        self.has_begun.notify_one();
        self.refusal.notified().await;
        Outcome::refused("recalled", "there are none")
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_a_pause_gives_way_when_the_pause_ends() {
    let mut harness = harness();
    let (has_begun, refusal) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let first = Told {
        step: step(&harness.world, "issue", Durability::Barrier),
        has_begun: Arc::clone(&has_begun),
        refusal: Arc::clone(&refusal),
    };
    harness.definition = purchase(&harness.world, first);
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    has_begun.notified().await;
    let refused_later = async {
        // The pause is with the workflow long before, and not answered yet perhaps.
        tokio::time::sleep(Duration::from_secs(1)).await;
        refusal.notify_one();
    };
    let (paused, ()) = tokio::join!(tell(&engine, id, Verb::Pause), refused_later);
    paused.unwrap();
    until("the refusal is durable", async || {
        harness.kinds().len() == 4
    })
    .await;
    assert_eq!(harness.kinds()[2..], ["paused", "step-refused"]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(harness.world.log(), ["pay"], "no refund in a pause");
    tell(&engine, id, Verb::Resume).await.unwrap();
    assert_eq!(output(&ended(&engine, id).await), Some("20"));
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_goes_on_with_the_alternative_and_does_not_ask_for_the_refusal_again() {
    let harness = harness();
    harness.world.script("issue", [Script::Refuse("recalled")]);
    harness.world.script("refund", [Script::Hang]);
    let engine = harness.open().await;
    let started = engine.start(harness.start("k")).await.unwrap();
    harness
        .world
        .has_attempted(&["pay", "issue", "refund"])
        .await;
    // The same node name: it takes the partitions back at once, and the old owner is fenced.
    let next = harness.open().await;
    let view = harness.settled(&next, &started).await;
    assert_eq!(output(&view), Some("20"));
    assert_eq!(
        harness.world.log(),
        ["pay", "issue", "refund", "refund", "settle"]
    );
}

/// `issue`, with which the database goes away.
struct Cut(Scripted, MemoryStore);

impl Action for Cut {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.0.name
    }

    async fn act(&self, attempt: &Attempt, input: u32) -> Outcome<u32> {
        self.1.set_down(true);
        self.0.act(attempt, input).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_alternative_begins_only_when_the_refusal_is_durable_whatever_its_policy_says() {
    let mut harness = harness();
    let store = harness.store.clone();
    let first = Cut(
        step(&harness.world, "issue", Durability::Barrier),
        store.clone(),
    );
    harness.definition = purchase(&harness.world, first);
    harness.world.script("issue", [Script::Refuse("recalled")]);
    let engine = harness.open().await;
    let id = engine.start(harness.start("k")).await.unwrap().view().id;
    until("the engine notices", async || !engine.is_serving()).await;
    assert_eq!(harness.world.log(), ["pay", "issue"]);
    store.set_down(false);
    assert_eq!(output(&ended(&engine, id).await), Some("20"));
}

// ---- attempts that end late ----

/// `issue`, whose first attempt is given up after a second and takes effect half a second later, if it does; whose next ones
/// are refused, after a while.
struct Slow {
    world: World,
    /// The first attempt never ends.
    lost: bool,
    refused_after: Duration,
}

impl Action for Slow {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &'static str {
        "issue"
    }

    fn policy(&self) -> Policy {
        Policy {
            attempt_timeout: Duration::from_secs(1),
            retry: RetryPolicy {
                first_delay: Duration::ZERO,
                delay_max: Duration::ZERO,
                attempts_max: 2,
                elapsed_max: None,
            },
            ..Policy::default()
        }
    }

    async fn act(&self, attempt: &Attempt, _: u32) -> Outcome<u32> {
        let scripted = step(&self.world, "issue", Durability::Barrier);
        if attempt.number > 1 {
            tokio::time::sleep(self.refused_after).await;
            return Outcome::refused("recalled", "there are none");
        }
        if self.lost {
            return std::future::pending().await;
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        scripted.act(attempt, 1).await
    }
}

fn slow(lost: bool, refused_after_ms: u64) -> Harness {
    let mut harness = Harness::new(Durability::Barrier);
    let first = Slow {
        world: harness.world.clone(),
        lost,
        refused_after: Duration::from_millis(refused_after_ms),
    };
    harness.definition = purchase(&harness.world, first);
    harness
}

#[tokio::test(start_paused = true)]
async fn a_step_that_takes_effect_after_it_gave_way_is_the_operator_s() {
    let harness = slow(false, 0);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(
        status(&view),
        (Status::Parked, Some("refused-step-took-effect"))
    );
    assert_eq!(
        harness.world.log(),
        ["pay", "refund", "settle", "issue"],
        "it does not end while the attempt is watched"
    );
    // Whoever has put it right lets it end.
    tell(&engine, view.id, Verb::Retry).await.unwrap();
    assert_eq!(output(&ended(&engine, view.id).await), Some("20"));
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_gave_way_ends_when_what_was_given_up_can_no_longer_take_effect() {
    let harness = slow(true, 0);
    let engine = harness.open().await;
    let begun = engine.runtime().now();
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(output(&view), Some("20"));
    let took = view.head.updated_at.since(begun);
    assert_eq!(took.as_secs(), 2, "the attempt and as long again: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_believed_when_an_earlier_attempt_is_known_to_have_taken_effect() {
    let harness = slow(false, 800);
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(
        status(&view),
        (Status::Parked, Some("refused-after-its-effect"))
    );
    assert_eq!(harness.world.log(), ["pay", "issue"], "no refund");
}
