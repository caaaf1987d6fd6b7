//! `holdfast bench takeover`: a node dies with many workflows in the middle of a step, and another one takes its place. Measured from
//! the moment at which the second one opens, under the first one's name, so that no lease has to end.

use std::time::Duration;

use engine::definition::{Definition, DefinitionError};
use engine::store::{Status, Store};
use engine::{Engine, Runtime, Timestamp};
use serde_json::json;
use tokio::task::JoinSet;

use super::database::Scratch;
use super::saga::{self, Token};
use super::subject::{self, Scale, failed};
use crate::cli::{BenchTakeover, Output};
use crate::exit::Failure;

/// Longer than this is a defect.
const TAKEOVER_MAX: Duration = Duration::from_mins(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

struct Measured {
    /// Until the second node has all of them in memory and takes starts.
    opened: Duration,
    /// Until the first of them has ended.
    first: Duration,
    /// Until all have ended.
    all: Duration,
}

/// Measures, prints, and leaves nothing behind.
pub async fn run(arguments: BenchTakeover, runtime: Runtime) -> Result<(), Failure> {
    let scratch = Scratch::open(&arguments.place, &runtime).await?;
    let result = measure(&arguments, &scratch, &runtime).await;
    scratch.discard().await?;
    let measured = result?;
    let seconds = |duration: Duration| (duration.as_secs_f64() * 100.0).round() / 100.0;
    let (opened, first, all) = (
        seconds(measured.opened),
        seconds(measured.first),
        seconds(measured.all),
    );
    match arguments.output {
        Output::Json => println!(
            "{:#}",
            json!({
                "open_workflows": arguments.open,
                "partitions": arguments.place.partitions(),
                "store": scratch.name(),
                "durability": scratch.durability(),
                "seconds_until_all_are_driven": opened,
                "seconds_until_the_first_ends": first,
                "seconds_until_all_have_ended": all,
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
                "{:<22} {} workflows in the middle of their second step, {} partitions",
                "left behind",
                arguments.open,
                arguments.place.partitions()
            );
            println!("{:<22} {opened} s", "all driven after");
            println!("{:<22} {first} s", "the first ended after");
            println!("{:<22} {all} s", "all ended after");
        }
    }
    Ok(())
}

async fn measure(
    arguments: &BenchTakeover,
    scratch: &Scratch,
    runtime: &Runtime,
) -> Result<Measured, Failure> {
    leave_behind(arguments, scratch, runtime).await?;
    let began = runtime.now();
    let store = scratch.store();
    let mut first = JoinSet::new();
    let (watched, clock) = (scratch.store(), runtime.clone());
    first.spawn(async move { until_ended(watched.as_ref(), &clock, began, 1).await });
    let engine = open(arguments, scratch, runtime, saga::completing()).await?;
    let opened = runtime.now().since(began);
    let all = until_ended(store.as_ref(), runtime, began, arguments.open).await?;
    let first = match first.join_next().await {
        Some(Ok(first)) => first?,
        Some(Err(_)) | None => return Err(failed("nobody saw the first one end")),
    };
    engine.drain(runtime.now().after(TAKEOVER_MAX)).await;
    Ok(Measured { opened, first, all })
}

/// A node with a runtime of its own, which ends in the middle of everything.
async fn leave_behind(
    arguments: &BenchTakeover,
    scratch: &Scratch,
    runtime: &Runtime,
) -> Result<(), Failure> {
    let engine = open(arguments, scratch, runtime, saga::hanging()).await?;
    let input = |number: u32| Token::new(number.into());
    subject::start_all(&engine, saga::NAME, arguments.open, input).await?;
    // It gives up its partitions without finishing anything: to its workflows that is its death.
    engine.drain(runtime.now()).await;
    Ok(())
}

async fn open(
    arguments: &BenchTakeover,
    scratch: &Scratch,
    runtime: &Runtime,
    definition: Result<Definition, DefinitionError>,
) -> Result<Engine, Failure> {
    let open = usize::try_from(arguments.open).unwrap_or(usize::MAX);
    let scale = Scale {
        partitions: arguments.place.partitions(),
        in_flight_max: open.saturating_add(1_000),
        start_timeout: TAKEOVER_MAX,
    };
    subject::open(runtime, scratch.store(), definition, scale).await
}

/// Waits until so many workflows have ended; how long after `began` that was.
async fn until_ended(
    store: &dyn Store,
    runtime: &Runtime,
    began: Timestamp,
    wanted: u32,
) -> Result<Duration, Failure> {
    while runtime.now().since(began) < TAKEOVER_MAX {
        let counts = store
            .count_by_status()
            .await
            .map_err(|error| Failure::internal("counting workflows", &error))?;
        let ended = counts
            .iter()
            .find(|(status, _)| *status == Status::Completed);
        if ended.is_some_and(|(_, count)| *count >= u64::from(wanted)) {
            return Ok(runtime.now().since(began));
        }
        runtime.sleep(LOOK_EVERY).await;
    }
    Err(failed("the workflows did not end"))
}
