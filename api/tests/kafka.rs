//! The topic holds every journal event, in order per workflow, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::outbox::EventBus as _;
use engine::outbox::kafka::{KafkaBus, KafkaSettings};
use engine::store::StoredEvent;
use engine::{Runtime, WorkflowId};
use loadtest::driver::Progress;
use serde_json::Value;

use crate::support::servers::Servers;
use crate::support::shop::{Shop, visit};
use crate::support::topic::{Arrived, Listener, taken};
use crate::support::{PATIENCE, seed, unique};

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
    shop.all_is_published().await;

    let journal = journal(&shop).await;
    let expected: usize = journal.values().map(Vec::len).sum();
    assert!(expected > 100, "a load that says little: {expected} events");
    let heard = Listener::to_what_is_there(&servers).await.heard().await;
    for (workflow, events) in &journal {
        let on_topic = taken(&heard, workflow);
        let seen: Vec<(u64, String)> = on_topic
            .iter()
            .map(|event| (event.seq, kind_of(event)))
            .collect();
        assert_eq!(&seen, events, "{workflow}");
    }
    let published: BTreeSet<&String> = heard.iter().map(|event| &event.workflow).collect();
    assert_eq!(
        published,
        journal.keys().collect(),
        "only our workflows are on the topic"
    );
}

/// The journal of each workflow, as the operators' API tells it.
async fn journal(shop: &Shop) -> BTreeMap<String, Vec<(u64, String)>> {
    let mut journal = BTreeMap::new();
    for state in ["COMPLETED", "COMPENSATED", "PARKED", "WAITING"] {
        for workflow in shop.workflows(state).await {
            let id = workflow["id"].as_str().expect("an id").to_owned();
            let events = shop.look(&format!("workflows/{id}/events?limit=500")).await;
            let events = events["events"].as_array().expect("events").iter();
            let event = |event: &Value| {
                let kind = ends_or(event, &event["type"]);
                (event["seq"].as_u64().expect("a number"), kind)
            };
            journal.insert(id, events.map(event).collect());
        }
    }
    journal
}

/// What kind of event it is, by its value; its headers say the same.
fn kind_of(event: &Arrived) -> String {
    let record = event.value.as_ref().expect("a value");
    let kind = ends_or(record, &record["event"]["type"]);
    assert_eq!(event.headers["ce_specversion"], "1.0");
    let header = &event.headers["ce_type"];
    assert!(header.ends_with(&kind), "{header} is not {kind}");
    assert_eq!(record["seq"], event.seq, "{record}");
    kind
}

/// An event that ends its workflow is published as that.
fn ends_or(record: &Value, kind: &Value) -> String {
    let kind = record["ends"].as_str().or(kind.as_str());
    kind.expect("a type").to_owned()
}

#[tokio::test]
async fn an_event_of_a_node_whose_clock_was_ahead_holds_nobody_up() {
    let Some(servers) = Servers::from_environment() else {
        return;
    };
    let settings = KafkaSettings {
        brokers: servers.kafka_brokers.clone(),
        topic: servers.topic.clone(),
        delivery_timeout: PATIENCE,
    };
    let bus = KafkaBus::new(&settings).expect("a bus");
    let now = Runtime::system().now();
    let event = |seq, at| StoredEvent {
        workflow: WorkflowId::from_bytes([7; 16]),
        seq,
        partition_seq: seq.into(),
        kind: "step-done".to_owned(),
        at,
        payload: Arc::from("{}"),
    };
    let ahead = now.after(Duration::from_hours(48));
    let events = [event(1, now), event(2, ahead), event(3, now)];
    let refused = bus.publish(&events).await.expect("acknowledged");
    assert!(refused.is_empty(), "{refused:?}");
    let heard = Listener::to_what_is_there(&servers).await.heard().await;
    let came: Vec<(u64, &str)> = heard
        .iter()
        .map(|event| (event.seq, event.headers["ce_time"].as_str()))
        .collect();
    assert_eq!(came.len(), 3, "{came:?}");
    assert!(came[1].1 > came[0].1, "it says when it happened: {came:?}");
}
