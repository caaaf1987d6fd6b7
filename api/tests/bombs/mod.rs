//! Payloads that are made to hurt: too much, too long, too deep, too slow. Each is turned away in a bounded time, others are served
//! meanwhile, and the program's memory grows by less than 50 MB.

mod meter;
mod sender;

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};

use crate::support::process::{ServeSettings, Server};
use crate::support::shop::Shop;
use meter::Meter;
use sender::{connect, endings, flood, floods, head, stuck, tally, turned_away};

const MB: usize = 1_000_000;
/// Whoever sends a bomb is told one of these.
const TOO_MUCH: [u16; 6] = [400, 408, 413, 414, 415, 431];
/// Connections of one who only keeps them.
const IDLE: usize = 2_000;
/// Requests that stop half-way, at the same time.
const STUCK: usize = 200;
/// Files that a process needs for other things.
const OTHER_FILES: usize = 500;

struct Target {
    server: Server,
    shop: Shop,
    buyers: String,
    operators: String,
    buyer: String,
    admin: String,
    _folder: tempfile::TempDir,
}

impl Target {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ServeSettings::embedded(folder.path()).start().await;
        let shop = Shop::open(&server, "open", 1_000, 1_000).await;
        let (token, id) = shop.bought("k", "tok-1").await;
        shop.settled(&token, &id).await;
        let address = |url: &str| url.trim_start_matches("http://").to_owned();
        Self {
            buyers: address(&server.buyers),
            operators: address(&server.operators),
            buyer: format!("authorization: Bearer {}", shop.token().await),
            admin: format!("authorization: Bearer {}", server.operator_token),
            server,
            shop,
            _folder: folder,
        }
    }

    fn meter(&self) -> Meter {
        let others = vec![
            format!("{}/v1/sales/open", self.shop.buyers),
            format!("{}/livez", self.shop.operators),
        ];
        Meter::start(self.server.process.id(), others)
    }

    /// A purchase goes through; nothing in the program has panicked.
    async fn stays_sound(self) {
        let (token, id) = self.shop.bought("late", "tok-1").await;
        let settled = self.shop.settled(&token, &id).await;
        assert_eq!(settled["stage"], "completed", "{settled}");
        self.server.process.signal("TERM").await;
        let (status, said) = self.server.process.ended(crate::support::PATIENCE).await;
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }

    /// Routes that take a body: the address, and the head's lines but for the length.
    fn routes(&self) -> Vec<(&'static str, &str, &'static str, Vec<&str>)> {
        let json = "content-type: application/json";
        let (buyers, operators) = (self.buyers.as_str(), self.operators.as_str());
        vec![
            (
                "a purchase",
                buyers,
                "/v1/purchases",
                vec![json, &self.buyer, "idempotency-key: bomb"],
            ),
            (
                "a refresh by nobody",
                buyers,
                "/v1/auth/refresh",
                vec![json],
            ),
            (
                "the webhook",
                buyers,
                "/v1/payments/webhook",
                vec!["webhook-signature: t=1,v1=00"],
            ),
            (
                "a path that is not there",
                buyers,
                "/v1/nowhere",
                vec![json],
            ),
            (
                "sales by an admin",
                operators,
                "/v1/seed",
                vec![json, &self.admin],
            ),
            ("sales by nobody", operators, "/v1/seed", vec![json]),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_is_turned_away_and_costs_little() {
    let target = Target::new().await;
    let meter = target.meter();
    let block = vec![b'x'; 64 * 1024];
    let chunk = [b"10000\r\n".as_slice(), &block, b"\r\n"].concat();
    let small = b"1\r\nx\r\n".repeat(1_000);
    let refused = [&TOO_MUCH[..], &[401, 404]].concat();
    for (name, address, path, lines) in target.routes() {
        let with = |more: &str| head("POST", path, &[&lines[..], &[more]].concat());
        let length = with("content-length: 100000000");
        let ended = meter
            .bomb(name, floods(8, address, &length, &block, 100 * MB))
            .await;
        turned_away("  100 MB with a length", &ended, &refused);
        let chunked = with("transfer-encoding: chunked");
        let ended = meter
            .bomb(name, floods(8, address, &chunked, &chunk, 100 * MB))
            .await;
        turned_away("  100 MB in chunks", &ended, &refused);
        let ended = meter
            .bomb(name, floods(4, address, &chunked, &small, 10 * MB))
            .await;
        turned_away("  chunks of one byte", &ended, &refused);
        let extended = [&chunked[..], b"1;", &block, &block].concat();
        let ended = meter
            .bomb(name, floods(4, address, &extended, &block, MB))
            .await;
        turned_away("  a chunk's endless extension", &ended, &refused);
        let trailers = [&chunked[..], b"0\r\n"].concat();
        let trailer = b"a: b\r\n".repeat(1_000);
        let ended = meter
            .bomb(name, floods(4, address, &trailers, &trailer, MB))
            .await;
        turned_away("  endless trailers", &ended, &refused);
        let expecting = head(
            "POST",
            path,
            &[
                &lines[..],
                &["content-length: 100000000", "expect: 100-continue"],
            ]
            .concat(),
        );
        let ended = meter
            .bomb(name, floods(4, address, &expecting, &block, 100 * MB))
            .await;
        turned_away("  100 MB that wait to be asked for", &ended, &refused);
    }
    for (name, address) in [("buyers", &target.buyers), ("operators", &target.operators)] {
        let many = "x-a: y\r\n".repeat(10_000);
        let long = "y".repeat(MB);
        for (what, bytes) in [
            ("10,000 headers", format!("GET /livez HTTP/1.1\r\nhost: h\r\n{many}\r\n")),
            ("a header of 1 MB", format!("GET /livez HTTP/1.1\r\nhost: h\r\nx: {long}\r\n\r\n")),
            ("a header's name of 1 MB", format!("GET /livez HTTP/1.1\r\nhost: h\r\n{long}: x\r\n\r\n")),
            ("a URL of 1 MB", format!("GET /{long} HTTP/1.1\r\nhost: h\r\n\r\n")),
            ("a method of 1 MB", format!("{long} / HTTP/1.1\r\nhost: h\r\n\r\n")),
            ("a length and chunks", "POST /v1/auth/refresh HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked, x\r\n\r\n".into()),
            ("a length below zero", "POST /v1/auth/refresh HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n".into()),
            ("a length beyond numbers", "POST /v1/auth/refresh HTTP/1.1\r\nhost: h\r\ncontent-length: 18446744073709551616\r\n\r\n".into()),
            ("HTTP/2 by prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\u{12}\u{4}\0\0\0\0\0".into()),
            ("a client that says TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".into()),
        ] {
            let ended = meter.bomb(name, floods(8, address, bytes.as_bytes(), b"", 0)).await;
            turned_away(&format!("  {what}"), &ended, &TOO_MUCH);
        }
    }
    meter.comes_down().await;
    target.stays_sound().await;
}

/// Bodies that are small enough to be read, and large once they are understood.
fn deep_and_wide() -> Vec<(&'static str, String)> {
    let million = 1024 * 1024;
    let filled = |start: &str, again: &str, end: &str, bytes_max: usize| {
        format!(
            "{start}{}{end}",
            again.repeat((bytes_max - start.len() - end.len()) / again.len())
        )
    };
    let mut bodies = Vec::new();
    for (bytes_max, whose) in [(16 * 1024, ""), (million, " of 1 MB")] {
        for (name, start, again, end) in [
            ("brackets", "{\"sales\":", "[", ""),
            ("objects", "{\"sales\":", "{\"a\":", ""),
            ("objects that nobody knows", "{\"lines\":", "{\"a\":", ""),
            (
                "lines",
                "{\"sale\":\"open\",\"lines\":[",
                "{\"product\":\"mug\",\"quantity\":1},",
                "0]}",
            ),
            ("numbers", "{\"sales\":[", "0,", "0]}"),
            (
                "empty arrays",
                "{\"reason\":\"x\",\"step\":\"payment\",\"output\":[",
                "[],",
                "0]}",
            ),
            ("short texts", "{\"serials\":[", "\"\",", "0]}"),
            ("fields", "{", "\"a\":0,", "\"b\":0}"),
            ("a long number", "{\"per_second\":", "9", "}"),
            ("escapes", "{\"sale\":\"", "\\u0041", "\"}"),
        ] {
            bodies.push((name, filled(start, again, end, bytes_max)));
        }
        println!("bodies{whose} are made");
    }
    bodies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deep_wide_or_packed_is_turned_away_and_costs_little() {
    let target = Target::new().await;
    let meter = target.meter();
    let refused = [&TOO_MUCH[..], &[401, 404, 409, 422]].concat();
    let json = "content-type: application/json";
    let some = "00000001-0000-8000-8000-000000000000";
    for (name, body) in deep_and_wide() {
        let length = format!("content-length: {}", body.len());
        let verb = format!("/v1/workflows/{some}/skip");
        for (address, path, token) in [
            (&target.buyers, "/v1/purchases", &target.buyer),
            (&target.operators, "/v1/seed", &target.admin),
            (&target.operators, verb.as_str(), &target.admin),
            (&target.operators, "/v1/batches?dry_run=true", &target.admin),
        ] {
            let head = head(
                "POST",
                path,
                &[json, token, "idempotency-key: bomb", &length],
            );
            let bytes = [&head, body.as_bytes()].concat();
            let ended = meter.bomb(name, floods(2, address, &bytes, b"", 0)).await;
            turned_away(
                &format!("  {} bytes to {path}", body.len()),
                &ended,
                &refused,
            );
        }
    }
    // A thousand million zeros, packed, as far as a packer would unpack them: nothing here does.
    let packed = [
        &b"\x1f\x8b\x08\0\0\0\0\0\x02\x03"[..],
        &[0x63; 1_000],
        &b"\0\0\0\0\0\0\xca\x9a\x3b"[..],
    ]
    .concat();
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip, gzip"] {
        let (length, encoding) = (
            format!("content-length: {}", packed.len()),
            format!("content-encoding: {encoding}"),
        );
        let head = head(
            "POST",
            "/v1/purchases",
            &[
                json,
                &target.buyer,
                "idempotency-key: bomb",
                &length,
                &encoding,
            ],
        );
        let bytes = [&head[..], &packed].concat();
        let ended = meter
            .bomb(&encoding, floods(8, &target.buyers, &bytes, b"", 0))
            .await;
        turned_away("  packed", &ended, &TOO_MUCH);
    }
    meter.comes_down().await;
    target.stays_sound().await;
}

fn open_files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(1_024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_keeps_a_connection_is_cut_off_and_costs_little() {
    let target = Target::new().await;
    let meter = target.meter();
    let idle = IDLE.min(open_files_max().saturating_sub(OTHER_FILES));
    let buyers = &target.buyers;
    let kept = meter.bomb("idle", stuck(idle, buyers, b"")).await;
    let ended = meter.bomb("idle", endings(kept)).await;
    turned_away(
        &format!("  {idle} that never said anything"),
        &ended,
        &[408],
    );
    meter.comes_down().await;
    target.stays_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_half_way_is_cut_off_and_costs_little() {
    let target = Target::new().await;
    let meter = target.meter();
    let (buyers, operators) = (&target.buyers, &target.operators);

    let part = format!(
        "GET /v1/sales HTTP/1.1\r\nhost: h\r\nx: {}",
        "y".repeat(12 * 1024)
    );
    let half = head(
        "POST",
        "/v1/payments/webhook",
        &["webhook-signature: t=1,v1=00", "content-length: 65000"],
    );
    let half = [&half[..], &vec![b'x'; 60_000]].concat();
    let small = head(
        "POST",
        "/v1/auth/refresh",
        &["content-type: application/json", "content-length: 16000"],
    );
    let small = [&small[..], &vec![b' '; 15_000]].concat();
    let large = head(
        "POST",
        "/v1/seed",
        &[
            "content-type: application/json",
            &target.admin,
            "content-length: 1000000",
        ],
    );
    let large = [&large[..], &vec![b' '; 900_000]].concat();
    let chunked = head(
        "POST",
        "/v1/seed",
        &[
            "content-type: application/json",
            &target.admin,
            "transfer-encoding: chunked",
        ],
    );
    let chunked = [
        &chunked[..],
        &[&b"2710\r\n"[..], &[b' '; 10_000], b"\r\n"]
            .concat()
            .repeat(90),
    ]
    .concat();
    for (name, count, address, sent, statuses) in [
        (
            "heads that stop half-way",
            STUCK,
            buyers,
            part.as_bytes(),
            &[408][..],
        ),
        (
            "bodies of a webhook that stop half-way",
            STUCK,
            buyers,
            &half,
            &[408, 413, 401],
        ),
        (
            "bodies of buyers that stop half-way",
            STUCK,
            buyers,
            &small,
            &[408],
        ),
        (
            "bodies of an admin that stop half-way",
            8,
            operators,
            &large,
            &[408],
        ),
        (
            "bodies of an admin in chunks that stop half-way",
            8,
            operators,
            &chunked,
            &[408],
        ),
    ] {
        let kept = meter.bomb(name, stuck(count, address, sent)).await;
        let ended = meter.bomb(name, endings(kept)).await;
        turned_away(&format!("  {count} {name}"), &ended, statuses);
    }
    let drip = meter.bomb("a byte now and then", drips(200, buyers)).await;
    turned_away("  200 who send a byte now and then", &drip, &[408]);
    meter.comes_down().await;
    target.stays_sound().await;
}

/// So many who send their head, and then their body, byte by byte.
async fn drips(count: usize, address: &str) -> Vec<u16> {
    let head = head(
        "POST",
        "/v1/auth/refresh",
        &["content-type: application/json", "content-length: 16000"],
    );
    let streams = stuck(count, address, &head).await;
    let mut dripping = Vec::new();
    for stream in streams {
        dripping.push(async move {
            let mut stream = stream;
            for _ in 0..60 {
                if stream.write_all(b" ").await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(500)).await;
            }
            stream
        });
    }
    endings(futures_util::future::join_all(dripping).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_more_than_he_reads_costs_little() {
    let target = Target::new().await;
    let meter = target.meter();
    let again = b"GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n".repeat(100);
    // They send for as long as anybody takes it, and read nothing.
    let pipelined = (0..50).map(|_| async {
        let mut stream = connect(&target.buyers).await;
        let send = async { while stream.write_all(&again).await.is_ok() {} };
        let _ = timeout(Duration::from_secs(5), send).await;
    });
    meter
        .bomb(
            "50 who send requests and read no answers",
            futures_util::future::join_all(pipelined),
        )
        .await;
    // They read all of it.
    let closing = b"GET /livez HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let flooded = (0..20).map(|_| flood(&target.operators, &again, closing, closing.len()));
    let ended = meter
        .bomb(
            "20 who send requests and read",
            futures_util::future::join_all(flooded),
        )
        .await;
    println!("  {}", tally(&ended));
    assert!(ended.iter().all(|status| *status == 200), "{ended:?}");
    meter.comes_down().await;
    target.stays_sound().await;
}
