//! The whole lifecycle on one screen: what each kind of event does to a workflow in each shape that it can have, and that
//! everything else is a typed error.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use engine::definition::{Definition, Phase as StepPhase};
use engine::store::Status;
use engine::workflow::{
    AfterFailure, Direction, Event, Failure, Intent, Phase, Record, Refusal, StepError, StepState,
    Undo, WorkflowState, plan,
};
use engine::{Epoch, Payload, Timestamp};
use support::untyped::{build, spec};

/// `a` and `b` at once, then the pivot, then `y` and `z` at once.
fn definition() -> Arc<Definition> {
    let specs = [
        spec("a", StepPhase::Compensable, &[]),
        spec("b", StepPhase::Compensable, &[]),
        spec("pivot", StepPhase::Pivot, &[]),
        spec("y", StepPhase::Retriable, &[]),
        spec("z", StepPhase::Retriable, &[]),
    ];
    Arc::new(build(specs).unwrap())
}

// ---- events ----

fn error() -> StepError {
    StepError::new("timeout", "no answer")
}

fn done(step: &str, attempt: u32) -> Event {
    Event::StepDone {
        step: step.into(),
        attempt,
        output: Payload::null(),
    }
}

fn refused(step: &str, attempt: u32, effect_may_exist: bool) -> Event {
    let refusal = Refusal::new("sold-out", "nothing is left");
    Event::StepRefused {
        step: step.into(),
        attempt,
        refusal,
        effect_may_exist,
    }
}

fn failed(step: &str, attempt: u32, failure: Failure, then: AfterFailure) -> Event {
    Event::AttemptFailed {
        step: step.into(),
        attempt,
        failure,
        error: error(),
        then,
    }
}

fn undone(step: &str, attempt: u32) -> Event {
    Event::CompensationDone {
        step: step.into(),
        attempt,
    }
}

fn undo_failed(step: &str, attempt: u32, then: AfterFailure) -> Event {
    Event::CompensationFailed {
        step: step.into(),
        attempt,
        error: error(),
        then,
    }
}

fn turned_back() -> Event {
    Event::CompensationRequested {
        actor: "ann".into(),
        reason: "a mistake".into(),
    }
}

fn retried() -> Event {
    Event::RetryRequested {
        actor: "ann".into(),
        reason: "it works again".into(),
    }
}

fn started(definition: &Definition) -> Event {
    Event::Started {
        definition: definition.pinned().clone(),
        input: Payload::null(),
    }
}

const RETRY: AfterFailure = AfterFailure::RetryAt(Timestamp(9));

// ---- states ----

fn record(seq: u32, event: Event, starts: Vec<Intent>) -> Record {
    Record {
        seq,
        at: Timestamp(i64::from(seq)),
        event,
        starts,
    }
}

fn apply(
    state: &WorkflowState,
    event: Event,
) -> Result<WorkflowState, engine::workflow::IllegalTransition> {
    state
        .clone()
        .apply(&record(state.seq + 1, event, Vec::new()))
}

/// The events, each with the attempts that the plan then lets begin.
fn after(events: impl IntoIterator<Item = Event>) -> WorkflowState {
    let definition = definition();
    let first = record(1, started(&definition), Vec::new());
    let untouched = WorkflowState::start(&definition, &first).unwrap();
    let starts = plan(&untouched, &|_| false).intents(&untouched);
    let mut state = WorkflowState::start(&definition, &Record { starts, ..first }).unwrap();
    for event in events {
        let without = apply(&state, event.clone()).unwrap();
        let starts = plan(&without, &|_| false).intents(&without);
        state = state
            .clone()
            .apply(&record(state.seq + 1, event, starts))
            .unwrap();
    }
    state
}

/// Every shape that a workflow can have, with the step that is looked at.
fn shapes() -> Vec<(&'static str, &'static str, WorkflowState)> {
    let poisoned = || Event::Poisoned { error: error() };
    let at_pivot = || vec![done("a", 1), done("b", 1)];
    let past_pivot = || [at_pivot(), vec![done("pivot", 1)]].concat();
    let unknown = |step: &str| failed(step, 1, Failure::Unknown, RETRY);
    let with = |mut events: Vec<Event>, more: Vec<Event>| {
        events.extend(more);
        after(events)
    };
    vec![
        ("going: a", "a", after([])),
        ("going: a may exist", "a", after([unknown("a")])),
        ("going: a done, b", "a", after([done("a", 1)])),
        ("going: pivot", "pivot", after(at_pivot())),
        (
            "going: pivot may exist",
            "pivot",
            with(at_pivot(), vec![unknown("pivot")]),
        ),
        ("going: y", "y", after(past_pivot())),
        (
            "all done",
            "z",
            with(past_pivot(), vec![done("y", 1), done("z", 1)]),
        ),
        ("back: a under way", "a", after([refused("b", 1, false)])),
        (
            "back: undoing a",
            "a",
            after([done("a", 1), refused("b", 1, false)]),
        ),
        (
            "back: all undone",
            "a",
            after([done("a", 1), refused("b", 1, false), undone("a", 1)]),
        ),
        (
            "parked: pivot",
            "pivot",
            with(
                at_pivot(),
                vec![failed("pivot", 1, Failure::Unknown, AfterFailure::Park)],
            ),
        ),
        (
            "parked: y refused",
            "y",
            with(past_pivot(), vec![refused("y", 1, false)]),
        ),
        (
            "parked: undoing a",
            "a",
            after([
                done("a", 1),
                refused("b", 1, false),
                undo_failed("a", 1, AfterFailure::Park),
            ]),
        ),
        ("parked: rows, going", "a", after([poisoned()])),
        (
            "parked: rows, back",
            "a",
            after([done("a", 1), refused("b", 1, false), poisoned()]),
        ),
        (
            "completed",
            "z",
            with(
                past_pivot(),
                vec![
                    done("y", 1),
                    done("z", 1),
                    Event::Completed {
                        output: Payload::null(),
                    },
                ],
            ),
        ),
        (
            "compensated",
            "a",
            after([
                done("a", 1),
                refused("b", 1, false),
                undone("a", 1),
                Event::Compensated,
            ]),
        ),
    ]
}

/// Every kind of event about this step and attempt.
fn events(step: &str, attempt: u32, undo: u32) -> Vec<(&'static str, Event)> {
    use AfterFailure::{Park, TurnBack};
    use Failure::{NoEffect, Unknown};
    vec![
        ("started", started(&definition())),
        ("done", done(step, attempt)),
        ("refused", refused(step, attempt, false)),
        ("refused by rows", refused(step, attempt, true)),
        ("no effect, retry", failed(step, attempt, NoEffect, RETRY)),
        (
            "no effect, turn back",
            failed(step, attempt, NoEffect, TurnBack),
        ),
        ("no effect, park", failed(step, attempt, NoEffect, Park)),
        ("unknown, retry", failed(step, attempt, Unknown, RETRY)),
        (
            "unknown, turn back",
            failed(step, attempt, Unknown, TurnBack),
        ),
        ("unknown, park", failed(step, attempt, Unknown, Park)),
        ("undone", undone(step, undo)),
        ("undo failed, retry", undo_failed(step, undo, RETRY)),
        ("undo failed, park", undo_failed(step, undo, Park)),
        ("undo failed, give up", undo_failed(step, undo, TurnBack)),
        ("poisoned", Event::Poisoned { error: error() }),
        ("resumed", Event::Resumed { epoch: Epoch(2) }),
        ("operator: turn back", turned_back()),
        ("operator: retry", retried()),
        (
            "completed",
            Event::Completed {
                output: Payload::null(),
            },
        ),
        ("compensated", Event::Compensated),
    ]
}

/// The numbers of the attempts at this step that are under way: forward and backward.
fn under_way(state: &WorkflowState, step: &str) -> (Option<u32>, Option<u32>) {
    let progress = &state.steps[state.definition().index_of(step).unwrap().0];
    let forward = match progress.action {
        StepState::Attempting { attempt, .. } => Some(attempt),
        _ => None,
    };
    let backward = match progress.undo {
        Undo::Attempting { attempt, .. } => Some(attempt),
        _ => None,
    };
    (forward, backward)
}

/// Where the workflow goes, and where the step's action stands: `+` done, `-` failed, `?` may exist, `.` is to be attempted.
fn short(state: &WorkflowState, step: &str) -> String {
    let going = match state.phase {
        Phase::Running => "go",
        Phase::Compensating { .. } => "back",
        Phase::Parked { .. } => "park",
        Phase::Completed { .. } => "END",
        Phase::Compensated { .. } => "UNDONE",
    };
    let progress = &state.steps[state.definition().index_of(step).unwrap().0];
    let action = match (&progress.action, &progress.undo) {
        (_, Undo::Done { .. }) => "0",
        (StepState::Untouched, _) => "",
        (StepState::Done { .. }, _) => "+",
        (
            StepState::Attempting {
                effect_may_exist: false,
                ..
            },
            _,
        ) => ".",
        (
            StepState::Attempting {
                effect_may_exist: true,
                ..
            },
            _,
        ) => ".?",
        (
            StepState::Failed {
                effect_may_exist: false,
                ..
            },
            _,
        ) => "-",
        (
            StepState::Failed {
                effect_may_exist: true,
                ..
            },
            _,
        ) => "-?",
    };
    format!("{going} {action}").trim_end().to_owned()
}

#[test]
fn every_pair_of_a_shape_and_an_event_is_in_this_table_or_a_typed_error() {
    let shapes = shapes();
    let mut table = String::from("                       ");
    for number in 1..=shapes.len() {
        write!(table, "{number:>8}").unwrap();
    }
    for (row, (name, _)) in events("a", 1, 1).into_iter().enumerate() {
        write!(table, "\n{name:<23}").unwrap();
        for (_, step, state) in &shapes {
            let (forward, backward) = under_way(state, step);
            let (_, event) =
                events(step, forward.unwrap_or(1), backward.unwrap_or(1)).swap_remove(row);
            let cell =
                apply(state, event).map_or_else(|_| "·".to_owned(), |next| short(&next, step));
            write!(table, "{cell:>8}").unwrap();
        }
    }
    for (number, (name, step, state)) in shapes.iter().enumerate() {
        write!(
            table,
            "\n{:>2} {name} [{step}: {}]",
            number + 1,
            short(state, step)
        )
        .unwrap();
    }
    insta::assert_snapshot!(table, @"
                                  1       2       3       4       5       6       7       8       9      10      11      12      13      14      15      16      17
    started                       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·
    done                       go +    go +       ·    go +    go +    go +       ·  back +       ·       ·  park +       ·       ·  park +       ·       ·       ·
    refused                  back -  back -       ·  back -  back -  park -       ·  back -       ·       ·  park -       ·       ·  park -       ·       ·       ·
    refused by rows         back -? back -?       · park -? park -? park -?       · back -?       ·       · park -?       ·       · park -?       ·       ·       ·
    no effect, retry           go .   go .?       ·    go .   go .?    go .       ·  back -       ·       · park .?       ·       ·  park .       ·       ·       ·
    no effect, turn back     back - back -?       ·  back -       ·       ·       ·  back -       ·       ·       ·       ·       ·  park -       ·       ·       ·
    no effect, park          park . park .?       ·  park . park .?  park .       ·  park .       ·       · park .?       ·       ·  park .       ·       ·       ·
    unknown, retry            go .?   go .?       ·   go .?   go .?   go .?       · back -?       ·       · park .?       ·       · park .?       ·       ·       ·
    unknown, turn back      back -? back -?       ·       ·       ·       ·       · back -?       ·       ·       ·       ·       · park -?       ·       ·       ·
    unknown, park           park .? park .?       · park .? park .? park .?       · park .?       ·       · park .?       ·       · park .?       ·       ·       ·
    undone                        ·       ·       ·       ·       ·       ·       ·  back 0  back 0       ·       ·       ·  park 0       ·  park 0       ·       ·
    undo failed, retry            ·       ·       ·       ·       ·       ·       ·  back .  back +       ·       ·       ·  park +       ·  park +       ·       ·
    undo failed, park             ·       ·       ·       ·       ·       ·       ·  park .  park +       ·       ·       ·  park +       ·  park +       ·       ·
    undo failed, give up          ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·
    poisoned                 park . park .?  park +  park . park .?  park .  park +  park .  park +  park 0 park .?  park -  park +  park .  park +       ·       ·
    resumed                    go .   go .?    go +    go .   go .?    go .    go +  back .  back +  back 0 park .?  park -  park +  park .  park +       ·       ·
    operator: turn back      back . back .?  back +       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·  back .       ·       ·       ·
    operator: retry               ·       ·       ·       ·       ·       ·       ·       ·       ·       ·   go .?    go .  back +    go .  back +       ·       ·
    completed                     ·       ·       ·       ·       ·       ·   END +       ·       ·       ·       ·       ·       ·       ·       ·       ·       ·
    compensated                   ·       ·       ·       ·       ·       ·       ·       ·       ·UNDONE 0       ·       ·       ·       ·       ·       ·       ·
     1 going: a [a: go .]
     2 going: a may exist [a: go .?]
     3 going: a done, b [a: go +]
     4 going: pivot [pivot: go .]
     5 going: pivot may exist [pivot: go .?]
     6 going: y [y: go .]
     7 all done [z: go +]
     8 back: a under way [a: back .]
     9 back: undoing a [a: back +]
    10 back: all undone [a: back 0]
    11 parked: pivot [pivot: park .?]
    12 parked: y refused [y: park -]
    13 parked: undoing a [a: park +]
    14 parked: rows, going [a: park .]
    15 parked: rows, back [a: park +]
    16 completed [z: END +]
    17 compensated [a: UNDONE 0]
    ");
}

#[test]
fn an_illegal_event_is_an_error_that_names_the_record_and_says_why() {
    let (mut legal, mut illegal) = (0, 0);
    let mut whys = BTreeSet::new();
    for (shape, _, state) in shapes() {
        for step in ["a", "b", "pivot", "y", "z", "nobody"] {
            for attempt in 0..4 {
                for (name, event) in events(step, attempt, attempt) {
                    let kind = event.kind();
                    match apply(&state, event.clone()) {
                        Ok(next) => {
                            legal += 1;
                            assert_eq!(next.seq, state.seq + 1);
                            assert!(
                                !state.status().is_terminal(),
                                "{shape}: {name}: nothing follows the end"
                            );
                            if event.step().is_some() {
                                let (forward, backward) = under_way(&state, step);
                                let about = if kind.starts_with("compensation") {
                                    backward
                                } else {
                                    forward
                                };
                                assert_eq!(
                                    about,
                                    Some(attempt),
                                    "{shape}: {name} of {step}: it was under way"
                                );
                            }
                        }
                        Err(error) => {
                            illegal += 1;
                            assert_eq!((error.seq, error.kind), (state.seq + 1, kind));
                            whys.insert(error.why);
                        }
                    }
                }
            }
        }
    }
    assert!(
        legal > 200 && illegal > 5_000,
        "{legal} legal, {illegal} illegal"
    );
    insta::assert_snapshot!(whys.into_iter().filter(|why| !why.contains('`')).collect::<Vec<_>>().join("\n"), @"
    a compensation is never given up
    a retriable step never turns back
    it is going back already
    it is not going back, or something is not undone
    it is past the pivot: the saga only goes forward
    it is started already
    not every step is done
    only a parked workflow can be retried
    the pivot may have taken effect: there is no way back
    the workflow has ended
    ");
}

#[test]
fn an_intent_is_legal_only_for_the_first_attempt_at_a_step_that_is_due() {
    let mut due = Vec::new();
    for (shape, _, state) in shapes() {
        let planned = |event: &Event| {
            let next = apply(&state, event.clone()).ok()?;
            Some(plan(&next, &|_| false).intents(&next))
        };
        for event in [Event::Resumed { epoch: Epoch(2) }, turned_back(), retried()] {
            for step in ["a", "b", "pivot", "y", "z", "nobody"] {
                for direction in [Direction::Forward, Direction::Backward] {
                    for attempt in 0..3 {
                        let intent = Intent {
                            step: step.into(),
                            direction,
                            attempt,
                        };
                        let with = record(state.seq + 1, event.clone(), vec![intent.clone()]);
                        let legal = state.clone().apply(&with).is_ok();
                        let expected =
                            planned(&event).is_some_and(|intents| intents.contains(&intent));
                        assert_eq!(legal, expected, "{shape}: {} and {intent:?}", event.kind());
                        if legal {
                            due.push(format!("{shape}: {}: {direction:?} {step}", event.kind()));
                        }
                    }
                }
            }
        }
    }
    insta::assert_snapshot!(due.join("\n"), @"
    going: a: compensation-requested: Backward a
    going: a: compensation-requested: Backward b
    going: a may exist: compensation-requested: Backward a
    going: a may exist: compensation-requested: Backward b
    going: a done, b: compensation-requested: Backward a
    going: a done, b: compensation-requested: Backward b
    parked: rows, going: compensation-requested: Backward a
    parked: rows, going: compensation-requested: Backward b
    ");
}

#[test]
fn records_are_numbered_from_1_without_a_gap() {
    let definition = definition();
    let first = |seq, event| WorkflowState::start(&definition, &record(seq, event, Vec::new()));
    for (seq, event) in [
        (0, started(&definition)),
        (2, started(&definition)),
        (1, retried()),
        (1, done("a", 1)),
    ] {
        let error = first(seq, event.clone()).expect_err("it is no beginning");
        assert_eq!((error.seq, error.kind), (seq, event.kind()));
    }
    let state = after([]);
    for seq in [0, 1, 3, u32::MAX] {
        let error = state
            .clone()
            .apply(&record(seq, done("a", 1), Vec::new()))
            .expect_err("2 comes next");
        assert_eq!(error.why, "number 2 comes next");
    }
    let records = [
        record(1, started(&definition), Vec::new()),
        record(3, retried(), Vec::new()),
    ];
    assert!(WorkflowState::fold(&definition, &records).is_err());
    assert!(WorkflowState::fold(&definition, &[]).unwrap().is_none());
}

#[test]
fn a_workflow_of_another_definition_is_not_taken_up() {
    let other = Arc::new(build([spec("other", StepPhase::Compensable, &[])]).unwrap());
    let first = record(1, started(&other), Vec::new());
    let error = WorkflowState::start(&definition(), &first).expect_err("its steps are not ours");
    assert_eq!(error.why, "it belongs to another definition");
}

#[test]
fn all_steps_of_a_parked_workflow_that_wait_for_an_operator_go_on_when_it_is_retried() {
    let both_refused = [
        done("a", 1),
        done("b", 1),
        done("pivot", 1),
        refused("y", 1, false),
        refused("z", 1, false),
        retried(),
    ];
    let state = after(both_refused);
    assert_eq!(
        (under_way(&state, "y").0, under_way(&state, "z").0),
        (Some(2), Some(2))
    );
    let poisoned_then_retried = [
        done("a", 1),
        done("b", 1),
        done("pivot", 1),
        refused("y", 1, false),
        Event::Poisoned { error: error() },
        retried(),
    ];
    assert_eq!(under_way(&after(poisoned_then_retried), "y").0, Some(2));
}

#[test]
fn a_pivot_whose_rows_the_store_refused_is_parked_because_it_may_have_taken_effect() {
    let state = after([done("a", 1), done("b", 1), refused("pivot", 1, true)]);
    assert_eq!((state.status(), state.past_pivot()), (Status::Parked, true));
    let again = apply(&state, retried()).unwrap();
    assert_eq!(under_way(&again, "pivot").0, Some(2));
}

#[test]
fn every_record_of_every_shape_survives_being_stored() {
    for (shape, _, state) in shapes() {
        for (name, event) in events("a", 1, 1) {
            let starts = vec![Intent {
                step: "a".into(),
                direction: Direction::Backward,
                attempt: 1,
            }];
            let record = Record {
                seq: state.seq,
                at: state.at,
                event,
                starts,
            };
            let stored = serde_json::to_string(&record).unwrap();
            assert_eq!(
                serde_json::from_str::<Record>(&stored).unwrap(),
                record,
                "{shape}: {name}"
            );
        }
    }
}
