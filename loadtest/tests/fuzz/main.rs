//! What is sent to the gateway simulator, and what stands in its files, is taken or refused: it never falls over, and it never means
//! something else when it is written down.

#[path = "../../../engine/tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../../workflows/tests/fuzz/web_address.rs"]
mod web_address;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loadtest::gateway_simulator::{
    Fault, Faults, GatewaySimulator, Rules, Running, Settings, StartError, WebhookTarget,
};
use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::runtime::Runtime;

use mutate::{Target, Verdict};
use web_address::is_web_address;

/// 2026-01-01T00:00:00Z, in microseconds since 1970.
const NOW: i64 = 1_767_225_600_000_000;

fn settings() -> Settings {
    // A rule may hold an answer back, and a fuzzer finds the rule.
    let rules = Rules {
        hold_ms: 1,
        ..Rules::default()
    };
    Settings {
        rules,
        ..Settings::new(Arc::new(|| NOW))
    }
}

fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A simulator, and a client to it.
struct Shop {
    runtime: Runtime,
    running: Running,
    client: Client,
    sent: AtomicU64,
}

impl Shop {
    fn open() -> Self {
        let runtime = runtime();
        let running = runtime
            .block_on(GatewaySimulator::bind(settings()))
            .expect("it starts");
        let client = Client::builder()
            .timeout(Duration::from_secs(20))
            .no_proxy()
            .build();
        Self {
            runtime,
            running,
            client: client.expect("a client"),
            sent: AtomicU64::new(0),
        }
    }

    /// Sends the body to the path; whether it was taken.
    fn send(&self, path: &str, content_type: &str, body: &[u8]) -> Verdict {
        let request = self.client.post(format!("{}{path}", self.running.url()));
        let request = request
            .header("content-type", content_type)
            .header("idempotency-key", self.sent.fetch_add(1, Ordering::Relaxed));
        let answered = self.runtime.block_on(async {
            let response = request.body(body.to_vec()).send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.text().await?))
        });
        let (status, text) = match answered {
            Ok(answered) => answered,
            // Some rules cut the connection, and some cut the answer.
            Err(error) if error.is_request() || error.is_body() || error.is_decode() => {
                return Ok(false);
            }
            Err(error) => return Err(format!("no answer: {error}")),
        };
        // A rule in a body may ask for a 5xx: those say so.
        let is_told = !status.is_server_error() || text.contains("\"code\"") || text.is_empty();
        if !is_told || text.len() > 6 * body.len() + 4_096 {
            return Err(format!("{status} with {} bytes", text.len()));
        }
        Ok(status.is_success() || status == StatusCode::SEE_OTHER)
    }
}

#[test]
fn a_body_to_the_gateway_is_taken_or_refused() {
    let shop = Shop::open();
    let words = [
        "\"order_id\"",
        "\"amount\"",
        "\"payment_token\"",
        "\"rule\"",
        "\"tok-ok\"",
        "1000000000001",
    ];
    Target {
        one_in: 2,
        ..Target::new("approve", &words)
    }
    .fuzz(|bytes| shop.send("/v1/payments/approve", "application/json", bytes));
    let words = [
        "\"expires_at\"",
        "\"return_url\"",
        "\"webhook_url\"",
        "\"http:x\"",
        "\"busy+declined\"",
    ];
    Target {
        one_in: 2,
        ..Target::new("reserve", &words)
    }
    .fuzz(|bytes| shop.send("/v1/payments/reserve", "application/json", bytes));
}

#[test]
fn a_form_of_the_payment_page_is_taken_or_refused() {
    let shop = Shop::open();
    let reserved =
        r#"{"order_id":"o1","amount":1000,"currency":"KRW","expires_at":"2026-01-01T00:15:00Z"}"#;
    let id = shop.runtime.block_on(async {
        let request = shop
            .client
            .post(format!("{}/v1/payments/reserve", shop.running.url()));
        let request = request
            .header("content-type", "application/json")
            .header("idempotency-key", "r");
        let answer = request
            .body(reserved)
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a body");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        answer["reservation_id"].as_str().expect("an id").to_owned()
    });
    let words = [
        "decision",
        "authorise",
        "decline",
        "=",
        "&",
        "+",
        "%",
        "%00",
        "%ff",
        "rule",
        "webhook-lost",
        "busy",
    ];
    Target {
        one_in: 4,
        ..Target::new("form", &words)
    }
    .fuzz(|bytes| {
        shop.send(
            &format!("/pay/{id}"),
            "application/x-www-form-urlencoded",
            bytes,
        )
    });
}

#[test]
fn rules_are_followed_as_they_are_shown_or_refused() {
    let shop = Shop::open();
    let words = [
        "\"seed\"",
        "\"rates\"",
        "\"decline_rate\"",
        "\"hold_ms\"",
        "0.5",
        "1.0000000001",
        "\"500-after\"",
        "600001",
    ];
    Target::new("rules", &words).fuzz(|bytes| {
        let Ok(rules) = serde_json::from_slice::<Rules>(bytes) else {
            return Ok(false);
        };
        if let Err(error) = shop.running.set_rules(rules.clone()) {
            return if error.to_string().is_empty() {
                Err("no reason".to_owned())
            } else {
                Ok(false)
            };
        }
        let shown = serde_json::to_string(&rules).map_err(|error| error.to_string())?;
        match serde_json::from_str::<Rules>(&shown) {
            Ok(again) if again == rules => Ok(true),
            other => Err(format!("{shown} is {other:?}")),
        }
    });
}

#[test]
fn names_of_faults_are_the_same_written_again() {
    let words: Vec<&str> = Fault::all()
        .iter()
        .map(|(name, _)| name.as_str())
        .chain(["tok-", "+", "-17"])
        .collect();
    Target::new("faults", &words).fuzz(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let shown = |faults: Faults| faults.to_string();
        let of_token = Faults::of_token(&text);
        if Faults::parse(&shown(of_token)) != Ok(of_token) {
            return Err(format!("a token is {of_token}"));
        }
        match Faults::parse(&text) {
            Ok(faults) if Faults::parse(&shown(faults)) == Ok(faults) => Ok(true),
            Ok(faults) => Err(format!("parsed as {faults}")),
            Err(error) if error.to_string().len() < 1_000 => Ok(false),
            Err(error) => Err(format!("an error of {} bytes", error.to_string().len())),
        }
    });
}

/// The two files of a simulator that has taken, refused and given back money, and kept a payment for its buyer.
fn lived(folder: &std::path::Path, runtime: &Runtime) -> [Vec<u8>; 2] {
    let ledger = folder.join("lived");
    runtime.block_on(async {
        let in_file = Settings { ledger: Some(ledger.clone()), ..settings() };
        let running = GatewaySimulator::bind(in_file).await.expect("it starts");
        let client = Client::builder().no_proxy().build().expect("a client");
        let send = async |path: &str, key: &str, body: serde_json::Value| {
            let request = client.post(format!("{}{path}", running.url())).header("idempotency-key", key);
            let text = request.json(&body).send().await.expect("an answer").text().await.expect("a body");
            serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
        };
        let order = |order: &str, token: &str| json!({ "order_id": order, "amount": 1_000, "currency": "KRW", "payment_token": token });
        let paid = send("/v1/payments/approve", "a", order("o1", "tok-ok")).await;
        send("/v1/payments/approve", "b", order("o2", "tok-declined")).await;
        let back = format!("/v1/payments/{}/cancel", paid["payment_id"].as_str().expect("an id"));
        send(&back, "c", json!({ "amount": 400, "expected_rest_amount": 600 })).await;
        let later = json!({ "order_id": "o3", "amount": 5, "currency": "KRW", "expires_at": "2026-01-01T00:15:00Z" });
        let reserved = send("/v1/payments/reserve", "d", later).await;
        let page = format!("/pay/{}", reserved["reservation_id"].as_str().expect("an id"));
        send(&page, "e", json!({ "decision": "authorise" })).await;
        running.shutdown(Duration::from_secs(10)).await.expect("it stops");
    });
    let read = |ending: &str| fs::read(folder.join(format!("lived{ending}"))).expect("a file");
    [read(""), read(".reservations")]
}

#[test]
fn a_damaged_ledger_is_read_or_refused_and_never_changed_by_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let files = [("ledger", ""), ("reservations", ".reservations")];
    for ((name, ending), lived) in files.into_iter().zip(lived(folder.path(), &runtime)) {
        let path = folder.path().join(name);
        let damaged = folder.path().join(format!("{name}{ending}"));
        let words = [
            "\"sequence\"",
            "\"captured\"",
            "\"declined\"",
            "\"refunded\"",
            "1000000000000",
            "\"o1\"",
            "\"pay-1\"",
        ];
        Target {
            one_in: 4,
            made: vec![lived],
            ..Target::new(name, &words)
        }
        .fuzz(|bytes| {
            fs::write(&damaged, bytes).map_err(|error| error.to_string())?;
            let bound = runtime.block_on(GatewaySimulator::bind(Settings {
                ledger: Some(path.clone()),
                ..settings()
            }));
            match bound {
                Ok(running) => {
                    let stopped = runtime.block_on(running.shutdown(Duration::from_secs(10)));
                    stopped.map_err(|error| error.to_string())?;
                    let kept = fs::read(&damaged).map_err(|error| error.to_string())?;
                    // But for a last line that was torn.
                    if bytes.starts_with(&kept) {
                        Ok(true)
                    } else {
                        Err("it was changed".to_owned())
                    }
                }
                Err(StartError::Ledger(error)) => {
                    let kept = fs::read(&damaged).map_err(|error| error.to_string())?;
                    if kept == bytes && error.to_string().len() < 2_000 {
                        Ok(false)
                    } else {
                        Err(error.to_string())
                    }
                }
                Err(error) => Err(error.to_string()),
            }
        });
    }
}

#[test]
fn the_address_for_webhooks_is_absolute_or_refused() {
    let words = [
        "http:", "https:", "//", "//@", "\\", "@", "[::1]", "#", "?", ":99999", "\u{3002}",
    ];
    Target::new("webhook-url", &words).fuzz(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        match WebhookTarget::new(text.clone(), ["a secret for tests, long enough"]) {
            Ok(_) => is_web_address(&text).map(|()| true),
            Err(_) => Ok(false),
        }
    });
}
