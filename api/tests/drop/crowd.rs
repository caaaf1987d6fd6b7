//! A sale that is worth running for, its crowd, and what must add up when everyone has gone.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use loadtest::driver::{self, Report};
use serde_json::{Value, json};

use crate::support::shop::{self, Shop, manners_of_every_kind};
use crate::support::{PATIENCE, counted};

/// Seconds that units are held for a buyer who has to authorise the payment.
const HOLD_SECONDS: u32 = 10;
/// A buyer who gets no answer for so long gives up: longer than everything that a gateway's rule holds back, on a busy machine too.
pub const BUYERS_PATIENCE: Duration = Duration::from_mins(5);

/// How many buyers come: `HOLDFAST_DROP_BUYERS`, or this.
pub fn buyers(default: usize) -> usize {
    std::env::var("HOLDFAST_DROP_BUYERS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A sale of mugs with as many coupons as mugs, which are claimed ahead or within the purchase.
pub fn sale(name: &str, units: u32) -> Value {
    let mut sale = shop::seed(name, units, units);
    sale["hold_seconds"] = json!(HOLD_SECONDS);
    sale["campaigns"][0]["claims_from"] = json!("2020-01-01T00:00:00Z");
    sale
}

/// Buyers of every kind, many at a time.
pub fn of_every_kind(shop: &Shop, buyers: usize, seed: u64) -> driver::Settings {
    driver::Settings {
        in_flight: NonZeroUsize::new(128).expect("not zero"),
        manners: manners_of_every_kind(),
        patience: BUYERS_PATIENCE,
        ..shop.crowd(buyers, seed)
    }
}

/// Nobody saw an answer that nobody should, every repeat named the same purchase, and every outcome is one of those that a buyer
/// may expect.
pub fn left_content(report: &Report) {
    left_content_but(report, &[]);
}

/// The same, where these outcomes are to be expected as well.
pub fn left_content_but(report: &Report, also: &[&str]) {
    println!(
        "{:?}, claims {:?}, {} acknowledged, {} repeats, {} answers 503 or none",
        report.purchases,
        report.claims,
        report.acknowledged.len(),
        report.repeats.checked,
        report.unavailable
    );
    counted("purchases", report.acknowledged.len() as u64);
    counted("repeats of purchases", report.repeats.checked);
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(report.gave_up, Vec::<String>::new());
    assert_eq!(report.repeats.violations, Vec::<String>::new());
    let expected = [
        "completed",
        "sold_out",
        "coupons_exhausted",
        "payment_declined",
        "cancelled_by_buyer",
        "hold_expired",
        "walked_away",
    ];
    let others: Vec<&String> = report
        .purchases
        .keys()
        .filter(|outcome| !expected.contains(&outcome.as_str()))
        .filter(|outcome| !also.contains(&outcome.as_str()))
        .collect();
    assert_eq!(others, Vec::<&String>::new());
}

/// When nothing is under way any more: every purchase that was acknowledged is there, every invariant holds, and no unit is
/// missing or there twice. Returns how many were sold.
pub async fn adds_up(shop: &Shop, report: &Report, units: u32) -> u64 {
    shop.quiet().await;
    shop.verify_in_the_end().await;
    let again = driver::check_acknowledged(&shop.buyers, &report.acknowledged, PATIENCE)
        .await
        .expect("the driver starts");
    let is_lost = |id: &str| again.violations.iter().any(|it| it.contains(id));
    for lost in report.acknowledged.iter().filter(|it| is_lost(&it.id)) {
        print_journal(shop, &lost.id).await;
    }
    assert_eq!(again.violations, Vec::<String>::new());
    // A repeat may have been born in another partition, and holds a unit until it has met the first one and that is undone.
    let left_at_once = shop.stock_left().await;
    shop.verify_in_the_end().await;
    let left = shop.stock_left().await;
    if left != left_at_once {
        println!(
            "{left_at_once} units were left right after the repeats, and {left} once they were cleared"
        );
    }
    let sold = u64::from(units) - left;
    let completed = report.purchases.get("completed").copied().unwrap_or(0);
    if sold != completed {
        print_what_nobody_was_told(shop, report).await;
    }
    // Who walks away never asks what became of it, and may not have bought anything.
    assert_eq!(sold, completed, "{units} units, {left} left");
    println!(
        "{sold} of {units} sold, {} purchases checked twice",
        again.checked
    );
    counted("purchases looked for again", again.checked);
    sold
}

/// The journals of the completed purchases that no buyer knows of.
async fn print_what_nobody_was_told(shop: &Shop, report: &Report) {
    let told: BTreeSet<&str> = report
        .acknowledged
        .iter()
        .map(|start| start.id.as_str())
        .collect();
    let filter = format!("definition=purchase&state=COMPLETED&label={}", shop.sale);
    let pages = shop.pages_of_workflows(&filter).await;
    for purchase in pages.iter().flatten() {
        let id = purchase["id"].as_str().expect("an id");
        if !told.contains(id) {
            print_journal(shop, id).await;
        }
    }
}

async fn print_journal(shop: &Shop, id: &str) {
    println!("{:#}", shop.look(&format!("workflows/{id}")).await);
    println!("{:#}", shop.look(&format!("workflows/{id}/events")).await);
}
