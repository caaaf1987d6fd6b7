//! `holdfast demo`: a whole sale in one command. Everything that buyers and operators do goes over real HTTP.
//!
//! Read in this order: `stage` (a running shop with a sale), `progress` (what is seen meanwhile), `report` (what came of it),
//! and here the play.

mod progress;
mod report;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use engine::Runtime;
use loadtest::driver::{self, Check, Order, OrderLine, Payment, Progress, Settings};
use tokio::sync::watch;

use crate::cli::{Demo, Output};
use crate::exit::{Code, Failure};
use crate::shutdown;
use report::{Invariant, Summary};
use stage::Stage;

/// One in ten is impatient and sends everything twice.
const REPEAT_SHARE: f64 = 0.10;
/// One in twenty has a card that is declined.
const DECLINED_SHARE: f64 = 0.05;
/// A buyer who gets no answer for so long gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Plays it, and fails when an invariant does not hold.
pub async fn run(arguments: Demo, runtime: Runtime) -> Result<(), Failure> {
    let stop = shutdown::signals(&runtime)?;
    // Small enough to be typed again.
    let seed = arguments.seed.unwrap_or_else(|| runtime.next_u64() >> 32);
    let stage = Stage::set(&arguments, &runtime).await?;
    let played = play(&arguments, seed, &stage, &stop).await;
    let struck = stage.strike().await;
    let summary = played?;
    struck?;
    match arguments.output {
        Output::Json => println!("{:#}", summary.as_json()),
        Output::Text => print!("{}", summary.as_text()),
    }
    summary.verdict()
}

async fn play(
    arguments: &Demo,
    seed: u64,
    stage: &Stage,
    stop: &watch::Receiver<bool>,
) -> Result<Summary, Failure> {
    let settings = crowd(arguments, seed, stage);
    let progress = Arc::new(Progress::default());
    let watching = progress::watch(Arc::clone(&progress), arguments, stage.description());
    let driven = driver::run(&settings, &progress, stop).await;
    watching.end().await;
    let driven = driven.map_err(|error| Failure::internal("driving the buyers", &error))?;
    if *stop.borrow() {
        let left = progress.snapshot();
        return Err(Failure::new(
            Code::CheckFailed,
            format!(
                "interrupted after {} of {} buyers ({} purchases completed): nothing was checked",
                left.buyers, arguments.buyers, left.completed
            ),
        ));
    }
    stage.quiet().await?;
    let mut invariants = stage.verify().await?;
    invariants.push(acknowledged_starts(stage, &driven).await?);
    Ok(Summary::new(arguments, seed, stage, driven, invariants))
}

fn crowd(arguments: &Demo, seed: u64, stage: &Stage) -> Settings {
    Settings {
        base_url: stage.buyers_url(),
        buyers: usize::try_from(arguments.buyers).unwrap_or(usize::MAX),
        in_flight: arguments.in_flight,
        order: Order {
            sale: stage.sale().to_owned(),
            lines: vec![OrderLine {
                product: stage::PRODUCT.to_owned(),
                quantity: 1,
            }],
            campaign: Some(stage.sale().to_owned()),
            payment: Payment::stored("each buyer has an own one"),
        },
        repeat_share: REPEAT_SHARE,
        declined_share: DECLINED_SHARE,
        patience: PATIENCE,
        seed,
    }
}

/// I8, as only the buyers can see it: what they did while they bought, and every one of them asked again.
async fn acknowledged_starts(stage: &Stage, driven: &driver::Report) -> Result<Invariant, Failure> {
    let mut check: Check = driven.repeats.clone();
    let again =
        driver::check_acknowledged(&stage.buyers_url(), &driven.acknowledged, PATIENCE).await;
    check
        .merge(again.map_err(|error| Failure::internal("asking for the purchases again", &error))?);
    Ok(Invariant {
        id: "I8".to_owned(),
        checked: check.checked,
        violations: check.violations,
    })
}
