//! One run from its beginning to its end: faults, then none, then everything must come to rest within a bound.

use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::command::Verb;
use engine::store::{BatchState, BatchStore, CommandState, Status, UpkeepStore as _};

use super::chaos;
use super::executor::Owner;
use super::faults::{Counts, Scenario};
use super::oracle::{self, Records};
use super::people::{self, signal_to, tell};
use super::world::World;

/// Once all faults have healed everything comes to rest within this time.
const REST_WITHIN: Duration = Duration::from_mins(3);
/// What lost starts did is undone within this time.
const CLEARED_WITHIN: Duration = Duration::from_mins(1);
/// Rounds in which operators let go on what is parked.
const ROUNDS_MAX: u32 = 12;

/// What came of a run.
pub struct Outcome {
    pub hash: u64,
    pub counts: Counts,
    pub result: Result<(), String>,
    pub trace: Vec<String>,
    pub polls: u64,
    pub simulated: Duration,
}

/// Runs a scenario. The same one gives the same outcome, hash and all.
pub fn run(scenario: &Scenario, traced: bool) -> Outcome {
    let world = World::new(scenario.clone(), traced);
    for shape in &world.shapes {
        world.simulation.note(|| shape.describe());
    }
    let playing = play(Arc::clone(&world));
    let result = world.simulation.run(playing).and_then(|result| result);
    finish_hash(&world);
    let mut counts = world.counts.lock().unwrap().clone();
    counts.add("runs", 1);
    let outcome = Outcome {
        hash: world.simulation.hash(),
        counts,
        result,
        trace: world.simulation.trace(),
        polls: world.simulation.polls(),
        simulated: Duration::from_micros(world.simulation.now_us()),
    };
    // Tasks and processes refer to the world that holds them.
    world.simulation.end();
    let processes = std::mem::take(&mut *world.processes.lock().unwrap());
    drop(processes);
    outcome
}

/// Plays something else than faults and peace.
pub fn stage<F>(world: &Arc<World>, scene: impl FnOnce(Arc<World>) -> F) -> Result<(), String>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let result = world.simulation.run(scene(Arc::clone(world)));
    world.simulation.end();
    let processes = std::mem::take(&mut *world.processes.lock().unwrap());
    drop(processes);
    result.and_then(|result| result)
}

/// The journal to the last byte is part of what tells one run from another.
fn finish_hash(world: &World) {
    for event in world.memory.events() {
        for bytes in event.payload.as_bytes().chunks(8) {
            let eight = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            world.simulation.mix(eight);
        }
    }
}

async fn play(world: Arc<World>) -> Result<(), String> {
    for process in 0..world.scenario.nodes {
        world.processes.lock().unwrap()[process].starting = true;
        world
            .simulation
            .spawn(Owner::World, Arc::clone(&world).start(process));
    }
    people::come(&world);
    world
        .simulation
        .spawn(Owner::World, chaos::reign(Arc::clone(&world)));
    let lasts = Duration::from_millis(world.scenario.chaos_ms);
    world.simulation.sleep(lasts).await;
    chaos::heal(&world);
    // What is unsafe says more than what does not come to rest because of it.
    let unsafe_or = |otherwise: String| oracle::check_safety(&world).err().unwrap_or(otherwise);
    rests(&world).await.map_err(unsafe_or)?;
    oracle::check_parked(&world)?;
    finish(&world).await.map_err(unsafe_or)?;
    count_orphans(&world);
    let waited = world.simulation.now_us();
    loop {
        let records = Records::read(&world)?;
        oracle::check(&world, &records)?;
        let effects = oracle::check_effects(&world, &records);
        let over = waited + u64::try_from(CLEARED_WITHIN.as_micros()).unwrap_or(0);
        if effects.is_ok() || world.simulation.now_us() > over {
            count_ends(&world);
            return effects;
        }
        world.simulation.sleep(Duration::from_secs(3)).await;
        rests(&world).await?;
        // A start that was still on its way to the journal is a workflow by now.
        finish(&world).await?;
    }
}

/// Workflows of which nobody took care until the auditor found them.
fn count_orphans(world: &World) {
    let processes = world.processes.lock().unwrap();
    for engine in processes
        .iter()
        .filter_map(|process| process.engine.as_ref())
    {
        for orphan in engine.audit().orphans {
            world.simulation.note(|| format!("an orphan: {orphan:?}"));
        }
        let mut counts = world.counts.lock().unwrap();
        counts.add("orphans found by the auditor", engine.counters().orphans);
    }
}

fn count_ends(world: &World) {
    for head in world.memory.heads() {
        world.count(match head.status {
            Status::Completed => "workflows completed",
            Status::Compensated => "workflows compensated",
            Status::Abandoned => "workflows abandoned",
            _ => "workflows that wait for somebody",
        });
    }
}

/// Waits until nothing more happens by itself: every workflow has ended, is parked with a reason, or awaits a signal; every
/// partition has a live owner; everything is published and answered.
pub async fn rests(world: &Arc<World>) -> Result<(), String> {
    let began_us = world.simulation.now_us();
    let limit_us = u64::try_from(REST_WITHIN.as_micros()).unwrap_or(0);
    let mut calm_looks = 0;
    loop {
        let restless = restless(world).await;
        calm_looks = if restless.is_none() {
            calm_looks + 1
        } else {
            0
        };
        // What is on its way between two parties is seen by none of them.
        if calm_looks > 2 {
            return Ok(());
        }
        if world.simulation.now_us() > began_us + limit_us {
            let why = restless.unwrap_or_default();
            return Err(format!(
                "no rest within {REST_WITHIN:?} after all faults healed: {why}"
            ));
        }
        world.simulation.sleep(Duration::from_millis(400)).await;
    }
}

/// What is still going on, if anything is.
async fn restless(world: &Arc<World>) -> Option<String> {
    for (number, process) in world.processes.lock().unwrap().iter().enumerate() {
        let serves = process.engine.as_ref().is_some_and(Engine::is_serving);
        if !serves || process.starting {
            return Some(format!("process {number} does not serve"));
        }
    }
    for head in world.memory.heads() {
        let rests = match head.status {
            Status::Parked => head.reason.is_some(),
            Status::Waiting => head.wake_at.is_none(),
            status => status.is_terminal(),
        };
        if !rests {
            let (id, status, wake_at) = (head.id, head.status, head.wake_at);
            return Some(format!("{id} is {status}, to be woken at {wake_at:?}"));
        }
    }
    let partitions = world.memory.partitions().await.ok()?;
    for row in partitions.into_iter().filter(|row| !row.retired) {
        if row.lease_left_us <= 0 {
            return Some(format!("nobody owns partition {}", row.id));
        }
        if row.published_seq < row.last_seq {
            let (id, to, last) = (row.id, row.published_seq, row.last_seq);
            return Some(format!("partition {id} is published to {to} of {last}"));
        }
    }
    let commands = world.memory.all_commands();
    let pending = commands
        .iter()
        .find(|row| row.state == CommandState::Pending);
    if let Some(row) = pending {
        let (key, id) = (&row.command.key, row.command.workflow);
        return Some(format!("command {key} to {id} is not answered"));
    }
    let batches = BatchStore::batches(&world.memory, None, 100).await.ok()?;
    let running = batches
        .into_iter()
        .find(|row| row.state == BatchState::Running);
    running.map(|row| format!("batch {} is not finished", row.id))
}

/// Operators let go on what is parked, and everybody says what is waited for, until every workflow has ended.
async fn finish(world: &Arc<World>) -> Result<(), String> {
    for round in 0..ROUNDS_MAX {
        let heads = world.memory.heads();
        let open: Vec<_> = heads
            .iter()
            .filter(|head| !head.status.is_terminal())
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        for head in open {
            let process = usize::from(head.id.bytes()[15]) % world.scenario.nodes;
            let mut verbs = vec![Verb::Resume, Verb::Retry];
            if head.status == Status::Waiting {
                let shape = world
                    .shapes
                    .iter()
                    .find(|it| it.name == head.definition.name);
                let signals = shape.into_iter().flat_map(super::sagas::Shape::signals);
                let signals = signals
                    .map(|step| signal_to(&step.name, &format!("end-{round}-{}", step.name)));
                verbs = signals.collect();
            }
            for (number, verb) in verbs.into_iter().enumerate() {
                let key = format!("end-{round}-{number}");
                tell(world, process, head.id, verb, &key, None).await;
            }
        }
        rests(world).await?;
    }
    let heads = world.memory.heads();
    let open = heads.iter().find(|head| !head.status.is_terminal());
    open.map_or(Ok(()), |head| {
        let records = world
            .memory
            .events()
            .into_iter()
            .filter(|event| event.workflow == head.id);
        let records: Vec<String> = records.map(|event| event.payload.to_string()).collect();
        Err(format!(
            "{} is {} for {:?} although everything works and operators let it go on\n  {}",
            head.id,
            head.status,
            head.reason,
            records.join("\n  ")
        ))
    })
}
