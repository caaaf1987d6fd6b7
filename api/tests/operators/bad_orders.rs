//! Orders that can't be taken: the answer names what is wrong.

use serde_json::{Value, json};

use super::desk::{Desk, expect_problem};
use crate::support::http::{get, send};

const NOBODY: &str = "00000001-0000-8000-8000-000000000000";

#[tokio::test]
async fn bad_orders_are_4xx_that_name_what_is_wrong() {
    let desk = Desk::open().await;
    let (token, id) = desk.shop.bought("k", "tok-good").await;
    desk.shop.settled(&token, &id).await;
    let keyed = |verb: &str, with: &Value| {
        desk.request(&id, verb, with)
            .header("idempotency-key", desk.key())
    };
    for (verb, with, field) in [
        ("retry", json!({ "actor": "bob" }), "actor"),
        ("retry", json!({ "reason": " " }), "reason"),
        ("retry", json!({ "reason": 7 }), "reason"),
        ("retry", json!({ "force": true }), "force"),
        ("retry", json!({ "step": "payment" }), "step"),
        ("retry", json!({ "verb": "retry" }), "verb"),
        ("skip", json!({ "output": 1 }), "step"),
        ("skip", json!({ "step": "payment" }), "output"),
        ("resolve", json!({ "step": "payment" }), "done"),
        (
            "resolve",
            json!({ "step": "payment", "done": 1, "undone": true }),
            "done",
        ),
        (
            "resolve",
            json!({ "step": "payment", "refused": { "code": "no" } }),
            "refused.message",
        ),
        ("signal", json!({ "name": "payment", "payload": 1 }), "id"),
    ] {
        let answer = send(keyed(verb, &with)).await;
        expect_problem(&answer, 422, "invalid-field", field, "");
    }
    for (query, field) in [
        ("wait=31s", "wait"),
        ("wait=soon", "wait"),
        ("dry_run=maybe", "dry_run"),
        ("patience=1", "patience"),
    ] {
        let url = format!("{}/v1/workflows/{id}/retry?{query}", desk.shop.operators);
        let request = desk
            .shop
            .operators()
            .post(url)
            .json(&Desk::body(&json!({})));
        let answer = send(request.header("idempotency-key", desk.key())).await;
        expect_problem(&answer, 400, "invalid-parameter", field, "");
    }
    let keyless = send(desk.request(&id, "retry", &json!({}))).await;
    expect_problem(
        &keyless,
        400,
        "idempotency-key-required",
        "Idempotency-Key",
        "",
    );
    for reserved in ["batch/1", "signal:1"] {
        let request = desk.request(&id, "retry", &json!({}));
        let answer = send(request.header("idempotency-key", reserved)).await;
        expect_problem(&answer, 400, "invalid-header", "Idempotency-Key", "");
    }
    for verb in ["retry", "compensate", "pause", "resume", "abandon"] {
        let ended = desk.tell(&id, verb).await;
        expect_problem(&ended, 409, "conflict", "", "COMPLETED");
        let nobody = desk.tell(NOBODY, verb).await;
        expect_problem(&nobody, 404, "not-found", "", NOBODY);
    }
    let nonsense = desk.tell("not-an-id", "retry").await;
    expect_problem(&nonsense, 404, "not-found", "", "");
    let unknown = desk.tell(&id, "restart").await;
    expect_problem(&unknown, 404, "unknown-path", "", "");
    assert_eq!(desk.commands(&id).await, Vec::<Value>::new());
}

#[tokio::test]
async fn bad_batches_are_4xx_that_name_what_is_wrong() {
    let desk = Desk::open().await;
    let parked = json!({ "state": "PARKED" });
    for (body, field) in [
        (json!({ "verb": "retry" }), "filter"),
        (json!({ "verb": "retry", "filter": {} }), "filter"),
        (
            json!({ "verb": "retry", "filter": { "created_from": "2026-01-01T00:00:00Z" } }),
            "filter",
        ),
        (json!({ "filter": parked }), "verb"),
        (json!({ "verb": "restart", "filter": parked }), "verb"),
        (
            json!({ "verb": "retry", "filter": { "state": "LOST" } }),
            "filter.state",
        ),
        (
            json!({ "verb": "retry", "filter": { "status": "PARKED" } }),
            "filter.status",
        ),
        (
            json!({ "verb": "retry", "filter": { "state": "PARKED", "created_before": "now" } }),
            "filter.created_before",
        ),
        (
            json!({ "verb": "retry", "filter": parked, "per_second": 0 }),
            "per_second",
        ),
        (
            json!({ "verb": "retry", "filter": parked, "per_second": 1_000_000 }),
            "per_second",
        ),
        (
            json!({ "verb": "skip", "filter": parked, "output": 1 }),
            "step",
        ),
        (
            json!({ "verb": "retry", "filter": parked, "actor": "bob" }),
            "actor",
        ),
    ] {
        for query in ["", "?dry_run=true"] {
            let answer = desk.batch(query, &desk.key(), &body).await;
            println!("{body} {}", answer.text);
            expect_problem(&answer, 422, "invalid-field", field, "");
        }
    }
    let ended = json!({ "verb": "retry", "filter": { "state": "COMPLETED" } });
    let answer = desk.batch("", &desk.key(), &ended).await;
    answer.expect_problem(422, "invalid-field");
    let url = format!("{}/v1/batches", desk.shop.operators);
    let good = Desk::body(&json!({ "verb": "retry", "filter": parked }));
    let keyless = send(desk.shop.operators().post(&url).json(&good)).await;
    expect_problem(
        &keyless,
        400,
        "idempotency-key-required",
        "Idempotency-Key",
        "",
    );
    let version = desk
        .shop
        .operators()
        .post(&url)
        .json(&good)
        .header("if-match", "\"1\"");
    let version = send(version.header("idempotency-key", desk.key())).await;
    expect_problem(&version, 400, "invalid-header", "If-Match", "");
    assert_eq!(desk.look("batches").await["batches"], json!([]));
    for path in [
        "batches/7",
        "batches/x",
        "batches/7/commands",
        "commands/7",
        "commands/x",
    ] {
        let answer = get(
            desk.shop.operators(),
            format!("{}/v1/{path}", desk.shop.operators),
        )
        .await;
        expect_problem(&answer, 404, "not-found", "", "");
    }
    let stopped = send(desk.shop.operators().post(format!("{url}/7/stop"))).await;
    expect_problem(&stopped, 404, "not-found", "", "");
}

#[tokio::test]
async fn bad_parameters_of_lists_are_4xx_that_name_them() {
    let desk = Desk::open().await;
    for (path, field) in [
        ("workflows?from=yesterday", "from"),
        ("workflows?before=1", "before"),
        ("workflows?step=", "step"),
        ("workflows?sale=a&label=b", "label"),
        ("workflows?cursor=1", "cursor"),
        ("commands?workflow=x", "workflow"),
        ("commands?before=-1", "before"),
        ("commands?limit=0", "limit"),
        ("audit?actor=alice", "actor"),
        ("batches?before=x", "before"),
        ("batches?limit=501", "limit"),
        ("errors?limit=x", "limit"),
    ] {
        let answer = get(
            desk.shop.operators(),
            format!("{}/v1/{path}", desk.shop.operators),
        )
        .await;
        println!("{path} {}", answer.text);
        expect_problem(&answer, 400, "invalid-parameter", field, "");
    }
}
