//! Signals, timers and the deadline.

use std::sync::Arc;

use engine::definition::{Awaited, Phase as StepPhase, StepKind};
use engine::store::Status;
use engine::workflow::{Event, Record, SIGNALS_MAX, WorkflowState, follow, plan};
use engine::{Payload, Timestamp};

use crate::events::{LATER, done, paused, refused, signal, turned_back};
use crate::shapes::{after, plain, with_waits};
use crate::untyped::{build, spec, waiting};
use crate::{apply, record};

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
        waiting(
            spec("news", StepPhase::Compensable, &[0]),
            StepKind::Signal,
            None,
        ),
    ];
    let definition = Arc::new(build(specs).unwrap());
    let state = after(&definition, [signal("news", "first")], false);
    let last = record(&state, LATER, done("a", 1));
    let alone = state.clone().apply(&last).unwrap();
    let (followed, last) = follow(alone, last, &|_| false, None).unwrap();
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
