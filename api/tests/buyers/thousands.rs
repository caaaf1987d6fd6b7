//! Thousands of open streams on one node: all hear the opening, each costs little, and buyers are served meanwhile.

use std::time::Duration;

use engine::{Runtime, Timestamp};
use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::http::answered;
use crate::support::process::{ServeSettings, Server};
use crate::support::rounds::{in_a_while, kept_in_one_round, percentile, rfc3339, within};
use crate::support::shop::{Shop, seed};

const STREAMS: usize = 5_000;
/// Files that a process needs for other things.
const OTHER_FILES: usize = 500;
/// Streams that are opened at the same time.
const AT_ONCE: usize = 200;
/// What a stream may cost the server, in KiB.
const KIB_PER_STREAM_MAX: u64 = 64;
/// How late 99 of 100 may hear it, where the listeners share the server's processors.
const LATE_MAX: Duration = Duration::from_secs(2);

#[tokio::test]
async fn five_thousand_streams_hear_the_opening_while_buyers_are_served() {
    let needed = STREAMS + OTHER_FILES;
    let streams = STREAMS.min(open_files_max(needed).saturating_sub(OTHER_FILES));
    if streams < STREAMS {
        let why = format!("only {streams} streams: raise `ulimit -Hn` to {needed} for all");
        let is_complete = std::env::var("CI").as_deref() == Ok("true");
        assert!(!is_complete, "CI=true, and {why}");
        println!("{why}");
    }
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    kept_in_one_round("the news of thousands", async |round| {
        all_hear(&server, streams, round).await
    })
    .await;
}

async fn all_hear(server: &Server, streams: usize, round: u32) -> Result<(), String> {
    let name = format!("drop-{round}");
    let mut sale = seed(&name, 100, 100);
    sale["opens_at"] = json!("2099-01-01T00:00:00Z");
    let shop = Shop::open_for(server, &sale).await;
    let before = resident_kib(server.process.id());
    let mut open = Vec::with_capacity(streams);
    while open.len() < streams {
        let more = AT_ONCE.min(streams - open.len());
        open.extend(join_all((0..more).map(|_| follow(&shop))).await);
    }
    let with_streams = resident_kib(server.process.id());
    let each = (with_streams.saturating_sub(before)) / u64::try_from(streams).unwrap();
    println!(
        "{streams} streams: {before} KiB before, {with_streams} KiB with them, {each} KiB each"
    );
    // What the streams of a round before have given back costs nothing in the next.
    assert!(round > 0 || each <= KIB_PER_STREAM_MAX, "{each} KiB each");
    let opens = in_a_while(Duration::from_secs(5), round);
    let change =
        json!({ "revision": 1, "opens_at": rfc3339(opens), "closes_at": "2100-01-01T00:00:00Z" });
    let url = format!("{}/v1/sales/{name}/schedule", shop.operators);
    let changed = answered(shop.operators().post(url).json(&change)).await;
    assert!((200..300).contains(&changed.status), "{changed:?}");
    let hears = join_all(open.iter_mut().map(|stream| hears_opening(stream, opens)));
    let (late, ()) = tokio::join!(hears, buys_meanwhile(&shop));
    let [half, most, last] = [50, 99, 100].map(|percent| percentile(late.clone(), percent));
    println!("late by p50 {half:?}, p99 {most:?}, at most {last:?}");
    drop(open);
    crate::support::eventually("the streams' connections to be given back", || async {
        let connections = std::fs::read_dir(format!("/proc/{}/fd", server.process.id()));
        (connections.expect("a process").count() < OTHER_FILES).then_some(())
    })
    .await;
    within("99 of 100 late by", most, LATE_MAX)
}

/// How many files this process, and what it starts, may have open: so many, where the system lets it raise its limit to that.
fn open_files_max(needed: usize) -> usize {
    let limits = getrlimit(Resource::Nofile);
    let needed = u64::try_from(needed).expect("not too many");
    // No limit is none that matters here.
    let current = limits.current.unwrap_or(u64::MAX);
    if current < needed {
        let raised = Rlimit {
            current: Some(needed.min(limits.maximum.unwrap_or(u64::MAX))),
            ..limits
        };
        setrlimit(Resource::Nofile, raised).expect("up to the hard limit");
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |current| {
        usize::try_from(current).unwrap_or(usize::MAX)
    })
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.expect("a process")
}

/// A stream that has told where the sale stands now.
async fn follow(shop: &Shop) -> TcpStream {
    let address = shop.buyers.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let path = format!("/v1/sales/{}/events", shop.sale);
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    hears(&mut stream, "\"state\":\"scheduled\"").await;
    stream
}

async fn hears(stream: &mut TcpStream, words: &str) {
    let mut heard = Vec::new();
    let mut chunk = [0; 1_024];
    loop {
        let read = timeout(PATIENCE, stream.read(&mut chunk)).await;
        let read = read.expect("something in time").expect("a connection");
        assert!(
            read > 0,
            "the stream ended: {}",
            String::from_utf8_lossy(&heard)
        );
        heard.extend_from_slice(&chunk[..read]);
        if String::from_utf8_lossy(&heard).contains(words) {
            return;
        }
    }
}

async fn hears_opening(stream: &mut TcpStream, opens: Timestamp) -> Duration {
    hears(stream, "\"state\":\"open\"").await;
    let now = Runtime::system().now();
    assert!(now >= opens, "too early");
    now.since(opens)
}

/// Requests are answered beside the streams, and purchases are made once the sale is open.
async fn buys_meanwhile(shop: &Shop) {
    crate::support::eventually("the sale to be open", || async {
        (shop.shown().await["state"] == "open").then_some(())
    })
    .await;
    for number in 0..20 {
        let (token, id) = crate::support::eventually("a purchase to be let in", || async {
            let token = shop.token().await;
            let answer = shop.buy(&token, "k", &shop.order("tok-1")).await;
            (answer.status == 202).then(|| (token, answer.body["id"].as_str().map(str::to_owned)))
        })
        .await;
        let id = id.expect("an id");
        let settled = shop.settled(&token, &id).await;
        assert_eq!(settled["stage"], "completed", "{number}: {settled}");
    }
}
