//! A stop that was asked for ends in time, with 0, and loses nothing.

use std::sync::Arc;
use std::time::Duration;

use loadtest::driver::Progress;
use tokio::task::JoinSet;

use crate::support::process::{ServeSettings, free_port};
use crate::support::shop::{Shop, visit};
use crate::support::{eventually, seed};

#[tokio::test]
async fn sigterm_under_load_drains_exits_0_in_time_and_a_restart_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path()).on(free_port(), free_port());
    let server = settings.start().await;
    let shop = Shop::open(&server, "open", 200, 200).await;
    let progress = Arc::new(Progress::default());
    let mut crowd = JoinSet::new();
    crowd.spawn(visit(shop.crowd(400, seed()), Arc::clone(&progress)));
    eventually("some purchases to be completed", || async {
        (progress.snapshot().completed >= 20).then_some(())
    })
    .await;

    server.process.signal("TERM").await;
    let (status, log) = server.process.ended(Duration::from_secs(15)).await;
    assert_eq!(status.code(), Some(0), "{log}");
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
    server.process.signal("INT").await;
    let (status, log) = server.process.ended(Duration::from_secs(15)).await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn whoever_waits_is_answered_when_the_server_stops() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing listens there: the purchase stays RUNNING.
    let settings = ServeSettings::embedded(folder.path()).with("PG_URL", "http://127.0.0.1:1");
    let server = settings.start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let (token, id) = shop.bought("k", "tok-1").await;
    let url = format!("{}/v1/purchases/{id}?wait=30s", shop.buyers);
    let mut waiting = JoinSet::new();
    waiting.spawn(crate::support::http::send(
        shop.http.get(url).bearer_auth(&token),
    ));
    eventually("the wait to have begun", || async {
        let running = shop.workflows("RUNNING").await;
        (!running.is_empty()).then_some(())
    })
    .await;
    server.process.signal("TERM").await;
    let answer = waiting
        .join_next()
        .await
        .expect("a wait")
        .expect("an answer");
    assert_eq!(
        (answer.status, answer.body["state"].as_str()),
        (200, Some("RUNNING")),
        "{answer:?}"
    );
    let (status, log) = server.process.ended(Duration::from_secs(15)).await;
    assert_eq!(status.code(), Some(0), "{log}");
}
