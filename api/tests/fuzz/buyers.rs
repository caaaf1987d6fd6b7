//! Whatever is sent to the buyers' address.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::Runtime;
use serde_json::json;
use tokio::runtime::Handle;
use workflows::ports::webhook::sign;

use super::mutate::Target;
use super::wire::{Request, bearer, exchange, header};
use super::{Door, fuzz, is_sound};
use crate::support::process::ServeSettings;
use crate::support::servers::WEBHOOK_SECRET;
use crate::support::shop::Shop;

/// Silence of so long is no answer: the rest of the request is waited for.
const SILENCE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn whatever_a_buyer_sends_is_taken_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path());
    let server = settings
        .with("HOLDFAST_WEBHOOK_SECRET", WEBHOOK_SECRET)
        .start()
        .await;
    let shop = Shop::open(&server, "open", 1_000, 1_000).await;
    let (token, id) = shop.bought("k", "tok-1").await;
    shop.settled(&token, &id).await;
    let other = shop.token().await;
    let door = Door::of(&shop.buyers);
    let json = header("content-type", b"application/json");
    let keys = AtomicU64::new(0);
    let key = || {
        header(
            "idempotency-key",
            keys.fetch_add(1, Ordering::Relaxed).to_string().as_bytes(),
        )
    };
    let post = |target: &str, headers: Vec<Vec<u8>>, body: &[u8]| {
        door.judge(&Request {
            method: "POST",
            target: target.as_bytes(),
            headers,
            body: Some(body),
        })
    };
    let get = |target: &[u8], headers: Vec<Vec<u8>>| {
        door.judge(&Request {
            method: "GET",
            target,
            headers,
            body: None,
        })
    };

    let words = [
        "\"sale\"",
        "\"open\"",
        "\"lines\"",
        "\"mug\"",
        "\"campaign\"",
        "\"redirect\"",
        "\"address\"",
        "\"zip\"",
    ];
    let made = vec![shop.order("tok-1").to_string().into_bytes()];
    fuzz(
        Target {
            made,
            one_in: 4,
            ..Target::new("purchase", &words)
        },
        |body| {
            post(
                "/v1/purchases",
                vec![bearer(&other), json.clone(), key()],
                body,
            )
        },
    );
    let body = shop.order("tok-1").to_string();
    let words = ["k", "signal:", "batch/", "\u{e9}", "\t", "\"k\"", ", "];
    fuzz(
        Target {
            one_in: 8,
            ..Target::new("key", &words)
        },
        |key| {
            let headers = vec![bearer(&token), json.clone(), header("idempotency-key", key)];
            // The buyer has had what a buyer may have: any good key is answered with that.
            let request = Request {
                method: "POST",
                target: b"/v1/purchases",
                headers,
                body: Some(body.as_bytes()),
            };
            let answered = door.answer(&request)?;
            answered
                .judge()
                .map(|is_taken| is_taken || answered.status == 409)
        },
    );
    let words = [
        "wait=",
        "for=",
        "payment",
        "10s",
        "0ms",
        "30001ms",
        "&",
        "%",
        "%00",
        "+",
        "18446744073709551615d",
    ];
    let target = Target {
        one_in: 4,
        ..Target::new("wait", &words)
    };
    fuzz(target, |query| {
        get(
            &[format!("/v1/purchases/{id}?").as_bytes(), query].concat(),
            vec![bearer(&token)],
        )
    });
    let words = [
        "cursor=",
        "limit=",
        "100",
        ".",
        &id,
        "-9223372036854775808",
        "%2e",
        "&",
    ];
    let made = vec![format!("cursor=1767225600000000.{id}&limit=5").into_bytes()];
    fuzz(
        Target {
            made,
            one_in: 4,
            ..Target::new("paging", &words)
        },
        |query| {
            get(
                &[b"/v1/me/purchases?", query].concat(),
                vec![bearer(&token)],
            )
        },
    );
    let words = [
        "sales/",
        "open",
        "purchases/",
        "..",
        "%2e%2e",
        "%2f",
        "//",
        "\\",
        "\u{e9}",
        "%ff",
        "events",
    ];
    let made = vec![format!("purchases/{id}").into_bytes()];
    fuzz(
        Target {
            made,
            one_in: 4,
            ..Target::new("path", &words)
        },
        |path| get(&[b"/v1/", path].concat(), vec![bearer(&token)]),
    );
    let words = ["1-0", "-", "0", "18446744073709551616"];
    fuzz(
        Target {
            one_in: 8,
            ..Target::new("last-event-id", &words)
        },
        |id| get(b"/v1/sales/open/events", vec![header("last-event-id", id)]),
    );
    let words = ["\"refresh_token\"", "\".\"", "\"a.b.c\""];
    fuzz(
        Target {
            one_in: 8,
            ..Target::new("refresh", &words)
        },
        |body| post("/v1/auth/refresh", vec![json.clone()], body).map(|_| true),
    );
    let words = ["\"authorization\"", "\"auth-1\""];
    fuzz(
        Target {
            one_in: 8,
            ..Target::new("confirm", &words)
        },
        |body| {
            let target = format!("/v1/purchases/{id}/confirm");
            post(&target, vec![bearer(&token), json.clone()], body).map(|_| true)
        },
    );
    let event = json!({
        "id": "evt-1", "type": "payment.authorised", "order_id": id, "authorization": "auth-1",
        "amount": 10_000, "currency": "KRW", "created_at": "2026-01-01T00:00:00Z",
    });
    let words = [
        "\"payment.declined\"",
        "\"payment.captured\"",
        "\"decline\"",
        "\"payment_id\"",
        "\"order_id\"",
    ];
    let made = vec![event.to_string().into_bytes()];
    fuzz(
        Target {
            made,
            one_in: 4,
            ..Target::new("webhook", &words)
        },
        |body| {
            let signature = sign(&[WEBHOOK_SECRET], body, Runtime::system().now());
            post(
                "/v1/payments/webhook",
                vec![header("webhook-signature", signature.as_bytes())],
                body,
            )
        },
    );
    let words = [
        "host: shop\r\n",
        "content-length: 5\r\n",
        "transfer-encoding: chunked\r\n",
        "expect: 100-continue\r\n",
        "connection: upgrade\r\n",
        "upgrade: h2c\r\n",
        "content-length: -1\r\n",
        "ffffffffffffffff\r\n",
        "HTTP/1.0",
        "HTTP/2.0",
        "\r\n",
    ];
    fuzz(
        Target {
            one_in: 8,
            ..Target::new("request", &words)
        },
        |bytes| match Handle::current().block_on(exchange(&door.address, bytes, SILENCE)) {
            Some(answered) => answered.judge(),
            None => Ok(false),
        },
    );

    let (late, id) = shop.bought("late", "tok-1").await;
    shop.settled(&late, &id).await;
    is_sound(server).await;
}
