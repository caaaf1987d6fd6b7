//! Whatever is sent, the answer is a 4xx in JSON with a code, and the ledger stays empty.

use loadtest::gateway_simulator::{GatewaySimulator, Settings, StartError};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{PATIENCE, Shop, order, read, settings};

async fn refused(request: RequestBuilder, status: StatusCode, code: &str) {
    let (got, body) = read(request.send().await.expect("an answer")).await;
    assert_eq!((got, &body["code"]), (status, &json!(code)), "{body}");
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty()),
        "{body}"
    );
}

fn changed(field: &str, value: Value) -> Value {
    let mut body = order("o1", "tok-ok");
    body[field] = value;
    body
}

#[tokio::test]
async fn bad_approvals_are_refused() {
    let shop = Shop::open(settings()).await;
    let bodies = [
        json!(null),
        json!([]),
        json!({}),
        json!(["o1", 1_000, "KRW", "tok-ok"]),
        changed("amount", json!(0)),
        changed("amount", json!(-1)),
        changed("amount", json!(1.5)),
        changed("amount", json!("1000")),
        changed("amount", json!(1_000_000_000_001_u64)),
        changed("amount", json!(i64::MAX)),
        changed("amount", json!(u64::MAX)),
        changed("amount", json!(1e30)),
        changed("currency", json!("krw")),
        changed("currency", json!("KRWX")),
        changed("currency", json!("")),
        changed("order_id", json!("")),
        changed("order_id", json!("a b")),
        changed("order_id", json!("x".repeat(65))),
        changed("order_id", json!("한글")),
        changed("payment_token", json!("")),
        changed("payment_token", json!("t".repeat(257))),
        changed("payment_token", json!("tok\n")),
        changed("surprise", json!(1)),
    ];
    for body in bodies {
        let request = shop
            .client
            .post(shop.url("/v1/payments/approve"))
            .header("idempotency-key", "k");
        refused(
            request.json(&body),
            StatusCode::BAD_REQUEST,
            "invalid-request",
        )
        .await;
    }
    assert_eq!(shop.summary().await.orders, 0);
    assert_eq!(
        shop.approve("k", &order("o1", "tok-ok")).await.0,
        StatusCode::OK,
        "a refused key is not used up"
    );
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let shop = Shop::open(settings()).await;
    let post = || {
        shop.client
            .post(shop.url("/v1/payments/approve"))
            .header("idempotency-key", "k")
    };
    let json = |body: Vec<u8>| post().header("content-type", "application/json").body(body);
    for body in [
        &b""[..],
        b"{",
        b"\xff\xfe",
        b"{\"order_id\":\"\xff\"}",
        b"{}{}",
    ] {
        refused(
            json(body.to_vec()),
            StatusCode::BAD_REQUEST,
            "invalid-request",
        )
        .await;
    }
    refused(
        json(vec![b' '; 1 << 20]),
        StatusCode::PAYLOAD_TOO_LARGE,
        "body-too-large",
    )
    .await;
    let text = order("o1", "tok-ok").to_string();
    let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    refused(
        post().body(text.clone()),
        unsupported,
        "unsupported-media-type",
    )
    .await;
    refused(
        post().header("content-type", "text/plain").body(text),
        unsupported,
        "unsupported-media-type",
    )
    .await;
}

#[tokio::test]
async fn a_missing_empty_doubled_or_huge_key_is_refused() {
    let shop = Shop::open(settings()).await;
    let post = || {
        shop.client
            .post(shop.url("/v1/payments/approve"))
            .json(&order("o1", "tok-ok"))
    };
    let missing = "missing-idempotency-key";
    refused(post(), StatusCode::BAD_REQUEST, missing).await;
    for key in ["", "a b", "é", &"k".repeat(256)] {
        refused(
            post().header("idempotency-key", key),
            StatusCode::BAD_REQUEST,
            missing,
        )
        .await;
    }
    let doubled = post()
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    refused(doubled, StatusCode::BAD_REQUEST, missing).await;
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let shop = Shop::open(settings()).await;
    let paths = [
        "/v1/payments",
        "/v1/payments?order_id=",
        "/v1/payments?order_id=a%20b",
        "/v1/payments?order_id=%FF",
        "/v1/payments?order_id=a&surprise=1",
        "/v1/ledger?limit=0",
        "/v1/ledger?limit=1001",
        "/v1/ledger?limit=-1",
        "/v1/ledger?cursor=x",
        "/v1/ledger/orders?cursor=99999999999999999999999",
    ];
    for path in paths {
        refused(
            shop.client.get(shop.url(path)),
            StatusCode::BAD_REQUEST,
            "invalid-request",
        )
        .await;
    }
    let beyond = shop.get("/v1/ledger?cursor=18446744073709551615").await;
    assert_eq!(
        beyond,
        (
            StatusCode::OK,
            json!({ "entries": [], "next_cursor": null })
        )
    );
    refused(
        shop.client.get(shop.url("/v2")),
        StatusCode::NOT_FOUND,
        "unknown-path",
    )
    .await;
    let delete = shop.client.request(Method::DELETE, shop.url("/v1/rules"));
    refused(delete, StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed").await;
    let cancel = shop
        .client
        .post(shop.url("/v1/payments/%FF/cancel"))
        .header("idempotency-key", "k");
    let cancel = cancel.json(&json!({ "amount": 1, "expected_rest_amount": 0 }));
    refused(cancel, StatusCode::BAD_REQUEST, "invalid-request").await;
}

#[tokio::test]
async fn it_is_alive_and_says_which_port_it_got() {
    let shop = Shop::open(settings()).await;
    assert_eq!(
        shop.get("/livez").await,
        (StatusCode::OK, json!({ "status": "ok" }))
    );
    assert_ne!(shop.running.local_addr().port(), 0);
    let taken = Settings {
        address: shop.running.local_addr(),
        ..settings()
    };
    let refused = GatewaySimulator::bind(taken).await;
    assert!(
        matches!(refused, Err(StartError::Listen { .. })),
        "{refused:?}"
    );
    let address = shop.running.local_addr();
    let stopped = shop.running.shutdown(PATIENCE).await;
    stopped.expect("it stops in time");
    // On a connection of its own: one that the client kept may break in the middle of a request instead.
    let refused = TcpStream::connect(address).await;
    assert!(refused.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_full_ledger_refuses_new_payments_and_repeats_old_answers() {
    let shop = Shop::open(Settings {
        entries_max: 1,
        ..settings()
    })
    .await;
    let first = shop.approve("k1", &order("o1", "tok-ok")).await;
    let (status, body) = shop.approve("k2", &order("o2", "tok-ok")).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("ledger-full"))
    );
    assert_eq!(shop.approve("k1", &order("o1", "tok-ok")).await, first);
}
