//! `holdfast demo`: a whole sale in one command. Everything that buyers and operators do goes over real HTTP.
//!
//! Read in this order: `stage` (a running shop with a sale), `opening`, `progress` (what is seen meanwhile), `report` (what came
//! of it),
//! and here the play.

mod opening;
mod progress;
mod report;
mod stage;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use engine::Runtime;
use loadtest::driver::{
    self, Check, Manners, Order, OrderLine, Payment, Progress, Settings, Visit,
};
use tokio::sync::watch;

use crate::cli::{Demo, Output};
use crate::exit::{Code, Failure};
use crate::shutdown;
use report::{Invariant, Summary};
use stage::Stage;

/// One in ten is impatient and sends everything twice.
const REPEAT_SHARE: f64 = 0.10;
/// One in five takes a coupon before the sale opens for it.
const CLAIM_AHEAD_SHARE: f64 = 0.20;
/// One in twenty has a card that is declined.
const DECLINED_SHARE: f64 = 0.05;
/// One in ten pays at the gateway instead of by a stored card.
const REDIRECT_SHARE: f64 = 0.10;
/// One in a hundred comes back again and again when it is told that there is nothing left.
const PERSISTENT_SHARE: f64 = 0.01;
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
    let opening = stage.opens().await?;
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
    let posters = posters(seed, stage, stop).await?;
    stage.quiet().await?;
    let mut invariants = stage.verify().await?;
    let told = acknowledged_starts(stage, &driven).await?;
    match invariants.iter_mut().find(|one| one.id == told.id) {
        Some(stored) => stored.merge(told),
        None => invariants.push(told),
    }
    Ok(Summary::new(
        arguments, seed, stage, &opening, driven, posters, invariants,
    ))
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
        manners: Manners {
            repeat: REPEAT_SHARE,
            claim_ahead: CLAIM_AHEAD_SHARE,
            persistent: PERSISTENT_SHARE,
            declined: DECLINED_SHARE,
            redirect: REDIRECT_SHARE,
            visits: VISITS.to_vec(),
            ..Manners::default()
        },
        patience: PATIENCE,
        seed,
    }
}

/// What those do who pay at the gateway. Nobody just walks away: that takes as long as units are held.
const VISITS: [Visit; 6] = [
    Visit::Returns,
    Visit::ReturnsTwice,
    Visit::ClosesWindow,
    Visit::Declines,
    Visit::Cancels,
    Visit::CancelsLate,
];

/// Five buyers pay for a poster, and three posters have a serial number: two get their money back.
async fn posters(
    seed: u64,
    stage: &Stage,
    stop: &watch::Receiver<bool>,
) -> Result<driver::Report, Failure> {
    let settings = Settings {
        base_url: stage.buyers_url(),
        buyers: stage::POSTERS,
        in_flight: NonZeroUsize::MIN.saturating_add(stage::POSTERS),
        order: Order {
            sale: stage.sale().to_owned(),
            lines: vec![OrderLine {
                product: stage::POSTER.to_owned(),
                quantity: 1,
            }],
            campaign: None,
            payment: Payment::Redirect,
        },
        manners: Manners {
            redirect: 1.0,
            visits: vec![Visit::Returns],
            ..Manners::default()
        },
        patience: PATIENCE,
        seed,
    };
    let driven = driver::run(&settings, &Arc::new(Progress::default()), stop).await;
    driven.map_err(|error| Failure::internal("driving the buyers", &error))
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
        not_checked: None,
        violations: check.violations,
    })
}
