//! What was answered is in the file, whatever happens to the simulator; what is in the file is what the next one knows.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use loadtest::gateway_simulator::{
    EntryKind, EntryPage, GatewaySimulator, LedgerFileError, Settings, StartError,
};
use reqwest::StatusCode;
use tempfile::tempdir;
use tokio::task::JoinSet;

use crate::{PATIENCE, Shop, order, settings};

fn in_file(path: &Path) -> Settings {
    Settings {
        ledger: Some(path.to_owned()),
        ..settings()
    }
}

/// Complete lines, each ended by its newline.
fn lines(text: &[u8]) -> usize {
    text.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answered_capture_survives_a_kill_in_the_middle_of_a_load() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let Shop { running, client } = Shop::open(in_file(&path)).await;
    let url = format!("{}/v1/payments/approve", running.url());
    let (answered, mut answers) = tokio::sync::mpsc::channel(10_000);
    let mut buyers = JoinSet::new();
    for buyer in 0..50 {
        let (client, url, answered) = (client.clone(), url.clone(), answered.clone());
        buyers.spawn(async move {
            for n in 0.. {
                let order_id = format!("o{buyer}-{n}");
                let request = client
                    .post(&url)
                    .header("idempotency-key", &order_id)
                    .json(&order(&order_id, "tok-ok"));
                match request.send().await {
                    Ok(answer) if answer.status() == StatusCode::OK => {
                        drop(answered.send(order_id).await);
                    }
                    _ => return,
                }
            }
        });
    }
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 1_000 {
        acknowledged.push(answers.recv().await.expect("buyers go on"));
    }
    drop((running, answered));
    while let Some(order_id) = answers.recv().await {
        acknowledged.push(order_id);
    }
    buyers.join_all().await;

    let shop = Shop::open(in_file(&path)).await;
    for order_id in &acknowledged {
        let (status, payment) = shop.approve(order_id, &order(order_id, "tok-ok")).await;
        assert_eq!(
            (status, payment["status"].as_str()),
            (StatusCode::OK, Some("approved"))
        );
    }
    let captures = shop.summary().await.captures;
    println!("{} answered, {captures} captured", acknowledged.len());
    assert!(
        (0..=50).contains(&(captures - acknowledged.len() as u64)),
        "at most one unanswered capture a buyer"
    );
}

#[tokio::test]
async fn a_replayed_ledger_gives_the_same_answers_and_goes_on() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let shop = Shop::open(in_file(&path)).await;
    let approved = shop.approve("k1", &order("o1", "tok-ok")).await;
    let declined = shop.approve("k2", &order("o2", "tok-declined")).await;
    let cancelled = shop.cancel("k3", "pay-1", 400, 600).await;
    let (entries, summary) = (shop.get("/v1/ledger").await, shop.summary().await);
    shop.running
        .shutdown(PATIENCE)
        .await
        .expect("it stops in time");

    let shop = Shop::open(in_file(&path)).await;
    assert_eq!(
        (shop.get("/v1/ledger").await, shop.summary().await),
        (entries, summary)
    );
    assert_eq!(shop.approve("k1", &order("o1", "tok-ok")).await, approved);
    assert_eq!(
        shop.approve("k2", &order("o2", "tok-declined")).await,
        declined
    );
    assert_eq!(shop.cancel("k3", "pay-1", 400, 600).await, cancelled);
    assert_eq!(
        shop.approve("k4", &order("o1", "tok-ok")).await.0,
        StatusCode::CONFLICT
    );
    assert_eq!(
        shop.approve("k5", &order("o5", "tok-ok")).await.1["payment_id"],
        "pay-3"
    );
}

#[tokio::test]
async fn a_file_cut_anywhere_replays_its_complete_lines() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let shop = Shop::open(in_file(&path)).await;
    shop.approve("k1", &order("o1", "tok-ok")).await;
    shop.approve("k2", &order("o2", "tok-declined")).await;
    shop.cancel("k3", "pay-1", 1_000, 0).await;
    drop(shop);
    let whole = fs::read(&path).expect("the file");

    let near_a_newline =
        |cut: &usize| whole[cut.saturating_sub(2)..whole.len().min(cut + 2)].contains(&b'\n');
    for cut in (0..=whole.len()).filter(|cut| cut % 16 == 0 || near_a_newline(cut)) {
        let path = folder.path().join("cut.jsonl");
        fs::write(&path, &whole[..cut]).expect("a cut file");
        let shop = Shop::open(in_file(&path)).await;
        let complete = lines(&whole[..cut]);
        let summary = shop.summary().await;
        let entries = summary.captures + summary.declines + summary.refunds;
        assert_eq!(entries, complete as u64, "cut at {cut}");
        drop(shop);
        assert_eq!(lines(&fs::read(&path).expect("the file")), complete);
    }
}

#[tokio::test]
async fn the_read_out_has_every_entry_once_page_by_page() {
    let shop = Shop::open(settings()).await;
    for n in 0..25 {
        let token = if n % 5 == 0 { "tok-declined" } else { "tok-ok" };
        shop.approve(&format!("k{n}"), &order(&format!("o{n}"), token))
            .await;
    }
    let (mut sequences, mut declines, mut cursor) = (Vec::new(), 0, Some(0));
    while let Some(from) = cursor {
        let page = shop
            .get(&format!("/v1/ledger?limit=7&cursor={from}"))
            .await
            .1;
        let page: EntryPage = serde_json::from_value(page).expect("a page");
        assert!(page.entries.len() <= 7);
        declines += page
            .entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Declined)
            .count();
        sequences.extend(page.entries.iter().map(|entry| entry.sequence));
        cursor = page.next_cursor;
    }
    assert_eq!(sequences, (1..=25).collect::<Vec<_>>());
    assert_eq!(declines, 5);
    let text = shop.get("/v1/ledger").await.1.to_string();
    assert!(
        !text.contains("tok-"),
        "a payment token is nobody's business"
    );
}

#[tokio::test]
async fn a_file_in_use_is_refused_and_free_again_after_a_drop() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let first = Shop::open(in_file(&path)).await;
    let second = GatewaySimulator::bind(in_file(&path)).await;
    assert!(
        matches!(
            second,
            Err(StartError::Ledger(LedgerFileError::InUse { .. }))
        ),
        "{second:?}"
    );
    drop(first);
    Shop::open(in_file(&path)).await;
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let shop = Shop::open(in_file(&path)).await;
    shop.approve("k1", &order("o1", "tok-ok")).await;
    shop.approve("k2", &order("o2", "tok-ok")).await;
    drop(shop);
    let good = fs::read_to_string(&path).expect("the file");
    let (first, second) = good.split_once('\n').expect("two lines");
    let damaged = [
        ("another program's", format!("hello\n{good}")),
        ("a hole", second.to_owned()),
        ("a line twice", format!("{first}\n{first}\n")),
        ("an endless line", "x".repeat(10_000)),
        (
            "an impossible amount",
            good.replace("1000", "18446744073709551615"),
        ),
        ("an order captured twice", good.replace("\"o2\"", "\"o1\"")),
    ];
    for (what, text) in damaged {
        fs::write(&path, &text).expect("a damaged file");
        let refused = GatewaySimulator::bind(in_file(&path)).await;
        assert!(
            matches!(refused, Err(StartError::Ledger(_))),
            "{what}: {refused:?}"
        );
        assert_eq!(fs::read_to_string(&path).expect("the file"), text, "{what}");
    }
    let nowhere = GatewaySimulator::bind(in_file(&folder.path().join("no/such/folder"))).await;
    assert!(
        matches!(nowhere, Err(StartError::Ledger(LedgerFileError::Io { .. }))),
        "{nowhere:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_orders_at_once_are_each_captured_once_in_memory_and_in_a_file() {
    const BUYERS: usize = 64;
    const ORDERS: usize = 100;
    let folder = tempdir().expect("a folder");
    for settings in [settings(), in_file(&folder.path().join("ledger.jsonl"))] {
        let kind = if settings.ledger.is_some() {
            "in a file"
        } else {
            "in memory"
        };
        let shop = Arc::new(Shop::open(settings).await);
        let started = tokio::time::Instant::now();
        let mut buyers = JoinSet::new();
        for buyer in 0..BUYERS {
            let shop = Arc::clone(&shop);
            buyers.spawn(async move {
                for n in 0..ORDERS {
                    let order_id = format!("o{buyer}-{n}");
                    let status = shop.approve(&order_id, &order(&order_id, "tok-ok")).await.0;
                    assert_eq!(status, StatusCode::OK);
                }
            });
        }
        buyers.join_all().await;
        let count = BUYERS * ORDERS;
        println!(
            "{kind}: {count} approvals in {:?}, by {BUYERS} clients in this process",
            started.elapsed()
        );
        let summary = shop.summary().await;
        assert_eq!(
            (summary.captures, summary.totals[0].captured),
            (count as u64, count as u64 * 1_000)
        );
    }
}
