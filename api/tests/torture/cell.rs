//! One cell: crowds at both nodes, what was armed happens, and in the end everything is as it was promised.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use loadtest::driver::{self, Manners, Progress, Report, Settings, Visit};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::life::{self, Fired};
use super::plan::Cell;
use super::world::World;
use crate::support::shop::{self, Shop, visit};
use crate::support::unique;

/// At the node that is armed.
const BUYERS: usize = 20;
/// Buyers there who pay at the gateway.
const BUYERS_BY_REDIRECT: usize = 8;
/// Buyers there of what can't be delivered.
const BUYERS_OF_POSTERS: usize = 4;
/// At the node that stays.
const BUYERS_ELSEWHERE: usize = 6;
/// Fewer units and coupons than buyers: some are sold out.
const UNITS: u32 = 30;
const COUPONS: u32 = 28;
/// So long a payment is waited for.
const HOLD_SECONDS: u32 = 10;

/// What became of a cell.
pub struct Row {
    cell: String,
    took: Duration,
    /// How many of its points fired.
    pub fired: usize,
    /// How many lives the armed node had.
    pub lives: usize,
    /// How many purchases were acknowledged.
    pub purchases: usize,
    /// What was wrong.
    pub problem: Option<String>,
}

impl Row {
    /// A cell that did not come to its end.
    pub fn failed(cell: &Cell, problem: String) -> Self {
        Self {
            cell: cell.to_string(),
            took: Duration::ZERO,
            fired: 0,
            lives: 0,
            purchases: 0,
            problem: Some(problem),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cell,
            took,
            fired,
            lives,
            purchases,
            problem,
        } = self;
        let verdict = problem.as_deref().unwrap_or("holds");
        let took = took.as_secs_f64();
        write!(
            f,
            "{cell:<70} {fired} fired {lives} lives {purchases:>3} purchases {took:>5.1} s  {verdict}"
        )
    }
}

/// Runs one.
pub async fn run(world: &World, cell: &Cell, seed: u64) -> Row {
    let began = Instant::now();
    let (ends, over) = oneshot::channel();
    let sale = unique("cell");
    let (fired, reports) = tokio::join!(life::live(world, cell, over), async {
        let reports = crowds(world, &sale, seed).await;
        // Whoever listens has ended otherwise, and says why.
        let _ = ends.send(());
        reports
    });
    let there = world.at_the_other(&sale);
    there.quiet().await;
    there.reconciled().await;
    there.verify_in_the_end().await;
    let mut purchases = 0;
    for report in &reports {
        let check = driver::check_acknowledged(
            &there.buyers,
            &report.acknowledged,
            Duration::from_secs(30),
        )
        .await;
        let check = check.expect("the driver starts");
        assert_eq!(check.violations, Vec::<String>::new());
        purchases += report.acknowledged.len();
    }
    Row {
        cell: cell.to_string(),
        took: began.elapsed(),
        fired: fired.points.len(),
        lives: fired.lives,
        purchases,
        problem: missing(cell, &fired),
    }
}

/// What was armed and did not fire.
fn missing(cell: &Cell, fired: &Fired) -> Option<String> {
    let armed = [Some(&cell.first), cell.second.as_ref()];
    let silent = armed
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .find(|point| !fired.points.contains(point));
    silent.map(|point| format!("never came to: {point}"))
}

/// Buyers of every kind at both nodes, until each has an outcome.
async fn crowds(world: &World, sale: &str, seed: u64) -> Vec<Report> {
    let armed = world.at_the_armed(sale);
    opened(&armed).await;
    let elsewhere = world.at_the_other(sale);
    let mut posters = of_every_kind(&armed, BUYERS_OF_POSTERS, seed.wrapping_add(1));
    "poster".clone_into(&mut posters.order.lines[0].product);
    posters.order.campaign = None;
    posters.manners = Manners::default();
    let mut by_redirect = of_every_kind(&armed, BUYERS_BY_REDIRECT, seed.wrapping_add(2));
    by_redirect.manners = Manners {
        redirect: 1.0,
        visits: vec![Visit::Returns, Visit::Cancels],
        ..Manners::default()
    };
    let crowds = [
        of_every_kind(&armed, BUYERS, seed),
        by_redirect,
        posters,
        of_every_kind(&elsewhere, BUYERS_ELSEWHERE, seed.wrapping_add(3)),
    ];
    let visits = crowds.map(|settings| visit(settings, Arc::new(Progress::default())));
    let reports = futures_util::future::join_all(visits).await;
    for report in &reports {
        assert_eq!(report.errors, Vec::<String>::new());
        assert_eq!(report.repeats.violations, Vec::<String>::new());
    }
    reports
}

/// The armed node opens the sale itself, however often it has to be told.
async fn opened(shop: &Shop) {
    let mut seed = shop::seed(&shop.sale, UNITS, COUPONS);
    seed["hold_seconds"] = json!(HOLD_SECONDS);
    shop::add_posters(&mut seed, 100);
    shop.seed_in_the_end(&seed).await;
}

fn of_every_kind(shop: &Shop, buyers: usize, seed: u64) -> Settings {
    let stays = |visit: &Visit| *visit != Visit::WalksAway;
    Settings {
        in_flight: NonZeroUsize::new(8).expect("not zero"),
        manners: Manners {
            repeat: 0.3,
            claim_ahead: 0.2,
            declined: 0.1,
            faulty: 0.25,
            faulty_tokens: vec!["tok-500-after".to_owned(), "tok-timeout-after".to_owned()],
            redirect: 0.3,
            visits: Visit::ALL.into_iter().filter(stays).collect(),
            ..Manners::default()
        },
        ..shop.crowd(buyers, seed)
    }
}
