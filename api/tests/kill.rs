//! `kill -9` in the middle of a load, again and again: what was acknowledged is settled, once, and nothing else happened.

use std::sync::Arc;

use loadtest::driver::{self, Acknowledged, Check, Progress};
use tokio::task::JoinSet;

use crate::support::gateway::silent_gateway;
use crate::support::process::{ServeSettings, Server, free_port};
use crate::support::servers::Servers;
use crate::support::shop::{Shop, visit};
use crate::support::{PATIENCE, eventually, seed};

const KILLS: u64 = 10;
const BUYERS: usize = 60;

#[tokio::test]
async fn ten_kills_on_sqlite_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path()).on(free_port(), free_port());
    nothing_is_lost(&settings).await;
}

#[tokio::test]
async fn ten_kills_on_mysql_redis_and_kafka_lose_and_double_nothing() {
    let Some(servers) = Servers::from_environment() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (_gateway, url) = silent_gateway(folder.path()).await;
    let settings = servers
        .serve(&folder.path().join("data"))
        .on(free_port(), free_port())
        .with("PG_URL", url);
    nothing_is_lost(&settings).await;
}

/// Each round: a crowd comes, the server is killed at a moment that the seed chooses, and comes back. Buyers do what real
/// ones do: they try again, with the same key.
async fn nothing_is_lost(settings: &ServeSettings) {
    let seed = seed();
    let mut server = settings.start().await;
    let shop = Shop::open(&server, "drop", 100_000, 100_000).await;
    let (mut acknowledged, mut repeats) = (Vec::new(), Check::default());
    for round in 0..KILLS {
        let moment = (seed.rotate_left(u32::try_from(6 * round).expect("small")) % 30) + 1;
        let progress = Arc::new(Progress::default());
        let mut crowd = JoinSet::new();
        crowd.spawn(visit(
            shop.crowd(BUYERS, seed.wrapping_add(round)),
            Arc::clone(&progress),
        ));
        eventually("some purchases to be settled", || async {
            let now = progress.snapshot();
            (now.completed + now.turned_back >= moment).then_some(())
        })
        .await;
        server.process.kill().await;
        server = settings.start().await;
        let report = crowd.join_next().await.expect("a crowd").expect("no panic");
        println!(
            "round {round}: killed at {moment}, {:?}, {} answers missing",
            report.purchases, report.unavailable
        );
        assert_eq!(report.errors, Vec::<String>::new(), "round {round}");
        let unsettled: Vec<_> = report
            .purchases
            .keys()
            .filter(|outcome| !["completed", "payment_declined"].contains(&outcome.as_str()))
            .collect();
        assert_eq!(
            unsettled,
            Vec::<&String>::new(),
            "round {round}: everyone gets a mug, or has a bad card"
        );
        acknowledged.extend(report.acknowledged);
        repeats.merge(report.repeats);
    }
    everything_is_settled(&shop, &server, &acknowledged, &repeats).await;
}

async fn everything_is_settled(
    shop: &Shop,
    server: &Server,
    acknowledged: &[Acknowledged],
    repeats: &Check,
) {
    assert_eq!(repeats.violations, Vec::<String>::new());
    assert!(repeats.checked > 0, "nobody repeated anything");
    let check = driver::check_acknowledged(&server.buyers, acknowledged, PATIENCE).await;
    let check = check.expect("the driver starts");
    assert_eq!(check.violations, Vec::<String>::new());
    println!(
        "{} acknowledged purchases, {} questions about them",
        acknowledged.len(),
        check.checked
    );
    shop.quiet().await;
    shop.verify_in_the_end().await;
}
