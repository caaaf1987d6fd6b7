//! Lists: every filter alone and with others, page by page; errors in groups; who owns what.

use serde_json::{Value, json};

use super::desk::Desk;
use crate::support::http::get;
use crate::support::process::ServeSettings;
use crate::support::shop::{Shop, seed};

/// Five purchases, the first of which is declined: their ids.
async fn five_purchases(shop: &Shop) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..5 {
        let (card, expected) = match number {
            0 => ("tok-declined", "COMPENSATED"),
            _ => ("tok-good", "COMPLETED"),
        };
        let (token, id) = shop.bought("k", card).await;
        assert_eq!(shop.settled(&token, &id).await["state"], expected);
        ids.push(id);
    }
    ids
}

/// The ids on all pages of two, in order.
async fn all_pages(shop: &Shop, filter: &str) -> Vec<String> {
    let pages = shop.pages_of_workflows(&format!("limit=2{filter}")).await;
    assert!(pages.iter().all(|page| page.len() <= 2), "{pages:?}");
    // The sales' openings are listed as well.
    let purchases = pages
        .iter()
        .flatten()
        .filter(|workflow| workflow["definition"] != "opening");
    purchases
        .map(|workflow| workflow["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let ids = five_purchases(&shop).await;
    let other = Shop::open_for(&server, &seed("other", 10, 10)).await;
    let (token, elsewhere) = other.bought("k", "tok-good").await;
    other.settled(&token, &elsewhere).await;
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    let everything = [std::slice::from_ref(&elsewhere), &newest_first].concat();
    let none: &[String] = &[];
    let third = get(
        shop.operators(),
        format!("{}/v1/workflows/{}", shop.operators, ids[2]),
    )
    .await;
    let third = third.body["created_at"]
        .as_str()
        .expect("a time")
        .to_owned();
    for (filter, expected) in [
        (String::new(), &everything[..]),
        ("&definition=purchase".into(), &everything),
        ("&definition=another".into(), none),
        ("&state=COMPENSATED".into(), &ids[..1]),
        ("&state=WAITING".into(), none),
        ("&sale=open".into(), &newest_first),
        ("&label=other".into(), &everything[..1]),
        ("&reason=payment-declined".into(), &ids[..1]),
        ("&error=payment-declined&sale=other".into(), none),
        ("&state=COMPLETED&sale=open".into(), &newest_first[..4]),
        ("&step=payment".into(), none),
        (format!("&from={third}&label=open"), &newest_first[..3]),
        (format!("&before={third}"), &newest_first[3..]),
        (format!("&from={third}&before={third}"), none),
    ] {
        assert_eq!(all_pages(&shop, &filter).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn parked_workflows_are_found_by_their_step_and_by_the_filter_of_their_error_group() {
    let desk = Desk::open().await;
    let parked = desk.all_parked(2).await;
    let paused = desk.stuck().await;
    assert_eq!(desk.tell(&paused, "pause").await.status, 200);
    desk.in_state(&paused, "PARKED").await;
    let newest_first: Vec<String> = parked.iter().rev().cloned().collect();
    assert_eq!(all_pages(&desk.shop, "&step=payment").await, newest_first);
    let errors = desk.look("errors").await;
    let groups = errors["errors"].as_array().expect("groups");
    assert_eq!(groups.len(), 2, "{errors}");
    let group = &groups[0];
    assert_eq!(group["count"], 2, "those with most come first: {errors}");
    assert_eq!(group["step"], "payment");
    assert_eq!(group["error"], "payment-in-progress");
    assert_eq!(
        group["filter"],
        json!({
            "state": "PARKED", "definition": "purchase", "reason": "payment-in-progress", "step": "payment",
        })
    );
    let filter = group["filter"].as_object().expect("a filter").iter();
    let parts: Vec<String> = filter
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    let query = format!("&{}", parts.join("&"));
    assert_eq!(all_pages(&desk.shop, &query).await, newest_first);
    assert_eq!(groups[1]["error"], "paused-by-operator", "{errors}");
    assert_eq!(groups[1]["step"], Value::Null, "{errors}");
}

#[tokio::test]
async fn nodes_counters_and_orphans_say_who_works_and_that_nobody_is_forgotten() {
    let desk = Desk::open().await;
    let id = desk.parked().await;
    let nodes = desk.look("nodes").await;
    let nodes = nodes["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    assert_eq!(nodes[0]["node"], "embedded");
    assert_eq!(nodes[0]["alive"], true);
    let partitions = nodes[0]["partitions"].as_array().expect("partitions");
    assert!(!partitions.is_empty(), "{nodes:?}");
    for partition in partitions {
        assert!(partition["lease_left_ms"].as_i64() > Some(0), "{partition}");
        assert!(partition["epoch"].as_u64() >= Some(1), "{partition}");
    }
    let counters = desk.look("counters").await;
    for name in [
        "orphans",
        "healed",
        "quarantined",
        "purged",
        "dead_letters",
        "waiting",
        "fenced",
    ] {
        assert!(counters[name].is_u64(), "{name}: {counters}");
    }
    let orphans = desk.look("orphans").await;
    assert_eq!(orphans["orphans"], json!([]), "{orphans}");
    assert_eq!(orphans["orphans_total"], 0, "{orphans}");
    assert_eq!(desk.workflow(&id).await["quarantined"], false);
}
