//! `holdfast verify`: each invariant is seen to be violated when it is and no other with it, nothing is called violated while a crowd
//! buys, and what there is nothing to look at for is said.

mod plants;
mod scene;

use std::sync::Arc;

use loadtest::driver::Progress;
use serde_json::{Value, json};

use crate::support::http::{client_with, get, send};
use crate::support::process::ServeSettings;
use crate::support::shop::{Shop, visit};
use crate::support::{eventually, seed};
use scene::{Scene, command};

#[tokio::test]
async fn a_shop_in_which_nothing_is_wrong_holds_and_what_has_no_source_is_not_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "drop", 10, 10).await;
    let url = format!("{}/v1/verify", server.operators);
    let shown = get(shop.operators(), url.clone()).await;
    assert_eq!(
        (shown.status, &shown.body),
        (200, &json!({ "running": [] })),
        "nothing was checked yet"
    );
    let last = command(&server, &["--last"]).await;
    assert_eq!(last.status.code(), Some(6), "{last:?}");

    // Nobody has bought: most of it has nothing to look at, and that is no success.
    let empty = command(&server, &["-o", "json"]).await;
    assert_eq!(empty.status.code(), Some(1), "{empty:?}");
    let empty: Value = serde_json::from_slice(&empty.stdout).expect("JSON");
    let starts = &empty["invariants"][7];
    assert_eq!(starts["violations"], json!(["nothing was looked at"]));

    let (token, id) = shop.bought("k", "tok-good").await;
    shop.settled(&token, &id).await;
    let output = command(&server, &[]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text.contains("I5 was not checked: the events stay"),
        "{text}"
    );
    let verdict = "everything that was checked holds, I5 not checked, ";
    assert!(text.contains(verdict), "{text}");

    let shown = get(shop.operators(), url).await;
    let last = &shown.body["last"];
    assert_eq!((&last["number"], &last["holds"]), (&json!(2), &json!(true)));
    let again = command(&server, &["--last", "-o", "json"]).await;
    let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(&again, last);
}

#[tokio::test]
async fn who_may_only_look_does_not_start_a_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = ServeSettings::embedded(folder.path());
    let server = settings.start().await;
    let viewer = client_with(&settings.operator_token("viewer", "bob").await);
    let url = format!("{}/v1/verify", server.operators);
    assert_eq!(get(&viewer, url.clone()).await.status, 200);
    let answer = send(viewer.post(url).json(&json!({}))).await;
    answer.expect_problem(403, "role-required");
}

#[tokio::test]
async fn nothing_is_violated_while_a_crowd_buys_on_the_embedded_stack() {
    while_a_crowd_buys(Scene::embedded().await).await;
}

#[tokio::test]
async fn nothing_is_violated_while_a_crowd_buys_on_real_servers() {
    let Some(scene) = Scene::on_real_servers().await else {
        return;
    };
    while_a_crowd_buys(scene).await;
}

/// Checks one after the other while a crowd is there; then once more, when nothing may be under way.
async fn while_a_crowd_buys(scene: Scene) {
    const CHECKS: usize = 6;
    // Something has to be there before the first check.
    scene.purchase("first").await;
    let slow = json!({ "latency_ms": 30, "latency_jitter_ms": 60 });
    let rules = scene.shop.http.put(format!("{}/v1/rules", scene.gateway));
    assert_eq!(send(rules.json(&slow)).await.status, 200);
    let progress = Arc::new(Progress::default());
    let crowd = visit(scene.shop.crowd(10_000, seed()), Arc::clone(&progress));
    let checks = async {
        let mut in_flight = 0;
        eventually("the crowd to be at it", || async {
            (progress.snapshot().completed > 0).then_some(())
        })
        .await;
        for number in 1..=CHECKS {
            let report = scene.check(false).await;
            assert_eq!(report["holds"], true, "{report:#}");
            let seen = report["in_flight"].as_u64().expect("a number");
            println!(
                "check {number}: {seen} in flight, {} ms, {} purchases completed",
                report["took_ms"],
                progress.snapshot().completed
            );
            in_flight += seen;
        }
        in_flight
    };
    // Whoever is still there goes away unserved.
    let in_flight = tokio::select! {
        in_flight = checks => in_flight,
        _ = crowd => panic!("a crowd of thousands was through before the last check"),
    };
    assert!(in_flight > 0, "nobody bought");
    scene.shop.quiet().await;
    scene.shop.verify_in_the_end().await;
}
