//! Clients who start workflows, also twice and at several nodes, and operators who give commands that make sense or do not.

use std::sync::Arc;
use std::time::Duration;

use engine::batch::BatchRequest;
use engine::command::{Command, Verb};
use engine::store::{CommandState, ListFilter};
use engine::workflow::{By, Refusal, Resolution, Signal};
use engine::{Payload, Start, StartError, WorkflowId};

use super::executor::Owner;
use super::faults::Fault;
use super::world::World;

/// Whoever asks gives up after this long, and asks somebody else.
const PATIENCE: Duration = Duration::from_secs(6);

/// All who come to this run, over the time of its faults.
pub fn come(world: &Arc<World>) {
    for number in 0..world.scenario.workflows {
        let key = format!("k{number}");
        let copies = if world.has(Fault::Repeats) {
            1 + world.dice.roll("copies", 3)
        } else {
            1
        };
        for copy in 0..copies {
            if copy > 0 {
                world.happened(Fault::Repeats);
            }
            let comes = client(Arc::clone(world), key.clone());
            world.simulation.spawn(Owner::World, comes);
        }
    }
    if world.has(Fault::Operators) {
        world
            .simulation
            .spawn(Owner::World, operator(Arc::clone(world)));
    }
    if world.has(Fault::Batches) {
        world
            .simulation
            .spawn(Owner::World, batches(Arc::clone(world)));
    }
}

fn any_process(world: &World, what: &str) -> usize {
    let count = world.scenario.nodes as u64;
    usize::try_from(world.dice.roll(what, count)).unwrap_or(0)
}

/// What is asked for under this key: the same each time.
fn request(world: &World, key: &str) -> Start {
    let place = world.dice.always(&format!("definition of {key}"), 500);
    let shape = &world.shapes[usize::from(place) % world.shapes.len()];
    Start {
        definition: shape.name.clone(),
        input: Payload::of(&1).expect("a number is JSON"),
        key: Some(("client".to_owned(), key.to_owned())),
        request_hash: [1; 32],
        label: None,
    }
}

/// Starts a workflow under this key, until it is known what became of it.
async fn client(world: Arc<World>, key: String) {
    let first = world.millis("client", world.scenario.chaos_ms * 3 / 4);
    world.simulation.sleep(first).await;
    for _try in 0..80 {
        let process = any_process(&world, "client's node");
        let start = request(&world, &key);
        let asked = world.ask(process, PATIENCE, |engine| async move {
            engine.start(start).await
        });
        world.count("starts sent");
        match asked.await {
            Some(Ok(started)) => {
                let id = started.view().id;
                acknowledged(&world, &key, id);
                return curious(&world, id).await;
            }
            Some(Err(StartError::Refused(refusal))) => {
                world
                    .simulation
                    .note(|| format!("start {key} at process {process}: {refusal}"));
                world.count("starts refused");
                return;
            }
            Some(Err(error @ StartError::KeyReused(_))) => {
                return world.wrong(format!("the request under {key} was the same: {error}"));
            }
            Some(Err(error)) => {
                world
                    .simulation
                    .note(|| format!("start {key} at process {process}: {error}"));
            }
            None => {}
        }
        let pause = world.millis("client comes back", 1_500);
        world.simulation.sleep(pause).await;
    }
}

fn acknowledged(world: &World, key: &str, id: WorkflowId) {
    world
        .simulation
        .note(|| format!("start {key} is acknowledged: {id}"));
    world.count("starts acknowledged");
    let mut told = world.told.lock().unwrap();
    let known = *told.started.entry(key.to_owned()).or_insert(id);
    drop(told);
    if known != id {
        world.wrong(format!(
            "the start under {key} was acknowledged as {known}, and then as {id}"
        ));
    }
}

/// Looks at it a few times, at several nodes.
async fn curious(world: &Arc<World>, id: WorkflowId) {
    for _look in 0..2 {
        let pause = world.millis("looks again", 4_000);
        world.simulation.sleep(pause).await;
        let process = any_process(world, "who is asked");
        let asked = world.ask(
            process,
            PATIENCE,
            |engine| async move { engine.view(id).await },
        );
        match asked.await {
            Some(Ok(Some(view))) if view.head.status.is_terminal() => {
                let mut told = world.told.lock().unwrap();
                told.ended.insert(id, view.head.status);
                return;
            }
            Some(Ok(None)) => {
                return world.wrong(format!("{id} was acknowledged and is not found"));
            }
            _ => {}
        }
    }
}

/// Gives commands to workflows that are known to exist.
async fn operator(world: Arc<World>) {
    let mut number = 0;
    while !world.is_calm() {
        let pause = world.millis("operator", 1_500);
        world.simulation.sleep(pause).await;
        let started: Vec<WorkflowId> = {
            let told = world.told.lock().unwrap();
            told.started.values().copied().collect()
        };
        if started.is_empty() || world.is_calm() {
            continue;
        }
        let place = world.dice.roll("which workflow", started.len() as u64);
        let id = started[usize::try_from(place).unwrap_or(0)];
        number += 1;
        let Some(verb) = any_verb(&world, id, number).await else {
            continue;
        };
        let key = format!("command-{number}");
        let expected_seq = expected_version(&world, id);
        let copies = if world.strikes(Fault::CommandRepeats, "command", 400) {
            2
        } else {
            1
        };
        world.happened(Fault::Operators);
        for _copy in 0..copies {
            let (world, verb, key) = (Arc::clone(&world), verb.clone(), key.clone());
            let simulation = world.simulation.clone();
            simulation.spawn(Owner::World, async move {
                let delay = world.millis("copy of a command", 800);
                world.simulation.sleep(delay).await;
                for _try in 0..3 {
                    let process = any_process(&world, "operator's node");
                    if tell(&world, process, id, verb.clone(), &key, expected_seq)
                        .await
                        .is_some()
                    {
                        return;
                    }
                }
            });
        }
    }
}

/// The version that an operator has seen, if the command is to count for that one only.
fn expected_version(world: &World, id: WorkflowId) -> Option<u32> {
    if !world.strikes(Fault::ExpectedVersions, "a command", 200) {
        return None;
    }
    let events = world.memory.events().into_iter();
    let seqs = events
        .filter(|event| event.workflow == id)
        .map(|event| event.seq);
    seqs.max()
}

/// Something that one might say to this workflow.
async fn any_verb(world: &Arc<World>, id: WorkflowId, number: u64) -> Option<Verb> {
    use engine::store::Store as _;
    let head = world.memory.find(&id.ident()).await.ok()??;
    let shape = world
        .shapes
        .iter()
        .find(|it| it.name == head.definition.name)?;
    let place = world.dice.roll("which step", shape.steps.len() as u64);
    let step = shape.steps[usize::try_from(place).unwrap_or(0)]
        .name
        .clone();
    let output = Payload::of(&"given by an operator").ok()?;
    Some(match world.dice.roll("which verb", 20) {
        0..4 => Verb::Retry,
        4..6 => Verb::Compensate,
        6..8 => Verb::Pause,
        8..11 => Verb::Resume,
        11 => Verb::Abandon,
        12 => Verb::Skip { step, output },
        13 => Verb::Resolve {
            step,
            resolution: Resolution::Done(output),
        },
        14 => Verb::Resolve {
            step,
            resolution: Resolution::Undone,
        },
        15 => Verb::Resolve {
            step,
            resolution: Resolution::Refused(Refusal::new("operator", "it never will")),
        },
        _ => {
            let signals: Vec<_> = shape.signals().collect();
            let place = world.dice.roll("which signal", signals.len().max(1) as u64);
            let signal = signals.get(usize::try_from(place).unwrap_or(0))?;
            signal_to(&signal.name, &format!("signal-{}", number / 2))
        }
    })
}

pub fn signal_to(name: &str, id: &str) -> Verb {
    Verb::Signal(Signal {
        name: name.to_owned(),
        id: id.to_owned(),
        payload: Payload::null(),
    })
}

/// Gives a command. `None`: nobody knows whether it was accepted.
pub async fn tell(
    world: &Arc<World>,
    process: usize,
    id: WorkflowId,
    verb: Verb,
    key: &str,
    expected_seq: Option<u32>,
) -> Option<()> {
    let name = verb.name();
    let command = Command {
        workflow: id,
        verb,
        by: By {
            actor: "operator".to_owned(),
            reason: key.to_owned(),
        },
        expected_seq,
        key: key.to_owned(),
    };
    let asked = world.ask(process, PATIENCE, |engine| async move {
        let deadline = engine.runtime().now().after(Duration::from_secs(2));
        engine.command(command, deadline).await
    });
    world.count("commands sent");
    let result = asked.await?;
    world
        .simulation
        .note(|| format!("{name} ({key}) to {id} at process {process}: {result:?}"));
    let Ok(commanded) = result else {
        return Some(());
    };
    match commanded.state {
        CommandState::Done { .. } => world.count("commands carried out"),
        CommandState::Refused { .. } => world.count("commands refused"),
        CommandState::Pending => {}
    }
    if commanded.id.0 != 0 {
        let mut told = world.told.lock().unwrap();
        let place = told.commanded.entry((id, key.to_owned()));
        let known = *place.or_insert(commanded.id.0);
        drop(told);
        if known != commanded.id.0 {
            let now = commanded.id.0;
            world.wrong(format!(
                "command {key} to {id} was accepted as {known}, and as {now}"
            ));
        }
    }
    Some(())
}

/// Batches of commands.
async fn batches(world: Arc<World>) {
    for number in 0..3 {
        let pause = world.millis("batch", world.scenario.chaos_ms / 2);
        world.simulation.sleep(pause).await;
        if world.is_calm() {
            return;
        }
        let definition = world.shapes[0].name.clone();
        let verb = [Verb::Retry, Verb::Pause, Verb::Resume, Verb::Compensate];
        let verb = verb[usize::try_from(world.dice.roll("batch verb", 4)).unwrap_or(0)].clone();
        for _copy in 0..2 {
            let batch = BatchRequest {
                key: format!("batch-{number}"),
                filter: ListFilter {
                    definition: Some(definition.clone()),
                    ..ListFilter::default()
                },
                verb: verb.clone(),
                by: By {
                    actor: "operator".to_owned(),
                    reason: format!("batch-{number}"),
                },
                per_second: 10,
            };
            let process = any_process(&world, "batch's node");
            let asked = world.ask(process, PATIENCE, |engine| async move {
                engine.start_batch(batch).await
            });
            if let Some(Ok((_, true))) = asked.await {
                world.happened(Fault::Batches);
            }
        }
    }
}
