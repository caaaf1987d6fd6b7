//! Many callers at once, on the embedded store and on a real server with a connection for each of several nodes: exact to the
//! unit, whoever comes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use workflows::adapters::embedded::EmbeddedReservations;
use workflows::adapters::redis::RedisReservations;
use workflows::adapters::scripts::{Call, Reply, RunScript, Script};
use workflows::domain::ids::SaleId;
use workflows::ports::reservations::{
    ClaimPurpose, ClaimReply, ClaimRequest, HoldSnapshot, ReleaseRequest, ReservationError,
    Reservations, ReserveReply, ReserveRequest, SaleSnapshot,
};

use crate::harness::{
    NOW_MS, attached, buyer, lines, operation, product, random_sale, redis_url, reserve_request,
    small_sale,
};

use crate::patience::{PATIENCE, answer};

/// Connections to one server, as several nodes have them.
const NODES: usize = 4;

async fn embedded() -> Vec<Arc<EmbeddedReservations>> {
    let store = EmbeddedReservations::new("test", Arc::new(|| NOW_MS * 1_000)).unwrap();
    store.attach().await.unwrap();
    vec![Arc::new(store)]
}

async fn on_redis() -> Option<Vec<Arc<RedisReservations>>> {
    let url = redis_url()?;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Arc::new(attached(&url).await));
    }
    Some(nodes)
}

/// Awaits all of them, for so long that only a dead-lock takes longer.
async fn all<T: 'static>(tasks: JoinSet<T>) -> Vec<T> {
    tokio::time::timeout(PATIENCE, tasks.join_all())
        .await
        .expect("every call is answered")
}

fn node_of<R>(nodes: &[Arc<R>], index: usize) -> Arc<R> {
    Arc::clone(&nodes[index % nodes.len()])
}

async fn two_lines<R: RunScript + 'static>(nodes: Vec<Arc<R>>) {
    const CALLS: usize = 400;
    let mut snapshot = small_sale();
    snapshot.sale = random_sale();
    for stock in &mut snapshot.products {
        stock.total = 100;
    }
    answer(|| nodes[0].rebuild(&snapshot)).await.unwrap();
    let mut tasks = JoinSet::new();
    for index in 0..CALLS {
        let (node, sale) = (node_of(&nodes, index), snapshot.sale.clone());
        tasks.spawn(async move { in_either_order(&*node, &sale, index).await });
    }
    let held = all(tasks).await.into_iter().filter(|held| *held).count();
    assert_eq!(held, 100);
    let counts = answer(|| nodes[0].counts(&snapshot.sale))
        .await
        .unwrap()
        .unwrap();
    for stock in counts.products.values() {
        assert_eq!([stock.available, stock.held], [0, 100]);
    }
    answer(|| nodes[0].close_gate(&snapshot.sale))
        .await
        .unwrap();
}

/// Reserves one unit of each product, the lines in the one order or in the other: past the port, which orders them.
async fn in_either_order<R: RunScript>(node: &R, sale: &SaleId, index: usize) -> bool {
    let order = if index.is_multiple_of(2) {
        ["cap", "tee"]
    } else {
        ["tee", "cap"]
    };
    let (name, who) = (format!("w{index}"), format!("b{index}"));
    let words = [&name, "1", "1", "held", &who, order[0], "1", order[1], "1"];
    let arguments: Vec<String> = words.iter().map(ToString::to_string).collect();
    let call = || node.run(Call::new(Script::Reserve, sale, arguments.clone()));
    match answer(call).await.unwrap() {
        Reply::Array(words) => words[0].as_text() == Some("held"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lines_never_dead_lock_with_two_lines() {
    two_lines(embedded().await).await;
    if let Some(nodes) = on_redis().await {
        two_lines(nodes).await;
    }
}

async fn first_use<R: Reservations + 'static>(nodes: Vec<Arc<R>>) {
    const BUYERS: usize = 200;
    const REBUILDS: u64 = 12;
    let sale = random_sale();
    // Nobody's request loads a sale.
    let mut tasks = JoinSet::new();
    for index in 0..BUYERS {
        let (node, request) = (node_of(&nodes, index), one_tee(&sale, index));
        tasks.spawn(async move { answer(|| node.reserve(&request)).await });
    }
    for answered in all(tasks).await {
        let unavailable = matches!(answered, Err(ReservationError::Unavailable(_)));
        assert!(unavailable, "{answered:?}");
    }
    // All nodes load it at once, while the buyers come.
    let (mut rebuilds, mut buyers) = (JoinSet::new(), JoinSet::new());
    for generation in 1..=REBUILDS {
        let node = node_of(&nodes, usize::try_from(generation).unwrap());
        let snapshot = first_snapshot(&sale, generation);
        rebuilds.spawn(async move { node.rebuild(&snapshot).await });
    }
    for index in 0..BUYERS {
        let (node, request) = (node_of(&nodes, index), one_tee(&sale, index));
        buyers.spawn(async move { answer(|| node.reserve(&request)).await.ok() });
    }
    let rebuilt = all(rebuilds).await;
    all(buyers).await;
    if answer(|| nodes[0].counts(&sale)).await.unwrap().is_none() {
        // A machine that stood still has cut the last of them short: the gate stays closed then, and one more opens it.
        let cut_short = |rebuilt: &Result<(), ReservationError>| {
            matches!(
                rebuilt,
                Err(ReservationError::MaybeSent(_) | ReservationError::NotSent(_))
            )
        };
        assert!(rebuilt.iter().any(cut_short), "{rebuilt:?}");
        let last = first_snapshot(&sale, REBUILDS + 1);
        answer(|| nodes[0].rebuild(&last)).await.unwrap();
    }
    exactly_ten_tees(&nodes, &sale, BUYERS).await;
    answer(|| nodes[0].close_gate(&sale)).await.unwrap();
}

/// 10 tees are left for the buyers; so many holds are there that they come in several chunks.
fn first_snapshot(sale: &SaleId, generation: u64) -> SaleSnapshot {
    const HELD: u32 = 2_500;
    let mut snapshot = small_sale();
    snapshot.products[0].total = 10 + HELD;
    let hold = |index| HoldSnapshot {
        operation: operation(&format!("before-{index}")),
        buyer: buyer(&format!("early-{index}")),
        lines: lines(&[("tee", 1)]),
    };
    SaleSnapshot {
        sale: sale.clone(),
        generation,
        holds: (0..HELD).map(hold).collect(),
        ..snapshot
    }
}

fn one_tee(sale: &SaleId, index: usize) -> ReserveRequest {
    reserve_request(
        sale,
        &format!("w{index}"),
        &format!("b{index}"),
        &[("tee", 1)],
    )
}

async fn exactly_ten_tees<R: Reservations + 'static>(
    nodes: &[Arc<R>],
    sale: &SaleId,
    buyers: usize,
) {
    let mut tasks = JoinSet::new();
    for index in 0..buyers {
        let (node, request) = (node_of(nodes, index), one_tee(sale, index));
        tasks.spawn(async move { answer(|| node.reserve(&request)).await.unwrap() });
    }
    let replies = all(tasks).await;
    let held = replies.iter().filter(|reply| **reply == ReserveReply::Held);
    assert_eq!(held.count(), 10);
    let counts = answer(|| nodes[0].counts(sale)).await.unwrap().unwrap();
    let tee = counts.products[&product("tee")];
    assert_eq!([tee.available, tee.held, tee.sold], [0, 2_510, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_use_races_never_double_the_stock() {
    first_use(embedded().await).await;
    if let Some(nodes) = on_redis().await {
        first_use(nodes).await;
    }
}

/// Each buyer claims ahead and for a purchase, each of it several times at once.
async fn duplicates<R: Reservations + 'static>(nodes: Vec<Arc<R>>) {
    const BUYERS: usize = 60;
    const COPIES: usize = 9;
    const COUPONS: u32 = 20;
    let mut snapshot = small_sale();
    snapshot.sale = random_sale();
    snapshot.campaigns[0].size = COUPONS;
    answer(|| nodes[0].rebuild(&snapshot)).await.unwrap();
    let mut tasks = JoinSet::new();
    for index in 0..BUYERS * COPIES {
        let node = node_of(&nodes, index);
        let copy = index / BUYERS;
        let purpose = if (index + copy).is_multiple_of(3) {
            ClaimPurpose::Ahead
        } else {
            ClaimPurpose::Purchase
        };
        let request = coupon_of(&snapshot.sale, purpose, index % BUYERS);
        tasks.spawn(async move {
            let reply = answer(|| node.claim(&request)).await.unwrap();
            (request, reply)
        });
    }
    let replies = all(tasks).await;
    let mut with_coupon: BTreeMap<String, bool> = BTreeMap::new();
    for (request, reply) in &replies {
        let has_one = matches!(reply, ClaimReply::Held { .. });
        *with_coupon.entry(request.buyer.to_string()).or_default() |= has_one;
    }
    let winners = with_coupon.values().filter(|has_one| **has_one).count();
    assert_eq!(winners, COUPONS as usize);
    issued_is(&nodes, &snapshot.sale, u64::from(COUPONS)).await;

    // Duplicates of every release give back each coupon once.
    let mut tasks = JoinSet::new();
    for (index, (request, _)) in replies.into_iter().enumerate() {
        let node = node_of(&nodes, index);
        tasks.spawn(async move {
            let release = ReleaseRequest {
                sale: request.sale,
                operation: request.operation,
                forget: false,
                only_under: None,
            };
            // One that a purchase has taken is given back after that.
            while answer(|| node.release_claim(&release)).await.is_err() {
                tokio::task::yield_now().await;
            }
        });
    }
    all(tasks).await;
    issued_is(&nodes, &snapshot.sale, 0).await;
    answer(|| nodes[0].close_gate(&snapshot.sale))
        .await
        .unwrap();
}

async fn issued_is<R: Reservations>(nodes: &[Arc<R>], sale: &SaleId, issued: u64) {
    let counts = answer(|| nodes[0].counts(sale)).await.unwrap().unwrap();
    let campaign = counts.campaigns.into_values().next().unwrap();
    assert_eq!(campaign.issued, issued);
}

/// The operation of a buyer's claim for this purpose.
fn coupon_of(sale: &SaleId, purpose: ClaimPurpose, index: usize) -> ClaimRequest {
    ClaimRequest {
        sale: sale.clone(),
        campaign: small_sale().campaigns.remove(0).campaign,
        buyer: buyer(&format!("b{index}")),
        operation: operation(&format!("w{index}/{purpose:?}")),
        epoch: 1,
        purpose,
        remember_refusal: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_never_over_issue() {
    duplicates(embedded().await).await;
    if let Some(nodes) = on_redis().await {
        duplicates(nodes).await;
    }
}

async fn parallel_requests<R: Reservations + 'static>(nodes: Vec<Arc<R>>) {
    let mut snapshot = small_sale();
    snapshot.sale = random_sale();
    snapshot.products[0].total = 1_000;
    answer(|| nodes[0].rebuild(&snapshot)).await.unwrap();
    let mut tasks = JoinSet::new();
    for index in 0..200 {
        let node = node_of(&nodes, index);
        let request = reserve_request(&snapshot.sale, &format!("w{index}"), "ann", &[("tee", 1)]);
        tasks.spawn(async move { answer(|| node.reserve(&request)).await.unwrap() });
    }
    let replies = all(tasks).await;
    let held = replies.iter().filter(|reply| **reply == ReserveReply::Held);
    assert_eq!(held.count(), 4);
    answer(|| nodes[0].close_gate(&snapshot.sale))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_cannot_exceed_the_limit_by_parallel_requests() {
    parallel_requests(embedded().await).await;
    if let Some(nodes) = on_redis().await {
        parallel_requests(nodes).await;
    }
}
