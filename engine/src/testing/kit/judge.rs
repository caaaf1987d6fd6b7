//! Whether a case went as it should.

use super::World;
use super::cases::Case;
use super::clock::JumpingClock;
use super::expected::{Ends, Parks};
use super::fault::Fault;
use super::life::WorldTime;
use super::report::{Check, Failure};
use super::stage::{Stage, Stand, Stuck};
use crate::definition::Definition;
use crate::engine::StartError;
use crate::store::Status;
use crate::testing::MemoryStore;
use crate::workflow::{Direction, Event, Record};

/// What a case came to.
pub(super) enum Verdict {
    /// All was as it should be; the journal had so many batches.
    Passed { batches: usize },
    /// The case does not exist for this saga: the step has no rows, or does not wait.
    DoesNotApply,
    /// Something was not.
    Failed(Box<Failure>),
}

/// A check that failed, and what it found.
struct Wrong {
    check: Check,
    found: String,
}

impl Wrong {
    fn new(check: Check, found: impl Into<String>) -> Self {
        let found = found.into();
        Self { check, found }
    }
}

impl From<Stuck> for Wrong {
    fn from(stuck: Stuck) -> Self {
        Self::new(Check::End, stuck)
    }
}

/// Plays a case in a fresh world, and judges it.
pub(super) async fn judge<W: World>(
    definition: &Definition,
    world: &W,
    case: &Case,
    clock: &JumpingClock,
    time: &WorldTime,
) -> Verdict {
    let store = MemoryStore::new(time.runtime.clone());
    let mut stage = Stage::new(world, definition, case, clock, store);
    match scenes(&mut stage).await {
        Ok(true) => Verdict::Passed {
            batches: stage.store.batches(),
        },
        Ok(false) => Verdict::DoesNotApply,
        Err(wrong) => {
            let failure = Failure {
                saga: definition.pinned().to_string(),
                scene: case.scene.clone(),
                check: wrong.check,
                expected: case.expected.to_string(),
                found: wrong.found,
                journal: stage.records(),
            };
            Verdict::Failed(Box::new(failure))
        }
    }
}

/// `false`: the case does not apply.
async fn scenes<W: World>(stage: &mut Stage<'_, W>) -> Result<bool, Wrong> {
    let stand = stage.play().await?;
    if !was_reached(stage)? {
        return Ok(false);
    }
    check_parking(stage)?;
    check_end(stage, &stand).await?;
    check_blame(stage, &stand)?;
    if stage.let_requests_arrive().await {
        check_end(stage, &stand).await.map_err(|wrong| Wrong {
            found: format!("once a late request has arrived, {}", wrong.found),
            ..wrong
        })?;
    }
    if let Some(batches) = stage.case.cut {
        stage.cut(batches);
        if !stage.world_may_be_ahead() {
            return Ok(false);
        }
        let stand = stage.play().await?;
        check_end(stage, &stand).await?;
    }
    Ok(true)
}

/// Whether what the case is about took place at all.
fn was_reached<W: World>(stage: &Stage<'_, W>) -> Result<bool, Wrong> {
    let case = stage.case;
    if case.crash_while_waiting.is_some() {
        return Ok(stage.history.crashes > 0);
    }
    let Some(rule) = case.rules.first() else {
        return Ok(true);
    };
    if stage.script.hits(0) > 0 {
        return Ok(true);
    }
    if rule.fault == Fault::RowsRefused {
        return Ok(false);
    }
    let name = &stage.definition.step(rule.step).name;
    let what = match rule.direction {
        Direction::Forward => "action",
        Direction::Backward => "compensation",
    };
    let found = format!("the {what} of `{name}` was never attempted");
    Err(Wrong::new(Check::Reached, found))
}

fn check_parking<W: World>(stage: &Stage<'_, W>) -> Result<(), Wrong> {
    match (stage.case.expected.parks, &stage.history.parked) {
        (Parks::Must, None) => Err(Wrong::new(Check::End, "it was never parked")),
        (Parks::Never, Some(reason)) => {
            let found = format!("it was parked: {reason}");
            Err(Wrong::new(Check::End, found))
        }
        _ => Ok(()),
    }
}

async fn check_end<W: World>(stage: &Stage<'_, W>, stand: &Stand) -> Result<(), Wrong> {
    let mut ends = stage.case.expected.ends;
    if stage.history.turned_back {
        ends = Ends::Undone;
    }
    match stand {
        Stand::Discarded(error) => {
            // A start that left no trace may be remembered by the world, and refused when it is repeated.
            let refused_again = stage.history.repeated && matches!(error, StartError::Refused(_));
            if ends == Ends::Completed && !refused_again {
                return Err(Wrong::new(
                    Check::End,
                    format!("it was not started: {error}"),
                ));
            }
            check_clean(stage).await
        }
        Stand::Durable(view) => {
            let status = view.head.status;
            let reason = view.head.reason.as_deref().unwrap_or("no reason");
            match (status, ends) {
                (Status::Completed, Ends::Completed | Ends::Either) => {
                    let complete = stage.world.complete(&stage.ending(view)).await;
                    complete.map_err(|why| {
                        Wrong::new(Check::Complete, format!("it is completed, but {why}"))
                    })
                }
                (Status::Compensated, Ends::Undone | Ends::Either) => check_clean(stage).await,
                _ => Err(Wrong::new(Check::End, format!("it is {status}: {reason}"))),
            }
        }
    }
}

async fn check_clean<W: World>(stage: &Stage<'_, W>) -> Result<(), Wrong> {
    let clean = stage.world.clean().await;
    clean.map_err(|why| {
        let found = format!("it is undone, but something is left over: {why}");
        Wrong::new(Check::Clean, found)
    })?;
    let left = stage.rows().left(stage.world.keeps());
    if left.is_empty() {
        return Ok(());
    }
    let found = format!("it is undone, but rows are left over: {}", left.join("; "));
    Err(Wrong::new(Check::Rows, found))
}

/// The journal names the step with which something went wrong, and what.
fn check_blame<W: World>(stage: &Stage<'_, W>, stand: &Stand) -> Result<(), Wrong> {
    let Some(rule) = stage.case.rules.first() else {
        return Ok(());
    };
    let name = &*stage.definition.step(rule.step).name;
    let records = stage.records();
    let ran_out = |record: &Record| matches!(record.event, Event::DeadlinePassed);
    if records.iter().any(ran_out) {
        return Ok(());
    }
    let blamed = match (stand, rule.fault.code()) {
        (Stand::Discarded(StartError::Refused(refusal)), Some(code)) => {
            refusal.code == code && refusal.message.contains(name) || stage.history.repeated
        }
        (Stand::Discarded(StartError::Unavailable(error)), Some(code)) => {
            error.class == code && error.message.contains(name) || error.class == "port-unavailable"
        }
        (Stand::Discarded(_), _) => true,
        (Stand::Durable(_), Some(code)) => {
            stage.history.repeated || records.iter().any(|record| names(record, name, code))
        }
        (Stand::Durable(_), None) => records.iter().any(|record| {
            let step = record.event.step() == Some(name);
            let kind = match rule.direction {
                Direction::Forward => matches!(record.event, Event::StepDone { .. }),
                Direction::Backward => matches!(record.event, Event::CompensationDone { .. }),
            };
            step && kind
        }),
    };
    if blamed {
        return Ok(());
    }
    let found = format!("the journal does not tell that `{name}` did it");
    Err(Wrong::new(Check::Blame, found))
}

/// The record tells of this step that it failed so.
fn names(record: &Record, step: &str, code: &str) -> bool {
    record.event.step() == Some(step)
        && match &record.event {
            Event::StepRefused { refusal, .. } => refusal.code == code,
            Event::AttemptFailed { error, .. } | Event::CompensationFailed { error, .. } => {
                error.class == code
            }
            _ => false,
        }
}
