//! Every kind of event, about one step and its attempts that are under way.

use engine::workflow::{AfterFailure, By, Event, Failure, Refusal, Resolution, Signal, StepError};
use engine::{Epoch, Payload, Timestamp};

use crate::shapes::{Shape, under_way};

/// When the events of the tables happen: after every wait and the deadline, before [`RETRY`].
pub const LATER: Timestamp = Timestamp(1_000);
/// Before any wait ends.
pub const SOON: Timestamp = Timestamp(100);
pub const RETRY: AfterFailure = AfterFailure::RetryAt(Timestamp(2_000));

pub fn error() -> StepError {
    StepError::new("timeout", "no answer")
}

pub fn by() -> By {
    By {
        actor: "ann".into(),
        reason: "a reason".into(),
    }
}

fn refusal() -> Refusal {
    Refusal::new("sold-out", "nothing is left")
}

pub fn done(step: &str, attempt: u32) -> Event {
    Event::StepDone {
        step: step.into(),
        attempt,
        output: Payload::null(),
    }
}

pub fn refused(step: &str, attempt: u32, effect_may_exist: bool) -> Event {
    Event::StepRefused {
        step: step.into(),
        attempt,
        refusal: refusal(),
        effect_may_exist,
    }
}

pub fn failed(step: &str, attempt: u32, failure: Failure, then: AfterFailure) -> Event {
    Event::AttemptFailed {
        step: step.into(),
        attempt,
        failure,
        error: error(),
        then,
    }
}

pub fn undone(step: &str, attempt: u32) -> Event {
    Event::CompensationDone {
        step: step.into(),
        attempt,
    }
}

pub fn undo_failed(step: &str, attempt: u32, then: AfterFailure) -> Event {
    Event::CompensationFailed {
        step: step.into(),
        attempt,
        error: error(),
        then,
    }
}

pub fn found_late(step: &str) -> Event {
    Event::EffectFoundLate { step: step.into() }
}

pub fn signal(step: &str, id: &str) -> Event {
    Event::SignalReceived(Signal {
        name: step.into(),
        id: id.into(),
        payload: Payload::of(&id).unwrap(),
    })
}

pub fn poisoned() -> Event {
    Event::Poisoned { error: error() }
}

pub fn turned_back() -> Event {
    Event::CompensationRequested { by: by() }
}

pub fn retried() -> Event {
    Event::RetryRequested { by: by() }
}

pub fn resolved(step: &str, resolution: Resolution) -> Event {
    Event::Resolved {
        step: step.into(),
        resolution,
        by: by(),
    }
}

pub fn skipped(step: &str) -> Event {
    Event::Skipped {
        step: step.into(),
        output: Payload::null(),
        by: by(),
    }
}

pub fn paused() -> Event {
    Event::Paused { by: by() }
}

pub fn unpaused() -> Event {
    Event::Unpaused { by: by() }
}

pub fn abandoned(left: Vec<String>) -> Event {
    Event::Abandoned { by: by(), left }
}

/// Every kind of event about the shape's step and its attempts that are under way, and when it happens.
pub fn events(shape: &Shape) -> Vec<(&'static str, Timestamp, Event)> {
    let (forward, backward) = under_way(&shape.state, shape.step);
    let (attempt, undo) = (forward.unwrap_or(1), backward.unwrap_or(1));
    let timer = || Event::TimerFired {
        step: shape.step.into(),
    };
    let mut events = about(shape.step, attempt, undo);
    events.insert(0, ("started", LATER, shape.started()));
    events.push(("timer", LATER, timer()));
    events.push(("timer, too early", SOON, timer()));
    events.push(("deadline", LATER, Event::DeadlinePassed));
    events.push(("deadline, too early", SOON, Event::DeadlinePassed));
    events.push(("poisoned", LATER, poisoned()));
    events.push(("continued", LATER, Event::Continued { epoch: Epoch(2) }));
    events.push(("turn back", LATER, turned_back()));
    events.push(("retry", LATER, retried()));
    events.push(("pause", LATER, paused()));
    events.push(("resume", LATER, unpaused()));
    events.push(("abandon", LATER, abandoned(shape.state.left())));
    let wrong = vec![shape.step.to_owned(), "nobody".to_owned()];
    events.push(("abandon, wrongly told", LATER, abandoned(wrong)));
    events
}

/// The events that an attempt, an operator or a signal makes about one step.
pub fn about(step: &str, attempt: u32, undo: u32) -> Vec<(&'static str, Timestamp, Event)> {
    use AfterFailure::{Park, TurnBack};
    use Failure::{NoEffect, Unknown};
    let (resolved_done, resolved_refused) = (
        Resolution::Done(Payload::null()),
        Resolution::Refused(refusal()),
    );
    let events = [
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
        ("effect found late", found_late(step)),
        ("resolve: done", resolved(step, resolved_done)),
        ("resolve: refused", resolved(step, resolved_refused)),
        ("resolve: undone", resolved(step, Resolution::Undone)),
        ("skip", skipped(step)),
        ("signal", signal(step, "new")),
    ];
    let at_one_time = |(name, event)| (name, LATER, event);
    events.into_iter().map(at_one_time).collect()
}
