//! That an order is carried out once however often it is sent, only when it is meant for the workflow as it is, and that there
//! is a row for it.

use serde_json::{Value, json};

use super::desk::{Desk, PATIENTLY, expect_problem};
use crate::support::eventually;
use crate::support::http::{answered, get, send};

#[tokio::test]
async fn an_order_that_is_sent_again_is_the_same_order_with_one_row() {
    let desk = Desk::open().await;
    let id = desk.stuck().await;
    let pause = || {
        let request = desk.request(&id, "pause", &json!({})).query(&PATIENTLY);
        answered(request.header("idempotency-key", "once"))
    };
    let (first, second, third) = tokio::join!(pause(), pause(), pause());
    for answer in [&first, &second, &third, &pause().await] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.location, first.location, "{answer:?}");
        assert_eq!(answer.etag, first.etag, "{answer:?}");
        assert_eq!(answer.body["state"], "PARKED", "{answer:?}");
    }
    let rows = desk.commands(&id).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(
        [
            &row["verb"],
            &row["actor"],
            &row["reason"],
            &row["key"],
            &row["state"]
        ],
        ["pause", "alice", "a test", "once", "DONE"]
    );
    let location = first.location.expect("a location");
    let by_location = get(
        desk.shop.operators(),
        format!("{}{location}", desk.shop.operators),
    )
    .await;
    assert_eq!(&by_location.body, row);
    let audit = desk.look(&format!("audit?workflow={id}")).await;
    assert_eq!(audit["commands"][0], *row);
    let other = desk.request(&id, "abandon", &json!({}));
    let other = send(other.header("idempotency-key", "once")).await;
    expect_problem(
        &other,
        422,
        "idempotency-key-reused",
        "Idempotency-Key",
        "another command",
    );
}

#[tokio::test]
async fn an_order_for_a_version_that_has_passed_is_not_carried_out() {
    let desk = Desk::open().await;
    let id = desk.stuck().await;
    assert_eq!(desk.tell(&id, "pause").await.status, 200);
    let url = format!("{}/v1/workflows/{id}", desk.shop.operators);
    let shown = get(desk.shop.operators(), url).await;
    let version = shown.body["version"].as_u64().expect("a version");
    assert_eq!(shown.etag, Some(format!("\"{version}\"")));
    let resume = |tag: String| {
        let request = desk.request(&id, "resume", &json!({})).query(&PATIENTLY);
        let request = request.header("idempotency-key", desk.key());
        send(request.header("if-match", tag))
    };
    let late = resume(format!("\"{}\"", version - 1)).await;
    expect_problem(&late, 412, "moved-on", "If-Match", "moved on");
    for malformed in [version.to_string(), "W/\"1\"".into(), "\"x\"".into()] {
        let wrong = resume(malformed).await;
        expect_problem(&wrong, 400, "invalid-header", "If-Match", "ETag");
    }
    let in_time = resume(format!("\"{version}\"")).await;
    assert_eq!(in_time.status, 200, "{in_time:?}");
    assert_ne!(in_time.etag, shown.etag, "{in_time:?}");
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_writes_nothing() {
    let desk = Desk::open().await;
    let id = desk.parked().await;
    let (workflow, commands) = (desk.workflow(&id).await, desk.commands(&id).await);
    let dry = |verb: &'static str, with: Value| {
        let request = desk.request(&id, verb, &with);
        send(request.query(&[("dry_run", "true")]))
    };
    let refused = json!({ "step": "payment", "refused": { "code": "no", "message": "No." } });
    let preview = dry("resolve", refused).await;
    assert_eq!(preview.status, 200, "{preview:?}");
    assert_eq!(preview.body["state"], "COMPENSATING", "{preview:?}");
    assert_eq!(preview.body["version"], workflow["version"], "{preview:?}");
    assert_eq!(preview.body["event"]["type"], "resolved", "{preview:?}");
    let starts = preview.body["event"]["starts"].as_array().expect("starts");
    assert!(
        starts.iter().any(|start| start["direction"] == "backward"),
        "{preview:?}"
    );
    let abandoned = dry("abandon", json!({})).await;
    assert_eq!(abandoned.body["state"], "ABANDONED", "{abandoned:?}");
    let refused = dry("compensate", json!({})).await;
    expect_problem(&refused, 409, "conflict", "", "past the pivot");
    let refused = dry("skip", json!({ "step": "payment", "output": 1 })).await;
    expect_problem(&refused, 422, "invalid-field", "output", "payment");
    assert_eq!(desk.workflow(&id).await, workflow);
    assert_eq!(desk.commands(&id).await, commands);
}

#[tokio::test]
async fn whoever_does_not_wait_is_told_where_the_command_is() {
    let desk = Desk::open().await;
    let id = desk.stuck().await;
    let request = desk.request(&id, "pause", &json!({}));
    let request = request.header("idempotency-key", desk.key());
    let answer = send(request.query(&[("wait", "0s")])).await;
    // Which of the two depends on who is faster.
    assert!([200, 202].contains(&answer.status), "{answer:?}");
    let location = answer.location.expect("a location");
    let url = format!("{}{location}", desk.shop.operators);
    let command = eventually("the command to be answered", || async {
        let command = get(desk.shop.operators(), url.clone()).await.body;
        (command["state"] != "PENDING").then_some(command)
    })
    .await;
    assert_eq!(command["state"], "DONE", "{command}");
    assert!(command["event"].as_u64() > Some(1), "{command}");
}

#[tokio::test]
async fn any_node_takes_an_order_for_any_workflow() {
    let Some(desk) = Desk::on_real_servers().await else {
        return;
    };
    let other = desk.other.clone().expect("two nodes");
    let id = desk.stuck().await;
    let tell = |node: String, verb: &'static str| {
        let url = format!("{node}/v1/workflows/{id}/{verb}");
        let request = desk
            .shop
            .operators()
            .post(url)
            .json(&Desk::body(&json!({})));
        answered(request.query(&PATIENTLY).header("idempotency-key", verb))
    };
    let paused = tell(other.clone(), "pause").await;
    assert_eq!(paused.status, 200, "{paused:?}");
    assert_eq!(paused.body["paused"], true, "{paused:?}");
    // The same order at the node that owns the workflow is the same order.
    let again = tell(desk.shop.operators.clone(), "pause").await;
    assert_eq!(
        (again.status, again.location),
        (200, paused.location),
        "one row"
    );
    desk.gateway_fails(0).await;
    assert_eq!(tell(other, "resume").await.status, 200);
    desk.in_state(&id, "COMPLETED").await;
    let nodes = desk.look("nodes").await;
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(2), "{nodes}");
}

#[tokio::test]
async fn the_audit_is_paged() {
    let desk = Desk::open().await;
    let id = desk.stuck().await;
    for verb in ["pause", "resume", "pause", "resume", "pause"] {
        assert_eq!(desk.tell(&id, verb).await.status, 200);
    }
    let (mut verbs, mut before) = (Vec::new(), String::new());
    loop {
        let page = desk.look(&format!("commands?limit=2{before}")).await;
        let commands = page["commands"].as_array().expect("a list");
        verbs.extend(commands.iter().map(|command| command["verb"].clone()));
        match page["next_before"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(verbs, ["pause", "resume", "pause", "resume", "pause"]);
}
