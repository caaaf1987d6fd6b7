//! What operators may do, and what they must not break.

use std::sync::Arc;

use engine::Timestamp;
use engine::definition::Phase as StepPhase;
use engine::store::Status;
use engine::workflow::{Event, Failure, Phase, StepError};

use crate::apply;
use crate::events::{
    LATER, RETRY, abandoned, by, done, failed, found_late, paused, poisoned, refused, retried,
    skipped, unpaused,
};
use crate::shapes::{after, plain, short, under_way};
use crate::untyped::{build, spec};

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
        failed("b", 1, Failure::NoEffect, RETRY),
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
    for event in [found_late("a"), failed("a", 1, Failure::NoEffect, RETRY)] {
        state = apply(&state, event).unwrap();
    }
    assert_eq!(state.left(), ["a"]);
}

#[test]
fn abandoning_says_what_is_left_of_it_in_the_world() {
    let state = after(&plain(), [done("a", 1)], false);
    let left = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(state.left(), left);
    let state = apply(&state, abandoned(left.clone())).unwrap();
    let Phase::Abandoned { reason, left: says } = &state.phase else {
        panic!("it is abandoned: {:?}", state.phase)
    };
    assert_eq!((says, reason.message.as_str()), (&left, "ann: a reason"));
    assert_eq!(by().to_string(), "ann: a reason");
}
