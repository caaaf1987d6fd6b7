//! What is promised to workflows that wait: for an instant, for a signal, for a deadline, or for a port that does not answer.

mod support;

use std::sync::Arc;
use std::time::Duration;

use engine::command::Verb;
use engine::definition::{
    Action, Attempt, Awaited, Compensable, Definition, Durability, Outcome, Policy, RetryPolicy,
    Saga,
};
use engine::store::{Status, Store as _};
use engine::workflow::{Resolution, StepState};
use engine::{CommandError, Engine, Payload, Start, StartError, View, WorkflowId};
use futures_util::future::join_all;
use support::operator::{Operator as _, command, signal};
use support::{Harness, Script, Scripted, World, status};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Charges when it was authorised, and refuses when nobody said anything in time.
struct Charge(Scripted);

impl Action for Charge {
    type Input = (u32, Awaited<u32>);
    type Output = u32;

    fn name(&self) -> &str {
        self.0.name()
    }

    fn policy(&self) -> Policy {
        self.0.policy()
    }

    async fn act(&self, attempt: &Attempt, (held, said): (u32, Awaited<u32>)) -> Outcome<u32> {
        match said {
            Awaited::Arrived(_) => self.0.act(attempt, held).await,
            Awaited::TimedOut => Outcome::refused("nobody-came", "the buyer did not authorise"),
        }
    }
}

fn step(world: &World, name: &'static str) -> Scripted {
    Scripted {
        name,
        world: world.clone(),
        durability: Durability::Barrier,
    }
}

/// `hold`, then `authorised` (a signal, for ten minutes), then `charge` (the pivot), then `cool-off` (an hour), then `last`.
fn purchase(world: &World) -> Arc<Definition> {
    let mut saga = Saga::<u32>::new("purchase", 1);
    let held = saga.compensable(step(world, "hold"), &saga.input());
    let said =
        saga.await_signal::<u32, _>("authorised", &held, |_, now| Some(now.after(10 * MINUTE)));
    let (mut saga, charged) = saga.pivot(Charge(step(world, "charge")), (&held, &said));
    let cooled = saga.sleep_until("cool-off", &charged, |_, now| now.after(HOUR));
    let last = saga.retriable(step(world, "last"), &charged);
    saga.order(&cooled, &last);
    Arc::new(saga.finish(&last).unwrap())
}

fn harness() -> Harness {
    let mut harness = Harness::new(Durability::Barrier);
    harness.definition = purchase(&harness.world);
    harness
}

fn start(harness: &Harness, key: &str) -> Start {
    harness.start(key)
}

/// Waits until the workflow has this status.
async fn until(engine: &Engine, id: WorkflowId, status: Status) -> View {
    for _ in 0..100_000 {
        let view = engine.view(id).await.unwrap().unwrap();
        if view.head.status == status {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{id} is never {status}");
}

async fn until_out_of_memory(engine: &Engine) {
    for _ in 0..10_000 {
        if engine.counters().in_flight == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} stay in memory", engine.counters().in_flight);
}

fn arrived() -> Verb {
    signal("authorised", "pg-1", &7)
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_waits_leaves_memory_and_goes_on_when_its_signal_and_its_time_come() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    let view = until(&engine, id, Status::Waiting).await;
    let wake_at = view.head.wake_at.expect("it is awaited for ten minutes");
    assert_eq!(wake_at.since(view.head.created_at).as_secs(), 600);
    until_out_of_memory(&engine).await;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    let view = until(&engine, id, Status::Waiting).await;
    let cooling_until = view.head.wake_at.expect("it cools off");
    until_out_of_memory(&engine).await;
    assert_eq!(harness.world.log(), ["hold", "charge"]);
    let view = until(&engine, id, Status::Completed).await;
    assert_eq!(harness.world.log(), ["hold", "charge", "last"]);
    let late = view.head.updated_at.since(cooling_until);
    assert!(late < Duration::from_secs(1), "{late:?} late");
    assert!(view.head.updated_at >= cooling_until, "never early");
    assert_eq!(
        harness.kinds(),
        [
            "started",
            "step-done",
            "signal-received",
            "step-done",
            "timer-fired",
            "completed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_does_not_come_in_time_is_an_answer_too() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    let view = until(&engine, id, Status::Compensated).await;
    assert_eq!(status(&view), (Status::Compensated, Some("nobody-came")));
    assert_eq!(harness.world.log(), ["hold", "undo hold"]);
    let late = engine.tell(id, arrived(), "gateway", "late").await;
    assert!(matches!(late, Err(CommandError::Conflict(why)) if why.contains("ended")));
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_comes_early_is_kept_and_a_duplicate_is_dropped() {
    let harness = harness();
    harness.world.script("hold", [Script::Retry, Script::Retry]);
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    // The hold is still being attempted.
    engine
        .tell(id, arrived(), "gateway", "early")
        .await
        .unwrap();
    engine
        .tell(id, arrived(), "gateway", "twice")
        .await
        .unwrap();
    until(&engine, id, Status::Completed).await;
    let signals = harness
        .kinds()
        .iter()
        .filter(|kind| *kind == "signal-received")
        .count();
    assert_eq!(signals, 1);
    assert_eq!(harness.world.log().last().unwrap(), "last");
}

#[tokio::test(start_paused = true)]
async fn a_signal_of_the_wrong_type_or_name_is_refused_and_nothing_is_stored() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    until(&engine, id, Status::Waiting).await;
    for (verb, what) in [
        (signal("authorised", "x", &"seven"), "authorised"),
        (signal("no-such", "x", &7), "no-such"),
    ] {
        let refused = engine.tell(id, verb, "gateway", "wrong").await;
        assert!(
            matches!(&refused, Err(CommandError::Invalid(why)) if why.contains(what)),
            "{refused:?}"
        );
    }
    let not_awaited = engine
        .tell(id, signal("hold", "x", &7), "gateway", "wrong")
        .await;
    assert!(
        matches!(not_awaited, Err(CommandError::Conflict(_))),
        "{not_awaited:?}"
    );
    assert!(
        engine
            .commands(Some(id), None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_goes_on_under_the_next_owner_on_time() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    let view = until(&engine, id, Status::Waiting).await;
    let cooling_until = view.head.wake_at.unwrap();
    drop(engine);
    // The same node name: it takes the partitions back at once.
    let next = harness.open().await;
    assert_eq!(
        next.counters().in_flight,
        0,
        "a workflow that waits is not loaded"
    );
    let view = until(&next, id, Status::Completed).await;
    let late = view.head.updated_at.since(cooling_until);
    assert!(late < Duration::from_secs(1), "{late:?} late");
    assert_eq!(harness.world.log(), ["hold", "charge", "last"]);
}

#[tokio::test(start_paused = true)]
async fn thousands_that_wait_are_woken_on_time() {
    let harness = harness();
    let engine = harness.open().await;
    for chunk in 0..8 {
        let starts = (0..500).map(|key| {
            let (engine, start) = (engine.clone(), start(&harness, &format!("{chunk} {key}")));
            async move { engine.start(start).await.unwrap().view().id }
        });
        join_all(starts).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    until_out_of_memory(&engine).await;
    tokio::time::sleep(11 * MINUTE).await;
    until_out_of_memory(&engine).await;
    let compensated = harness
        .store
        .count_by_status()
        .await
        .unwrap()
        .into_iter()
        .find(|(status, _)| *status == Status::Compensated);
    assert_eq!(compensated.map(|(_, count)| count), Some(4_000));
    let fired = harness
        .store
        .events()
        .into_iter()
        .filter(|event| event.kind == "timer-fired");
    let mut latest = Duration::ZERO;
    let started: std::collections::HashMap<WorkflowId, _> = harness
        .store
        .events()
        .into_iter()
        .filter(|event| event.kind == "step-done" && event.seq == 2)
        .map(|event| (event.workflow, event.at))
        .collect();
    for event in fired {
        latest = latest.max(event.at.since(started[&event.workflow].after(10 * MINUTE)));
    }
    assert!(latest < Duration::from_secs(1), "{latest:?} late");
}

#[tokio::test(start_paused = true)]
async fn no_wait_ends_while_the_engine_is_at_rest() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    until(&engine, id, Status::Waiting).await;
    let deadline = engine.runtime().now().after(Duration::from_secs(5));
    assert!(engine.pause(deadline).await);
    let before = harness.kinds();
    tokio::time::sleep(HOUR).await;
    assert_eq!(
        harness.kinds(),
        before,
        "nothing is recorded during a pause"
    );
    engine.resume();
    let view = until(&engine, id, Status::Compensated).await;
    assert_eq!(view.head.reason.as_deref(), Some("nobody-came"));
}

// ---- deadlines ----

fn with_deadline(world: &World) -> Arc<Definition> {
    let mut saga = Saga::<u32>::new("purchase", 1);
    saga.deadline(MINUTE);
    let held = saga.compensable(step(world, "hold"), &saga.input());
    let said = saga.await_signal::<u32, _>("authorised", &held, |_, _| None);
    let (mut saga, charged) = saga.pivot(Charge(step(world, "charge")), (&held, &said));
    let last = saga.retriable(step(world, "last"), &charged);
    Arc::new(saga.finish(&last).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_is_not_past_its_pivot_at_its_deadline_turns_back() {
    let mut harness = harness();
    harness.definition = with_deadline(&harness.world);
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    until(&engine, id, Status::Waiting).await;
    until_out_of_memory(&engine).await;
    let view = until(&engine, id, Status::Compensated).await;
    assert_eq!(view.head.reason.as_deref(), Some("deadline-passed"));
    let after = view.head.updated_at.since(view.head.created_at);
    assert!((60..62).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_does_not_turn_back_what_is_past_its_pivot() {
    let mut harness = harness();
    harness.definition = with_deadline(&harness.world);
    harness.world.script(
        "charge",
        [Script::Unknown, Script::Unknown, Script::Unknown],
    );
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    until(&engine, id, Status::Parked).await;
    tokio::time::sleep(5 * MINUTE).await;
    engine
        .retry(id, "ann", "the gateway is back")
        .await
        .unwrap();
    until(&engine, id, Status::Completed).await;
}

// ---- ports ----

/// A scripted step with another policy, which takes its time.
struct Tuned {
    step: Scripted,
    policy: Policy,
    takes: Duration,
}

impl Action for Tuned {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.step.name()
    }

    fn policy(&self) -> Policy {
        self.policy
    }

    async fn act(&self, attempt: &Attempt, input: u32) -> Outcome<u32> {
        tokio::time::sleep(self.takes).await;
        self.step.act(attempt, input).await
    }
}

impl Compensable for Tuned {
    async fn compensate(&self, attempt: &Attempt, input: u32, output: Option<u32>) -> Outcome<()> {
        self.step.compensate(attempt, input, output).await
    }
}

/// A step that depends on a port and never gives up.
fn at_port(step: Scripted) -> Tuned {
    let policy = step.policy();
    let retry = RetryPolicy {
        attempts_max: 1_000,
        ..policy.retry
    };
    Tuned {
        step,
        policy: Policy {
            port: Some("gateway"),
            retry,
            ..policy
        },
        takes: Duration::ZERO,
    }
}

/// A step that takes longer than its time-out, and is tried once.
fn slow(world: &World) -> Tuned {
    let step = step(world, "slow");
    Tuned {
        policy: Policy {
            retry: RetryPolicy::NONE,
            ..step.policy()
        },
        step,
        takes: Duration::from_millis(1_500),
    }
}

/// A step whose next attempt is longer away than a workflow stays in memory.
fn patient(world: &World) -> Tuned {
    let step = step(world, "pay");
    let retry = RetryPolicy {
        first_delay: MINUTE,
        delay_max: MINUTE,
        attempts_max: 3,
        elapsed_max: None,
    };
    Tuned {
        policy: Policy {
            retry,
            ..step.policy()
        },
        step,
        takes: Duration::ZERO,
    }
}

fn ported(world: &World, durability: Durability) -> Arc<Definition> {
    let step = Scripted {
        durability,
        ..step(world, "a")
    };
    let mut saga = Saga::<u32>::new("ported", 1);
    let input = saga.input();
    let a = saga.compensable(at_port(step), &input);
    Arc::new(saga.finish(&a).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_down_is_asked_by_few_and_those_who_wait_come_back_staggered() {
    let mut harness = harness();
    harness.definition = ported(&harness.world, Durability::Barrier);
    harness.world.script("a", vec![Script::Retry; 2_000]);
    let engine = harness.open().await;
    let starts = (0..1_000).map(|key| {
        let (engine, start) = (engine.clone(), start(&harness, &key.to_string()));
        async move { engine.start(start).await.unwrap().view().id }
    });
    join_all(starts).await;
    let at_first = harness.world.log().len();
    tokio::time::sleep(5 * MINUTE).await;
    let tried = harness.world.log().len() - at_first;
    assert!(
        tried < 100,
        "{tried} attempts in five minutes at a port that is down"
    );
    until_out_of_memory(&engine).await;
    harness.world.script("a", []);
    // At most a pause of 30 s, then one every 5 ms.
    let mut busiest = 0;
    for _ in 0..4_000 {
        let before = harness.world.log().len();
        tokio::time::sleep(Duration::from_millis(10)).await;
        busiest = busiest.max(harness.world.log().len() - before);
    }
    let counts = harness.store.count_by_status().await.unwrap();
    let completed = counts
        .into_iter()
        .find(|(status, _)| *status == Status::Completed);
    assert_eq!(completed.map(|(_, count)| count), Some(1_000));
    assert!(busiest <= 20, "{busiest} at once");
}

#[tokio::test(start_paused = true)]
async fn a_start_at_a_port_that_is_down_is_told_so_at_once_and_leaves_no_trace() {
    let mut harness = harness();
    harness.definition = ported(&harness.world, Durability::Replayable);
    harness.world.script("a", vec![Script::Retry; 2_000]);
    let engine = harness.open().await;
    for key in 0..50 {
        let refused = engine.start(start(&harness, &key.to_string())).await;
        assert!(
            matches!(refused, Err(StartError::Unavailable(_))),
            "{refused:?}"
        );
    }
    assert!(
        harness.world.log().len() < 20,
        "{}",
        harness.world.log().len()
    );
    assert_eq!(harness.store.workflows(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_steps_all_wait_for_a_port_that_is_down_leaves_no_trace_either() {
    let mut harness = harness();
    let replayable = |name| Scripted {
        durability: Durability::Replayable,
        ..step(&harness.world, name)
    };
    let mut saga = Saga::<u32>::new("ported", 1);
    let input = saga.input();
    let a = saga.compensable(at_port(replayable("a")), &input);
    saga.compensable(at_port(replayable("b")), &input);
    harness.definition = Arc::new(saga.finish(&a).unwrap());
    for name in ["a", "b", "undo a?", "undo b?"] {
        harness.world.script(name, vec![Script::Retry; 2_000]);
    }
    let engine = harness.open().await;
    let mut tried = 0;
    for key in 0..50 {
        let refused = engine.start(start(&harness, &key.to_string())).await;
        assert!(
            matches!(refused, Err(StartError::Unavailable(_))),
            "{refused:?}"
        );
        if key == 20 {
            tried = harness.world.log().len();
        }
    }
    assert_eq!(
        harness.world.log().len(),
        tried,
        "nothing is tried any more, forward or back"
    );
    assert_eq!(harness.store.workflows(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_after_a_rest_is_known_to_be_the_first_of_its_number() {
    let mut harness = harness();
    let mut saga = Saga::<u32>::new("patient", 1);
    let input = saga.input();
    let a = saga.compensable(step(&harness.world, "a"), &input);
    let (saga, paid) = saga.pivot(patient(&harness.world), &a);
    harness.definition = Arc::new(saga.finish(&paid).unwrap());
    harness.world.script("pay", vec![Script::Retry; 3]);
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    let view = until(&engine, id, Status::Compensated).await;
    assert_eq!(
        view.head.reason.as_deref(),
        Some("scripted"),
        "no attempt had an effect"
    );
}

// ---- attempts that end late ----

#[tokio::test(start_paused = true)]
async fn a_late_success_of_a_step_that_was_undone_is_undone_again() {
    let mut harness = harness();
    let mut saga = Saga::<u32>::new("slow", 1);
    let input = saga.input();
    let a = saga.compensable(slow(&harness.world), &input);
    harness.definition = Arc::new(saga.finish(&a).unwrap());
    let engine = harness.open().await;
    let view = harness.run(&engine, "k").await.unwrap();
    assert_eq!(
        status(&view),
        (Status::Compensated, Some("attempt-timeout"))
    );
    assert_eq!(harness.world.log(), ["undo slow?", "slow", "undo slow?"]);
    assert_eq!(
        harness.kinds(),
        [
            "started",
            "attempt-failed",
            "compensation-done",
            "effect-found-late",
            "compensated"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pivot_that_takes_effect_after_an_operator_said_that_it_did_not_is_the_operator_s_again()
{
    let mut harness = harness();
    let mut saga = Saga::<u32>::new("slow", 1);
    let input = saga.input();
    let a = saga.compensable(step(&harness.world, "a"), &input);
    let (saga, paid) = saga.pivot(slow(&harness.world), &a);
    harness.definition = Arc::new(saga.finish(&paid).unwrap());
    harness
        .world
        .script("undo a", [Script::Retry, Script::Retry]);
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    until(&engine, id, Status::Parked).await;
    let refused = Verb::Resolve {
        step: "slow".into(),
        resolution: Resolution::Refused(engine::workflow::Refusal::new("no", "she thinks")),
    };
    engine
        .tell(id, refused, "ann", "it is not there")
        .await
        .unwrap();
    let view = until(&engine, id, Status::Parked).await;
    assert_eq!(view.head.reason.as_deref(), Some("pivot-took-effect-late"));
}

// ---- operators ----

async fn parked_at_charge(harness: &Harness, engine: &Engine) -> WorkflowId {
    harness.world.script(
        "charge",
        [Script::Unknown, Script::Unknown, Script::Unknown],
    );
    let id = engine.start(start(harness, "k")).await.unwrap().view().id;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    until(engine, id, Status::Parked).await;
    id
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_knows_what_became_of_an_attempt_resolves_it() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let wrong = Verb::Resolve {
        step: "charge".into(),
        resolution: Resolution::Done(Payload::of("paid").unwrap()),
    };
    let refused = engine.tell(id, wrong, "ann", "she thinks").await;
    assert!(
        matches!(refused, Err(CommandError::Invalid(_))),
        "{refused:?}"
    );
    let paid = Verb::Resolve {
        step: "charge".into(),
        resolution: Resolution::Done(Payload::of(&5).unwrap()),
    };
    engine
        .tell(id, paid, "ann", "it is in the gateway's books")
        .await
        .unwrap();
    let view = until(&engine, id, Status::Completed).await;
    let state = view.state.unwrap();
    assert_eq!(
        state
            .output_of("charge")
            .map(|output| output.as_str().to_owned()),
        Some("5".into())
    );
    assert_eq!(
        harness
            .world
            .log()
            .iter()
            .filter(|entry| *entry == "charge")
            .count(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_knows_that_it_did_not_happen_turns_it_back() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let refused = Verb::Resolve {
        step: "charge".into(),
        resolution: Resolution::Refused(engine::workflow::Refusal::new("not-charged", "checked")),
    };
    engine
        .tell(id, refused, "ann", "it is not in the gateway's books")
        .await
        .unwrap();
    let view = until(&engine, id, Status::Compensated).await;
    assert_eq!(view.head.reason.as_deref(), Some("not-charged"));
    assert_eq!(harness.world.log().last().unwrap(), "undo hold");
}

#[tokio::test(start_paused = true)]
async fn a_paused_workflow_does_nothing_until_it_is_resumed() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    until(&engine, id, Status::Waiting).await;
    engine
        .tell(id, Verb::Pause, "ann", "under investigation")
        .await
        .unwrap();
    let retried = engine.retry(id, "ben", "go").await;
    assert!(matches!(retried, Err(CommandError::Conflict(why)) if why.contains("paused")));
    engine
        .tell(id, arrived(), "gateway", "meanwhile")
        .await
        .unwrap();
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(harness.world.log(), ["hold"]);
    engine
        .tell(id, Verb::Resume, "ann", "all is well")
        .await
        .unwrap();
    until(&engine, id, Status::Completed).await;
    assert_eq!(harness.world.log(), ["hold", "charge", "last"]);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_workflow_says_what_it_leaves_and_is_never_touched_again() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let view = engine
        .tell(id, Verb::Abandon, "ann", "settled by hand")
        .await
        .unwrap();
    assert_eq!(view.head.status, Status::Abandoned);
    let engine::workflow::Phase::Abandoned { left, .. } = &view.state.unwrap().phase else {
        panic!("it is abandoned")
    };
    assert_eq!(left, &["hold", "charge"]);
    let begun = harness.world.log().len();
    drop(engine);
    let next = harness.open().await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(harness.world.log().len(), begun);
    let refused = next.retry(id, "ann", "a mistake").await;
    assert!(matches!(refused, Err(CommandError::Conflict(why)) if why.contains("ended")));
}

#[tokio::test(start_paused = true)]
async fn a_skipped_step_gives_what_the_operator_says() {
    let harness = harness();
    harness.world.script("last", [Script::Refuse("recalled")]);
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    engine
        .tell(id, arrived(), "gateway", "authorised")
        .await
        .unwrap();
    until(&engine, id, Status::Parked).await;
    let skip = Verb::Skip {
        step: "last".into(),
        output: Payload::of(&9).unwrap(),
    };
    engine.tell(id, skip, "ann", "sent by post").await.unwrap();
    let view = until(&engine, id, Status::Completed).await;
    let state = view.state.unwrap();
    assert!(
        matches!(&state.phase, engine::workflow::Phase::Completed { output } if output.as_str() == "9")
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_brings_the_next_attempt_forward() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    until(&engine, id, Status::Waiting).await;
    let nothing = engine.retry(id, "ann", "now").await;
    assert!(
        matches!(nothing, Err(CommandError::Conflict(_))),
        "{nothing:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_sent_again_is_the_same_command() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let deadline = || engine.runtime().now().after(Duration::from_secs(5));
    let retry = command(id, Verb::Retry, "ann", "the gateway is back");
    let first = engine.command(retry.clone(), deadline()).await.unwrap();
    until(&engine, id, Status::Completed).await;
    let again = engine.command(retry.clone(), deadline()).await.unwrap();
    assert_eq!(first, again);
    let other = engine::command::Command {
        verb: Verb::Compensate,
        ..retry
    };
    let reused = engine.command(other, deadline()).await;
    assert!(
        matches!(reused, Err(CommandError::KeyReused(_))),
        "{reused:?}"
    );
    let audit = engine.commands(Some(id), None, 10).await.unwrap();
    assert_eq!(audit.len(), 2, "the signal and the retry: {audit:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_sent_again_while_it_would_no_longer_make_sense_is_the_same_command() {
    let harness = harness();
    let engine = harness.open().await;
    let id = engine.start(start(&harness, "k")).await.unwrap().view().id;
    until(&engine, id, Status::Waiting).await;
    let deadline = || engine.runtime().now().after(Duration::from_secs(5));
    let pause = command(id, Verb::Pause, "ann", "to look at it");
    let first = engine.command(pause.clone(), deadline()).await.unwrap();
    let again = engine.command(pause, deadline()).await.unwrap();
    assert_eq!(first, again);
    let other = engine
        .command(command(id, Verb::Pause, "ben", "to look at it"), deadline())
        .await;
    assert!(matches!(other, Err(CommandError::Conflict(_))), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_for_another_version_of_the_workflow_is_refused_and_a_preview_changes_nothing() {
    let harness = harness();
    let engine = harness.open().await;
    let id = parked_at_charge(&harness, &engine).await;
    let version = engine.view(id).await.unwrap().unwrap().state.unwrap().seq;
    let mut retry = command(id, Verb::Retry, "ann", "the gateway is back");
    retry.expected_seq = Some(version - 1);
    let deadline = engine.runtime().now().after(Duration::from_secs(5));
    let refused = engine.command(retry.clone(), deadline).await;
    assert!(
        matches!(refused, Err(CommandError::MovedOn { .. })),
        "{refused:?}"
    );
    retry.expected_seq = Some(version);
    let preview = engine.preview(&retry).await.unwrap();
    assert_eq!(preview.status, Status::Running);
    let view = engine.view(id).await.unwrap().unwrap();
    assert!(matches!(
        view.state.unwrap().steps[2].action,
        StepState::Attempting { .. }
    ));
    assert_eq!(view.head.status, Status::Parked);
    engine.command(retry, deadline).await.unwrap();
    until(&engine, id, Status::Completed).await;
}
