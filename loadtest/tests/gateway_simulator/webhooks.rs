//! What the shop is told: signed, as often as needed, and wrongly where a rule says so.

use loadtest::gateway_simulator::{BadTarget, Rules, Settings, WebhookCounts, WebhookTarget, sign};
use reqwest::StatusCode;
use serde_json::json;

use crate::receiver::{Received, Receiver, SECRET};
use crate::{NOW, PATIENCE, Shop, order, reservation, settings};

fn told(kind: &str, order_id: &str) -> (String, String) {
    (format!("payment.{kind}"), order_id.to_owned())
}

async fn shop_telling(till: &Receiver) -> Shop {
    let rules = Rules {
        webhook_late_ms: 600_000,
        ..Rules::default()
    };
    Shop::open(till.told_by(Settings {
        rules,
        ..settings()
    }))
    .await
}

#[tokio::test]
async fn each_thing_that_happens_is_told_once_and_signed() {
    let till = Receiver::open(0).await;
    let shop = shop_telling(&till).await;
    let authorization = shop.authorised("o1").await;
    till.at_least(1).await;
    shop.approve("k1", &order("o1", &authorization)).await;
    till.at_least(2).await;
    shop.cancel("k2", "pay-1", 400, 600).await;
    till.at_least(3).await;
    shop.approve("k3", &order("o2", "tok-declined")).await;
    let received = till.at_least(4).await;
    assert_eq!(
        till.whats(4).await,
        [
            told("authorised", "o1"),
            told("captured", "o1"),
            told("cancelled", "o1"),
            told("declined", "o2")
        ]
    );
    for webhook in &received {
        assert_eq!(
            webhook.signature,
            sign(&[SECRET], &webhook.body, NOW / 1_000_000)
        );
    }
    let events: Vec<_> = received.iter().map(Received::event).collect();
    assert_eq!(events[0]["authorization"], json!(authorization));
    assert_eq!(
        (&events[1]["payment_id"], &events[1]["amount"]),
        (&json!("pay-1"), &json!(1_000))
    );
    assert_eq!(events[2]["amount"], 400);
    assert_eq!(events[3]["decline"]["code"], "insufficient-funds");
    for event in &events {
        assert_eq!(event["currency"], "KRW");
        assert_eq!(event["created_at"], "2026-01-01T00:00:00Z");
    }

    // Repeats are told nobody.
    shop.approve("k1", &order("o1", &authorization)).await;
    shop.cancel("k2", "pay-1", 400, 600).await;
    shop.running
        .shutdown(PATIENCE)
        .await
        .expect("it stops in time");
    assert_eq!(till.received().len(), 4);
}

#[tokio::test]
async fn a_decline_on_the_page_is_told() {
    let till = Receiver::open(0).await;
    let shop = shop_telling(&till).await;
    let id = shop.reserved("o1").await;
    shop.decide(&id, &json!({ "decision": "decline" })).await;
    let event = till.at_least(1).await[0].event();
    assert_eq!(
        (&event["type"], &event["decline"]["code"]),
        (&json!("payment.declined"), &json!("declined-by-buyer"))
    );
}

#[tokio::test]
async fn a_refused_webhook_is_sent_again_with_the_same_id() {
    let till = Receiver::open(2).await;
    let shop = shop_telling(&till).await;
    shop.approve("k1", &order("o1", "tok-ok")).await;
    let received = till.at_least(3).await;
    assert_eq!(received[0].event(), received[2].event());
    shop.running
        .shutdown(PATIENCE)
        .await
        .expect("it stops in time");
    assert_eq!(till.received().len(), 3);
}

#[tokio::test]
async fn a_webhook_that_nobody_takes_is_given_up() {
    let till = Receiver::open(u32::MAX).await;
    let shop = shop_telling(&till).await;
    shop.approve("k1", &order("o1", "tok-ok")).await;
    till.at_least(5).await;
    shop.running
        .set_rules(Rules::default())
        .expect("it still follows rules");
    let given_up = async {
        while shop.get("/v1/webhooks").await.1["given_up"] != 1 {}
        shop.running.webhook_counts()
    };
    let counts = tokio::time::timeout(PATIENCE, given_up)
        .await
        .expect("it is given up");
    let expected = WebhookCounts {
        accepted: 1,
        failed_attempts: 5,
        given_up: 1,
        ..WebhookCounts::default()
    };
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn webhook_lost() {
    let till = Receiver::open(0).await;
    let shop = shop_telling(&till).await;
    shop.approve("k1", &order("o1", "tok-webhook-lost")).await;
    shop.approve("k2", &order("o2", "tok-ok")).await;
    assert_eq!(till.whats(1).await, [told("captured", "o2")]);
    let counts = shop.get("/v1/webhooks").await.1;
    assert_eq!(
        (&counts["lost"], &counts["accepted"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn webhook_duplicated() {
    let till = Receiver::open(0).await;
    let shop = shop_telling(&till).await;
    shop.approve("k1", &order("o1", "tok-webhook-duplicated"))
        .await;
    let received = till.at_least(2).await;
    assert_eq!(received[0].body, received[1].body);
}

#[tokio::test]
async fn webhook_reordered() {
    let till = Receiver::open(0).await;
    let shop = shop_telling(&till).await;
    let id = shop.reserved("o1").await;
    let decision = json!({ "decision": "authorise", "rule": "webhook-reordered" });
    let authorization = shop.decide(&id, &decision).await.1["authorization"].clone();
    let authorization = authorization.as_str().expect("one");
    shop.approve("k1", &order("o1", authorization)).await;
    assert_eq!(
        till.whats(2).await,
        [told("captured", "o1"), told("authorised", "o1")]
    );
}

#[tokio::test]
async fn webhook_reordered_is_sent_alone_when_nothing_follows() {
    let till = Receiver::open(0).await;
    let rules = Rules {
        webhook_late_ms: 10,
        ..Rules::default()
    };
    let shop = Shop::open(till.told_by(Settings {
        rules,
        ..settings()
    }))
    .await;
    shop.approve("k1", &order("o1", "tok-webhook-reordered"))
        .await;
    till.at_least(1).await;
}

#[tokio::test]
async fn webhook_early() {
    let till = Receiver::open(0).await;
    let shop = shop_telling(&till).await;
    for n in 0..20 {
        let (key, order_id) = (format!("k{n}"), format!("o{n}"));
        shop.approve(&key, &order(&order_id, "tok-webhook-early"))
            .await;
        let received = till.received();
        assert_eq!(received.len(), n + 1, "it is there before the answer");
        assert_eq!(received[n].what(), told("captured", &order_id));
    }
}

#[tokio::test]
async fn webhook_late() {
    let till = Receiver::open(0).await;
    let shop = shop_telling(&till).await;
    shop.approve("k1", &order("o1", "tok-webhook-late")).await;
    shop.approve("k2", &order("o2", "tok-ok")).await;
    assert_eq!(till.whats(1).await, [told("captured", "o2")]);
    // Stopping ends every wait, and sends what is left once.
    shop.running
        .shutdown(PATIENCE)
        .await
        .expect("it stops in time");
    assert_eq!(
        till.whats(2).await,
        [told("captured", "o2"), told("captured", "o1")]
    );
}

#[tokio::test]
async fn a_reservation_may_have_a_webhook_url_of_its_own() {
    let (till, own) = (Receiver::open(0).await, Receiver::open(0).await);
    let shop = shop_telling(&till).await;
    let mut body = reservation("o1");
    body["webhook_url"] = json!(own.url);
    let id = shop.reserve("k1", &body).await.1["reservation_id"].clone();
    let id = id.as_str().expect("an id");
    let decided = shop.decide(id, &json!({ "decision": "authorise" })).await.1;
    let authorization = decided["authorization"].as_str().expect("one");
    shop.approve("k2", &order("o1", authorization)).await;
    own.at_least(2).await;
    assert!(till.received().is_empty());
}

#[tokio::test]
async fn a_gateway_without_a_secret_sends_nothing_until_it_has_one() {
    let till = Receiver::open(0).await;
    let shop = Shop::open(settings()).await;
    let mut body = reservation("o1");
    body["webhook_url"] = json!(till.url);
    assert_eq!(shop.reserve("k1", &body).await.0, StatusCode::BAD_REQUEST);
    shop.approve("k2", &order("o2", "tok-ok")).await;
    shop.running.set_webhooks(Some(till.target()));
    shop.approve("k3", &order("o3", "tok-ok")).await;
    assert_eq!(till.whats(1).await, [told("captured", "o3")]);
}

#[test]
fn a_target_that_can_be_guessed_or_not_be_called_is_refused() {
    let target = |url: &str, secret: &str| WebhookTarget::new(url, [secret]).map(|_| ());
    assert_eq!(target("http://shop/hook", SECRET), Ok(()));
    for url in [
        "",
        "/hook",
        "https://shop/hook",
        "ftp://shop",
        "http://a:b@shop/",
    ] {
        assert_eq!(target(url, SECRET), Err(BadTarget::Url), "{url}");
    }
    assert_eq!(target("http://shop/", "short"), Err(BadTarget::Secret));
    let none: [&str; 0] = [];
    let without = WebhookTarget::new("http://shop/", none).map(|_| ());
    assert_eq!(without, Err(BadTarget::Secret));
    let target = WebhookTarget::new("http://shop/", [SECRET]).expect("a target");
    assert!(!format!("{target:?}").contains(SECRET));
}
