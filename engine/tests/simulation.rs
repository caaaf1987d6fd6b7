//! Deterministic simulation: the real engine, several nodes of it, over a simulated clock, database, bus and world outside, in one
//! thread, from one seed. Faults for a while, then none; what must never happen is looked for, and what must happen in the end.
//!
//! `HOLDFAST_SIMULATION_SEED=n` replays one seed, with its trace; `HOLDFAST_SIMULATION_SEEDS=n` runs so many (`make simulate`:
//! 100,000), from `HOLDFAST_SIMULATION_FIRST`, on `HOLDFAST_SIMULATION_THREADS` threads (as many as there are cores), each with a
//! world of its own.

#[expect(dead_code, reason = "each test file uses a part of this")]
#[path = "support/dice.rs"]
mod dice;

#[path = "simulation/executor.rs"]
mod executor;

#[path = "simulation/clock.rs"]
mod clock;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/world.rs"]
mod world;

#[path = "simulation/bus.rs"]
mod bus;
#[path = "simulation/services.rs"]
mod services;
#[path = "simulation/store.rs"]
mod store;

#[path = "simulation/chaos.rs"]
mod chaos;
#[path = "simulation/people.rs"]
mod people;
#[path = "simulation/sagas.rs"]
mod sagas;

#[path = "simulation/oracle/mod.rs"]
mod oracle;
#[path = "simulation/play.rs"]
mod play;
#[path = "simulation/shrink.rs"]
mod shrink;

#[path = "simulation/found.rs"]
mod found;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use faults::{Counts, Fault, Plant, Scenario};
use play::run;

/// As many as take about a minute of one core without optimisation.
const SEEDS: u64 = 2_000;
/// In so many seeds each kind of fault happens.
const ENOUGH: u64 = 200;
/// Failures after which a batch ends.
const FAILURES_MAX: usize = 3;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

/// Replays a seed, tells what happened, and if it fails also what happens in the smallest run that fails.
fn tell(scenario: &Scenario) {
    let outcome = run(scenario, true);
    println!("{}", outcome.trace.join("\n"));
    println!("seed {}: {}", scenario.seed, scenario.describe());
    println!(
        "trace hash {:016x}, {} polls, {:?} simulated\n{}",
        outcome.hash,
        outcome.polls,
        outcome.simulated,
        outcome.counts.table()
    );
    if let Err(wrong) = outcome.result {
        panic!("seed {}: {wrong}", scenario.seed);
    }
}

/// A failure, made small and told so that a person can read it.
fn report(scenario: &Scenario, wrong: &str) {
    let (smallest, outcome) = shrink::shrink(scenario);
    let seed = scenario.seed;
    println!("---- seed {seed} fails: {wrong}");
    println!("it ran {}", scenario.describe());
    println!("it also fails with {}:", smallest.describe());
    println!("{}", outcome.trace.join("\n"));
    println!("and so: {}", outcome.result.err().unwrap_or_default());
    println!(
        "replay it: HOLDFAST_SIMULATION_SEED={seed} cargo test -p engine --all-features --test simulation -- --nocapture any_seed"
    );
}

#[test]
fn any_seed_keeps_every_promise_and_comes_to_rest_when_the_faults_heal() {
    if let Some(seed) = from_environment("HOLDFAST_SIMULATION_SEED") {
        return tell(&Scenario::of(seed));
    }
    let count = from_environment("HOLDFAST_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let first = from_environment("HOLDFAST_SIMULATION_FIRST").unwrap_or(1);
    let threads = from_environment("HOLDFAST_SIMULATION_THREADS").unwrap_or_else(cores);
    println!(
        "seeds {first} to {} on {threads} threads",
        first + count - 1
    );
    let (next, counts) = (AtomicU64::new(first), Mutex::new(Counts::default()));
    let failures: Mutex<Vec<(Scenario, String)>> = Mutex::default();
    let work = || {
        let mut own = Counts::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count || failures.lock().unwrap().len() >= FAILURES_MAX {
                break;
            }
            let scenario = Scenario::of(seed);
            let outcome = run(&scenario, false);
            own.merge(&outcome.counts);
            own.add("polls", outcome.polls);
            own.add("seconds simulated", outcome.simulated.as_secs());
            if let Err(wrong) = outcome.result {
                println!("seed {seed} fails: {wrong}");
                failures.lock().unwrap().push((scenario, wrong));
            }
        }
        counts.lock().unwrap().merge(&own);
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let counts = counts.into_inner().unwrap();
    println!("{}", counts.table());
    let failures = failures.into_inner().unwrap();
    if let Some((scenario, wrong)) = failures.first() {
        report(scenario, wrong);
        let seeds: Vec<u64> = failures.iter().map(|(scenario, _)| scenario.seed).collect();
        panic!("{} failures in {count} seeds: {seeds:?}", failures.len());
    }
    if count >= ENOUGH {
        let missing = counts.missing();
        assert!(missing.is_empty(), "never happened: {missing:?}");
        assert!(counts.others.get("stale writes refused") > Some(&0));
    }
}

#[test]
fn a_seed_replays_to_the_same_trace() {
    for seed in 1..=10 {
        let scenario = Scenario::of(seed);
        let (one, other) = (run(&scenario, false), run(&scenario, true));
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert_eq!((one.polls, one.result), (other.polls, other.result));
        println!("seed {seed}: {:016x}", one.hash);
    }
}

/// A defect that is planted is found within `seeds` seeds, and by the claim that speaks of it.
fn is_found(plant: Plant, seeds: u64, faults: &[Fault], claims: &[&str]) {
    for seed in 1..=seeds {
        let mut scenario = Scenario::of(seed);
        scenario.plant = Some(plant);
        scenario.faults.extend(faults);
        if let Err(wrong) = run(&scenario, false).result {
            let named = claims.iter().any(|claim| wrong.contains(claim));
            assert!(named, "seed {seed} finds something else: {wrong}");
            println!(
                "{plant:?} is found by seed {seed}: {}",
                wrong.lines().next().unwrap_or("")
            );
            return;
        }
    }
    panic!("{plant:?} is not found in {seeds} seeds");
}

#[test]
fn a_database_without_a_fence_is_found() {
    is_found(
        Plant::NoFence,
        60,
        &[Fault::Pause, Fault::CommitLate],
        &["stale write"],
    );
}

#[test]
fn a_bus_that_acknowledges_what_it_loses_is_found() {
    is_found(
        Plant::FalseAcknowledgement,
        30,
        &[],
        &["never published", "out of order on the bus"],
    );
}

#[test]
fn a_service_that_forgets_keys_is_found() {
    let faults = [Fault::ServiceLostReply, Fault::Crash];
    is_found(
        Plant::ForgetsKeys,
        30,
        &faults,
        &[
            "took effect twice",
            "undone twice",
            "not there outside",
            "left over",
        ],
    );
}

#[test]
fn an_inbox_that_repeats_answered_commands_is_found() {
    is_found(
        Plant::RepeatsCommands,
        60,
        &[Fault::Operators],
        &["applied twice"],
    );
}

#[test]
fn a_failure_is_made_smaller_and_still_fails() {
    let failing = (1..60).map(|seed| Scenario {
        plant: Some(Plant::FalseAcknowledgement),
        ..Scenario::of(seed)
    });
    let scenario = failing
        .into_iter()
        .find(|it| run(it, false).result.is_err())
        .expect("one is found");
    let (smallest, outcome) = shrink::shrink(&scenario);
    assert!(outcome.result.is_err(), "it still fails");
    assert!(smallest.faults.len() < scenario.faults.len());
    assert!(!outcome.trace.is_empty(), "a person can read it");
    let switched_off: BTreeSet<_> = scenario.faults.difference(&smallest.faults).collect();
    println!(
        "not needed for it: {switched_off:?}; left: {}",
        smallest.describe()
    );
}
