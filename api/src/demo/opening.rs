//! The opening as buyers see it: too early is told when to come, and whoever listens hears of it when it happens.

use std::time::Duration;

use engine::{Runtime, Timestamp};
use reqwest::{Client, Response};
use serde_json::Value;

use crate::exit::{Code, Failure};

/// The opening is heard of within this long, or the demo fails.
const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// More than all events that a demo's stream has.
const STREAM_BYTES_MAX: usize = 1024 * 1024;

/// What was seen of the opening.
#[derive(Clone, Debug)]
pub struct Opening {
    /// What a buyer was told who came before it, such as `sale-not-open`.
    pub too_early: String,
    /// How long after the due instant the event came, in milliseconds.
    pub late_ms: f64,
}

/// Listens to a sale's events until it is open; how late that was, in milliseconds after `due`.
pub async fn heard(
    http: &Client,
    url: &str,
    due: Timestamp,
    runtime: &Runtime,
) -> Result<f64, Failure> {
    let listened = runtime.within(HEARD_WITHIN, listen(http, url)).await;
    listened.unwrap_or_else(|| {
        let sentence = format!("{HEARD_WITHIN:?} passed, and nobody said that the sale is open");
        Err(Failure::new(Code::CheckFailed, sentence))
    })?;
    let late = runtime.now().since(due);
    Ok(late.as_secs_f64() * 1_000.0)
}

async fn listen(http: &Client, url: &str) -> Result<(), Failure> {
    let failed = |error: reqwest::Error| Failure::internal("listening to the sale", &error);
    let mut stream: Response = http.get(url).send().await.map_err(failed)?;
    let mut text = String::new();
    while let Some(chunk) = stream.chunk().await.map_err(failed)? {
        text.push_str(&String::from_utf8_lossy(&chunk));
        if text.split("\n\n").any(says_open) {
            return Ok(());
        }
        if text.len() > STREAM_BYTES_MAX {
            break;
        }
    }
    let sentence = "the sale's events ended before it opened";
    Err(Failure::new(Code::CheckFailed, sentence))
}

/// Whether this event (HTML standard, section 9.2: server-sent events) says that the sale is open.
fn says_open(event: &str) -> bool {
    let data = event.lines().find_map(|line| line.strip_prefix("data:"));
    let data: Option<Value> = data.and_then(|data| serde_json::from_str(data).ok());
    data.is_some_and(|data| data["state"] == "open")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_opening_says_open() {
        assert!(says_open(
            "id: 1-1\nevent: sale\ndata: {\"state\":\"open\"}"
        ));
        assert!(!says_open(
            "id: 1-0\nevent: sale\ndata: {\"state\":\"scheduled\"}"
        ));
        assert!(!says_open(": heart-beat"));
        assert!(!says_open("data: {\"state\":\"op"));
    }
}
