//! The engine at work: so many workflows, so many at a time, each from its start to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::store::{Status, Store};
use engine::workflow::Record;
use engine::{Counters, Engine, Runtime, WorkflowId};
use loadtest::driver::percentile_ms;
use tokio::task::JoinSet;

use super::saga::{self, Token};
use super::subject::{self, Scale, failed};
use crate::cli::BenchEngine;
use crate::exit::{Failure, with_causes};

/// A workflow that takes longer is a defect.
const WORKFLOW_MAX: Duration = Duration::from_mins(1);
const DRAIN_MAX: Duration = Duration::from_secs(30);
const RECORDS_MAX: u32 = 100;

/// What was measured.
pub struct Measured {
    /// Workflows that ended.
    pub workflows: u32,
    /// How long that took.
    pub seconds: f64,
    /// Ended workflows a second.
    pub workflows_per_second: f64,
    /// From the start to the end of one workflow.
    pub p50_ms: f64,
    /// From the start to the end of one workflow.
    pub p99_ms: f64,
    /// What the engine counted.
    pub counters: Counters,
    /// The journal of one of the workflows.
    pub sample: Vec<Record>,
}

impl Measured {
    /// Transactions for each workflow.
    pub fn commits_per_workflow(&self) -> f64 {
        ratio(self.counters.commits, u64::from(self.workflows))
    }

    /// Rows written for each workflow.
    pub fn rows_per_workflow(&self) -> f64 {
        ratio(self.counters.rows, u64::from(self.workflows))
    }

    /// Rows written in each transaction.
    pub fn rows_per_commit(&self) -> f64 {
        ratio(self.counters.rows, self.counters.commits)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^52"
)]
fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to.max(1) as f64
}

/// Runs the workflows on an engine of its own, which is gone afterwards.
pub async fn measure(
    arguments: &BenchEngine,
    store: Arc<dyn Store>,
    runtime: &Runtime,
) -> Result<Measured, Failure> {
    let engine = open(arguments, store, runtime).await?;
    let began = runtime.now();
    let mut latencies = run_all(arguments, &engine, runtime).await?;
    let seconds = runtime.now().since(began).as_secs_f64();
    let counters = engine.counters();
    let (last, _) = latencies
        .last()
        .copied()
        .ok_or_else(|| failed("no workflow ran"))?;
    let sample = engine
        .records(last, 0, RECORDS_MAX)
        .await
        .map_err(|error| Failure::internal("reading a workflow's journal", &error))?;
    engine.drain(runtime.now().after(DRAIN_MAX)).await;
    let mut latencies: Vec<Duration> = latencies.drain(..).map(|(_, latency)| latency).collect();
    Ok(Measured {
        workflows: arguments.workflows,
        seconds,
        workflows_per_second: f64::from(arguments.workflows) / seconds.max(f64::EPSILON),
        p50_ms: percentile_ms(&mut latencies, 50),
        p99_ms: percentile_ms(&mut latencies, 99),
        counters,
        sample,
    })
}

async fn open(
    arguments: &BenchEngine,
    store: Arc<dyn Store>,
    runtime: &Runtime,
) -> Result<Engine, Failure> {
    let definition = if arguments.refuse {
        saga::refusing()
    } else {
        saga::completing()
    };
    let in_flight = usize::try_from(arguments.in_flight).unwrap_or(usize::MAX);
    let scale = Scale {
        partitions: arguments.place.partitions(),
        // A workflow that has just ended may still count for a moment.
        in_flight_max: in_flight.saturating_mul(2),
        start_timeout: WORKFLOW_MAX,
    };
    subject::open(runtime, store, definition, scale).await
}

async fn run_all(
    arguments: &BenchEngine,
    engine: &Engine,
    runtime: &Runtime,
) -> Result<Vec<(WorkflowId, Duration)>, Failure> {
    let next = Arc::new(AtomicU32::new(0));
    let total = arguments.workflows;
    let mut workers = JoinSet::new();
    for _ in 0..arguments.in_flight.min(total) {
        let (engine, runtime, next) = (engine.clone(), runtime.clone(), Arc::clone(&next));
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return Ok(done);
                }
                done.push(run_one(&engine, &runtime, number).await?);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(finished) = workers.join_next().await {
        let part: Result<Vec<_>, String> = finished.unwrap_or_else(|error| Err(error.to_string()));
        all.extend(part.map_err(|error| failed(&error))?);
    }
    Ok(all)
}

async fn run_one(
    engine: &Engine,
    runtime: &Runtime,
    number: u32,
) -> Result<(WorkflowId, Duration), String> {
    let start = subject::start(saga::NAME, &Token::new(u64::from(number)))?;
    let began = runtime.now();
    let started = engine
        .start(start)
        .await
        .map_err(|error| with_causes(&error))?;
    let id = started.view().id;
    let view = engine
        .wait(id, began.after(WORKFLOW_MAX))
        .await
        .map_err(|error| with_causes(&error))?;
    match view.map(|view| view.head.status) {
        Some(Status::Completed | Status::Compensated) => Ok((id, runtime.now().since(began))),
        other => Err(format!(
            "workflow {id} had not ended after {WORKFLOW_MAX:?}: {other:?}"
        )),
    }
}
