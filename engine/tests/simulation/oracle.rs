//! What must be true of a run in the end, whatever went wrong in it: of the journal, the bus, the world outside, and of what
//! anybody was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use engine::definition::StepKind;
use engine::store::{CommandRow, CommandState, Head, Status, UpkeepStore as _};
use engine::workflow::{By, Direction, Event, Record, StepState, Undo, WorkflowState};
use engine::{Epoch, PartitionId, WorkflowId};

use futures_util::FutureExt as _;

use super::faults::Fault;
use super::sagas::{Shape, Step};
use super::services::Known;
use super::world::World;

type Verdict = Result<(), String>;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Everything that is durable about a run, read once.
pub struct Records {
    heads: Vec<Head>,
    journals: BTreeMap<WorkflowId, Vec<Record>>,
    states: HashMap<WorkflowId, WorkflowState>,
    /// The life that has each partition now, and under which epoch.
    owners: BTreeMap<PartitionId, (u32, Epoch)>,
}

impl Records {
    /// Each workflow has its records 1 to n, which fold to what its row says, and one end, which is last.
    pub fn read(world: &Arc<World>) -> Result<Self, String> {
        let heads = world.memory.heads();
        let mut journals: BTreeMap<WorkflowId, Vec<Record>> = BTreeMap::new();
        for event in world.memory.events() {
            let record: Record = serde_json::from_str(&event.payload).map_err(|error| {
                format!("{}: a record is not readable: {error}", event.workflow)
            })?;
            ensure(record.seq == event.seq, || {
                format!(
                    "{}: record {} is stored as {}",
                    event.workflow, record.seq, event.seq
                )
            })?;
            journals.entry(event.workflow).or_default().push(record);
        }
        let mut states = HashMap::new();
        for head in &heads {
            let id = head.id;
            let records = journals
                .get(&id)
                .ok_or(format!("{id} has a row and no journal"))?;
            let is_gapless = records
                .iter()
                .zip(1..)
                .all(|(record, seq)| record.seq == seq);
            ensure(is_gapless, || {
                let numbers: Vec<u32> = records.iter().map(|record| record.seq).collect();
                format!("{id} is not numbered without a gap: {numbers:?}")
            })?;
            let definition = shape_of(world, head).definition(world, 0, 0);
            let state = WorkflowState::fold(&definition, records)
                .map_err(|illegal| format!("the journal of {id} is not legal: {illegal}"))?
                .ok_or(format!("{id} has no records"))?;
            let rests = head.status == Status::Waiting;
            let agrees =
                state.status() == head.status && state.reason_code() == head.reason.as_deref();
            ensure(agrees || rests, || {
                let (says, reason) = (head.status, &head.reason);
                format!(
                    "the row of {id} says {says} {reason:?}, its journal {}",
                    state.status()
                )
            })?;
            ensure(ends_once(records, head.status), || {
                format!(
                    "{id} is {} and does not end with its one end: {records:?}",
                    head.status
                )
            })?;
            states.insert(id, state);
        }
        ensure(journals.len() == heads.len(), || {
            "a journal has no row".to_owned()
        })?;
        Ok(Self {
            heads,
            journals,
            states,
            owners: owners(world),
        })
    }

    /// Whether the workflow's record of this number is a signal that came.
    fn has_signal_at(&self, id: WorkflowId, seq: u32) -> bool {
        let records = self.journals.get(&id).map_or(&[][..], Vec::as_slice);
        records
            .iter()
            .any(|record| record.seq == seq && matches!(record.event, Event::SignalReceived(_)))
    }

    fn journal(&self, id: WorkflowId) -> String {
        let records = self.journals.get(&id).map_or(&[][..], Vec::as_slice);
        let lines = records
            .iter()
            .map(|record| serde_json::to_string(record).unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n  ")
    }
}

fn owners(world: &World) -> BTreeMap<PartitionId, (u32, Epoch)> {
    let rows = world.memory.partitions().now_or_never();
    let rows = rows.and_then(Result::ok).unwrap_or_default();
    let processes = world.processes.lock().unwrap();
    let owner = |name: &str| {
        let place = name.strip_prefix("process-")?.parse::<usize>().ok()?;
        processes.get(place)?.life
    };
    let held = rows.iter().filter(|row| !row.retired);
    held.filter_map(|row| Some((row.id, (owner(&row.owner.0)?, row.epoch))))
        .collect()
}

fn ends_once(records: &[Record], status: Status) -> bool {
    let is_end =
        |record: &Record| record.ends.is_some() || matches!(record.event, Event::Abandoned { .. });
    let ends = records.iter().filter(|record| is_end(record)).count();
    let last_ends = records.last().is_some_and(is_end);
    ends == usize::from(status.is_terminal()) && last_ends == status.is_terminal()
}

fn shape_of<'a>(world: &'a World, head: &Head) -> &'a Shape {
    let mut shapes = world.shapes.iter();
    let found = shapes.find(|shape| shape.name == head.definition.name);
    found.unwrap_or(&world.shapes[0])
}

/// Everything but the effects.
pub fn check(world: &Arc<World>, records: &Records) -> Verdict {
    if let Some(wrong) = world.told.lock().unwrap().wrong.first() {
        return Err(wrong.clone());
    }
    check_epochs(world)?;
    check_starts(world, records)?;
    check_bus(world)?;
    check_commands(world, records)?;
    check_compensations(world, records)
}

/// What holds at any instant, whether or not everything has come to rest.
pub fn check_safety(world: &Arc<World>) -> Verdict {
    check_epochs(world)?;
    let records = Records::read(world)?;
    check_commands(world, &records)?;
    check_compensations(world, &records)
}

/// Whoever waits for an operator does so for a reason that is explained by what went wrong.
pub fn check_parked(world: &World) -> Verdict {
    let has = |faults: &[Fault]| {
        faults
            .iter()
            .any(|fault| world.scenario.faults.contains(fault))
    };
    for row in world.memory.parked() {
        let class = row.class.as_str();
        let (counted, explained) = match class {
            "operator" => ("parked: an operator said no", has(&[Fault::Operators])),
            "paused-by-operator" => ("parked: paused", has(&[Fault::Operators, Fault::Batches])),
            "stuck" => (
                "parked: a compensation was refused",
                has(&[Fault::UndoRefused]),
            ),
            "sold-out" => ("parked: rows were refused", has(&[Fault::RowsRefused])),
            "no" | "released" => (
                "parked: refused past the pivot",
                has(&[Fault::ServiceRefuses, Fault::Operators, Fault::Batches]),
            ),
            "panic" => ("parked: panics", has(&[Fault::StepPanics])),
            "not-now" => (
                "parked: not available for too long",
                has(&[Fault::ServiceAway, Fault::CutServices]),
            ),
            "timeout" | "attempt-timeout" => (
                "parked: no answer for too long",
                has(&[
                    Fault::ServiceLostRequest,
                    Fault::ServiceLostReply,
                    Fault::ServiceLate,
                    Fault::ServiceHangs,
                    Fault::ServiceAway,
                    Fault::CutServices,
                    Fault::Pause,
                    Fault::Replaced,
                ]),
            ),
            "refused-step-took-effect" | "refused-after-its-effect" | "pivot-took-effect-late" => (
                "parked: took effect against what was known",
                has(&[
                    Fault::ServiceLate,
                    Fault::ServiceHangs,
                    Fault::CutServices,
                    Fault::Operators,
                    Fault::Pause,
                    Fault::Replaced,
                ]),
            ),
            _ => ("parked for another reason", false),
        };
        ensure(explained, || {
            format!("{} is parked, which nothing explains: {row:?}", row.id)
        })?;
        world.count(counted);
    }
    Ok(())
}

/// Nobody wrote a partition after somebody with a newer epoch had.
fn check_epochs(world: &World) -> Verdict {
    let mut last: BTreeMap<PartitionId, u64> = BTreeMap::new();
    for (partition, epoch) in &world.disk.lock().unwrap().written {
        let newest = last.entry(*partition).or_default();
        ensure(epoch.0 >= *newest, || {
            format!(
                "stale write: partition {partition} was written under epoch {} after epoch {newest}",
                epoch.0
            )
        })?;
        *newest = epoch.0;
    }
    Ok(())
}

/// What was acknowledged is there, under one id for each key, and what was seen to have ended has ended so.
fn check_starts(world: &World, records: &Records) -> Verdict {
    let stored: BTreeMap<WorkflowId, Status> = records
        .heads
        .iter()
        .map(|head| (head.id, head.status))
        .collect();
    let told = world.told.lock().unwrap();
    for (key, id) in &told.started {
        ensure(stored.contains_key(id), || {
            format!("lost start: {key} was acknowledged as {id} and is not in the store")
        })?;
    }
    for (id, seen) in &told.ended {
        ensure(stored.get(id) == Some(seen), || {
            format!("{id} was seen {seen}, and is {:?}", stored.get(id))
        })?;
    }
    Ok(())
}

/// Without repeats, what the bus took is the journal, in order for each workflow, but for what it refused for good.
fn check_bus(world: &World) -> Verdict {
    let mut journal: BTreeMap<(WorkflowId, u32), String> = BTreeMap::new();
    for event in world.memory.events() {
        journal.insert((event.workflow, event.seq), event.payload.to_string());
    }
    let bus = world.bus.lock().unwrap();
    let dead: BTreeSet<(WorkflowId, u32)> = bus
        .dead
        .iter()
        .map(|event| (event.workflow, event.seq))
        .collect();
    let mut taken: BTreeSet<(WorkflowId, u32)> = BTreeSet::new();
    let mut last: HashMap<WorkflowId, u32> = HashMap::new();
    for event in &bus.taken {
        let key = (event.workflow, event.seq);
        let stored = journal.get(&key);
        ensure(
            stored.is_some_and(|stored| **stored == *event.payload),
            || {
                format!(
                    "published and not in the journal: {} record {}",
                    key.0, key.1
                )
            },
        )?;
        if taken.insert(key) {
            let last = last.entry(event.workflow).or_default();
            ensure(event.seq > *last, || {
                format!(
                    "out of order on the bus: {} record {} after {last}",
                    key.0, key.1
                )
            })?;
            *last = event.seq;
        }
    }
    let missing = journal
        .keys()
        .find(|key| !taken.contains(*key) && !dead.contains(*key));
    ensure(missing.is_none(), || {
        format!("never published: {missing:?}")
    })
}

/// Each command was carried out at most once, and is answered with what became of it.
fn check_commands(world: &World, records: &Records) -> Verdict {
    let commands = world.memory.all_commands();
    let mut carried_out: BTreeMap<(WorkflowId, String), Vec<u32>> = BTreeMap::new();
    let mut signals: BTreeSet<(WorkflowId, String)> = BTreeSet::new();
    for (id, journal) in &records.journals {
        for record in journal {
            if let Event::SignalReceived(signal) = &record.event {
                ensure(signals.insert((*id, signal.id.clone())), || {
                    format!("applied twice: signal {} to {id}", signal.id)
                })?;
            }
            if let Some(by) = by(&record.event) {
                let key = (*id, by.reason.clone());
                carried_out.entry(key).or_default().push(record.seq);
            }
        }
    }
    let twice = carried_out.iter().find(|(_, records)| records.len() > 1);
    if let Some(((id, key), seqs)) = twice {
        return Err(format!(
            "applied twice: command {key} to {id}, by records {seqs:?}\n  {}",
            records.journal(*id)
        ));
    }
    for row in &commands {
        let (id, key) = (row.command.workflow, row.command.by.reason.clone());
        let is_signal = matches!(row.command.verb, engine::command::Verb::Signal(_));
        let record = carried_out.get(&(id, key.clone())).map(|seqs| seqs[0]);
        let agrees = match &row.state {
            CommandState::Done { seq } => is_signal || record == Some(*seq),
            CommandState::Refused { .. } | CommandState::Pending => record.is_none(),
        };
        ensure(agrees, || {
            format!(
                "command {key} to {id} is answered {:?}, and record {record:?} has it",
                row.state
            )
        })?;
        // A signal that had come already is answered with the workflow's version, whatever version it was for (RFC 9110, 13.1.1:
        // what was applied already may be answered as done).
        let had_come = |seq| {
            let answered_alike = |other: &CommandRow| {
                other.command.workflow == id
                    && other.command.by != row.command.by
                    && other.state == row.state
            };
            is_signal && (!records.has_signal_at(id, seq) || commands.iter().any(answered_alike))
        };
        if let (CommandState::Done { seq }, Some(expected)) = (&row.state, row.command.expected_seq)
            && !had_come(*seq)
        {
            ensure(*seq == expected + 1, || {
                format!("command {key} to {id} was for version {expected} and is record {seq}")
            })?;
        }
    }
    let told = world.told.lock().unwrap();
    for ((id, key), number) in &told.commanded {
        let found = commands
            .iter()
            .any(|row| row.id.0 == *number && row.command.key == *key);
        ensure(found, || {
            format!("lost command: {key} to {id} was accepted as {number}")
        })?;
    }
    Ok(())
}

/// Who gave the command that this event carries out.
fn by(event: &Event) -> Option<&By> {
    match event {
        Event::CompensationRequested { by }
        | Event::RetryRequested { by }
        | Event::Resolved { by, .. }
        | Event::Skipped { by, .. }
        | Event::Paused { by }
        | Event::Unpaused { by }
        | Event::Abandoned { by, .. }
            if by.actor != "engine" =>
        {
            Some(by)
        }
        _ => None,
    }
}

/// Only what was attempted is undone.
fn check_compensations(_: &World, records: &Records) -> Verdict {
    for (id, journal) in &records.journals {
        let mut attempted: BTreeSet<&str> = BTreeSet::new();
        for record in journal {
            if let Event::CompensationDone { step, .. } = &record.event {
                ensure(attempted.contains(step.as_str()), || {
                    format!(
                        "{id}: {step} was undone and never attempted\n  {}",
                        records.journal(*id)
                    )
                })?;
            }
            let forward = record.starts.iter();
            let forward = forward.filter(|intent| intent.direction == Direction::Forward);
            attempted.extend(forward.map(|intent| intent.step.as_str()));
        }
    }
    Ok(())
}

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
    effect: &super::services::Effect,
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
        _ => !is_undoable && definition.step(index).phase == engine::definition::Phase::Compensable,
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
