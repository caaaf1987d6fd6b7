//! The demo is what it says: a whole sale, checked, in one command.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::process::{Running, holdfast, run};
use crate::support::rounds::{kept_in_one_round, within};
use crate::support::servers::Servers;

/// How late a follower may hear of the opening.
const LATE_MAX: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_small_demo_sells_out_and_every_invariant_holds() {
    kept_in_one_round("the demo opens on time", async |_| {
        the_demo_holds(&BTreeMap::new()).await
    })
    .await;
}

#[tokio::test]
async fn the_same_demo_on_real_servers() {
    if Servers::from_environment().is_none() {
        return;
    }
    kept_in_one_round("the demo opens on time", async |_| {
        let servers = Servers::from_environment().expect("they were there");
        let variables = [
            ("DATABASE_URL", servers.database_url),
            ("REDIS_URL", servers.redis_url),
            ("KAFKA_BROKERS", servers.kafka_brokers),
            ("HOLDFAST_KAFKA_TOPIC", servers.topic),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        the_demo_holds(&BTreeMap::from(variables)).await
    })
    .await;
}

async fn the_demo_holds(variables: &BTreeMap<String, String>) -> Result<(), String> {
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
    // What was given back may come back after the last one has left, and who claimed a coupon ahead may keep it.
    let of = |outcome: &str| purchases.get(outcome).and_then(Value::as_u64).unwrap_or(0);
    let completed = of("completed");
    assert!((1..=60).contains(&completed), "{result}");
    let kept = result["claims"]["claimed"].as_u64().unwrap_or(0);
    let given_back = of("payment_declined") + of("cancelled_by_buyer");
    assert!(completed + given_back + kept >= 60, "{result}");
    assert_eq!(result["too_early"], "sale-not-open");
    assert_eq!(result["posters"], json!({ "completed": 3, "refunded": 2 }));
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
    let all = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10"];
    assert_eq!(ids, all);
    for invariant in invariants {
        // Without a broker there is no topic.
        let has_nothing = variables.is_empty() && invariant["id"] == "I5";
        assert_eq!(has_nothing, !invariant["not_checked"].is_null());
        assert!(
            has_nothing || invariant["checked"].as_u64() > Some(0),
            "it looked at nothing: {invariant}"
        );
        assert_eq!(
            invariant["violations"].as_array().map(Vec::len),
            Some(0),
            "{invariant}"
        );
    }
    let late_ms = result["opened_late_ms"].as_f64().expect("a time");
    let late = Duration::from_secs_f64(late_ms / 1_000.0);
    within("heard after the opening", late, LATE_MAX)
}

#[tokio::test]
async fn an_interrupted_demo_ends_cleanly() {
    let mut demo = Running::start(holdfast(
        &["demo", "--buyers", "100000", "--stock", "1000"],
        &BTreeMap::new(),
    ));
    let _ = demo.line_of_errors("  1 s").await;
    demo.signal("INT").await;
    let (status, said) = demo.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted after"), "{said}");
}
