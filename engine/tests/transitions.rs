//! The whole lifecycle, a screen for each way in which a workflow can stand: what each kind of event does to it, and that
//! everything else is a typed error.

#[expect(dead_code, reason = "each test file uses a part of this")]
#[path = "support/untyped.rs"]
mod untyped;

#[path = "transitions/events.rs"]
mod events;
#[path = "transitions/shapes.rs"]
mod shapes;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use engine::definition::{Awaited, Phase as StepPhase};
use engine::store::Status;
use engine::workflow::{
    AfterFailure, Direction, End, Event, Failure, Intent, Phase, Record, Resolution, SIGNALS_MAX,
    StepError, StepState, Undo, WorkflowState, follow, plan,
};
use engine::{Epoch, Payload, Timestamp};
use events::{
    LATER, SOON, by, done, error, events, failed, found_late, paused, poisoned, refused, retried,
    signal, skipped, turned_back, unpaused,
};
use shapes::{Shape, after, groups, plain, short, under_way, with_waits};
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

/// What each event does to each shape of this group. The events that none of them allows are named at the end.
fn table(group: &str) -> String {
    let groups = groups();
    let (_, shapes) = groups
        .iter()
        .find(|(name, _)| *name == group)
        .expect("there is such a group");
    let mut text = " ".repeat(23);
    for number in 1..=shapes.len() {
        write!(text, "{number:>11}").unwrap();
    }
    let mut never = Vec::new();
    for (row, (name, _, _)) in events(&shapes[0]).into_iter().enumerate() {
        let cells: Vec<Option<String>> = shapes.iter().map(|shape| cell(shape, row)).collect();
        if cells.iter().all(Option::is_none) {
            never.push(name);
            continue;
        }
        write!(text, "\n{name:<23}").unwrap();
        for cell in cells {
            write!(text, "{:>11}", cell.as_deref().unwrap_or("·")).unwrap();
        }
    }
    write!(text, "\nrefused in all of them: {}", never.join("; ")).unwrap();
    for (number, shape) in shapes.iter().enumerate() {
        let (name, step) = (shape.name, shape.step);
        let now = short(&shape.state, step);
        write!(text, "\n{:>2} {name} [{step}: {now}]", number + 1).unwrap();
    }
    text
}

fn cell(shape: &Shape, row: usize) -> Option<String> {
    let (_, at, event) = events(shape).swap_remove(row);
    let next = shape.state.clone().apply(&record(&shape.state, at, event));
    next.ok().map(|next| short(&next, shape.step))
}

// How to read a cell: where the workflow goes (`park` and `stop`, which is paused, with `<` if it will go back), then where the
// step's action stands (`.` is to be attempted, `:` is to be attempted later, `~` waits, `+` done, `-` failed, `?` its effect may
// exist), then its compensation (`u` is to be made, `u2` for the second time, `0` took effect). `·` is a typed error.

#[test]
fn going_forward_each_event_does_this_or_is_an_error() {
    insta::assert_snapshot!(table("forward"), @"
                                     1          2          3          4          5          6          7          8          9
    done                          go +       go +          ·          ·       go +       go +       go +       go +       go +
    refused                     back -     back -          ·          ·     back -     back -     park -     park -     park -
    refused by rows            back -?    back -?          ·          ·    park -?    park -?    park -?    park -?    park -?
    no effect, retry              go :      go :?          ·          ·       go :      go :?       go :       go :       go :
    no effect, turn back        back -    back -?          ·          ·     back -          ·          ·          ·          ·
    no effect, park             park .    park .?          ·          ·     park .    park .?     park .     park .     park .
    unknown, retry               go :?      go :?          ·          ·      go :?      go :?      go :?      go :?      go :?
    unknown, turn back         back -?    back -?          ·          ·          ·          ·          ·          ·          ·
    unknown, park              park .?    park .?          ·          ·    park .?    park .?    park .?    park .?    park .?
    resolve: done                    ·       go +          ·          ·          ·       go +          ·          ·          ·
    resolve: refused                 ·     back -          ·          ·          ·     back -          ·          ·          ·
    skip                          go +       go +          ·          ·       go +       go +       go +       go +       go +
    deadline                    back .    back :?     back +       back          ·          ·          ·          ·          ·
    poisoned                    park .    park :?     park +       park     park .    park :?     park .     park :     park .
    continued                     go .      go :?       go +         go       go .      go :?       go .       go :       go .
    turn back                   back .    back :?     back +       back          ·          ·          ·          ·          ·
    retry                            ·      go .?          ·          ·          ·      go .?          ·       go .          ·
    pause                       stop .    stop :?     stop +       stop     stop .    stop :?     stop .     stop :     stop .
    abandon                     LEFT .    LEFT :?     LEFT +       LEFT     LEFT .    LEFT :?     LEFT .     LEFT :     LEFT .
    refused in all of them: started; undone; undo failed, retry; undo failed, park; undo failed, give up; effect found late; resolve: undone; signal; timer; timer, too early; deadline, too early; resume; abandon, wrongly told
     1 a [a: go .]
     2 a may exist [a: go :?]
     3 a done, b [a: go +]
     4 not at the pivot yet [pivot: go]
     5 pivot [pivot: go .]
     6 pivot may exist [pivot: go :?]
     7 y [y: go .]
     8 y is tried again later [y: go :]
     9 z, the last [z: go .]
    ");
}

#[test]
fn waiting_each_event_does_this_or_is_an_error() {
    insta::assert_snapshot!(table("waiting"), @"
                                     1          2          3          4          5          6          7          8          9
    skip                          go +       go +       go +          ·          ·          ·          ·          ·          ·
    signal                           ·       go +       go +       go +         go         go          ·          ·     back +
    timer                         go +       go +          ·          ·          ·          ·          ·     back +     back +
    deadline                    back ~     back ~     back ~     back +       back       back     back +          ·          ·
    poisoned                    park ~     park ~     park ~     park +       park       park     park +    park< ~    park< ~
    continued                     go ~       go ~       go ~       go +         go         go       go +     back ~     back ~
    turn back                   back ~     back ~     back ~     back +       back       back     back +          ·          ·
    pause                       stop ~     stop ~     stop ~     stop +       stop       stop     stop +    stop< ~    stop< ~
    abandon                     LEFT ~     LEFT ~     LEFT ~     LEFT +       LEFT       LEFT     LEFT +     LEFT ~     LEFT ~
    refused in all of them: started; done; refused; refused by rows; no effect, retry; no effect, turn back; no effect, park; unknown, retry; unknown, turn back; unknown, park; undone; undo failed, retry; undo failed, park; undo failed, give up; effect found late; resolve: done; resolve: refused; resolve: undone; timer, too early; deadline, too early; retry; resume; abandon, wrongly told
     1 a timer [timer: go ~]
     2 a signal, until then [signal: go ~]
     3 a signal, for as long as it takes [endless: go ~]
     4 a signal that came [signal: go +]
     5 a signal whose turn has not come [after-a: go]
     6 a signal that came early [after-a: go]
     7 a timer that was skipped [timer: go +]
     8 a timer, going back [timer: back ~]
     9 a signal, going back [signal: back ~]
    ");
}

#[test]
fn going_back_each_event_does_this_or_is_an_error() {
    insta::assert_snapshot!(table("back"), @"
                                     1          2          3          4          5          6          7          8          9         10
    done                       back +u          ·          ·          ·          ·          ·          ·          ·          ·          ·
    refused                    back -u          ·          ·          ·          ·          ·          ·          ·          ·          ·
    refused by rows           back -?u          ·          ·          ·          ·          ·          ·          ·          ·          ·
    no effect, retry           back -u          ·          ·          ·          ·          ·          ·          ·          ·          ·
    no effect, turn back       back -u          ·          ·          ·          ·          ·          ·          ·          ·          ·
    no effect, park           park< .u          ·          ·          ·          ·          ·          ·          ·          ·          ·
    unknown, retry            back -?u          ·          ·          ·          ·          ·          ·          ·          ·          ·
    unknown, turn back        back -?u          ·          ·          ·          ·          ·          ·          ·          ·          ·
    unknown, park            park< .?u          ·          ·          ·          ·          ·          ·          ·          ·          ·
    undone                     back .0    back +0    back +0   back -?0          ·    back +0          ·    back +0          ·    back +0
    undo failed, retry       back .u2:  back +u2:  back +u3: back -?u2:          ·  back +u3:          ·  back +u3:          ·  back +u4:
    undo failed, park        park< .u2  park< +u2  park< +u3 park< -?u2          ·  park< +u3          ·  park< +u3          ·  park< +u4
    effect found late        back .?u2   back +u2   back +u3  back -?u2    back -?   back +u3   back +u2   back +u3   back +u3   back +u4
    resolve: undone            back .0    back +0    back +0   back -?0          ·    back +0          ·    back +0          ·    back +0
    poisoned                  park< .u   park< +u park< +u2:  park< -?u    park< -  park< +u2   park< +0  park< +u2   park< +0  park< +u3
    continued                  back .u    back +u  back +u2:   back -?u     back -   back +u2    back +0   back +u2    back +0   back +u3
    retry                            ·          ·   back +u2          ·          ·          ·          ·          ·          ·          ·
    pause                     stop< .u   stop< +u stop< +u2:  stop< -?u    stop< -  stop< +u2   stop< +0  stop< +u2   stop< +0  stop< +u3
    abandon                    LEFT .u    LEFT +u  LEFT +u2:   LEFT -?u     LEFT -   LEFT +u2    LEFT +0   LEFT +u2    LEFT +0   LEFT +u3
    refused in all of them: started; undo failed, give up; resolve: done; resolve: refused; skip; signal; timer; timer, too early; deadline; deadline, too early; turn back; resume; abandon, wrongly told
     1 a in an attempt [a: back .u]
     2 undoing a [a: back +u]
     3 undoing a, later [a: back +u2:]
     4 undoing a, which may exist [a: back -?u]
     5 a refused, undoing b [a: back -]
     6 a found late, while undone [a: back +u2]
     7 a undone, held [a: back +0]
     8 a found late [a: back +u2]
     9 a undone again [a: back +0]
    10 a found late again [a: back +u3]
    ");
}

#[test]
fn parked_each_event_does_this_or_is_an_error() {
    insta::assert_snapshot!(table("parked"), @"
                                     1          2          3          4          5          6          7          8          9
    done                        park +          ·          ·     park +          ·     park +          ·          ·          ·
    refused                    park< -          ·          ·     park -          ·    park< -          ·          ·          ·
    refused by rows            park -?          ·          ·    park -?          ·   park< -?          ·          ·          ·
    no effect, retry           park :?          ·          ·     park :          ·     park :          ·          ·          ·
    no effect, turn back             ·          ·          ·          ·          ·    park< -          ·          ·          ·
    no effect, park            park .?          ·          ·     park .          ·     park .          ·          ·          ·
    unknown, retry             park :?          ·          ·    park :?          ·    park :?          ·          ·          ·
    unknown, turn back               ·          ·          ·          ·          ·   park< -?          ·          ·          ·
    unknown, park              park .?          ·          ·    park .?          ·    park .?          ·          ·          ·
    undone                           ·          ·          ·          ·   park< +0          ·   park< +0          ·          ·
    undo failed, retry               ·          ·          ·          · park< +u3:          · park< +u2:          ·          ·
    undo failed, park                ·          ·          ·          ·  park< +u3          ·  park< +u2          ·          ·
    effect found late                ·          ·          ·          ·  park< +u3          ·  park< +u2   park< -?          ·
    resolve: done                 go +       go +          ·          ·          ·          ·          ·    park< +          ·
    resolve: refused            back -     back -          ·          ·          ·          ·          ·    park< -          ·
    resolve: undone                  ·          ·          ·          ·    back +0          ·   park< +0          ·          ·
    skip                          go +       go +       go +       go +          ·     park +          ·          ·     park +
    poisoned                   park .?    park -?     park -     park .  park< +u2     park .   park< +u   park< -?       park
    continued                  park .?    park -?     park -     park .  park< +u2     park .   park< +u   park< -?       park
    turn back                        ·          ·          ·          ·          ·     back .          ·          ·       back
    retry                        go .?      go .?       go .       go .   back +u2       go .    back +u    back -?         go
    abandon                    LEFT .?    LEFT -?     LEFT -     LEFT .   LEFT +u2     LEFT .    LEFT +u    LEFT -?       LEFT
    refused in all of them: started; undo failed, give up; signal; timer; timer, too early; deadline; deadline, too early; pause; resume; abandon, wrongly told
     1 pivot [pivot: park .?]
     2 pivot, by its rows [pivot: park -?]
     3 y refused [y: park -]
     4 y failed too often [y: park .]
     5 undoing a [a: park< +u2]
     6 poisoned [a: park .]
     7 poisoned, back [a: park< +u]
     8 poisoned, then a failed [a: park< -?]
     9 poisoned, then a and b done [pivot: park]
    ");
}

#[test]
fn paused_each_event_does_this_or_is_an_error() {
    insta::assert_snapshot!(table("paused"), @"
                                     1          2          3          4          5          6          7          8
    done                        stop +          ·          ·          ·     stop +          ·          ·          ·
    refused                    stop< -          ·          ·          ·    stop< -          ·          ·          ·
    refused by rows           stop< -?          ·          ·          ·   stop< -?          ·          ·          ·
    no effect, retry            stop :          ·          ·          ·     stop :          ·          ·          ·
    no effect, turn back       stop< -          ·          ·          ·    stop< -          ·          ·          ·
    no effect, park             stop .          ·          ·          ·     stop .          ·          ·          ·
    unknown, retry             stop :?          ·          ·          ·    stop :?          ·          ·          ·
    unknown, turn back        stop< -?          ·          ·          ·   stop< -?          ·          ·          ·
    unknown, park              stop .?          ·          ·          ·    stop .?          ·          ·          ·
    undone                           ·          ·          ·          ·          ·   stop< +0   stop< +0          ·
    undo failed, retry               ·          ·          ·          ·          · stop< +u2: stop< +u3:          ·
    undo failed, park                ·          ·          ·          ·          ·  stop< +u2  stop< +u3          ·
    effect found late                ·   stop< -?          ·          ·          ·  stop< +u2  stop< +u3          ·
    skip                             ·          ·          ·       go +          ·          ·          ·          ·
    timer                            ·          ·          ·          ·          ·          ·          ·     stop +
    poisoned                    stop .    stop< -     stop -     park -     stop .   stop< +u  stop< +u2     stop ~
    continued                   stop .    stop< -     stop -     park -     stop .   stop< +u  stop< +u2     stop ~
    retry                            ·          ·          ·       go .          ·          ·          ·          ·
    resume                        go .     back -     park -          ·     park .    back +u  park< +u2       go ~
    abandon                     LEFT .     LEFT -     LEFT -     LEFT -     LEFT .    LEFT +u   LEFT +u2     LEFT ~
    refused in all of them: started; undo failed, give up; resolve: done; resolve: refused; resolve: undone; signal; timer, too early; deadline; deadline, too early; turn back; pause; abandon, wrongly told
     1 a [a: stop .]
     2 a refused meanwhile [a: stop< -]
     3 y refused meanwhile [y: stop -]
     4 then resumed [y: park -]
     5 poisoned meanwhile [a: stop .]
     6 undoing a [a: stop< +u]
     7 undoing a failed meanwhile [a: stop< +u2]
     8 a timer [timer: stop ~]
    ");
}

#[test]
fn nothing_follows_the_end() {
    insta::assert_snapshot!(table("ended"), @"
                                     1          2          3
    refused in all of them: started; done; refused; refused by rows; no effect, retry; no effect, turn back; no effect, park; unknown, retry; unknown, turn back; unknown, park; undone; undo failed, retry; undo failed, park; undo failed, give up; effect found late; resolve: done; resolve: refused; resolve: undone; skip; signal; timer; timer, too early; deadline; deadline, too early; poisoned; continued; turn back; retry; pause; resume; abandon; abandon, wrongly told
     1 completed [z: END +]
     2 compensated [a: UNDONE +0]
     3 abandoned [a: LEFT +]
    ");
}

/// The match has no wildcard: a kind of event that is added is missed here until the tables have it.
fn row_of(event: &Event) -> &'static str {
    match event {
        Event::Started { .. } => "started",
        Event::StepDone { .. } => "done",
        Event::StepRefused {
            effect_may_exist, ..
        } => match effect_may_exist {
            false => "refused",
            true => "refused by rows",
        },
        Event::AttemptFailed { failure, then, .. } => match (failure, then) {
            (Failure::NoEffect, AfterFailure::RetryAt(_)) => "no effect, retry",
            (Failure::NoEffect, AfterFailure::TurnBack) => "no effect, turn back",
            (Failure::NoEffect, AfterFailure::Park) => "no effect, park",
            (Failure::Unknown, AfterFailure::RetryAt(_)) => "unknown, retry",
            (Failure::Unknown, AfterFailure::TurnBack) => "unknown, turn back",
            (Failure::Unknown, AfterFailure::Park) => "unknown, park",
        },
        Event::CompensationDone { .. } => "undone",
        Event::CompensationFailed { then, .. } => match then {
            AfterFailure::RetryAt(_) => "undo failed, retry",
            AfterFailure::TurnBack => "undo failed, give up",
            AfterFailure::Park => "undo failed, park",
        },
        Event::EffectFoundLate { .. } => "effect found late",
        Event::TimerFired { .. } => "timer",
        Event::SignalReceived(_) => "signal",
        Event::DeadlinePassed => "deadline",
        Event::Poisoned { .. } => "poisoned",
        Event::Continued { .. } => "continued",
        Event::CompensationRequested { .. } => "turn back",
        Event::RetryRequested { .. } => "retry",
        Event::Resolved { resolution, .. } => match resolution {
            Resolution::Done(_) => "resolve: done",
            Resolution::Refused(_) => "resolve: refused",
            Resolution::Undone => "resolve: undone",
        },
        Event::Skipped { .. } => "skip",
        Event::Paused { .. } => "pause",
        Event::Unpaused { .. } => "resume",
        Event::Abandoned { .. } => "abandon",
    }
}

/// The same for what a workflow and a step can be.
fn column_of(shape: &Shape) -> [&'static str; 3] {
    let state = &shape.state;
    let phase = match &state.phase {
        Phase::Running => "running",
        Phase::Compensating { .. } => "compensating",
        Phase::Parked {
            turning_back,
            paused,
            step,
            ..
        } => match (turning_back, paused, step) {
            (None, false, None) => "parked",
            (None, false, Some(_)) => "parked at a step",
            (Some(_), false, None) => "parked, back",
            (Some(_), false, Some(_)) => "parked at a step, back",
            (None, true, None) => "paused",
            (None, true, Some(_)) => "paused, a step failed",
            (Some(_), true, None) => "paused, back",
            (Some(_), true, Some(_)) => "paused, a step failed, back",
        },
        Phase::Completed { .. } => "completed",
        Phase::Compensated { .. } => "compensated",
        Phase::Abandoned { .. } => "abandoned",
    };
    let progress = &state.steps[state.definition().index_of(shape.step).unwrap().0];
    let action = match progress.action {
        StepState::Untouched => "untouched",
        StepState::Attempting {
            effect_may_exist, ..
        } => match effect_may_exist {
            false => "attempting",
            true => "attempting, effect may exist",
        },
        StepState::Waiting { until: None } => "waiting",
        StepState::Waiting { until: Some(_) } => "waiting until",
        StepState::Done { attempt: 0, .. } => "skipped",
        StepState::Done { .. } => "done",
        StepState::Failed {
            effect_may_exist, ..
        } => match effect_may_exist {
            false => "failed",
            true => "failed, effect may exist",
        },
    };
    let undo = match (&progress.undo, progress.undone_before) {
        (Undo::No, _) => "not undone",
        (Undo::Attempting { .. }, false) => "undoing",
        (Undo::Attempting { .. }, true) => "undoing again",
        (Undo::Done { .. }, false) => "undone",
        (Undo::Done { .. }, true) => "undone again",
    };
    [phase, action, undo]
}

#[test]
fn no_pair_is_missing_from_the_tables() {
    let shapes: Vec<Shape> = groups()
        .into_iter()
        .flat_map(|(_, shapes)| shapes)
        .collect();
    let mut rows = BTreeSet::new();
    let mut columns = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for shape in &shapes {
        for (seen, column) in columns.iter_mut().zip(column_of(shape)) {
            seen.insert(column);
        }
        for (name, _, event) in events(shape) {
            let row = row_of(&event);
            assert!(name.starts_with(row), "{name} is {row}");
            rows.insert(row);
        }
    }
    let counts = columns.each_ref().map(BTreeSet::len);
    assert_eq!(rows.len(), 29, "each arm of `row_of`: {rows:?}");
    assert_eq!(counts, [13, 9, 5], "each arm of `column_of`: {columns:?}");
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
    `_` is not being undone
    `_` is not being undone: a late effect changes nothing
    `_` is not due yet: skip it when it is its turn
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

// ---- operators ----

#[test]
fn a_step_is_not_skipped_before_its_turn_and_the_pivot_least_of_all() {
    let state = after(&plain(), [], false);
    for step in ["pivot", "y"] {
        let error = apply(&state, skipped(step)).expect_err("`a` and `b` are not done");
        assert!(error.why.contains("not due yet"), "{error}");
    }
    // Its turn came while nothing could start: now it is skipped, and what comes after it starts when the workflow goes on.
    let events = [
        poisoned(),
        done("a", 1),
        done("b", 1),
        skipped("pivot"),
        retried(),
    ];
    let state = after(&plain(), events, false);
    assert_eq!(
        (under_way(&state, "y").0, under_way(&state, "z").0),
        (Some(1), Some(1))
    );
}

#[test]
fn a_step_that_was_skipped_before_its_first_attempt_has_nothing_to_undo() {
    let specs = [
        spec("a", StepPhase::Compensable, &[]),
        spec("b", StepPhase::Compensable, &[0]),
        spec("c", StepPhase::Compensable, &[1]),
    ];
    let definition = Arc::new(build(specs).unwrap());
    let skipped_first = [
        poisoned(),
        done("a", 1),
        skipped("b"),
        retried(),
        refused("c", 1, false),
    ];
    let state = after(&definition, skipped_first, false);
    assert_eq!(state.left(), ["a"]);
    assert_eq!(under_way(&state, "a").1, Some(1), "`a` is undone next");
    let error = apply(&state, found_late("b")).expect_err("nothing of it can be late");
    assert!(error.why.contains("never attempted"), "{error}");
    // One that was attempted may have had its effect, whatever the operator gave in its place.
    let skipped_later = [done("a", 1), skipped("b"), refused("c", 1, false)];
    let state = after(&definition, skipped_later, false);
    assert_eq!(state.left(), ["a", "b"]);
    assert_eq!(under_way(&state, "b").1, Some(1));
}

#[test]
fn an_attempt_that_failed_without_effect_while_it_was_stopped_on_its_way_back_is_not_undone() {
    let events = [
        poisoned(),
        refused("a", 1, false),
        failed("b", 1, Failure::NoEffect, events::RETRY),
        retried(),
    ];
    assert_eq!(after(&plain(), events, false).status(), Status::Compensated);
}

#[test]
fn a_pause_or_a_parking_is_no_time_that_retries_have_used_up() {
    for (stop, go_on) in [(paused(), unpaused()), (poisoned(), retried())] {
        let state = after(&plain(), [stop], false);
        assert_eq!(state.steps[0].attempting_since, Some(Timestamp(1)));
        let state = apply(&state, go_on).unwrap();
        assert_eq!(state.steps[0].attempting_since, Some(LATER));
        assert_eq!(state.steps[2].attempting_since, None, "the pivot");
    }
}

#[test]
fn a_step_whose_error_looks_like_a_pause_stays_parked_when_the_pause_ends() {
    let error = StepError::new(engine::workflow::PAUSED, "not by an operator");
    let events = [
        done("a", 1),
        done("b", 1),
        done("pivot", 1),
        paused(),
        Event::StepRefused {
            step: "y".into(),
            attempt: 1,
            refusal: engine::workflow::Refusal::new(error.class, error.message),
            effect_may_exist: false,
        },
        unpaused(),
    ];
    let state = after(&plain(), events, false);
    assert_eq!(short(&state, "y"), "park -");
}

#[test]
fn an_effect_found_late_is_undone_even_if_the_next_attempt_had_none() {
    // The first attempt was given up, the second is being made when `b` turns the workflow back.
    let mut state = after(&plain(), [refused("b", 1, false)], false);
    for event in [
        found_late("a"),
        failed("a", 1, Failure::NoEffect, events::RETRY),
    ] {
        state = apply(&state, event).unwrap();
    }
    assert_eq!(state.left(), ["a"]);
}

// ---- signals and the clock ----

fn output_of(state: &WorkflowState, step: &str) -> Payload {
    state.output_of(step).expect("it is done").clone()
}

#[test]
fn what_a_wait_gives_is_read_by_its_handle_s_type() {
    let state = after(&with_waits(), [signal("endless", "yes")], false);
    let fire = |step: &str| Event::TimerFired { step: step.into() };
    let state = apply(&state, fire("timer")).unwrap();
    let state = apply(&state, fire("signal")).unwrap();
    assert_eq!(output_of(&state, "timer").to::<Timestamp>().unwrap(), LATER);
    let arrived = output_of(&state, "endless").to::<Awaited<String>>();
    assert_eq!(arrived.unwrap(), Awaited::Arrived("yes".to_owned()));
    let timed_out = output_of(&state, "signal").to::<Awaited<String>>();
    assert_eq!(timed_out.unwrap(), Awaited::TimedOut);
}

#[test]
fn the_first_of_the_signals_that_came_early_is_taken_when_the_step_starts() {
    let early = [
        signal("after-a", "first"),
        signal("after-a", "second"),
        done("a", 1),
    ];
    let state = after(&with_waits(), early, false);
    assert_eq!(
        output_of(&state, "after-a").as_str(),
        r#"{"arrived":"first"}"#
    );
    assert!(state.has_signal("second"));
}

#[test]
fn the_record_that_starts_a_wait_whose_signal_came_early_may_end_the_workflow() {
    let specs = [
        spec("a", StepPhase::Compensable, &[]),
        untyped::waiting(
            spec("news", StepPhase::Compensable, &[0]),
            engine::definition::StepKind::Signal,
            None,
        ),
    ];
    let definition = Arc::new(build(specs).unwrap());
    let state = after(&definition, [signal("news", "first")], false);
    let last = record(&state, LATER, done("a", 1));
    let alone = state.clone().apply(&last).unwrap();
    let (followed, last) = follow(alone, last, &|_| false, false).unwrap();
    assert_eq!((last.starts.len(), last.kind()), (1, "completed"));
    assert_eq!(followed.status(), Status::Completed);
    assert_eq!(state.apply(&last).unwrap().phase, followed.phase);
}

#[test]
fn a_signal_counts_once_and_only_so_many_count() {
    let mut state = after(&with_waits(), [signal("endless", "0")], false);
    let again = apply(&state, signal("endless", "0")).expect_err("it came before");
    assert_eq!(again.why, "signal `0` was received already");
    let elsewhere = apply(&state, signal("signal", "0")).expect_err("it came before");
    assert_eq!(elsewhere.why, "signal `0` was received already");
    for id in 1..SIGNALS_MAX {
        state = apply(&state, signal("after-a", &id.to_string())).unwrap();
    }
    let more = apply(&state, signal("after-a", "one more")).expect_err("the limit");
    assert!(more.why.contains("limit"), "{more}");
    assert!(state.has_signal("999") && !state.has_signal("one more"));
}

#[test]
fn a_workflow_that_goes_back_awaits_no_signal() {
    let forward = after(&with_waits(), [], false);
    assert!(forward.awaits_signal());
    for event in [refused("a", 1, true), turned_back(), paused()] {
        let state = apply(&forward, event).unwrap();
        assert!(!state.awaits_signal(), "{:?}", state.phase);
        let planned = plan(&state, &|_| false);
        assert!(planned.waits.is_empty() && planned.deadline.is_none());
    }
}

#[test]
fn a_deadline_counts_until_the_pivot_may_have_taken_effect() {
    let due =
        |events: &[Event]| plan(&after(&plain(), events.to_vec(), false), &|_| false).deadline;
    assert_eq!(due(&[]), Some(Timestamp(500)));
    assert_eq!(due(&[done("a", 1)]), Some(Timestamp(500)));
    assert_eq!(due(&[done("a", 1), done("b", 1)]), None);
    assert_eq!(due(&[refused("a", 1, false)]), None);
    let definition = plain();
    let first = Event::Started {
        definition: definition.pinned().clone(),
        input: Payload::null(),
        deadline: None,
    };
    let state = WorkflowState::start(&definition, &Record::new(1, Timestamp(1), first)).unwrap();
    assert!(apply(&state, Event::DeadlinePassed).is_err(), "it has none");
}

#[test]
fn abandoning_says_what_is_left_of_it_in_the_world() {
    let state = after(&plain(), [done("a", 1)], false);
    let left = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(state.left(), left);
    let state = apply(&state, events::abandoned(left.clone())).unwrap();
    let Phase::Abandoned { reason, left: says } = &state.phase else {
        panic!("it is abandoned: {:?}", state.phase)
    };
    assert_eq!((says, reason.message.as_str()), (&left, "ann: a reason"));
    assert_eq!(by().to_string(), "ann: a reason");
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
