//! The tables: what each event does to a workflow in each shape.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use engine::workflow::{AfterFailure, Event, Failure, Phase, Resolution, StepState, Undo};

use crate::events::events;
use crate::record;
use crate::shapes::{Shape, groups, short};

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
fn past_a_refusal_that_has_an_alternative_each_event_does_this_or_is_an_error() {
    insta::assert_snapshot!(table("diverted"), @"
                                     1          2          3          4          5          6          7          8          9         10         11
    done                          go +     park +     park +          ·          ·          ·       go +          ·          ·          ·          ·
    refused                       go -     park -     park -          ·          ·          ·     park -          ·          ·          ·          ·
    refused by rows              go -?    park -?    park -?          ·          ·          ·    park -?          ·          ·          ·          ·
    no effect, retry              go :    park :?     park :          ·          ·          ·       go :          ·          ·          ·          ·
    no effect, park             park .    park .?     park .          ·          ·          ·     park .          ·          ·          ·          ·
    unknown, retry               go :?    park :?    park :?          ·          ·          ·      go :?          ·          ·          ·          ·
    unknown, park              park .?    park .?    park .?          ·          ·          ·    park .?          ·          ·          ·          ·
    resolve: done                    ·       go +          ·          ·          ·          ·          ·          ·          ·          ·          ·
    resolve: refused                 ·       go -       go -          ·          ·          ·          ·          ·          ·          ·          ·
    skip                          go +       go +       go +          ·          ·          ·       go +       go +          ·          ·          ·
    poisoned                    park .    park .?     park .     park -    park -?       park     park .     park -     park -     park -     stop -
    continued                     go .    park .?     park .       go -      go -?         go       go .     park -     park -       go -     stop -
    retry                            ·      go .?       go .          ·          ·          ·          ·       go .       go -          ·          ·
    pause                       stop .          ·          ·     stop -    stop -?       stop     stop .          ·          ·     stop -          ·
    resume                           ·          ·          ·          ·          ·          ·          ·          ·          ·          ·       go -
    abandon                     LEFT .    LEFT .?     LEFT .     LEFT -    LEFT -?       LEFT     LEFT .     LEFT -     LEFT -     LEFT -     LEFT -
    refused in all of them: started; no effect, turn back; unknown, turn back; undone; undo failed, retry; undo failed, park; undo failed, give up; effect found late; resolve: undone; signal; timer; timer, too early; deadline; deadline, too early; turn back; abandon, wrongly told
     1 y, which has an alternative [y: go .]
     2 y unknown too often [y: park .?]
     3 y failed too often [y: park .]
     4 y refused [y: go -]
     5 y refused by its rows [y: go -?]
     6 instead, not its turn [instead: go]
     7 instead [instead: go .]
     8 instead refused [instead: park -]
     9 instead refused, y [y: park -]
    10 instead done, y [y: go -]
    11 y refused while paused [y: stop -]
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
            effect_may_exist: false,
            ..
        } => "attempting",
        StepState::Attempting { .. } => "attempting, effect may exist",
        StepState::Waiting { until: None } => "waiting",
        StepState::Waiting { until: Some(_) } => "waiting until",
        StepState::Done { attempt: 0, .. } => "skipped",
        StepState::Done { .. } => "done",
        StepState::Failed {
            effect_may_exist: false,
            ..
        } => "failed",
        StepState::Failed { .. } => "failed, effect may exist",
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
