//! The topic holds every journal event, in order per workflow, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use loadtest::driver::Progress;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use serde_json::Value;
use tokio::time::Instant;

use crate::support::http::get;
use crate::support::servers::Servers;
use crate::support::shop::{Shop, visit};
use crate::support::{PATIENCE, eventually, seed, unique};

/// What one message says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Published {
    seq: u64,
    kind: String,
    id: String,
}

#[tokio::test]
async fn every_journal_event_reaches_the_topic_in_order_and_nothing_else_does() {
    let Some(servers) = Servers::from_environment() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let server = servers.serve(folder.path()).start().await;
    let shop = Shop::open(&server, &unique("drop"), 30, 40).await;
    let report = visit(shop.crowd(80, seed()), Arc::new(Progress::default())).await;
    println!("{:?}", report.purchases);
    shop.quiet().await;
    eventually("every event to be published", || async {
        let counters = get(&shop.http, format!("{}/v1/counters", shop.operators))
            .await
            .body;
        (counters["unpublished"] == 0).then_some(())
    })
    .await;

    let journal = journal(&shop).await;
    let expected: usize = journal.values().map(Vec::len).sum();
    assert!(expected > 100, "a load that says little: {expected} events");
    let (brokers, topic) = (servers.kafka_brokers.clone(), servers.topic.clone());
    let published = tokio::task::spawn_blocking(move || consume(&brokers, &topic, expected))
        .await
        .unwrap();
    for (workflow, events) in &journal {
        let on_topic = published.get(workflow).cloned().unwrap_or_default();
        let seen: Vec<(u64, String)> = on_topic
            .iter()
            .map(|event| (event.seq, event.kind.clone()))
            .collect();
        assert_eq!(&seen, events, "{workflow}");
        for event in on_topic {
            assert!(
                event.id.contains(workflow.as_str()),
                "its id names its workflow: {event:?}"
            );
        }
    }
    assert_eq!(
        published.len(),
        journal.len(),
        "only our workflows are on the topic"
    );
}

/// The journal of each workflow, as the operators' API tells it.
async fn journal(shop: &Shop) -> BTreeMap<String, Vec<(u64, String)>> {
    let mut journal = BTreeMap::new();
    for state in ["COMPLETED", "COMPENSATED", "PARKED"] {
        for workflow in shop.workflows(state).await {
            let id = workflow["id"].as_str().expect("an id").to_owned();
            let events = get(
                &shop.http,
                format!("{}/v1/workflows/{id}/events?limit=500", shop.operators),
            )
            .await
            .body;
            let events = events["events"].as_array().expect("events").iter();
            let event = |event: &Value| {
                (
                    event["seq"].as_u64().expect("a number"),
                    // An event that ends its workflow is published as that.
                    event["ends"]
                        .as_str()
                        .or(event["type"].as_str())
                        .expect("a type")
                        .to_owned(),
                )
            };
            journal.insert(id, events.map(event).collect());
        }
    }
    journal
}

/// Reads the topic from its beginning until so many different events have come and no more do. Repeats are dropped, as
/// consumers drop them: by workflow and number.
fn consume(brokers: &str, topic: &str, expected: usize) -> BTreeMap<String, Vec<Published>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", unique("test"))
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    let mut published: BTreeMap<String, Vec<Published>> = BTreeMap::new();
    let (mut count, deadline) = (0, Instant::now() + PATIENCE);
    loop {
        // After the last expected one, a moment for what should not be there.
        let patience = if count < expected {
            Duration::from_secs(10)
        } else {
            Duration::from_millis(500)
        };
        let Some(message) = consumer.poll(patience) else {
            if count >= expected {
                return published;
            }
            assert!(
                Instant::now() < deadline,
                "{count} of {expected} events came"
            );
            continue;
        };
        let message = message.expect("a message");
        let (workflow, event) = read(&message);
        let events = published.entry(workflow).or_default();
        if events.iter().all(|earlier| earlier.seq != event.seq) {
            events.push(event);
            count += 1;
        }
    }
}

/// The key, and the CloudEvents headers against the value.
fn read(message: &BorrowedMessage<'_>) -> (String, Published) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let headers = message.headers().expect("headers");
    let header = |name: &str| {
        let found = headers.iter().find(|header| header.key == name);
        text(
            found
                .and_then(|header| header.value)
                .unwrap_or_else(|| panic!("no header {name}")),
        )
    };
    let record: Value = serde_json::from_slice(message.payload().expect("a value")).expect("JSON");
    // An event that ends its workflow is published as that.
    let kind = record["ends"]
        .as_str()
        .or(record["event"]["type"].as_str())
        .expect("a type")
        .to_owned();
    assert_eq!(header("ce_specversion"), "1.0");
    assert!(
        header("ce_type").ends_with(&kind),
        "{} is not {kind}",
        header("ce_type")
    );
    let workflow = text(message.key().expect("a key"));
    (
        workflow,
        Published {
            seq: record["seq"].as_u64().expect("a number"),
            kind,
            id: header("ce_id"),
        },
    )
}
