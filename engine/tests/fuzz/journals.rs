//! A whole journal: its records fold to a state, about which everything can be asked, or the first that does not fit is told.

use std::sync::Arc;
use std::time::Duration;

use engine::definition::{Definition, Phase, Source, StepKind};
use engine::workflow::{
    AfterFailure, By, Event, Failure, Record, Refusal, Signal, StepError, WorkflowState, follow,
    plan, turned_back_because,
};
use engine::{Epoch, Payload, Timestamp};

use crate::mutate::{Target, Verdict};
use crate::records::{WORDS, read};
use crate::support::untyped::{build, diamond, spec, waiting};

fn waits() -> Definition {
    let step = |name| spec(name, Phase::Compensable, &[]);
    let lasts = Some(Duration::from_micros(499));
    let specs = [
        step("a"),
        waiting(step("timer"), StepKind::Timer, lasts),
        waiting(step("signal"), StepKind::Signal, lasts),
        spec("pivot", Phase::Pivot, &[0, 1, 2]),
        spec("c", Phase::Retriable, &[3]),
    ];
    build(specs).expect("a definition")
}

/// The events, one a millisecond, each with what follows from it, as lines.
fn journal(definition: &Arc<Definition>, events: Vec<Event>) -> Vec<u8> {
    let started = Event::Started {
        definition: definition.pinned().clone(),
        input: Payload::null(),
        deadline: Some(Timestamp(500)),
    };
    let first = Record::new(1, Timestamp(1), started);
    let state = WorkflowState::start(definition, &first).expect("a start");
    let (mut state, first) = follow(state, first, &|_| false, None).expect("it can be read");
    let mut lines = vec![first];
    for event in events {
        let seq = state.seq + 1;
        let record = Record::new(seq, Timestamp(i64::from(seq) * 1_000), event);
        let alone = state.apply(&record).expect("it fits");
        let (next, record) = follow(alone, record, &|_| false, None).expect("it can be read");
        state = next;
        lines.push(record);
    }
    let lines = lines
        .iter()
        .map(|line| serde_json::to_string(line).expect("JSON") + "\n");
    lines.collect::<String>().into_bytes()
}

fn done(step: &str) -> Event {
    Event::StepDone {
        step: step.into(),
        attempt: 1,
        output: Payload::null(),
    }
}

fn failed(step: &str, then: AfterFailure) -> Event {
    Event::AttemptFailed {
        step: step.into(),
        attempt: 1,
        failure: Failure::Unknown,
        error: StepError::new("timeout", "no answer"),
        then,
    }
}

fn refused(step: &str) -> Event {
    Event::StepRefused {
        step: step.into(),
        attempt: 1,
        refusal: Refusal::new("sold-out", "nothing is left"),
        effect_may_exist: false,
    }
}

fn undone(step: &str) -> Event {
    Event::CompensationDone {
        step: step.into(),
        attempt: 1,
    }
}

fn by() -> By {
    By {
        actor: "ann".into(),
        reason: "a reason".into(),
    }
}

fn lives() -> Vec<Vec<Event>> {
    let steps = |names: &[&str]| names.iter().map(|name| done(name)).collect::<Vec<_>>();
    vec![
        steps(&["a", "b", "pivot", "c", "d"]),
        vec![done("a"), refused("b"), undone("a")],
        vec![
            failed("a", AfterFailure::RetryAt(Timestamp(900))),
            Event::CompensationRequested { by: by() },
            Event::Continued { epoch: Epoch(3) },
        ],
        vec![
            done("a"),
            failed("b", AfterFailure::Park),
            Event::RetryRequested { by: by() },
            Event::Paused { by: by() },
            Event::Unpaused { by: by() },
        ],
    ]
}

fn waiting_lives() -> Vec<Vec<Event>> {
    let signal = Event::SignalReceived(Signal {
        name: "signal".into(),
        id: "1".into(),
        payload: Payload::null(),
    });
    let fired = Event::TimerFired {
        step: "timer".into(),
    };
    vec![
        vec![
            done("a"),
            signal.clone(),
            Event::DeadlinePassed,
            undone("a"),
        ],
        vec![
            done("a"),
            signal,
            Event::Abandoned {
                by: by(),
                left: vec!["a".into()],
            },
        ],
        vec![
            Event::Poisoned {
                error: StepError::new("x", "y"),
            },
            fired,
        ],
    ]
}

/// Everything that a node asks of a state before it goes on with it, and that it can go on.
fn ask(state: &WorkflowState) -> Result<(), String> {
    let definition = Arc::clone(state.definition());
    for index in 0..definition.steps().len() {
        let node = definition.step(engine::definition::StepIndex(index));
        let _ = state.value_of(Source::Step(engine::definition::StepIndex(index)));
        let _ = state.output_of(&node.name);
    }
    let _ = (
        state.left(),
        state.reason_code(),
        state.past_pivot(),
        state.awaits_signal(),
    );
    let _ = (state.is_going_back(), turned_back_because(state));
    for acting in [false, true] {
        let plan = plan(state, &|_| acting);
        let _ = (plan.next_due(), plan.intents(state).is_ok());
    }
    if state.is_terminal() {
        return Ok(());
    }
    let on = Record::new(
        state.seq + 1,
        state.at,
        Event::Continued { epoch: Epoch(9) },
    );
    let alone = state
        .clone()
        .apply(&on)
        .map_err(|why| format!("it can't go on: {why}"))?;
    let (followed, record) =
        follow(alone, on, &|_| false, None).map_err(|why| format!("a wait: {why}"))?;
    let again = state
        .clone()
        .apply(&record)
        .map_err(|why| format!("planned, and {why}"))?;
    if (again.status(), &again.steps) != (followed.status(), &followed.steps) {
        return Err(format!("{record:?} gives another state when it is read"));
    }
    Ok(())
}

/// The lines that are records, numbered without a gap, as the journal of a workflow of this definition.
fn check(definition: &Arc<Definition>, bytes: &[u8]) -> Verdict {
    let lines = bytes.split(|byte| *byte == b'\n');
    let mut records: Vec<Record> = lines.filter_map(read).collect();
    for (seq, record) in (1..).zip(&mut records) {
        record.seq = seq;
        if let Event::Started {
            definition: pinned, ..
        } = &mut record.event
        {
            *pinned = definition.pinned().clone();
        }
    }
    let Some((first, rest)) = records.split_first() else {
        return Ok(false);
    };
    let Ok(mut state) = WorkflowState::start(definition, first) else {
        return Ok(false);
    };
    ask(&state)?;
    for record in rest {
        let before = state.clone();
        match before.apply(record) {
            Ok(next) => state = next,
            Err(illegal) if illegal.why.is_empty() => return Err("it does not say why".to_owned()),
            Err(_) => return Ok(false),
        }
        ask(&state)?;
    }
    match WorkflowState::fold(definition, &records) {
        Ok(Some(folded)) if folded.steps == state.steps && folded.phase == state.phase => Ok(true),
        other => Err(format!(
            "folded at once it is another: {:?}",
            other.map(|_| ())
        )),
    }
}

fn fuzz(name: &str, definition: Definition, lives: Vec<Vec<Event>>) {
    let definition = Arc::new(definition);
    let made = lives
        .into_iter()
        .map(|events| journal(&definition, events))
        .collect();
    let target = Target {
        made,
        ..Target::new(name, &WORDS)
    };
    target.fuzz(|bytes| check(&definition, bytes));
}

#[test]
fn a_damaged_journal_folds_to_a_state_that_can_go_on_or_is_refused() {
    fuzz("journal", build(diamond()).expect("a definition"), lives());
}

#[test]
fn a_damaged_journal_with_waits_folds_to_a_state_that_can_go_on_or_is_refused() {
    fuzz("journal-with-waits", waits(), waiting_lives());
}
