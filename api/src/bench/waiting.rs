//! `holdfast bench waiting`: many workflows that wait, each for a time of its own: what they cost in memory, and how late they go on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::definition::{Action, Attempt, Compensable, Outcome, Saga};
use engine::{Engine, Runtime, Settings, Timestamp};
use loadtest::driver::percentile_ms;
use serde_json::json;

use super::database::Scratch;
use super::subject::{self, Scale, failed};
use crate::cli::{BenchWaiting, Output};
use crate::exit::Failure;

const NAME: &str = "bench-waiting";
/// So many starts a second are made at least, or the first would be woken before the last has been started.
const STARTS_PER_SECOND_MIN: u32 = 1_000;
/// The first is woken so long after the last was started.
const LULL: Duration = Duration::from_secs(5);
/// Longer than this after its time is a defect.
const LATE_MAX: Duration = Duration::from_mins(1);

/// How late each workflow went on.
#[derive(Clone, Default)]
struct Latenesses(Arc<Mutex<Vec<Duration>>>);

impl Latenesses {
    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Notes how late it is.
struct Woken {
    runtime: Runtime,
    latenesses: Latenesses,
}

impl Action for Woken {
    type Input = (Timestamp, Timestamp);
    type Output = ();

    fn name(&self) -> &'static str {
        "woken"
    }

    async fn act(&self, _: &Attempt, (due, _woken): (Timestamp, Timestamp)) -> Outcome<()> {
        let late = self.runtime.now().since(due);
        let mut latenesses = self
            .latenesses
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        latenesses.push(late);
        Outcome::done(())
    }
}

impl Compensable for Woken {
    async fn compensate(
        &self,
        _: &Attempt,
        _: (Timestamp, Timestamp),
        _: Option<()>,
    ) -> Outcome<()> {
        Outcome::done(())
    }
}

/// Measures, prints, and leaves nothing behind.
pub async fn run(arguments: BenchWaiting, runtime: Runtime) -> Result<(), Failure> {
    let scratch = Scratch::open(&arguments.place, &runtime).await?;
    let result = measure(&arguments, &scratch, &runtime).await;
    scratch.discard().await?;
    let (resident_mib, mut latenesses) = result?;
    let p50_ms = percentile_ms(&mut latenesses, 50);
    let p99_ms = percentile_ms(&mut latenesses, 99);
    let worst_ms = percentile_ms(&mut latenesses, 100);
    match arguments.output {
        Output::Json => println!(
            "{:#}",
            json!({
                "workflows": arguments.workflows,
                "woken_per_second": arguments.per_second,
                "store": scratch.name(),
                "durability": scratch.durability(),
                "resident_mib_of_all_that_wait": resident_mib,
                "late_p50_ms": p50_ms,
                "late_p99_ms": p99_ms,
                "late_max_ms": worst_ms,
            })
        ),
        Output::Text => {
            println!(
                "{:<22} {}, {}",
                "store",
                scratch.name(),
                scratch.durability()
            );
            println!(
                "{:<22} {} workflows, woken at {} a second",
                "waiting", arguments.workflows, arguments.per_second
            );
            println!(
                "{:<22} {resident_mib:.0} MiB more than before the first",
                "resident memory"
            );
            println!(
                "{:<22} p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, at most {worst_ms:.1} ms",
                "late by"
            );
        }
    }
    Ok(())
}

async fn measure(
    arguments: &BenchWaiting,
    scratch: &Scratch,
    runtime: &Runtime,
) -> Result<(f64, Vec<Duration>), Failure> {
    let latenesses = Latenesses::default();
    let engine = open(arguments, scratch, runtime, &latenesses).await?;
    let before = resident_mib()?;
    let lead = Duration::from_secs(u64::from(arguments.workflows / STARTS_PER_SECOND_MIN)) + LULL;
    let first_due = runtime.now().after(lead);
    let distance = Duration::from_secs(1) / arguments.per_second;
    let due = move |number: u32| first_due.after(distance * number);
    subject::start_all(&engine, NAME, arguments.workflows, due).await?;
    let left = first_due.since(runtime.now());
    if left.is_zero() {
        return Err(failed("starting them took longer than they wait"));
    }
    runtime
        .sleep(left.saturating_sub(Duration::from_secs(1)))
        .await;
    let resident = resident_mib()? - before;
    let last_due = first_due.after(Duration::from_secs(u64::from(
        arguments.workflows / arguments.per_second,
    )));
    let give_up = last_due.after(LATE_MAX);
    while latenesses.count() < arguments.workflows as usize {
        if runtime.now() > give_up {
            return Err(failed("some were not woken within a minute"));
        }
        runtime.sleep(Duration::from_millis(100)).await;
    }
    engine.drain(runtime.now().after(LATE_MAX)).await;
    let latenesses = latenesses.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((resident, latenesses.clone()))
}

async fn open(
    arguments: &BenchWaiting,
    scratch: &Scratch,
    runtime: &Runtime,
    latenesses: &Latenesses,
) -> Result<Engine, Failure> {
    let mut saga = Saga::<Timestamp>::new(NAME, 1);
    let due = saga.input();
    let woken = saga.sleep_until("nap", &due, |due, _| due);
    let step = Woken {
        runtime: runtime.clone(),
        latenesses: latenesses.clone(),
    };
    let output = saga.compensable(step, (&due, &woken));
    let defaults = Settings::default();
    let scale = Scale {
        partitions: arguments.place.partitions(),
        in_flight_max: defaults.in_flight_max,
        start_timeout: defaults.start_timeout,
    };
    subject::open(runtime, scratch.store(), saga.finish(&output), scale).await
}

/// This process's resident memory (`VmRSS` of proc(5)).
fn resident_mib() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| Failure::internal("reading this process's memory", &error))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0)
        .ok_or_else(|| failed("the system does not tell this process's memory"))
}
