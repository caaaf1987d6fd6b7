//! `holdfast bench engine`: what the engine makes of the database, beside what the database gives to a bare loop.
//!
//! Read in this order: `saga` (the workflow that does nothing), `subject` (the engine that is measured), `database` (where, and is it durable), `rate` (the engine at
//! work), `ceiling` (the same rows without an engine), and here the report. `takeover` measures how long a dead node's workflows
//! stand still, `waiting` what workflows cost that wait.

mod ceiling;
mod database;
mod rate;
mod saga;
mod subject;
pub mod takeover;
pub mod waiting;

use engine::Runtime;
use serde_json::{Value, json};

use crate::cli::{BenchEngine, Output};
use crate::exit::Failure;
use ceiling::Bare;
use database::Scratch;
use rate::Measured;

/// How many connections the bare loop is tried with.
const BARE_CONNECTIONS: [u16; 2] = [1, 4];

/// Measures, prints, and leaves nothing behind.
pub async fn run(arguments: BenchEngine, runtime: Runtime) -> Result<(), Failure> {
    let scratch = Scratch::open(&arguments.place, &runtime).await?;
    let result = measure(&arguments, &scratch, &runtime).await;
    scratch.discard().await?;
    let (measured, bare) = result?;
    match arguments.output {
        Output::Json => println!("{:#}", as_json(&arguments, &scratch, &measured, &bare)),
        Output::Text => print!("{}", as_text(&arguments, &scratch, &measured, &bare)),
    }
    Ok(())
}

async fn measure(
    arguments: &BenchEngine,
    scratch: &Scratch,
    runtime: &Runtime,
) -> Result<(Measured, Vec<Bare>), Failure> {
    let measured = rate::measure(arguments, scratch.store(), runtime).await?;
    let mut bare = Vec::new();
    for connections in BARE_CONNECTIONS {
        bare.push(ceiling::measure(&measured, connections, scratch.store(), runtime).await?);
    }
    Ok((measured, bare))
}

/// The engine's rate as a share of the best that the bare loop reached.
fn ceiling_fraction(measured: &Measured, bare: &[Bare]) -> f64 {
    let best = bare
        .iter()
        .map(|bare| bare.workflows_per_second)
        .fold(0.0, f64::max);
    if best > 0.0 {
        measured.workflows_per_second / best
    } else {
        0.0
    }
}

const BUS: &str = "acknowledges at once (no Kafka in this measurement)";

fn as_json(
    arguments: &BenchEngine,
    scratch: &Scratch,
    measured: &Measured,
    bare: &[Bare],
) -> Value {
    let ceiling: Vec<Value> = bare
        .iter()
        .map(|bare| {
            json!({
                "connections": bare.connections,
                "workflows_per_second": round(bare.workflows_per_second),
                "rows_per_second": round(bare.rows_per_second),
                "rows_per_commit": round(bare.rows_per_commit),
            })
        })
        .collect();
    json!({
        "workflows_per_second": round(measured.workflows_per_second),
        "p50_ms": round(measured.p50_ms),
        "p99_ms": round(measured.p99_ms),
        "commits_per_workflow": round(measured.commits_per_workflow()),
        "rows_per_workflow": round(measured.rows_per_workflow()),
        "ceiling_fraction": round(ceiling_fraction(measured, bare)),
        "ceiling": ceiling,
        "workflows": measured.workflows,
        "seconds": round(measured.seconds),
        "in_flight": arguments.in_flight,
        "refused": arguments.refuse,
        "partitions": arguments.place.partitions(),
        "rows_per_commit": round(measured.rows_per_commit()),
        "store": scratch.name(),
        "durability": scratch.durability(),
        "event_bus": BUS,
    })
}

fn as_text(
    arguments: &BenchEngine,
    scratch: &Scratch,
    measured: &Measured,
    bare: &[Bare],
) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(out, "{name:<22} {value}").expect("a String takes all");
    };
    line(
        "store",
        format!("{}, {}", scratch.name(), scratch.durability()),
    );
    line("event bus", BUS.to_owned());
    line(
        "load",
        format!(
            "{} no-op workflows of four barrier steps, {}, {} in flight, {} partitions",
            measured.workflows,
            if arguments.refuse {
                "the third of which says no"
            } else {
                "all done"
            },
            arguments.in_flight,
            arguments.place.partitions()
        ),
    );
    line(
        "workflows/s",
        format!("{:.0}", measured.workflows_per_second),
    );
    line(
        "p50, p99",
        format!("{:.1} ms, {:.1} ms", measured.p50_ms, measured.p99_ms),
    );
    line(
        "commits a workflow",
        format!("{:.4}", measured.commits_per_workflow()),
    );
    line(
        "rows a workflow",
        format!("{:.2}", measured.rows_per_workflow()),
    );
    line(
        "rows a commit",
        format!("{:.0}", measured.rows_per_commit()),
    );
    for bare in bare {
        line(
            &format!("bare loop, {} conn.", bare.connections),
            format!(
                "{:.0} workflows/s, {:.0} rows/s",
                bare.workflows_per_second, bare.rows_per_second
            ),
        );
    }
    line(
        "of the ceiling",
        format!("{:.0} %", ceiling_fraction(measured, bare) * 100.0),
    );
    out
}

/// Four decimals are more than any of this is worth.
fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
