//! Nothing is wrong, and the reconciler says so, however busy the shop is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::JoinSet;
use workflows::ports::payment_gateway::PaymentToken;
use workflows::purchase::PaymentMeans;

use crate::support::{CAMPAIGN, Node, RedisServer, Shop, database, sqlite};

const PURCHASES: u32 = 5_000;
const PURCHASES_EMBEDDED: u32 = 2_000;
const AT_A_TIME: u32 = 50;

/// Of ten: a few with coupons of their own, some with one claimed on the way, two declined.
async fn one(shop: &Shop, node: &Node, number: u32) {
    let who = format!("buyer-{number}");
    if number.is_multiple_of(10) {
        node.claim(&who).await;
    }
    let campaign = number.is_multiple_of(5).then_some(CAMPAIGN);
    let token = if number % 5 == 1 {
        "declined"
    } else {
        "token-1"
    };
    let token = PaymentToken::new(token);
    let means = PaymentMeans::Stored { token };
    let request = shop.order(&who, 1, campaign, means).await;
    node.buy(&request, "k").await.expect("started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_healthy_shop_has_no_differences() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let disposable = database().await;
    let url = redis.url();
    let shop = Shop::open(&disposable.database, &url, PURCHASES).await;
    has_no_differences(shop, PURCHASES).await;
    disposable.dispose().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_healthy_shop_in_one_process_has_no_differences() {
    let disposable = sqlite().await;
    let shop = Shop::embedded(&disposable.database, PURCHASES_EMBEDDED).await;
    has_no_differences(shop, PURCHASES_EMBEDDED).await;
    disposable.dispose().await;
}

/// So many purchases are made, and rounds all the while.
async fn has_no_differences(shop: Shop, purchases: u32) {
    let shop = Arc::new(shop);
    let node = Arc::new(shop.node("one").await);
    let next = Arc::new(AtomicU32::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (shop, node, next) = (Arc::clone(&shop), Arc::clone(&node), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= purchases {
                    return;
                }
                one(&shop, &node, number).await;
            }
        });
    }
    let business = workers.join_all();
    tokio::pin!(business);
    let (mut rounds, mut operations) = (0, 0);
    let look = async |rounds: &mut u32, operations: &mut u64| {
        let report = node.reconcile(true).await;
        assert!(report.is_clean() && report.found == 0, "{report:?}");
        *rounds += 1;
        *operations += report.operations;
    };
    loop {
        tokio::select! {
            biased;
            _ = &mut business => break,
            () = look(&mut rounds, &mut operations) => {}
        }
    }
    look(&mut rounds, &mut operations).await;
    println!("{rounds} rounds over {operations} operations while {purchases} purchases were made");
    assert!(rounds > 2);
    assert_eq!(node.reconciler.totals().found.len(), 0);
    shop.is_sound(&node).await;
    let Ok(node) = Arc::try_unwrap(node) else {
        panic!("somebody still buys");
    };
    node.close().await;
}
