//! What took place outside: once at most, nothing left over, nothing missing, and undone in the reverse of its order.

use std::collections::BTreeMap;

use engine::WorkflowId;
use engine::definition::{Phase, StepKind};
use engine::store::Status;
use engine::workflow::{Event, StepState, Undo, WorkflowState};

use super::{Records, Verdict, ensure, shape_of};
use crate::faults::Fault;
use crate::sagas::Step;
use crate::services::{Effect, Known};
use crate::world::World;

/// Each effect took place once at most, nothing is left that should be undone, nothing is missing, and things were undone in the
/// reverse of their order.
pub fn check_effects(world: &World, records: &Records) -> Verdict {
    let outside = world.outside.lock().unwrap();
    let mut held: BTreeMap<&str, u32> = BTreeMap::new();
    let mut made: BTreeMap<&str, u32> = BTreeMap::new();
    for effect in &outside.effects {
        let now = held.entry(&effect.key).or_default();
        if effect.undone {
            ensure(*now == 1, || {
                format!(
                    "undone twice: {}",
                    history(world, &outside.history, &effect.key)
                )
            })?;
            *now = 0;
            check_order(world, records, &held, effect)?;
        } else {
            *now += 1;
            let made = made.entry(&effect.key).or_default();
            *made += 1;
            let forgotten = outside.forgotten.get(&effect.key).copied().unwrap_or(0);
            ensure(*now == 1 && *made <= 1 + forgotten, || {
                format!(
                    "took effect twice: {}",
                    history(world, &outside.history, &effect.key)
                )
            })?;
        }
    }
    let is_held = |key: &str| held.get(key).is_some_and(|count| *count > 0);
    for (id, state) in &records.states {
        if state.status() != Status::Completed {
            continue;
        }
        for node in state.definition().steps() {
            let key = format!("{id}/{}", node.name);
            let is_done = state.output_of(&node.name).is_some();
            if node.kind != StepKind::Action || is_given(records, *id, &node.name) {
                continue;
            }
            ensure(is_held(&key) == is_done, || {
                format!(
                    "{id} is completed, {} is {}done in its journal and {}there outside: {}\n  {}",
                    node.name,
                    if is_done { "" } else { "not " },
                    if is_held(&key) { "" } else { "not " },
                    history(world, &outside.history, &key),
                    records.journal(*id)
                )
            })?;
        }
    }
    for (key, known) in &outside.keys {
        let state = records.states.get(&known.workflow);
        let status = state.map(WorkflowState::status);
        if !is_held(key) || matches!(status, Some(Status::Completed | Status::Abandoned)) {
            continue;
        }
        ensure(is_excused(world, records, known), || {
            format!(
                "left over: {key}, its workflow is {status:?}: {}\n  {}",
                history(world, &outside.history, key),
                records.journal(known.workflow)
            )
        })?;
    }
    drop(outside);
    check_rows(world, records)
}

/// What is undone has nothing after it that stands.
fn check_order(
    world: &World,
    records: &Records,
    held: &BTreeMap<&str, u32>,
    effect: &Effect,
) -> Verdict {
    let id = effect.workflow;
    let Some(row) = records.heads.iter().find(|row| row.id == id) else {
        return Ok(());
    };
    let shape = shape_of(world, row);
    let Some((place, _)) = shape.step(&effect.step) else {
        return Ok(());
    };
    let mut later = shape
        .steps
        .iter()
        .filter(|step| step.undoable && step.before.contains(&place));
    let stands = |step: &&Step| {
        let key = format!("{id}/{}", step.name);
        let attempted = records.states.get(&id).is_some_and(|state| {
            let index = state.definition().index_of(&step.name);
            index.is_some_and(|index| state.steps[index.0].action != StepState::Untouched)
        });
        held.get(key.as_str()).is_some_and(|count| *count > 0)
            && attempted
            && !is_given(records, id, &step.name)
            && !is_given(records, id, &effect.step)
    };
    let standing = later.find(stands);
    ensure(standing.is_none() || loses_memory(world), || {
        let later = standing.map_or("", |step| &step.name);
        format!(
            "{id}: {} was undone before {later}\n  {}",
            effect.step,
            records.journal(id)
        )
    })
}

/// An operator said what became of it, or the store refused its rows: what is outside is for them to see to.
fn is_given(records: &Records, id: WorkflowId, name: &str) -> bool {
    let journal = records.journals.get(&id).into_iter().flatten();
    journal.into_iter().any(|record| match &record.event {
        Event::Resolved { step, .. } | Event::Skipped { step, .. } => step == name,
        Event::StepRefused {
            step,
            effect_may_exist,
            ..
        } => step == name && *effect_may_exist,
        _ => false,
    })
}

/// Whether this run has faults that make a living process lose what it knows only from memory.
fn loses_memory(world: &World) -> bool {
    let faults = [
        Fault::Pause,
        Fault::Replaced,
        Fault::CutStore,
        Fault::DatabaseDown,
        Fault::CommitRefused,
        Fault::CommitContended,
        Fault::CommitLostRequest,
        Fault::CommitLostReply,
        Fault::CommitLate,
        Fault::SlowDisk,
        Fault::StatementFails,
        Fault::StatementLostReply,
        Fault::ClockJump,
        Fault::ClockDrift,
    ];
    faults
        .iter()
        .any(|fault| world.scenario.faults.contains(fault))
}

/// What only the memory of a life knows is for a reconciler to find when that life ends or another has the partition: attempts of a
/// start that was never durable, and attempts that ran ahead of the journal of a workflow that is.
fn is_excused(world: &World, records: &Records, known: &Known) -> bool {
    let Some(state) = records.states.get(&known.workflow) else {
        return is_forgotten(world, records, known);
    };
    let definition = state.definition();
    let Some(index) = definition.index_of(&known.step) else {
        return false;
    };
    if is_given(records, known.workflow, &known.step) {
        return true;
    }
    let is_undoable = definition.step(index).undoable;
    // A repeat of the start may have made the effect again, and been cut short before it could undo that.
    if matches!(state.steps[index.0].undo, Undo::Done { .. }) {
        return is_forgotten(world, records, known);
    }
    match &state.steps[index.0].action {
        StepState::Untouched
        | StepState::Failed {
            effect_may_exist: false,
            ..
        } => is_forgotten(world, records, known),
        _ => !is_undoable && definition.step(index).phase == Phase::Compensable,
    }
}

/// One of those that asked for it has ended, or another has the partition: nobody who can undo it knows of it.
fn is_forgotten(world: &World, records: &Records, known: &Known) -> bool {
    let cut_short = world.cut_short.lock().unwrap();
    let owner = records.owners.get(&known.workflow.partition());
    // A workflow that is durable goes on from its journal when its partition is taken again, also by the same life.
    let is_durable = records.states.contains_key(&known.workflow);
    let moved = owner.is_none_or(|(owner, epoch)| {
        !known.lives.contains(owner) || (is_durable && *epoch > known.first_epoch)
    });
    let excused = moved || known.lives.iter().any(|life| cut_short.contains(life));
    if excused {
        world.count("effects left to a reconciler");
    }
    excused
}

/// The rows of a step are there once if it is done in a completed workflow, and add up to nothing if it was undone.
fn check_rows(world: &World, records: &Records) -> Verdict {
    let disk = world.disk.lock().unwrap();
    for head in &records.heads {
        let state = &records.states[&head.id];
        let steps = shape_of(world, head).steps.iter();
        for step in steps.filter(|step| step.with_rows) {
            let is_checked = match state.status() {
                Status::Completed => true,
                Status::Compensated => step.undoable,
                _ => false,
            };
            if !is_checked || is_given(records, head.id, &step.name) {
                continue;
            }
            let key = format!("{}/{}", head.id, step.name);
            let is_done =
                state.status() == Status::Completed && state.output_of(&step.name).is_some();
            let rows = disk.rows.get(&key).copied().unwrap_or(0);
            ensure(rows == i64::from(is_done), || {
                format!(
                    "the rows of {key} add up to {rows}\n  {}",
                    records.journal(head.id)
                )
            })?;
        }
    }
    Ok(())
}

fn history(world: &World, history: &BTreeMap<String, Vec<String>>, key: &str) -> String {
    let lines = history.get(key).map_or(&[][..], Vec::as_slice);
    let cut_short = world.cut_short.lock().unwrap();
    format!(
        "{key}\n    {}\n    lives cut short: {cut_short:?}",
        lines.join("\n    ")
    )
}
