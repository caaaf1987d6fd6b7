//! The whole lifecycle, a screen for each way in which a workflow can stand: what each kind of event does to it, and that
//! everything else is a typed error.

#[expect(dead_code, reason = "each test file uses a part of this")]
#[path = "support/untyped.rs"]
mod untyped;

#[path = "transitions/events.rs"]
mod events;
#[path = "transitions/shapes.rs"]
mod shapes;

#[path = "transitions/tables.rs"]
mod tables;

#[path = "transitions/operators.rs"]
mod operators;
#[path = "transitions/waits.rs"]
mod waits;

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::definition::Phase as StepPhase;
use engine::store::Status;
use engine::workflow::{Direction, End, Event, Intent, Record, WorkflowState, plan};
use engine::{Epoch, Timestamp};
use events::{LATER, SOON, done, error, events, poisoned, refused, retried, turned_back};
use shapes::{after, groups, plain, under_way};
use untyped::{build, spec};

fn record(state: &WorkflowState, at: Timestamp, event: Event) -> Record {
    Record::new(state.seq + 1, at, event)
}

fn apply(
    state: &WorkflowState,
    event: Event,
) -> Result<WorkflowState, engine::workflow::IllegalTransition> {
    state.clone().apply(&record(state, LATER, event))
}

#[test]
fn an_illegal_event_is_an_error_that_names_the_record_and_says_why() {
    let (mut legal, mut illegal) = (0, 0);
    let mut whys = BTreeSet::new();
    for shape in groups().into_iter().flat_map(|(_, shapes)| shapes) {
        let names: Vec<String> = shape
            .state
            .definition()
            .steps()
            .iter()
            .map(|step| step.name.to_string())
            .chain(["nobody".to_owned()])
            .collect();
        let about = names
            .iter()
            .flat_map(|step| (0..4).flat_map(|attempt| events::about(step, attempt, attempt)));
        for (name, at, event) in about.chain(events(&shape)) {
            let record = record(&shape.state, at, event);
            match shape.state.clone().apply(&record) {
                Ok(next) => {
                    legal += 1;
                    assert_eq!((next.seq, next.at), (record.seq, at));
                    assert!(!shape.state.is_terminal(), "{}: {name}", shape.name);
                }
                Err(error) => {
                    illegal += 1;
                    assert_eq!((error.seq, error.kind), (record.seq, record.event.kind()));
                    whys.insert(without_names(&error.why));
                }
            }
        }
    }
    assert!(
        legal > 500 && illegal > 10_000,
        "{legal} legal, {illegal} illegal"
    );
    let whys: Vec<String> = whys.into_iter().collect();
    insta::assert_snapshot!(whys.join("\n"), @"
    `_` awaits no signal
    `_` does not wait
    `_` is being undone already: resolve that
    `_` is done
    `_` is done only when `_` is refused, which it is not
    `_` is not being undone
    `_` is not being undone: a late effect changes nothing
    `_` is not due yet: skip it when it is its turn
    `_` was refused and is over: `_` is done in its place
    a compensation is never given up
    a retriable step never turns back
    attempt _ at `_` is not under way
    attempt _ at undoing `_` is not under way
    it is going back already
    it is going back: there is nothing to skip, resolve the compensation instead
    it is known what became of `_`
    it is not parked, and nothing in it waits to be tried again
    it is not paused
    it is parked already
    it is past the pivot: the saga only goes forward
    it is paused: resume it first
    it is started already
    its deadline has not come, or does not count any more
    the pivot may have taken effect: there is no way back
    the time of `_` has not come
    the workflow has ended
    there is no step `_`
    what it leaves is not what it says
    ");
}

/// The sentence with `_` for each name and number in it.
fn without_names(why: &str) -> String {
    let parts = why.split('`').enumerate();
    let parts = parts.map(|(place, part)| if place % 2 == 1 { "_" } else { part });
    let text: Vec<&str> = parts.collect();
    text.join("`").replace(|c: char| c.is_ascii_digit(), "_")
}

#[test]
fn an_intent_is_legal_only_for_the_first_attempt_at_a_step_that_is_due() {
    let mut due = Vec::new();
    for shape in groups().into_iter().flat_map(|(_, shapes)| shapes) {
        let state = &shape.state;
        for event in [
            Event::Continued { epoch: Epoch(2) },
            turned_back(),
            retried(),
        ] {
            let planned = apply(state, event.clone())
                .ok()
                .map(|next| plan(&next, &|_| false).intents(&next).unwrap());
            for intent in intents(state) {
                let mut with = record(state, LATER, event.clone());
                with.starts = vec![intent.clone()];
                let legal = state.clone().apply(&with).is_ok();
                let is_same = |planned: &Intent| {
                    let until = intent.until;
                    Intent {
                        until,
                        ..planned.clone()
                    } == intent
                };
                let expected = planned
                    .as_ref()
                    .is_some_and(|planned| planned.iter().any(is_same));
                let (shape, kind) = (shape.name, event.kind());
                assert_eq!(legal, expected, "{shape}: {kind} and {intent:?}");
                if legal {
                    due.push(format!(
                        "{shape}: {kind}: {:?} {}",
                        intent.direction, intent.step
                    ));
                }
            }
        }
    }
    insta::assert_snapshot!(due.join("\n"), @"
    a: compensation-requested: Backward a
    a: compensation-requested: Backward b
    a may exist: compensation-requested: Backward a
    a may exist: compensation-requested: Backward b
    a done, b: compensation-requested: Backward a
    a done, b: compensation-requested: Backward b
    not at the pivot yet: compensation-requested: Backward a
    not at the pivot yet: compensation-requested: Backward b
    a timer: compensation-requested: Backward a
    a signal, until then: compensation-requested: Backward a
    a signal, for as long as it takes: compensation-requested: Backward a
    a signal that came: compensation-requested: Backward a
    a signal whose turn has not come: compensation-requested: Backward a
    a signal that came early: compensation-requested: Backward a
    a timer that was skipped: compensation-requested: Backward a
    poisoned: compensation-requested: Backward a
    poisoned: compensation-requested: Backward b
    poisoned, then a failed: retry-requested: Backward a
    poisoned, then a failed: retry-requested: Backward b
    poisoned, then a and b done: compensation-requested: Backward a
    poisoned, then a and b done: compensation-requested: Backward b
    poisoned, then a and b done: retry-requested: Forward pivot
    ");
}

fn intents(state: &WorkflowState) -> Vec<Intent> {
    let names = state.definition().steps().iter().map(|step| &*step.name);
    let mut intents = Vec::new();
    for step in names.chain(["nobody"]) {
        for direction in [Direction::Forward, Direction::Backward] {
            for attempt in 0..3 {
                intents.push(Intent {
                    step: step.to_owned(),
                    direction,
                    attempt,
                    until: None,
                });
            }
        }
    }
    intents
}

#[test]
fn an_intent_to_undo_a_step_is_illegal_before_what_came_after_it_is_undone() {
    let specs = [
        spec("a", StepPhase::Compensable, &[]),
        spec("b", StepPhase::Compensable, &[0]),
        spec("c", StepPhase::Compensable, &[1]),
    ];
    let definition = Arc::new(build(specs).unwrap());
    let refused_at_c = [done("a", 1), done("b", 1), refused("c", 1, false)];
    let state = after(&definition, refused_at_c, false);
    let mut early = record(&state, LATER, Event::Continued { epoch: Epoch(2) });
    early.starts = intents(&state)
        .into_iter()
        .filter(|intent| intent.step == "a" && intent.attempt == 1)
        .filter(|intent| intent.direction == Direction::Backward)
        .collect();
    let error = state.apply(&early).expect_err("`b` is not undone yet");
    assert_eq!(error.why, "`a` may not start");
}

#[test]
fn an_end_is_legal_only_when_nothing_is_left_to_do_and_only_the_one_that_the_plan_names() {
    let mut ends = Vec::new();
    for shape in groups().into_iter().flat_map(|(_, shapes)| shapes) {
        for (name, at, event) in events(&shape) {
            let alone = record(&shape.state, at, event);
            let planned = shape.state.clone().apply(&alone).ok();
            let planned = planned.and_then(|next| plan(&next, &|_| false).end);
            for end in [End::Completed, End::Compensated] {
                let mut ended = alone.clone();
                ended.ends = Some(end);
                let legal = shape.state.clone().apply(&ended).is_ok();
                assert_eq!(
                    legal,
                    planned == Some(end),
                    "{}: {name}: {end:?}",
                    shape.name
                );
                if legal {
                    ends.push(format!("{}: {name}: {end:?}", shape.name));
                }
            }
        }
    }
    insta::assert_snapshot!(ends.join("\n"), @"
    z, the last: done: Completed
    z, the last: skip: Completed
    a in an attempt: refused: Compensated
    a in an attempt: no effect, retry: Compensated
    a in an attempt: no effect, turn back: Compensated
    a in an attempt: undone: Compensated
    a in an attempt: resolve: undone: Compensated
    undoing a: undone: Compensated
    undoing a: resolve: undone: Compensated
    undoing a, later: undone: Compensated
    undoing a, later: resolve: undone: Compensated
    a found late, while undone: undone: Compensated
    a found late, while undone: resolve: undone: Compensated
    a undone, held: continued: Compensated
    a found late: undone: Compensated
    a found late: resolve: undone: Compensated
    a undone again: continued: Compensated
    a found late again: undone: Compensated
    a found late again: resolve: undone: Compensated
    undoing a: resolve: undone: Compensated
    ");
}

#[test]
fn records_are_numbered_from_1_without_a_gap() {
    let definition = plain();
    let first =
        |seq, event| WorkflowState::start(&definition, &Record::new(seq, Timestamp(1), event));
    let begins = shapes::started(&definition);
    for (seq, event) in [
        (0, begins.clone()),
        (2, begins.clone()),
        (1, retried()),
        (1, done("a", 1)),
    ] {
        let error = first(seq, event.clone()).expect_err("it is no beginning");
        assert_eq!((error.seq, error.kind), (seq, event.kind()));
    }
    let state = after(&definition, [], false);
    for seq in [0, 1, 3, u32::MAX] {
        let error = state
            .clone()
            .apply(&Record::new(seq, Timestamp(2), done("a", 1)))
            .expect_err("2 comes next");
        assert_eq!(error.why, "number 2 comes next");
    }
    let records = [
        Record::new(1, Timestamp(1), begins),
        Record::new(3, Timestamp(3), retried()),
    ];
    assert!(WorkflowState::fold(&definition, &records).is_err());
    assert!(WorkflowState::fold(&definition, &[]).unwrap().is_none());
}

#[test]
fn a_workflow_of_another_definition_is_not_taken_up() {
    let other = build([spec("other", StepPhase::Compensable, &[])]).unwrap();
    let first = Record::new(1, Timestamp(1), shapes::started(&other));
    let error = WorkflowState::start(&plain(), &first).expect_err("its steps are not ours");
    assert_eq!(error.why, "it belongs to another definition");
}

#[test]
fn all_steps_of_a_parked_workflow_that_wait_for_an_operator_go_on_when_it_is_retried() {
    let past_pivot = [done("a", 1), done("b", 1), done("pivot", 1)];
    let both_refused = [refused("y", 1, false), refused("z", 1, false), retried()];
    let state = after(&plain(), [&past_pivot[..], &both_refused].concat(), false);
    assert_eq!(
        (under_way(&state, "y").0, under_way(&state, "z").0),
        (Some(2), Some(2))
    );
    let then_poisoned = [refused("y", 1, false), poisoned(), retried()];
    let state = after(&plain(), [&past_pivot[..], &then_poisoned].concat(), false);
    assert_eq!(under_way(&state, "y").0, Some(2));
}

#[test]
fn a_pivot_whose_rows_the_store_refused_is_parked_because_it_may_have_taken_effect() {
    let events = [done("a", 1), done("b", 1), refused("pivot", 1, true)];
    let state = after(&plain(), events, false);
    assert_eq!((state.status(), state.past_pivot()), (Status::Parked, true));
    let again = apply(&state, retried()).unwrap();
    assert_eq!(under_way(&again, "pivot").0, Some(2));
}

#[test]
fn every_record_of_every_shape_survives_being_stored() {
    for shape in groups().into_iter().flat_map(|(_, shapes)| shapes) {
        for (name, at, event) in events(&shape) {
            for (until, ends) in [(None, None), (Some(SOON), Some(End::Compensated))] {
                let mut record = record(&shape.state, at, event.clone());
                record.ends = ends;
                record.starts.push(Intent {
                    step: "a".into(),
                    direction: Direction::Backward,
                    attempt: 1,
                    until,
                });
                let stored = serde_json::to_string(&record).unwrap();
                let read: Record = serde_json::from_str(&stored).unwrap();
                assert_eq!(read, record, "{}: {name}", shape.name);
            }
        }
    }
    assert_eq!(error().to_string(), "timeout: no answer");
}
