//! A sale with 100,000 reservations is rebuilt in a few seconds.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use workflows::adapters::embedded::EmbeddedReservations;
use workflows::ports::reservations::{
    ClaimSnapshot, ClaimState, HoldSnapshot, ProductSnapshot, Reservations, SaleSnapshot,
    SoldSnapshot,
};

use crate::harness::{NOW_MS, attached, buyer, lines, operation, product, small_sale};
use crate::patience::answer;
use crate::redis_server::RedisServer;

const HOLDS: u32 = 40_000;
const CLAIMS: u32 = 30_000;
const ENDED: u32 = 30_000;
const BOUGHT: u32 = 20_000;

/// What it may take where the code is optimised; a build for debugging is given more.
const LIMIT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 5 });

const ATTEMPTS_MAX: u64 = 3;

/// Holds of two lines, claims of each kind, tombstones, and buyers who have bought before.
fn large_sale() -> SaleSnapshot {
    let mut snapshot = small_sale();
    let stock = |name| ProductSnapshot {
        product: product(name),
        total: 2 * HOLDS + BOUGHT,
        sold: BOUGHT,
    };
    let hold = |index| HoldSnapshot {
        operation: operation(&key(index, "stock-reserve")),
        buyer: buyer(&format!("buyer-{index}")),
        lines: lines(&[("tee", 2), ("cap", 1)]),
    };
    snapshot.products = vec![stock("tee"), stock("cap")];
    snapshot.holds = (0..HOLDS).map(hold).collect();
    snapshot.campaigns[0].size = CLAIMS;
    snapshot.campaigns[0].claims = (0..CLAIMS).map(claim).collect();
    snapshot.sold = (0..BOUGHT)
        .map(|index| SoldSnapshot {
            buyer: buyer(&format!("earlier-{index}")),
            units: 2,
        })
        .collect();
    snapshot.ended = (HOLDS..HOLDS + ENDED)
        .map(|index| operation(&key(index, "stock-reserve")))
        .collect();
    snapshot
}

fn claim(index: u32) -> ClaimSnapshot {
    let ahead = operation(&key(index, "coupon-issue"));
    let purchase = operation(&key(index, "coupon-claim"));
    let (operation, state, taken_from) = match index % 4 {
        0 => (ahead, ClaimState::Issued, None),
        1 => (purchase, ClaimState::Held, None),
        2 => (purchase, ClaimState::Held, Some(ahead)),
        _ => (purchase, ClaimState::Used, Some(ahead)),
    };
    ClaimSnapshot {
        operation,
        buyer: buyer(&format!("buyer-{index}")),
        state,
        taken_from,
    }
}

/// As long as the keys of real workflows are.
fn key(index: u32, step: &str) -> String {
    format!("01990000-0000-7000-8000-{index:012}/{step}")
}

async fn rebuild_of(name: &str, store: &dyn Reservations) {
    let snapshot = large_sale();
    // Other tests may have the machine for a while: one that is cut short, or slow, is made again.
    let mut took = Duration::MAX;
    for generation in 1..=ATTEMPTS_MAX {
        let snapshot = SaleSnapshot {
            generation,
            ..snapshot.clone()
        };
        let start = Instant::now();
        match store.rebuild(&snapshot).await {
            Ok(()) => took = took.min(start.elapsed()),
            Err(error) => println!("{name}: {error}"),
        }
        if took < LIMIT {
            break;
        }
    }
    println!("{name}: 100,000 reservations were rebuilt in {took:.2?}");
    let counts = answer(|| store.counts(&snapshot.sale)).await;
    let counts = counts.unwrap().unwrap();
    let tee = counts.products[&product("tee")];
    let [held, sold] = [u64::from(2 * HOLDS), u64::from(BOUGHT)];
    assert_eq!([tee.available, tee.held, tee.sold], [0, held, sold]);
    let campaign = counts.campaigns.into_values().next().unwrap();
    assert_eq!(campaign.issued, u64::from(CLAIMS));
    assert!(took < LIMIT, "{name}: {took:?}");
}

#[tokio::test]
async fn a_hundred_thousand_reservations_are_rebuilt_within_seconds() {
    let embedded = EmbeddedReservations::new("test", Arc::new(|| NOW_MS * 1_000)).unwrap();
    rebuild_of("embedded", &embedded).await;
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let redis = attached(&server.url()).await;
    rebuild_of("redis", &redis).await;
}
