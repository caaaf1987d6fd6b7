//! How long a gate stays closed: 100,000 reservations, from the database to Redis.

use std::time::Duration;

use engine::store::change::ChangeKind;
use engine::store::{Change, SqlDatabase, Table, Value};
use engine::workflow::Refusal;
use engine::{PartitionId, WorkflowId};
use workflows::adapters::redis::RedisReservations;
use workflows::ports::reservations::Reservations;
use workflows::reconcile::rebuild;
use workflows::tables::{COUPONS, HOLDS, STOCK};

use crate::support::{CAMPAIGN, RedisServer, Shop, answer, database, product};

const HOLDS_COUNT: u32 = 80_000;
const COUPONS_COUNT: u32 = 20_000;
const ENDED_COUNT: u32 = 20_000;
/// Where the code is optimised; a build for debugging, beside other tests, is given more.
const LIMIT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 5 });
const ATTEMPTS_MAX: u64 = 3;
/// A purchase that takes longer, and so large a part of the round, was stopped by it.
const SLOWEST: Duration = Duration::from_secs(2);
const PART_MAX: u32 = 2;
/// Rows that are written at a time.
const CHUNK: usize = 2_000;

/// The engine's, as far as it is filled here.
static WORKFLOWS: Table = Table {
    name: "workflows",
    key: &["ident"],
    columns: &[
        "partition_id",
        "definition",
        "version",
        "hash",
        "status",
        "label",
        "request_hash",
        "created_us",
        "updated_us",
    ],
};

fn row(table: &'static Table, key: Vec<Value>, values: Vec<Value>) -> Change {
    Change {
        table,
        key,
        kind: ChangeKind::Insert(values),
        refusal: Refusal::new("a-test", ""),
    }
}

fn workflow(kind: u8, number: u32) -> WorkflowId {
    let mut ident = [kind; 12];
    ident[8..].copy_from_slice(&number.to_be_bytes());
    ident[..4].copy_from_slice(&number.to_be_bytes());
    WorkflowId::new(PartitionId(1), ident)
}

async fn fill(database: &SqlDatabase) {
    let bytes = |id: WorkflowId| Value::Bytes(id.bytes().to_vec());
    let hold = |number| {
        let buyer = format!("buyer-{number}");
        let key = vec!["drop".into(), bytes(workflow(1, number)), "mug".into()];
        row(&HOLDS, key, vec![buyer.into(), 1.into()])
    };
    let coupon = |number| {
        let id = bytes(workflow(1, number));
        let key = vec![CAMPAIGN.into(), format!("buyer-{number}").into()];
        row(&COUPONS, key, vec![id.clone(), id, 1.into(), 1.into()])
    };
    let ended = |number| {
        let id = workflow(2, number);
        let values = vec![
            1.into(),
            "purchase".into(),
            1.into(),
            0.into(),
            "COMPENSATED".into(),
            "drop".into(),
            Value::Bytes(vec![0; 32]),
            i64::from(number / 100).into(),
            0.into(),
        ];
        row(&WORKFLOWS, vec![Value::Bytes(id.ident().to_vec())], values)
    };
    let counted = Change {
        table: &STOCK,
        key: vec!["drop".into(), "mug".into()],
        kind: ChangeKind::Add(vec![("held", i64::from(HOLDS_COUNT))]),
        refusal: Refusal::new("a-test", ""),
    };
    let mut changes: Vec<Change> = (0..HOLDS_COUNT).map(hold).collect();
    changes.extend((0..COUPONS_COUNT).map(coupon));
    changes.extend((0..ENDED_COUNT).map(ended));
    changes.push(counted);
    for chunk in changes.chunks(CHUNK) {
        let written = database.transact("filling a sale", chunk).await;
        written.expect("written");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_reservations_are_loaded_within_seconds() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let url = redis.url();
    let disposable = database().await;
    let shop = Shop::open(&disposable.database, &url, 200_000).await;
    fill(&disposable.database).await;
    let connected = answer(|| RedisReservations::connect(&url)).await;
    let reservations = connected.expect("connected");
    let sale = shop.sale().await;
    let mut fastest = Duration::MAX;
    // Other tests may have the machine for a while.
    for attempt in 1..=ATTEMPTS_MAX {
        let begun = shop.runtime.now();
        let snapshot = rebuild::snapshot(&shop.database, &sale, attempt).await;
        let snapshot = snapshot.expect("read");
        let read = shop.runtime.now().since(begun);
        if let Err(error) = reservations.rebuild(&snapshot).await {
            println!("attempt {attempt}: {error}");
            continue;
        }
        let took = shop.runtime.now().since(begun);
        println!(
            "{HOLDS_COUNT} holds, {COUPONS_COUNT} coupons and {ENDED_COUNT} purchases that have ended: read in {read:?}, loaded in {took:?}"
        );
        fastest = fastest.min(took);
        if fastest < LIMIT {
            break;
        }
    }
    let counts = answer(|| reservations.counts(&sale.sale)).await.unwrap();
    let counts = counts.expect("open");
    assert_eq!(
        counts.products[&product("mug")].held,
        u64::from(HOLDS_COUNT)
    );
    let campaign = counts.campaigns.values().next().expect("one");
    assert_eq!(campaign.issued, u64::from(COUPONS_COUNT));
    assert!(fastest < LIMIT, "{fastest:?}");
    disposable.dispose().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_sale_is_compared_without_stopping_its_buyers() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let url = redis.url();
    let disposable = database().await;
    let shop = Shop::open(&disposable.database, &url, 200_000).await;
    fill(&disposable.database).await;
    let node = shop.node("one").await;
    let mut round = Box::pin(node.reconcile(false));
    let mut bought: Vec<Duration> = Vec::new();
    let report = loop {
        let who = format!("late-{}", bought.len());
        let request = shop.request(&who, 1, None).await;
        let begun = shop.runtime.now();
        let one = async {
            node.buy(&request, "k").await.expect("started");
            shop.runtime.now().since(begun)
        };
        tokio::pin!(one);
        tokio::select! {
            report = &mut round => {
                one.await;
                break report;
            }
            took = &mut one => bought.push(took),
        }
    };
    bought.sort_unstable();
    let slowest = bought.last().copied().expect("somebody bought meanwhile");
    println!(
        "{} operations compared in {:?}; {} purchases meanwhile, {:?} at the median, {slowest:?} at most",
        report.operations,
        report.finished_at.since(report.started_at),
        bought.len(),
        bought[bought.len() / 2],
    );
    assert!(report.operations >= u64::from(HOLDS_COUNT + COUPONS_COUNT));
    assert_eq!(report.found, 0, "{report:?}");
    let whole = report.finished_at.since(report.started_at);
    assert!(slowest < SLOWEST.max(whole / PART_MAX), "{slowest:?}");
    drop(round);
    node.close().await;
    disposable.dispose().await;
}
