//! What a definition refuses, what its hash depends on, and how it is drawn.

#[path = "support/untyped.rs"]
mod untyped;

#[path = "definitions/alternatives.rs"]
mod alternatives;

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::definition::{
    Action, Attempt, Awaited, Compensation, Definition, DefinitionBuilder, DefinitionError,
    Durability, Outcome, Phase, Policy, RetryPolicy, Saga, Source, StepIndex, StepKind, StepSpec,
};
use engine::workflow::{Direction, Event, Record, WorkflowState, follow, plan};
use engine::{Payload, Timestamp};
use untyped::{build, diamond, spec, waiting};

use Phase::{Compensable, Pivot, Retriable};

fn refusal_of(specs: Vec<StepSpec>) -> DefinitionError {
    build(specs).expect_err("it should not build")
}

fn steps(names: &[&str]) -> Vec<StepSpec> {
    names
        .iter()
        .map(|name| spec(name, Compensable, &[]))
        .collect()
}

/// A typed step that gives what it takes.
struct Echo(&'static str);

impl Action for Echo {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.0
    }

    async fn act(&self, _: &Attempt, input: u32) -> Outcome<u32> {
        Outcome::done(input)
    }
}

impl engine::definition::Compensable for Echo {
    async fn compensate(&self, _: &Attempt, _: u32, _: Option<u32>) -> Outcome<()> {
        Outcome::done(())
    }
}

// ---- what is refused ----

#[test]
fn a_saga_without_steps_is_refused() {
    assert_eq!(
        refusal_of(vec![]),
        DefinitionError::Empty {
            saga: "saga".into()
        }
    );
}

#[test]
fn names_are_1_to_60_of_lower_case_digits_and_dashes() {
    let longest = "x".repeat(60);
    for good in ["a", "coupon-claim", "0-9", longest.as_str()] {
        assert!(build(steps(&[good])).is_ok(), "{good}");
    }
    let too_long = "x".repeat(61);
    for bad in ["", "A", "a b", "a_b", "a/b", "ä", "a\n", too_long.as_str()] {
        assert_eq!(
            refusal_of(steps(&[bad])),
            DefinitionError::BadName { name: bad.into() }
        );
        let mut builder = DefinitionBuilder::new(bad, 1);
        builder.step(spec("a", Compensable, &[]));
        let refused = builder
            .build(Source::Input)
            .expect_err("the saga's name is held to the same rule");
        assert_eq!(refused, DefinitionError::BadName { name: bad.into() });
    }
}

#[test]
fn two_steps_of_one_name_are_refused() {
    assert_eq!(
        refusal_of(steps(&["a", "b", "a"])),
        DefinitionError::DuplicateName { name: "a".into() }
    );
}

#[test]
fn a_compensable_step_must_say_how_it_is_undone_or_why_it_need_not_be() {
    let unsaid = StepSpec {
        compensation: Compensation::Unsaid,
        ..spec("a", Compensable, &[])
    };
    assert_eq!(
        refusal_of(vec![unsaid]),
        DefinitionError::CompensationUnsaid { step: "a".into() }
    );
    let said = StepSpec {
        compensation: Compensation::None {
            because: "it only reads",
        },
        ..spec("a", Compensable, &[])
    };
    let definition = build([said]).unwrap();
    assert!(!definition.steps()[0].undoable);
}

#[test]
fn two_pivots_are_refused() {
    let refused = refusal_of(vec![spec("pay", Pivot, &[]), spec("ship", Pivot, &[0])]);
    assert_eq!(
        refused,
        DefinitionError::TwoPivots {
            first: "pay".into(),
            second: "ship".into()
        }
    );
}

#[test]
fn a_compensable_step_past_the_pivot_is_refused_and_also_one_that_only_waits_for_it_in_the_end() {
    let direct = refusal_of(vec![spec("pay", Pivot, &[]), spec("a", Compensable, &[0])]);
    assert_eq!(
        direct,
        DefinitionError::CompensableAfterPivot {
            step: "a".into(),
            pivot: "pay".into()
        }
    );
    let past = vec![
        spec("pay", Pivot, &[]),
        spec("issue", Retriable, &[0]),
        spec("a", Compensable, &[1]),
    ];
    assert_eq!(
        refusal_of(past),
        DefinitionError::CompensableAfterPivot {
            step: "a".into(),
            pivot: "issue".into()
        }
    );
    let through = vec![
        spec("b", Compensable, &[1]),
        spec("a", Compensable, &[2]),
        spec("pay", Pivot, &[]),
    ];
    assert_eq!(
        refusal_of(through),
        DefinitionError::CompensableAfterPivot {
            step: "a".into(),
            pivot: "pay".into()
        }
    );
}

#[test]
fn a_retriable_step_without_a_pivot_is_refused() {
    let refused = refusal_of(vec![
        spec("a", Compensable, &[]),
        spec("issue", Retriable, &[0]),
    ]);
    assert_eq!(
        refused,
        DefinitionError::RetriableWithoutPivot {
            step: "issue".into()
        }
    );
}

#[test]
fn steps_that_wait_for_each_other_are_refused_and_named() {
    let names = |error| match error {
        DefinitionError::Cycle { steps } => steps.join(" "),
        other => panic!("not a cycle: {other}"),
    };
    let two = vec![
        spec("c", Compensable, &[]),
        spec("a", Compensable, &[2]),
        spec("b", Compensable, &[1]),
    ];
    assert_eq!(names(refusal_of(two)), "a b");
    assert_eq!(
        names(refusal_of(vec![spec("alone", Compensable, &[0])])),
        "alone"
    );

    let mut by_edges = DefinitionBuilder::new("saga", 1);
    let a = by_edges.step(spec("a", Compensable, &[]));
    let b = by_edges.step(spec("b", Compensable, &[0]));
    by_edges.edge(b, a);
    assert_eq!(
        names(by_edges.build(Source::Input).expect_err("a cycle")),
        "a b"
    );

    // No edge says so, but the pivot is before every retriable step.
    let pivot_last = vec![spec("issue", Retriable, &[]), spec("pay", Pivot, &[0])];
    assert_eq!(names(refusal_of(pivot_last)), "issue pay");
}

#[test]
fn an_order_that_closes_a_circle_is_refused_by_the_typed_builder_too() {
    let mut saga = Saga::<u32>::new("saga", 1);
    let a = saga.compensable(Echo("a"), &saga.input());
    let b = saga.compensable(Echo("b"), &a);
    saga.order(&b, &a);
    let refused = saga.finish(&b).expect_err("a cycle");
    assert_eq!(
        refused,
        DefinitionError::Cycle {
            steps: vec!["a".into(), "b".into()]
        }
    );
}

#[test]
fn a_number_that_is_no_step_is_refused_as_an_input_an_edge_and_an_output() {
    let unknown = DefinitionError::UnknownStep {
        saga: "saga".into(),
        index: 7,
    };
    assert_eq!(refusal_of(vec![spec("a", Compensable, &[7])]), unknown);

    let mut edge = DefinitionBuilder::new("saga", 1);
    let a = edge.step(spec("a", Compensable, &[]));
    edge.edge(a, StepIndex(7));
    assert_eq!(
        edge.build(Source::Input).expect_err("no such step"),
        unknown
    );

    let mut output = DefinitionBuilder::new("saga", 1);
    output.step(spec("a", Compensable, &[]));
    assert_eq!(
        output
            .build(Source::Step(StepIndex(7)))
            .expect_err("no such step"),
        unknown
    );
}

#[test]
fn a_handle_of_another_saga_is_refused_wherever_it_is_used() {
    let foreign = |step: &str| DefinitionError::ForeignHandle {
        step: step.into(),
        saga: "other v2".into(),
    };
    let mut other = Saga::<u32>::new("other", 2);
    let theirs = other.compensable(Echo("theirs"), &other.input());

    let mut saga = Saga::<u32>::new("saga", 1);
    let a = saga.compensable(Echo("a"), &theirs);
    assert_eq!(saga.finish(&a).expect_err("as an input"), foreign("a"));

    let mut saga = Saga::<u32>::new("saga", 1);
    let a = saga.compensable(Echo("a"), &saga.input());
    saga.order(&theirs, &a);
    assert_eq!(saga.finish(&a).expect_err("in an order"), foreign("a"));

    let mut saga = Saga::<u32>::new("saga", 1);
    let _a = saga.compensable(Echo("a"), &saga.input());
    assert_eq!(
        saga.finish(&theirs).expect_err("as the output"),
        foreign("output")
    );
}

#[test]
fn a_handle_of_another_saga_of_the_same_name_is_refused() {
    let mut twin = Saga::<u32>::new("saga", 1);
    let theirs = twin.compensable(Echo("theirs"), &twin.input());
    let mut saga = Saga::<u32>::new("saga", 1);
    let _a = saga.compensable(Echo("a"), &saga.input());
    let b = saga.compensable(Echo("b"), &theirs);
    let refused = saga
        .finish(&b)
        .expect_err("two sagas of one name are still two");
    assert_eq!(
        refused,
        DefinitionError::ForeignHandle {
            step: "b".into(),
            saga: "saga v1".into()
        }
    );
}

// ---- waits ----

/// `hold`, a night to think it over, the buyer's word until a minute later, `pay`; then a cooling-off time and the courier's word
/// for as long as it takes.
fn with_waits() -> Definition {
    let mut saga = Saga::<u32>::new("waits", 1);
    let hold = saga.compensable(Echo("hold"), &saga.input());
    let night = saga.sleep_until("night", (&saga.input(), &hold), |(hours, _), now| {
        now.after(Duration::from_hours(hours.into()))
    });
    let minute = |night: Timestamp, _| Some(night.after(Duration::from_mins(1)));
    let _agreed = saga.await_signal::<bool, _>("agreed", &night, minute);
    let (mut saga, paid) = saga.pivot(Echo("pay"), &hold);
    let cooled = saga.sleep_until("cooled", &paid, |_, now| now.after(Duration::from_secs(1)));
    let sent = saga.await_signal::<String, _>("sent", &cooled, |_, _| None);
    saga.finish(&sent).unwrap()
}

#[test]
fn a_wait_belongs_to_the_side_of_the_pivot_on_which_it_is_added_and_has_nothing_to_undo() {
    let definition = with_waits();
    let shown = definition.steps().iter().map(|node| {
        let (kind, phase) = (node.kind, node.phase);
        let needs = names(&definition, &node.needs);
        format!(
            "{} {kind:?} {phase:?} undoable: {} after [{needs}]",
            node.name, node.undoable
        )
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"), @"
    hold Action Compensable undoable: true after []
    night Timer Compensable undoable: false after [hold]
    agreed Signal Compensable undoable: false after [night]
    pay Action Pivot undoable: false after [hold night agreed]
    cooled Timer Retriable undoable: false after [pay]
    sent Signal Retriable undoable: false after [pay cooled]
    ");
}

#[test]
fn a_wait_is_named_checked_and_wired_like_any_other_step() {
    let until = |_, now: Timestamp| now;
    let with_wait = |name: &str| {
        let mut saga = Saga::<u32>::new("saga", 1);
        let a = saga.compensable(Echo("a"), &saga.input());
        let wait = saga.sleep_until(name, &a, until);
        saga.finish(&wait)
            .map(|definition| definition.steps().len())
    };
    assert_eq!(with_wait("b"), Ok(2));
    let twice = DefinitionError::DuplicateName { name: "a".into() };
    assert_eq!(with_wait("a"), Err(twice));
    let bad = DefinitionError::BadName { name: "B".into() };
    assert_eq!(with_wait("B"), Err(bad));

    let mut other = Saga::<u32>::new("other", 1);
    let theirs = other.compensable(Echo("theirs"), &other.input());
    let mut saga = Saga::<u32>::new("saga", 1);
    let wait = saga.await_signal::<u32, _>("news", &theirs, |_, _| None);
    let foreign = DefinitionError::ForeignHandle {
        step: "news".into(),
        saga: "other v1".into(),
    };
    assert_eq!(saga.finish(&wait).expect_err("a foreign handle"), foreign);

    let past_pivot = waiting(spec("nap", Compensable, &[0]), StepKind::Timer, None);
    let late = DefinitionError::CompensableAfterPivot {
        step: "nap".into(),
        pivot: "pay".into(),
    };
    assert_eq!(refusal_of(vec![spec("pay", Pivot, &[]), past_pivot]), late);
    let without_pivot = waiting(spec("nap", Retriable, &[]), StepKind::Timer, None);
    assert_eq!(
        refusal_of(vec![without_pivot]),
        DefinitionError::RetriableWithoutPivot { step: "nap".into() }
    );
}

fn until(
    definition: &Definition,
    step: &str,
    inputs: &[&str],
    now: i64,
) -> Result<Option<i64>, ()> {
    let index = definition.index_of(step).unwrap();
    let inputs: Vec<Payload> = inputs
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let step = &definition.step(index).step;
    match step.wait_until(&inputs, Timestamp(now)) {
        Ok(until) => Ok(until.map(|until| until.0)),
        Err(_) => Err(()),
    }
}

#[test]
fn how_long_a_wait_lasts_is_computed_from_its_inputs_and_its_beginning() {
    let definition = with_waits();
    assert_eq!(
        until(&definition, "night", &["2", "7"], 5),
        Ok(Some(7_200_000_005))
    );
    assert_eq!(
        until(&definition, "agreed", &["10"], 5),
        Ok(Some(60_000_010))
    );
    assert_eq!(until(&definition, "cooled", &["7"], 5), Ok(Some(1_000_005)));
    assert_eq!(until(&definition, "sent", &["0"], 5), Ok(None));
    assert_eq!(until(&definition, "hold", &["7"], 5), Ok(None), "an action");
    for unreadable in [["\"x\"", "7"], ["2", "null"], ["-1", "7"]] {
        assert_eq!(until(&definition, "night", &unreadable, 5), Err(()));
    }
}

#[test]
fn a_wait_that_cannot_read_its_input_starts_nothing() {
    let mut saga = Saga::<u32>::new("saga", 1);
    let input = saga.input();
    let nap = saga.sleep_until("nap", &input, |seconds, now| {
        now.after(Duration::from_secs(seconds.into()))
    });
    let _a = saga.compensable(Echo("a"), &input);
    let definition = Arc::new(saga.finish(&nap).unwrap());
    let started = |input: &str| {
        let event = Event::Started {
            definition: definition.pinned().clone(),
            input: serde_json::from_str(input).unwrap(),
            deadline: None,
        };
        let record = Record::new(1, Timestamp(5), event);
        let state = WorkflowState::start(&definition, &record).unwrap();
        follow(state, record, &|_| false, None)
    };
    let (state, record) = started("3").unwrap();
    assert_eq!(record.starts.len(), 2);
    assert_eq!(
        plan(&state, &|_| false).waits,
        [(StepIndex(0), Timestamp(3_000_005))]
    );
    let error = started("\"three\"").expect_err("it is no number");
    assert_eq!(error.to_string(), "stored JSON is not of the expected type");
}

#[test]
fn what_an_operator_or_a_sender_gives_is_checked_against_the_types_of_the_handles() {
    let definition = with_waits();
    let fits = |step: &str, text: &str| {
        let payload: Payload = serde_json::from_str(text).unwrap();
        let step = &definition.step(definition.index_of(step).unwrap()).step;
        (
            step.check_output(&payload).is_ok(),
            step.check_signal(&payload).is_ok(),
        )
    };
    assert_eq!(fits("hold", "1"), (true, true));
    assert_eq!(fits("hold", "\"1\""), (false, true), "it awaits no signal");
    assert!(fits("night", "1700000000000000").0);
    assert!(!fits("night", "\"tomorrow\"").0);
    assert_eq!(fits("agreed", "true"), (false, true));
    assert_eq!(fits("agreed", "\"yes\""), (false, false));
    assert_eq!(fits("agreed", r#"{"arrived":true}"#), (true, false));
    assert_eq!(fits("agreed", r#"{"arrived":"yes"}"#), (false, false));
    assert_eq!(fits("agreed", "\"timed-out\""), (true, false));
    assert_eq!(
        fits("sent", "\"timed-out\""),
        (true, true),
        "what is sent is a text"
    );
    let stored = Payload::of(&Awaited::Arrived(true)).unwrap();
    assert_eq!(stored.as_str(), r#"{"arrived":true}"#);
}

#[test]
fn a_wait_is_begun_with_the_record_that_makes_it_its_turn() {
    let definition = Arc::new(with_waits());
    let event = Event::Started {
        definition: definition.pinned().clone(),
        input: Payload::of(&8).unwrap(),
        deadline: None,
    };
    let first = Record::new(1, Timestamp(1), event);
    let state = WorkflowState::start(&definition, &first).unwrap();
    let (state, _) = follow(state, first, &|_| false, None).unwrap();
    let done = Event::StepDone {
        step: "hold".into(),
        attempt: 1,
        output: Payload::of(&7).unwrap(),
    };
    let second = Record::new(2, Timestamp(2), done);
    let alone = state.apply(&second).unwrap();
    let (_, second) = follow(alone, second, &|_| false, None).unwrap();
    let begun: Vec<_> = second
        .starts
        .iter()
        .map(|intent| (&*intent.step, intent.direction, intent.until))
        .collect();
    let eight_hours_on = Timestamp(2 + 8 * 3_600_000_000);
    assert_eq!(begun, [("night", Direction::Forward, Some(eight_hours_on))]);
}

// ---- what it holds ----

fn names(definition: &Definition, indexes: &[StepIndex]) -> String {
    let names: Vec<&str> = indexes
        .iter()
        .map(|index| &*definition.step(*index).name)
        .collect();
    names.join(" ")
}

#[test]
fn the_pivot_waits_for_every_compensable_step_and_every_retriable_step_for_the_pivot() {
    let definition = build([
        spec("late", Retriable, &[]),
        spec("pay", Pivot, &[]),
        spec("a", Compensable, &[]),
        spec("b", Compensable, &[2]),
    ])
    .unwrap();
    let needs = |name: &str| {
        let index = definition.index_of(name).unwrap();
        names(&definition, &definition.step(index).needs)
    };
    assert_eq!(
        [needs("a"), needs("b"), needs("pay"), needs("late")],
        ["", "a", "a b", "pay"]
    );
}

#[test]
fn a_wide_and_deep_definition_is_built_and_drawn_at_once() {
    let everyone_before = |index: usize| (0..index).collect::<Vec<_>>();
    let dense =
        (0..60).map(|index| spec(&format!("s{index}"), Compensable, &everyone_before(index)));
    let began = now();
    let definition = build(dense).unwrap();
    assert_eq!(
        definition.to_mermaid().lines().count(),
        1 + 60 + 59,
        "a chain, once the implied edges are left out"
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "the paths of a graph are not counted one by one"
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "a bound on a computation that would take years"
)]
fn now() -> Instant {
    Instant::now()
}

// ---- its hash ----

fn hash(specs: Vec<StepSpec>) -> u64 {
    build(specs).unwrap().pinned().hash
}

/// The diamond with one step changed.
fn changed(index: usize, change: impl FnOnce(&mut StepSpec)) -> u64 {
    let mut specs = diamond();
    change(&mut specs[index]);
    hash(specs)
}

#[test]
fn the_hash_never_changes_by_itself() {
    // Workflows in flight are pinned to this number: a release in which it is another one can't take them up.
    assert_eq!(hash(diamond()), 3_458_410_194_980_604_261);
    assert!(
        i64::try_from(hash(diamond())).is_ok(),
        "every database stores it as a signed number"
    );
}

#[test]
fn the_hash_changes_with_whatever_a_workflow_in_flight_depends_on() {
    let mut seen = vec![hash(diamond())];
    let none = Compensation::None {
        because: "it only reads",
    };
    seen.push(changed(0, |a| a.name = "z".into()));
    seen.push(changed(0, |a| a.compensation = none));
    seen.push(changed(3, |c| c.inputs.reverse()));
    seen.push(changed(3, |c| c.inputs.truncate(1)));
    seen.push(changed(3, |c| c.inputs.push(Source::Input)));
    seen.push(changed(4, |d| d.inputs = vec![Source::Step(StepIndex(2))]));
    let as_wait = |kind| {
        changed(3, |c| {
            *c = waiting(spec("c", Retriable, &[1, 2]), kind, None);
        })
    };
    seen.push(as_wait(StepKind::Timer));
    seen.push(as_wait(StepKind::Signal));
    let mut longer = diamond();
    longer.push(spec("e", Retriable, &[]));
    seen.push(hash(longer));
    let mut without_pivot = diamond();
    for step in &mut without_pivot {
        step.phase = Compensable;
    }
    seen.push(hash(without_pivot));
    for (name, version, output, edge) in [
        ("other", 1, Source::Input, false),
        ("saga", 2, Source::Input, false),
        ("saga", 1, Source::Step(StepIndex(4)), false),
        ("saga", 1, Source::Input, true),
    ] {
        let mut builder = DefinitionBuilder::new(name, version);
        for step in diamond() {
            builder.step(step);
        }
        if edge {
            builder.edge(StepIndex(0), StepIndex(1));
        }
        seen.push(builder.build(output).unwrap().pinned().hash);
    }
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all, "each change gives another hash");
}

#[test]
fn the_hash_does_not_change_with_what_may_change_under_a_running_workflow() {
    let retry = RetryPolicy {
        elapsed_max: Some(Duration::from_secs(1)),
        ..RetryPolicy::NONE
    };
    let impatient = Policy {
        attempt_timeout: Duration::from_millis(1),
        retry,
        port: Some("gateway"),
        durability: Durability::Replayable,
    };
    assert_eq!(changed(0, |a| a.policy = impatient), hash(diamond()));
    let reworded = Compensation::None {
        because: "another sentence",
    };
    assert_eq!(changed(4, |d| d.compensation = reworded), hash(diamond()));
    let wait = |lasts| {
        let wait = waiting(spec("c", Retriable, &[1, 2]), StepKind::Timer, lasts);
        changed(3, |c| *c = wait)
    };
    assert_eq!(wait(None), wait(Some(Duration::from_hours(1))));
    let mut in_time = DefinitionBuilder::new("saga", 1);
    in_time.deadline(Duration::from_hours(1));
    for step in diamond() {
        in_time.step(step);
    }
    let in_time = in_time.build(Source::Input).unwrap();
    assert_eq!(in_time.deadline(), Some(Duration::from_hours(1)));
    assert_eq!(in_time.pinned().hash, hash(diamond()));
    // An edge that is drawn twice is one edge.
    assert_eq!(
        changed(2, |pivot| pivot.inputs = vec![]),
        changed(2, |pivot| pivot.inputs = vec![])
    );
}

// ---- its picture ----

#[test]
fn a_purchase_is_drawn_in_mermaid() {
    insta::assert_snapshot!(build(diamond()).unwrap().to_mermaid(), @r#"
    flowchart LR
        s0["a"]
        s1["b"]
        s2{"pivot"}
        s3("c")
        s4("d")
        s0 --> s2
        s1 --> s2
        s2 --> s3
        s3 --> s4
    "#);
}

#[test]
fn a_purchase_is_drawn_in_dot() {
    insta::assert_snapshot!(build(diamond()).unwrap().to_dot(), @r#"
    digraph "saga v1" {
        rankdir=LR;
        s0 [label="a", shape=box];
        s1 [label="b", shape=box];
        s2 [label="pivot", shape=diamond];
        s3 [label="c", shape=ellipse];
        s4 [label="d", shape=ellipse];
        s0 -> s2;
        s1 -> s2;
        s2 -> s3;
        s3 -> s4;
    }
    "#);
}

#[test]
fn waits_have_shapes_of_their_own() {
    let definition = with_waits();
    insta::assert_snapshot!(definition.to_mermaid(), @r#"
    flowchart LR
        s0["hold"]
        s1{{"night"}}
        s2>"agreed"]
        s3{"pay"}
        s4{{"cooled"}}
        s5>"sent"]
        s0 --> s1
        s1 --> s2
        s2 --> s3
        s3 --> s4
        s4 --> s5
    "#);
    let shapes: Vec<String> = definition
        .to_dot()
        .lines()
        .filter(|line| line.contains("shape"))
        .map(|line| line.trim().to_owned())
        .collect();
    insta::assert_snapshot!(shapes.join("\n"), @r#"
    s0 [label="hold", shape=box];
    s1 [label="night", shape=hexagon];
    s2 [label="agreed", shape=cds];
    s3 [label="pay", shape=diamond];
    s4 [label="cooled", shape=hexagon];
    s5 [label="sent", shape=cds];
    "#);
}

#[test]
fn every_error_says_what_to_do_in_one_sentence() {
    let errors = [
        refusal_of(vec![]),
        refusal_of(steps(&["A"])),
        refusal_of(steps(&["a", "a"])),
        refusal_of(vec![spec("alone", Compensable, &[0])]),
        refusal_of(vec![spec("pay", Pivot, &[]), spec("ship", Pivot, &[])]),
        refusal_of(vec![spec("pay", Pivot, &[]), spec("a", Compensable, &[0])]),
        refusal_of(vec![spec("issue", Retriable, &[])]),
        refusal_of(vec![spec("a", Compensable, &[7])]),
    ];
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(sentences.join("\n"), @"
    saga `saga` has no step: add at least one
    `A` is not a name: use 1 to 60 of a-z, 0-9 and `-`
    two steps are named `a`: keys and the journal need one name a step
    the steps alone wait for each other
    `pay` and `ship` are both pivots: a saga has at most one point of no return
    `a` is compensable but waits for `pay`: past the pivot nothing is undone, make it retriable
    `issue` is retriable but the saga has no pivot: only past a pivot does a saga never turn back
    saga `saga` names a step number 7 that does not exist
    ");
}
