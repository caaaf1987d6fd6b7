//! The demo is what it says: a whole sale, checked, in one command.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::support::process::{Running, holdfast, run};
use crate::support::servers::Servers;

#[tokio::test]
async fn a_small_demo_sells_out_and_every_invariant_holds() {
    the_demo_holds(&BTreeMap::new()).await;
}

#[tokio::test]
async fn the_same_demo_on_real_servers() {
    let Some(servers) = Servers::from_environment() else {
        return;
    };
    the_demo_holds(&BTreeMap::from([
        ("DATABASE_URL".to_owned(), servers.database_url),
        ("REDIS_URL".to_owned(), servers.redis_url),
        ("KAFKA_BROKERS".to_owned(), servers.kafka_brokers),
        ("HOLDFAST_KAFKA_TOPIC".to_owned(), servers.topic),
    ]))
    .await;
}

async fn the_demo_holds(variables: &BTreeMap<String, String>) {
    let arguments = [
        "demo",
        "--buyers",
        "300",
        "--stock",
        "60",
        "--coupons",
        "60",
        "-o",
        "json",
    ];
    let output = run(&arguments, variables).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(!said.is_empty(), "no progress was shown");
    let result: Value =
        serde_json::from_slice(&output.stdout).expect("nothing but JSON on standard output");
    println!("{result:#}");
    let purchases = result["purchases"]
        .as_object()
        .expect("purchases by outcome");
    // What a declined buyer held may come back after the last one has left.
    let completed = purchases["completed"].as_u64().expect("a count");
    let declined = purchases.get("payment_declined").and_then(Value::as_u64);
    assert!(completed <= 60, "oversold: {result}");
    assert!(completed + declined.unwrap_or(0) >= 60, "{result}");
    assert_eq!(
        purchases.values().filter_map(Value::as_u64).sum::<u64>(),
        300,
        "{result}"
    );
    for figure in ["purchases_per_second", "p50_ms", "p99_ms"] {
        assert!(result[figure].as_f64() > Some(0.0), "{figure}: {result}");
    }
    let invariants = result["invariants"].as_array().expect("invariants");
    let ids: Vec<&str> = invariants
        .iter()
        .filter_map(|invariant| invariant["id"].as_str())
        .collect();
    assert_eq!(ids, ["I1", "I2", "I3", "I4", "I6", "I8"]);
    for invariant in invariants {
        assert!(
            invariant["checked"].as_u64() > Some(0),
            "it looked at nothing: {invariant}"
        );
        assert_eq!(
            invariant["violations"].as_array().map(Vec::len),
            Some(0),
            "{invariant}"
        );
    }
}

#[tokio::test]
async fn an_interrupted_demo_ends_cleanly() {
    let mut demo = Running::start(holdfast(
        &["demo", "--buyers", "100000", "--stock", "1000"],
        &BTreeMap::new(),
    ));
    let _ = demo.line_of_errors("  1 s").await;
    demo.signal("INT").await;
    let (status, said) = demo.ended(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted after"), "{said}");
}
