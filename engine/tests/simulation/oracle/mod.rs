//! What must be true of a run in the end, whatever went wrong in it: of the journal, the bus, the world outside, and of what
//! anybody was told.

mod commands;
mod effects;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use engine::store::{Head, Status, UpkeepStore as _};
use engine::workflow::{Direction, Event, Record, WorkflowState};
use engine::{Epoch, PartitionId, WorkflowId};

use futures_util::FutureExt as _;

pub use self::effects::check_effects;
use super::faults::Fault;
use super::sagas::Shape;
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
    commands::check_commands(world, records)?;
    check_compensations(world, records)
}

/// What holds at any instant, whether or not everything has come to rest.
pub fn check_safety(world: &Arc<World>) -> Verdict {
    check_epochs(world)?;
    let records = Records::read(world)?;
    commands::check_commands(world, &records)?;
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
