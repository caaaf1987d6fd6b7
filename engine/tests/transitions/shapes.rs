//! The shapes that a workflow can have, each made by the events that lead to it.

use std::sync::Arc;
use std::time::Duration;

use engine::definition::{Definition, DefinitionBuilder, Phase as StepPhase, Source, StepKind};
use engine::workflow::{
    AfterFailure, End, Event, Failure, Phase, Record, StepState, Undo, WorkflowState, follow,
};
use engine::{Payload, Timestamp};

use crate::events::{
    RETRY, abandoned, done, failed, found_late, paused, poisoned, refused, signal, skipped,
    undo_failed, undone, unpaused,
};
use crate::untyped::{build, spec, waiting};

/// Between `SOON` and `LATER` comes the deadline, and every wait that has an end ends.
const BETWEEN: Timestamp = Timestamp(500);

/// `a` and `b` at once, then the pivot, then `y` and `z` at once.
pub fn plain() -> Arc<Definition> {
    let specs = [
        spec("a", StepPhase::Compensable, &[]),
        spec("b", StepPhase::Compensable, &[]),
        spec("pivot", StepPhase::Pivot, &[]),
        spec("y", StepPhase::Retriable, &[]),
        spec("z", StepPhase::Retriable, &[]),
    ];
    Arc::new(build(specs).unwrap())
}

/// Three waits and `a` at once, a wait after `a`, then the pivot.
pub fn with_waits() -> Arc<Definition> {
    let step = |name, inputs: &[usize]| spec(name, StepPhase::Compensable, inputs);
    let lasts = Some(Duration::from_micros(499));
    let specs = [
        step("a", &[]),
        waiting(step("timer", &[]), StepKind::Timer, lasts),
        waiting(step("signal", &[]), StepKind::Signal, lasts),
        waiting(step("endless", &[]), StepKind::Signal, None),
        waiting(step("after-a", &[0]), StepKind::Signal, None),
        spec("pivot", StepPhase::Pivot, &[]),
    ];
    Arc::new(build(specs).unwrap())
}

/// `pivot`, then `y`, or `instead` when that is refused, then `z`.
pub fn with_alternative() -> Arc<Definition> {
    let mut builder = DefinitionBuilder::new("saga", 1);
    builder.step(spec("pivot", StepPhase::Pivot, &[]));
    let y = builder.step(spec("y", StepPhase::Retriable, &[]));
    let instead = builder.step(spec("instead", StepPhase::Retriable, &[]));
    builder.step(spec("z", StepPhase::Retriable, &[1]));
    builder.or_else(y, instead);
    Arc::new(builder.build(Source::Step(y)).unwrap())
}

/// A workflow as it may stand, with the step that is looked at.
pub struct Shape {
    pub name: &'static str,
    pub step: &'static str,
    pub state: WorkflowState,
}

impl Shape {
    /// The event that started it.
    pub fn started(&self) -> Event {
        started(self.state.definition())
    }
}

pub fn started(definition: &Definition) -> Event {
    Event::Started {
        definition: definition.pinned().clone(),
        input: Payload::null(),
        deadline: Some(BETWEEN),
    }
}

/// The events, one a microsecond, each with all that follows from it. `held`: going back does not end.
pub fn after(
    definition: &Arc<Definition>,
    events: impl IntoIterator<Item = Event>,
    held: bool,
) -> WorkflowState {
    let held = held.then_some(End::Compensated);
    let first = Record::new(1, Timestamp(1), started(definition));
    let untouched = WorkflowState::start(definition, &first).unwrap();
    let (mut state, _) = follow(untouched, first, &|_| false, held).unwrap();
    for event in events {
        let seq = state.seq + 1;
        let record = Record::new(seq, Timestamp(i64::from(seq)), event);
        let alone = state.apply(&record).unwrap();
        (state, _) = follow(alone, record, &|_| false, held).unwrap();
    }
    state
}

fn unknown(step: &str, then: AfterFailure) -> Event {
    failed(step, 1, Failure::Unknown, then)
}

fn no_effect(step: &str, then: AfterFailure) -> Event {
    failed(step, 1, Failure::NoEffect, then)
}

/// Every shape, by where the workflow stands.
pub fn groups() -> Vec<(&'static str, Vec<Shape>)> {
    vec![
        ("forward", forward()),
        ("waiting", waits()),
        ("back", back()),
        ("parked", parked()),
        ("paused", stopped()),
        ("diverted", diverted()),
        ("ended", ended()),
    ]
}

fn shape(name: &'static str, step: &'static str, events: &[&[Event]]) -> Shape {
    let state = after(&plain(), events.concat(), false);
    Shape { name, step, state }
}

/// A shape in which the end of going back is held.
fn held(name: &'static str, step: &'static str, events: &[&[Event]]) -> Shape {
    let state = after(&plain(), events.concat(), true);
    Shape { name, step, state }
}

fn at_pivot() -> [Event; 2] {
    [done("a", 1), done("b", 1)]
}

fn past_pivot() -> [Event; 3] {
    [done("a", 1), done("b", 1), done("pivot", 1)]
}

/// `b` was refused when `a` was done.
fn undoing_a() -> [Event; 2] {
    [done("a", 1), refused("b", 1, false)]
}

fn forward() -> Vec<Shape> {
    vec![
        shape("a", "a", &[]),
        shape("a may exist", "a", &[&[unknown("a", RETRY)]]),
        shape("a done, b", "a", &[&[done("a", 1)]]),
        shape("not at the pivot yet", "pivot", &[]),
        shape("pivot", "pivot", &[&at_pivot()]),
        shape(
            "pivot may exist",
            "pivot",
            &[&at_pivot(), &[unknown("pivot", RETRY)]],
        ),
        shape("y", "y", &[&past_pivot()]),
        shape(
            "y is tried again later",
            "y",
            &[&past_pivot(), &[no_effect("y", RETRY)]],
        ),
        shape("z, the last", "z", &[&past_pivot(), &[done("y", 1)]]),
    ]
}

fn waits() -> Vec<Shape> {
    let shape = |name, step, events: &[Event]| {
        let state = after(&with_waits(), events.to_vec(), false);
        Shape { name, step, state }
    };
    vec![
        shape("a timer", "timer", &[]),
        shape("a signal, until then", "signal", &[]),
        shape("a signal, for as long as it takes", "endless", &[]),
        shape("a signal that came", "signal", &[signal("signal", "first")]),
        shape("a signal whose turn has not come", "after-a", &[]),
        shape(
            "a signal that came early",
            "after-a",
            &[signal("after-a", "first")],
        ),
        shape("a timer that was skipped", "timer", &[skipped("timer")]),
        shape("a timer, going back", "timer", &[refused("a", 1, true)]),
        shape("a signal, going back", "signal", &[refused("a", 1, true)]),
    ]
}

fn back() -> Vec<Shape> {
    let again = || [undone("a", 1), found_late("a")];
    vec![
        shape("a in an attempt", "a", &[&[refused("b", 1, false)]]),
        shape("undoing a", "a", &[&undoing_a()]),
        shape(
            "undoing a, later",
            "a",
            &[&undoing_a(), &[undo_failed("a", 1, RETRY)]],
        ),
        shape(
            "undoing a, which may exist",
            "a",
            &[&[unknown("a", AfterFailure::TurnBack)]],
        ),
        shape("a refused, undoing b", "a", &[&[refused("a", 1, false)]]),
        shape(
            "a found late, while undone",
            "a",
            &[&undoing_a(), &[found_late("a")]],
        ),
        held("a undone, held", "a", &[&undoing_a(), &[undone("a", 1)]]),
        held("a found late", "a", &[&undoing_a(), &again()]),
        held(
            "a undone again",
            "a",
            &[&undoing_a(), &again(), &[undone("a", 2)]],
        ),
        held(
            "a found late again",
            "a",
            &[&undoing_a(), &again(), &[undone("a", 2), found_late("a")]],
        ),
    ]
}

fn parked() -> Vec<Shape> {
    use AfterFailure::{Park, TurnBack};
    vec![
        shape("pivot", "pivot", &[&at_pivot(), &[unknown("pivot", Park)]]),
        shape(
            "pivot, by its rows",
            "pivot",
            &[&at_pivot(), &[refused("pivot", 1, true)]],
        ),
        shape(
            "y refused",
            "y",
            &[&past_pivot(), &[refused("y", 1, false)]],
        ),
        shape(
            "y failed too often",
            "y",
            &[&past_pivot(), &[no_effect("y", Park)]],
        ),
        shape(
            "undoing a",
            "a",
            &[&undoing_a(), &[undo_failed("a", 1, Park)]],
        ),
        shape("poisoned", "a", &[&[poisoned()]]),
        shape("poisoned, back", "a", &[&undoing_a(), &[poisoned()]]),
        shape(
            "poisoned, then a failed",
            "a",
            &[&[poisoned(), unknown("a", TurnBack)]],
        ),
        shape(
            "poisoned, then a and b done",
            "pivot",
            &[&[poisoned()], &at_pivot()],
        ),
    ]
}

fn stopped() -> Vec<Shape> {
    let waits = after(&with_waits(), [paused()], false);
    let y_refused = || [paused(), refused("y", 1, false)];
    vec![
        shape("a", "a", &[&[paused()]]),
        shape(
            "a refused meanwhile",
            "a",
            &[&[paused(), refused("a", 1, false)]],
        ),
        shape("y refused meanwhile", "y", &[&past_pivot(), &y_refused()]),
        shape(
            "then resumed",
            "y",
            &[&past_pivot(), &y_refused(), &[unpaused()]],
        ),
        shape("poisoned meanwhile", "a", &[&[paused(), poisoned()]]),
        shape("undoing a", "a", &[&undoing_a(), &[paused()]]),
        shape(
            "undoing a failed meanwhile",
            "a",
            &[
                &undoing_a(),
                &[paused(), undo_failed("a", 1, AfterFailure::Park)],
            ],
        ),
        Shape {
            name: "a timer",
            step: "timer",
            state: waits,
        },
    ]
}

fn diverted() -> Vec<Shape> {
    use AfterFailure::Park;
    let shape = |name, step, events: &[Event]| {
        let past_pivot = std::iter::once(done("pivot", 1));
        let events = past_pivot.chain(events.iter().cloned());
        let state = after(&with_alternative(), events, false);
        Shape { name, step, state }
    };
    let y_refused = || refused("y", 1, false);
    let both_refused = || [y_refused(), refused("instead", 1, false)];
    vec![
        shape("y, which has an alternative", "y", &[]),
        shape("y unknown too often", "y", &[unknown("y", Park)]),
        shape("y failed too often", "y", &[no_effect("y", Park)]),
        shape("y refused", "y", &[y_refused()]),
        shape("y refused by its rows", "y", &[refused("y", 1, true)]),
        shape("instead, not its turn", "instead", &[]),
        shape("instead", "instead", &[y_refused()]),
        shape("instead refused", "instead", &both_refused()),
        shape("instead refused, y", "y", &both_refused()),
        shape("instead done, y", "y", &[y_refused(), done("instead", 1)]),
        shape("y refused while paused", "y", &[paused(), y_refused()]),
    ]
}

fn ended() -> Vec<Shape> {
    vec![
        shape(
            "completed",
            "z",
            &[&past_pivot(), &[done("y", 1), done("z", 1)]],
        ),
        shape("compensated", "a", &[&undoing_a(), &[undone("a", 1)]]),
        shape(
            "abandoned",
            "a",
            &[&[done("a", 1), abandoned(vec!["a".into(), "b".into()])]],
        ),
    ]
}

/// The numbers of the attempts at this step that are under way: forward and backward.
pub fn under_way(state: &WorkflowState, step: &str) -> (Option<u32>, Option<u32>) {
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

/// Where the workflow goes, and where the step stands.
pub fn short(state: &WorkflowState, step: &str) -> String {
    let going = match &state.phase {
        Phase::Running => "go",
        Phase::Compensating { .. } => "back",
        Phase::Parked {
            paused,
            turning_back,
            ..
        } => match (paused, turning_back) {
            (false, None) => "park",
            (false, Some(_)) => "park<",
            (true, None) => "stop",
            (true, Some(_)) => "stop<",
        },
        Phase::Completed { .. } => "END",
        Phase::Compensated { .. } => "UNDONE",
        Phase::Abandoned { .. } => "LEFT",
    };
    let progress = &state.steps[state.definition().index_of(step).unwrap().0];
    let later = |not_before: Timestamp| not_before > state.at;
    let action = match progress.action {
        StepState::Untouched => "",
        StepState::Waiting { .. } => "~",
        StepState::Done { .. } => "+",
        StepState::Attempting { not_before, .. } if later(not_before) => ":",
        StepState::Attempting { .. } => ".",
        StepState::Failed { .. } => "-",
    };
    let may_exist = match progress.action {
        StepState::Attempting {
            effect_may_exist: true,
            ..
        }
        | StepState::Failed {
            effect_may_exist: true,
            ..
        } => "?",
        _ => "",
    };
    let undo = match progress.undo {
        Undo::No => String::new(),
        Undo::Attempting {
            attempt,
            not_before,
        } => {
            let number = if attempt > 1 {
                attempt.to_string()
            } else {
                String::new()
            };
            format!("u{number}{}", if later(not_before) { ":" } else { "" })
        }
        Undo::Done { .. } => "0".to_owned(),
    };
    format!("{going} {action}{may_exist}{undo}")
        .trim_end()
        .to_owned()
}
