//! Whatever an admin sends to the operators' address.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::mutate::Target;
use super::wire::{Request, bearer, header};
use super::{Door, fuzz, is_sound};
use crate::support::process::ServeSettings;
use crate::support::shop::{Shop, seed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn whatever_an_operator_sends_is_taken_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let mut sale = seed("open", 1_000, 1_000);
    let cap = json!({ "product": "cap", "name": "A cap", "unit_price": 1, "stock": 9, "serials": "pool" });
    sale["products"].as_array_mut().expect("a list").push(cap);
    let shop = Shop::open_for(&server, &sale).await;
    let (token, id) = shop.bought("k", "tok-1").await;
    shop.settled(&token, &id).await;
    let door = Door::of(&shop.operators);
    let admin = bearer(shop.operator_token());
    let json = header("content-type", b"application/json");
    let keys = AtomicU64::new(0);
    let key = || {
        header(
            "idempotency-key",
            keys.fetch_add(1, Ordering::Relaxed).to_string().as_bytes(),
        )
    };
    let post = |target: &str, body: &[u8]| {
        let headers = vec![admin.clone(), json.clone(), key()];
        door.judge(&Request {
            method: "POST",
            target: target.as_bytes(),
            headers,
            body: Some(body),
        })
    };
    let get = |start: &str, query: &[u8]| {
        let target = [start.as_bytes(), query].concat();
        door.judge(&Request {
            method: "GET",
            target: &target,
            headers: vec![admin.clone()],
            body: None,
        })
    };

    let words = [
        "state=",
        "WAITING",
        "definition=",
        "reason=",
        "sale=",
        "step=",
        "from=",
        "before=",
        "limit=",
        "cursor=",
        "2026-01-01T00:00:00Z",
        "+f",
        "%00",
        "%ff",
        "&",
    ];
    let target = Target {
        one_in: 2,
        ..Target::new("workflows", &words)
    };
    fuzz(target, |query| get("/v1/workflows?", query));
    let words = ["after=", "limit=", "4294967296", "500", "&"];
    let target = Target {
        one_in: 8,
        ..Target::new("events", &words)
    };
    fuzz(target, |query| {
        get(&format!("/v1/workflows/{id}/events?"), query)
    });
    let words = [
        "before=",
        "limit=",
        "workflow=",
        "batch=",
        "9223372036854775808",
        &id,
        "&",
    ];
    let target = Target {
        one_in: 8,
        ..Target::new("commands", &words)
    };
    fuzz(target, |query| get("/v1/commands?", query));
    let words = [
        "workflows/",
        "batches/",
        "sales/",
        "commands/",
        "definitions/",
        "purchase",
        "18446744073709551615",
        "..",
        "%2f",
        "%00",
    ];
    let target = Target {
        one_in: 4,
        ..Target::new("things", &words)
    };
    fuzz(target, |path| get("/v1/", path));
    let words = [
        "\"reason\"",
        "\"step\"",
        "\"output\"",
        "\"done\"",
        "\"undone\"",
        "\"refused\"",
        "\"payload\"",
        "\"payment\"",
    ];
    let target = Target {
        one_in: 4,
        ..Target::new("order", &words)
    };
    fuzz(target, |body| {
        for verb in ["skip", "resolve", "signal"] {
            // It has ended: a good order is a conflict.
            post(&format!("/v1/workflows/{id}/{verb}"), body)?;
        }
        Ok(true)
    });
    let words = [
        "\"filter\"",
        "\"verb\"",
        "\"retry\"",
        "\"per_second\"",
        "\"state\"",
        "\"PARKED\"",
        "\"created_from\"",
    ];
    let target = Target {
        one_in: 4,
        ..Target::new("batch", &words)
    };
    fuzz(target, |body| post("/v1/batches?dry_run=true", body));
    let words = ["\"12\"", "W/", "*", "\"4294967296\"", "\"", ", "];
    fuzz(
        Target {
            one_in: 8,
            ..Target::new("if-match", &words)
        },
        |version| {
            let headers = vec![
                admin.clone(),
                json.clone(),
                key(),
                header("if-match", version),
            ];
            let target = format!("/v1/workflows/{id}/pause");
            let body = Some(&br#"{"reason":"a test"}"#[..]);
            door.judge(&Request {
                method: "POST",
                target: target.as_bytes(),
                headers,
                body,
            })
            .map(|_| true)
        },
    );
    let words = [
        "\"sale\"",
        "\"products\"",
        "\"campaigns\"",
        "\"percent\"",
        "\"serials\"",
        "\"hold_seconds\"",
    ];
    let made = vec![seed("another", 1, 1).to_string().into_bytes()];
    fuzz(
        Target {
            made,
            one_in: 4,
            ..Target::new("sale", &words)
        },
        |body| post("/v1/sales", body),
    );
    let words = [
        "\"revision\"",
        "\"opens_at\"",
        "\"closes_at\"",
        "\"cancelled\"",
    ];
    let target = Target {
        one_in: 8,
        ..Target::new("schedule", &words)
    };
    fuzz(target, |body| {
        post("/v1/sales/another/schedule", body).map(|_| true)
    });
    let words = ["\"serials\"", "\"s-1\"", "\"\u{1f600}\""];
    let target = Target {
        one_in: 8,
        ..Target::new("serials", &words)
    };
    fuzz(target, |body| {
        post("/v1/sales/open/products/cap/serials", body)
    });

    let (late, id) = shop.bought("late", "tok-1").await;
    shop.settled(&late, &id).await;
    is_sound(server).await;
}
