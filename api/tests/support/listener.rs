//! A client that follows a sale: what it hears, and when.

use engine::{Runtime, Timestamp};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::http::client;

/// An open stream.
pub struct Listener {
    response: Response,
    heard: String,
}

/// Something that was heard.
#[derive(Debug)]
pub struct Heard {
    /// The event's name; empty for a comment.
    pub event: String,
    /// Its id.
    pub id: Option<String>,
    /// Its data.
    pub data: Value,
    /// When it was heard.
    pub at: Timestamp,
}

impl Listener {
    /// Follows a sale.
    pub async fn of(buyers: &str, sale: &str) -> Self {
        Self::with(request(&client(), buyers, sale)).await
    }

    /// Follows a sale again, knowing what this event told.
    pub async fn again(buyers: &str, sale: &str, known: &str) -> Self {
        let request = request(&client(), buyers, sale);
        Self::with(request.header("last-event-id", known)).await
    }

    /// By this request.
    pub async fn with(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        let content_type = response.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        assert_eq!(content_type, Some("text/event-stream"));
        Self {
            response,
            heard: String::new(),
        }
    }

    /// The next event; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((block, rest)) = self.heard.split_once("\n\n") {
                let heard = heard(block);
                let rest = rest.to_owned();
                self.heard = rest;
                return Some(heard);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("something in time").ok()??;
            self.heard
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next event of this name.
    pub async fn event(&mut self, name: &str) -> Heard {
        loop {
            let heard = self.next().await.expect("the stream goes on");
            if heard.event == name {
                return heard;
            }
        }
    }

    /// The next word on where the sale stands.
    pub async fn state(&mut self) -> (String, String) {
        let Heard { id, data, .. } = self.event("sale").await;
        let state = data["state"].as_str().expect("a state").to_owned();
        (id.expect("an id"), state)
    }
}

/// The request for a sale's events.
pub fn request(http: &Client, buyers: &str, sale: &str) -> RequestBuilder {
    http.get(format!("{buyers}/v1/sales/{sale}/events"))
}

fn heard(block: &str) -> Heard {
    let field = |name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned)
    };
    let data = field("data: ").unwrap_or_default();
    Heard {
        event: field("event: ").unwrap_or_default(),
        id: field("id: "),
        data: serde_json::from_str(&data).unwrap_or_default(),
        at: Runtime::system().now(),
    }
}
