//! Buyers of every kind, crowd after crowd and sale after sale, some through the front door and some at one node, for as long as things
//! fail.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use loadtest::driver::{Acknowledged, Manners, Progress, Report, Settings, Visit};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::pace::Dice;
use super::tally::{Counted, Tally};
use super::world::World;
use crate::support::shop::{self, Shop, visit};
use crate::support::unique;

/// So many sales at the same time.
const SALES: u64 = 3;
/// So many crowds come to each, one after the other.
const CROWDS_A_SALE: u32 = 6;
/// In a crowd: buyers of every kind, those who pay at the gateway, and those of what can't be delivered.
const BUYERS: usize = 24;
const BUYERS_BY_REDIRECT: usize = 12;
const BUYERS_OF_POSTERS: usize = 4;
/// Busy at the same time, of each of these three.
const IN_FLIGHT: usize = 8;
/// Fewer than those who want them.
const UNITS: u32 = 140;
const COUPONS: u32 = 100;
/// So long a payment is waited for.
const HOLD_SECONDS: u32 = 10;

/// Comes until it is told that things fail no more, and then as far as each has an outcome, for which everybody waits so long. Returns
/// all that was acknowledged.
pub async fn come(
    world: &Arc<World>,
    seed: u64,
    patience: Duration,
    over: &watch::Receiver<bool>,
) -> Vec<Acknowledged> {
    let mut sales = JoinSet::new();
    for number in 0..SALES {
        let (world, over) = (Arc::clone(world), over.clone());
        let dice = Dice::of(seed, 100 + number);
        sales.spawn(async move { to_sale_after_sale(&world, &dice, patience, &over).await });
    }
    let mut acknowledged = Vec::new();
    while let Some(ended) = sales.join_next().await {
        acknowledged.extend(ended.expect("nobody sees what nobody should"));
    }
    acknowledged
}

async fn to_sale_after_sale(
    world: &World,
    dice: &Dice,
    patience: Duration,
    over: &watch::Receiver<bool>,
) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    while !*over.borrow() {
        let shop = world.shop(world.any_place(dice), &unique("soak"));
        opened(&shop).await;
        world.tally.one(Counted::Sales);
        for _ in 0..CROWDS_A_SALE {
            if *over.borrow() {
                break;
            }
            for report in crowd(world, &shop, dice, patience).await {
                counted(&report, &world.tally);
                acknowledged.extend(report.acknowledged);
            }
            world.tally.one(Counted::Crowds);
        }
    }
    acknowledged
}

/// A sale, however often it has to be asked for.
async fn opened(shop: &Shop) {
    let mut seed = shop::seed(&shop.sale, UNITS, COUPONS);
    seed["hold_seconds"] = json!(HOLD_SECONDS);
    seed["campaigns"][0]["claims_from"] = json!("2020-01-01T00:00:00Z");
    shop::add_posters(&mut seed, 1_000);
    shop.seed_in_the_end(&seed).await;
}

/// One crowd, until each of it has an outcome.
async fn crowd(world: &World, shop: &Shop, dice: &Dice, patience: Duration) -> Vec<Report> {
    let mut all = [
        of_every_kind(shop, BUYERS, dice.number()),
        of_every_kind(shop, BUYERS_BY_REDIRECT, dice.number()),
        of_every_kind(shop, BUYERS_OF_POSTERS, dice.number()),
    ];
    all[1].manners = Manners {
        redirect: 1.0,
        repeat: 0.2,
        ..Manners::default()
    };
    "poster".clone_into(&mut all[2].order.lines[0].product);
    all[2].order.campaign = None;
    all[2].manners = Manners::default();
    if dice.below(2) == 0 {
        let base_url = &world.any_place(dice).buyers;
        for settings in &mut all {
            base_url.clone_into(&mut settings.base_url);
        }
    }
    let all = all.map(|settings| Settings {
        patience,
        ..settings
    });
    let visits = all.map(|settings| visit(settings, Arc::new(Progress::default())));
    futures_util::future::join_all(visits).await
}

/// Buyers of every kind, few at a time.
fn of_every_kind(shop: &Shop, buyers: usize, seed: u64) -> Settings {
    Settings {
        in_flight: NonZeroUsize::new(IN_FLIGHT).expect("not zero"),
        manners: Manners {
            visits: Visit::ALL.to_vec(),
            ..shop::manners_of_every_kind()
        },
        ..shop.crowd(buyers, seed)
    }
}

/// Nobody saw an answer that nobody should, nobody gave up, and every repeat named the same purchase.
fn counted(report: &Report, tally: &Tally) {
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(report.repeats.violations, Vec::<String>::new());
    let of = |outcome: &str| report.purchases.get(outcome).copied().unwrap_or_default();
    assert_eq!(of("gave_up"), 0, "somebody waited in vain: {report:?}");
    let acknowledged = u64::try_from(report.acknowledged.len()).expect("few");
    let (completed, refunded, parked) = (of("completed"), of("refunded"), of("parked"));
    let others: u64 = report.decided() - completed - refunded - parked;
    let settled = acknowledged - completed - refunded - parked - of("walked_away");
    tally.more(Counted::Acknowledged, acknowledged);
    tally.more(Counted::Completed, completed);
    tally.more(Counted::Refunded, refunded);
    tally.more(Counted::Parked, parked);
    tally.more(Counted::TurnedBack, settled);
    tally.more(Counted::Refused, others - settled - of("walked_away"));
    tally.more(Counted::Unavailable, report.unavailable);
    tally.more(Counted::Repeats, report.repeats.checked);
}
