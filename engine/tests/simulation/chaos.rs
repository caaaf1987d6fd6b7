//! What happens to processes, clocks and ways, again and again, until all faults heal.

use std::sync::Arc;
use std::time::Duration;

use super::executor::Owner;
use super::faults::Fault;
use super::world::{Cut, Party, World};

const HOUR_US: i64 = 3_600_000_000;

/// The kinds that strike from outside, as against those that strike a message.
const FROM_OUTSIDE: [Fault; 10] = [
    Fault::Crash,
    Fault::Replaced,
    Fault::Pause,
    Fault::Drain,
    Fault::EnginePause,
    Fault::CutStore,
    Fault::CutBus,
    Fault::CutServices,
    Fault::DatabaseDown,
    Fault::ClockJump,
];

/// Strikes at random, until it is calm.
pub async fn reign(world: Arc<World>) {
    loop {
        let pause = Duration::from_millis(200) + world.millis("until the next fault", 2_500);
        world.simulation.sleep(pause).await;
        if world.is_calm() {
            return;
        }
        let switched_on = FROM_OUTSIDE.into_iter().filter(|fault| world.has(*fault));
        let switched_on: Vec<Fault> = switched_on.collect();
        if world.has(Fault::SlowDisk) {
            let slow = world.millis("slower disk", 200);
            let is_slow = world.dice.chance("a slow disk", 300);
            world.disk.lock().unwrap().slow = if is_slow { slow } else { Duration::ZERO };
        }
        if switched_on.is_empty() {
            continue;
        }
        let place = world.dice.roll("which fault", switched_on.len() as u64);
        let fault = switched_on[usize::try_from(place).unwrap_or(0)];
        let count = world.scenario.nodes as u64;
        let process = usize::try_from(world.dice.roll("whom it strikes", count)).unwrap_or(0);
        strike(&world, fault, process);
    }
}

fn strike(world: &Arc<World>, fault: Fault, process: usize) {
    if fault == Fault::DatabaseDown {
        return database_away(world);
    }
    let Some((life, engine)) = world.serving(process) else {
        return;
    };
    world.happened(fault);
    world
        .simulation
        .note(|| format!("FAULT {}: process {process}, life {life}", fault.words()));
    match fault {
        Fault::Crash => crash(world, process, life),
        Fault::Pause => pause(world, life),
        Fault::Replaced => replace(world, process, life),
        Fault::Drain => {
            let world = Arc::clone(world);
            let simulation = world.simulation.clone();
            simulation.spawn(Owner::World, async move {
                let takes = world.millis("drain", 3_000);
                let drained = world.ask(process, takes * 2, |engine| async move {
                    let deadline = engine.runtime().now().after(takes);
                    engine.drain(deadline).await
                });
                drained.await;
                if world.serving(process).is_some_and(|(now, _)| now == life) {
                    crash(&world, process, life);
                }
            });
        }
        Fault::EnginePause => {
            let world = Arc::clone(world);
            let simulation = world.simulation.clone();
            simulation.spawn(Owner::Life(life), async move {
                let deadline = engine.runtime().now().after(Duration::from_secs(1));
                engine.pause(deadline).await;
                world.simulation.sleep(world.millis("paused", 2_000)).await;
                engine.resume();
            });
        }
        Fault::CutStore => cut(world, process, &[Party::Database]),
        Fault::CutBus => cut(world, process, &[Party::Bus]),
        Fault::CutServices => cut(world, process, &[Party::Reservations, Party::Gateway]),
        Fault::ClockJump => {
            let forward = world.dice.chance("forward", 500);
            let by_us = if forward { HOUR_US } else { -HOUR_US };
            let processes = world.processes.lock().unwrap();
            if let Some(clock) = &processes[process].clock {
                clock.jump(by_us);
                let offset_us = clock.offset_us();
                drop(processes);
                world
                    .simulation
                    .note(|| format!("its clock is {offset_us} us off"));
                let mut disk = world.disk.lock().unwrap();
                disk.clock_max_us = disk.clock_max_us.max(offset_us);
            }
        }
        _ => {}
    }
}

fn database_away(world: &Arc<World>) {
    world.happened(Fault::DatabaseDown);
    world
        .simulation
        .note(|| "FAULT the database is away".to_owned());
    world.disk.lock().unwrap().down = true;
    let world = Arc::clone(world);
    let simulation = world.simulation.clone();
    simulation.spawn(Owner::World, async move {
        let away = world.millis("database away", 8_000);
        world.simulation.sleep(away).await;
        world.disk.lock().unwrap().down = false;
        world.simulation.note(|| "the database is back".to_owned());
    });
}

/// `kill -9`, and after a while a new life under the same name.
fn crash(world: &Arc<World>, process: usize, life: u32) {
    {
        let mut processes = world.processes.lock().unwrap();
        let current = &mut processes[process];
        current.life = None;
        current.engine = None;
        current.starting = true;
    }
    world.end_life(life);
    let world = Arc::clone(world);
    let simulation = world.simulation.clone();
    simulation.spawn(Owner::World, async move {
        let down = world.millis("until the restart", 6_000);
        world.simulation.sleep(down).await;
        world.start(process).await;
    });
}

/// The process gets no time for longer than two leases, and goes on as if nothing had been.
fn pause(world: &Arc<World>, life: u32) {
    world.may_lose_memory(life);
    world.simulation.stop(Owner::Life(life));
    let world = Arc::clone(world);
    let simulation = world.simulation.clone();
    simulation.spawn(Owner::World, async move {
        let longer = world.millis("stopped for longer", 4_000);
        world.simulation.sleep(world.lease() * 2 + longer).await;
        world.simulation.note(|| format!("life {life} goes on"));
        world.simulation.go_on(Owner::Life(life));
    });
}

/// While the process stands still another one begins under its name. The first one then goes on for a while.
fn replace(world: &Arc<World>, process: usize, life: u32) {
    world.may_lose_memory(life);
    world.simulation.stop(Owner::Life(life));
    {
        let mut processes = world.processes.lock().unwrap();
        let current = &mut processes[process];
        current.life = None;
        if let Some(engine) = current.engine.take() {
            current.zombies.insert(life, engine);
        }
        current.starting = true;
    }
    let starting = Arc::clone(world);
    world
        .simulation
        .spawn(Owner::World, starting.start(process));
    let world = Arc::clone(world);
    let simulation = world.simulation.clone();
    simulation.spawn(Owner::World, async move {
        let stopped = world.millis("replaced after", 6_000);
        world.simulation.sleep(stopped).await;
        world
            .simulation
            .note(|| format!("life {life}, which was replaced, goes on"));
        world.simulation.go_on(Owner::Life(life));
        let alive = world.millis("replaced and alive", 8_000);
        world.simulation.sleep(alive).await;
        world.processes.lock().unwrap()[process]
            .zombies
            .remove(&life);
        world.end_life(life);
    });
}

fn cut(world: &Arc<World>, process: usize, parties: &[Party]) {
    let how = if world.dice.chance("refuses", 500) {
        Cut::Refuses
    } else {
        Cut::Swallows
    };
    for party in parties {
        world.cuts.lock().unwrap().insert((process, *party), how);
        world
            .simulation
            .note(|| format!("process {process} is cut from {party:?}: {how:?}"));
        let (world, party) = (Arc::clone(world), *party);
        let simulation = world.simulation.clone();
        simulation.spawn(Owner::World, async move {
            let lasts = world.millis("cut", 9_000);
            world.simulation.sleep(lasts).await;
            world.cuts.lock().unwrap().remove(&(process, party));
            world
                .simulation
                .note(|| format!("process {process} reaches {party:?} again"));
        });
    }
}

/// All faults heal: whoever stands still goes on, whoever was replaced ends, clocks agree.
pub fn heal(world: &Arc<World>) {
    world.simulation.note(|| "ALL FAULTS HEAL".to_owned());
    world.calm();
    let clock_us = {
        let mut disk = world.disk.lock().unwrap();
        disk.down = false;
        disk.slow = Duration::ZERO;
        disk.clock_max_us
    };
    let mut ended = Vec::new();
    let mut engines = Vec::new();
    {
        let mut processes = world.processes.lock().unwrap();
        for process in processes.iter_mut() {
            ended.extend(std::mem::take(&mut process.zombies));
            engines.extend(process.engine.clone());
            if let Some(life) = process.life {
                world.simulation.go_on(Owner::Life(life));
            }
            if let Some(clock) = &process.clock {
                clock.set_right(clock_us);
            }
        }
    }
    world.database_clock.set_right(clock_us);
    for (life, _engine) in ended {
        world.end_life(life);
    }
    for engine in engines {
        engine.resume();
    }
    let old: Vec<(usize, u32)> = {
        let processes = world.processes.lock().unwrap();
        let old = processes.iter().enumerate();
        let old = old.filter(|(_, it)| it.life.is_some() && it.life == it.old_program);
        old.filter_map(|(place, it)| Some((place, it.life.filter(|_| !it.starting)?)))
            .collect()
    };
    for (process, life) in old {
        crash(world, process, life);
    }
}
