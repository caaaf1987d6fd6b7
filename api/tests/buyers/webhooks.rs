//! Who may tell us something about payments: only who can sign, only for a while.

use std::time::Duration;

use engine::{Runtime, Timestamp};
use serde_json::json;
use workflows::ports::webhook::sign;

use super::till::{Till, authorised};
use crate::support::PATIENCE;
use crate::support::process::ServeSettings;
use crate::support::servers::WEBHOOK_SECRET;
use crate::support::shop::Shop;

#[tokio::test]
async fn a_webhook_that_is_not_signed_by_the_gateway_is_turned_away() {
    let till = Till::embedded(5).await;
    let (payer, page) = till.payer().await;
    let authorization = till.authorise(&page, "webhook-lost").await;
    let body = authorised("e-1", &payer.id, &authorization).to_string();
    let body = body.as_bytes();
    let now = Runtime::system().now();
    let minutes = |minutes: i64| Timestamp(now.0 + minutes * 60_000_000);
    let good = sign(&[WEBHOOK_SECRET], body, now);
    let mut other_body = body.to_vec();
    other_body.push(b' ');
    let cases: Vec<(&str, Option<String>, &[u8])> = vec![
        ("no signature", None, body),
        ("an empty one", Some(String::new()), body),
        ("no time", Some("v1=00".to_owned()), body),
        ("nonsense", Some("t=1,v1=zz".to_owned()), body),
        (
            "another secret",
            Some(sign(&["another secret that is long enough"], body, now)),
            body,
        ),
        ("another body", Some(good.clone()), &other_body),
        (
            "too old",
            Some(sign(&[WEBHOOK_SECRET], body, minutes(-6))),
            body,
        ),
        (
            "of the future",
            Some(sign(&[WEBHOOK_SECRET], body, minutes(6))),
            body,
        ),
        ("another time", Some(good.replacen("t=", "t=1", 1)), body),
    ];
    for (name, header, body) in cases {
        let answer = till.raw_webhook(header.as_deref(), body.to_vec()).await;
        println!("{name}: {}", answer.text);
        answer.expect_problem(401, "bad-signature");
    }
    let url = format!("{}/v1/purchases/{}", till.shop.buyers, payer.id);
    let purchase = crate::support::http::send(till.shop.http.get(url).bearer_auth(&payer.token));
    assert_eq!(purchase.await.body["stage"], "awaiting-payment");
    // One of several signatures is enough: the gateway changes its secret, too.
    let both = sign(
        &["a secret of tomorrow, long enough", WEBHOOK_SECRET],
        body,
        now,
    );
    let answer = till.raw_webhook(Some(&both), body.to_vec()).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(till.settled(&payer).await["stage"], "completed");
}

#[tokio::test]
async fn a_signed_webhook_that_makes_no_sense_is_a_4xx() {
    let till = Till::embedded(5).await;
    let (payer, _) = till.payer().await;
    let unknown = "00000001-0000-8000-8000-000000000000";
    for order in [unknown, "not-an-id", "x"] {
        let answer = till.webhook(&authorised("e", order, "auth")).await;
        answer.expect_problem(404, "not-found");
    }
    for body in [
        json!([]),
        json!("text"),
        json!({}),
        json!({ "id": "e", "type": "payment.authorised", "order_id": payer.id, "created_at": "2026-01-01T00:00:00Z" }),
        json!({ "id": "", "type": "payment.captured", "order_id": payer.id, "created_at": "now" }),
        json!({ "id": "e", "type": "payment.declined", "order_id": payer.id, "decline": 7, "created_at": "2026-01-01T00:00:00Z" }),
    ] {
        let answer = till.webhook(&body).await;
        answer.expect_problem(400, "malformed-body");
    }
    let large = vec![b' '; 64 * 1024 + 1];
    let answer = till.raw_webhook(None, large).await;
    answer.expect_problem(413, "body-too-large");
}

#[tokio::test]
async fn a_webhook_never_decides_about_money() {
    let till = Till::embedded(5).await;
    let (payer, _) = till.payer().await;
    // It says that all is paid, and names an authorisation that the gateway never gave.
    let captured = json!({
        "id": "e-1", "type": "payment.captured", "order_id": payer.id, "payment_id": "p-1",
        "amount": 10_000, "currency": "KRW", "created_at": "2026-01-01T00:00:00Z",
    });
    assert_eq!(till.webhook(&captured).await.status, 204);
    let invented = authorised("e-2", &payer.id, "auth-that-nobody-gave");
    assert_eq!(till.webhook(&invented).await.status, 204);
    let settled = till.settled(&payer).await;
    assert_ne!(settled["stage"], "completed", "{settled}");
    assert_eq!(settled["goods"], serde_json::Value::Null, "{settled}");
    assert_eq!(till.ledger_of(&payer.id).await[0], 0);
}

#[tokio::test]
async fn the_secret_before_is_believed_while_it_is_replaced() {
    const NEW: &str = "a new secret for tests that is long enough";
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path())
        .with("HOLDFAST_WEBHOOK_SECRET", NEW)
        .with("HOLDFAST_WEBHOOK_SECRET_PREVIOUS", WEBHOOK_SECRET)
        .start()
        .await;
    let shop = Shop::open(&server, "open", 5, 5).await;
    let (token, id) = shop.bought("k", "tok-1").await;
    shop.settled(&token, &id).await;
    let body = authorised("e", &id, "auth").to_string();
    for (secret, status) in [
        (NEW, 204),
        (WEBHOOK_SECRET, 204),
        ("neither of the two secrets, long", 401),
    ] {
        let now = Runtime::system().now().after(Duration::from_secs(1));
        let header = sign(&[secret], body.as_bytes(), now);
        let url = format!("{}/v1/payments/webhook", shop.buyers);
        let request = shop.http.post(url).header("webhook-signature", header);
        let answer = crate::support::http::send(request.body(body.clone())).await;
        assert_eq!(answer.status, status, "{secret}: {answer:?}");
    }
}

#[tokio::test]
async fn there_is_no_default_secret_where_a_real_gateway_signs() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing of this is asked before the settings are sound.
    let production = ServeSettings::embedded(folder.path())
        .with("DATABASE_URL", "mysql://root@127.0.0.1:1/none")
        .with("REDIS_URL", "redis://127.0.0.1:1")
        .with("KAFKA_BROKERS", "127.0.0.1:1")
        .with("PG_URL", "http://127.0.0.1:1")
        .with(
            "HOLDFAST_TOKEN_KEY",
            "a key for tests that is long enough to be taken",
        );
    let short = "short-and-secret";
    for settings in [
        production.clone(),
        production.clone().with("HOLDFAST_WEBHOOK_SECRET", short),
        production
            .with("HOLDFAST_WEBHOOK_SECRET", WEBHOOK_SECRET)
            .with("HOLDFAST_WEBHOOK_SECRET_PREVIOUS", short),
    ] {
        let (status, log) = settings.spawn().ended(PATIENCE).await;
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(log.contains("HOLDFAST_WEBHOOK_SECRET"), "{log}");
        assert!(!log.contains(short), "{log}");
    }
}
