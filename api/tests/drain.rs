//! A stop that was asked for ends in time, with 0, and loses nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loadtest::driver::Progress;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::http::answered;
use crate::support::process::{ServeSettings, Server, free_port};
use crate::support::rounds::{kept_in_one_round, within};
use crate::support::shop::{Shop, visit};
use crate::support::{PATIENCE, eventually, seed};

/// What a node may take that is asked to stop: its drain time, and something for its end.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn sigterm_under_load_drains_exits_0_in_time_and_a_restart_goes_on() {
    kept_in_one_round("a stop under load", async |_| {
        let folder = tempfile::tempdir().unwrap();
        stops_and_goes_on(folder.path()).await
    })
    .await;
}

async fn stops_and_goes_on(folder: &Path) -> Result<(), String> {
    let settings = ServeSettings::embedded(folder).on(free_port(), free_port());
    let server = settings.start().await;
    let shop = Shop::open(&server, "open", 200, 200).await;
    let progress = Arc::new(Progress::default());
    let mut crowd = JoinSet::new();
    crowd.spawn(visit(shop.crowd(400, seed()), Arc::clone(&progress)));
    eventually("some purchases to be completed", || async {
        (progress.snapshot().completed >= 20).then_some(())
    })
    .await;
    let (log, under_load) = stops(server, "TERM").await;
    assert!(log.contains("SIGTERM: stopping"), "{log}");

    let server = settings.start().await;
    let report = crowd.join_next().await.expect("a crowd").expect("no panic");
    println!(
        "{:?}, {} answers 503 or none",
        report.purchases, report.unavailable
    );
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(report.repeats.violations, Vec::<String>::new());
    assert_eq!(report.purchases.get("gave_up"), None);
    shop.quiet().await;
    shop.verify_in_the_end().await;
    let (_, idle) = stops(server, "INT").await;
    within("stopped under load", under_load, STOPS_WITHIN)?;
    within("stopped without any", idle, STOPS_WITHIN)
}

/// The server is told to stop, and ends with 0: what it said, and how long it took.
async fn stops(server: Server, signal: &str) -> (String, Duration) {
    let asked = Instant::now();
    server.process.signal(signal).await;
    let (status, log) = server.process.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{log}");
    (log, asked.elapsed())
}

#[tokio::test]
async fn whoever_waits_is_answered_when_the_server_stops() {
    kept_in_one_round("an answer when the server stops", async |_| {
        let folder = tempfile::tempdir().unwrap();
        waits_and_is_answered(folder.path()).await
    })
    .await;
}

async fn waits_and_is_answered(folder: &Path) -> Result<(), String> {
    // Nothing listens there: the purchase is never settled.
    let settings = ServeSettings::embedded(folder).with("PG_URL", "http://127.0.0.1:1");
    let server = settings.start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-1").await;
    let before = shop.http.get(format!("{}/v1/purchases/{id}", shop.buyers));
    assert_eq!(answered(before.bearer_auth(&token)).await.status, 200);
    let waiting = shop
        .http
        .get(format!("{}/v1/purchases/{id}?wait=30s", shop.buyers));
    let mut waits = JoinSet::new();
    waits.spawn(crate::support::http::try_send(waiting.bearer_auth(&token)));
    // What was asked after it is answered: most likely it waits by now.
    for _ in 0..5 {
        shop.shown().await;
    }
    let (_, took) = stops(server, "TERM").await;
    let answer = waits.join_next().await.expect("a wait").expect("no panic");
    let answer = answer.map_err(|error| format!("it did not wait yet: {error}"))?;
    let state = answer.body["state"].as_str().unwrap_or_default();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(["RUNNING", "WAITING"].contains(&state), "{answer:?}");
    within("stopped beside a wait", took, STOPS_WITHIN)
}
