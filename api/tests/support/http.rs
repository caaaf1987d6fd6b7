//! Raw HTTP: any body, any header, and the answer as it came.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder};
use serde_json::Value;

use super::{PATIENCE, eventually};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// The body; JSON `null` when it is not JSON.
    pub body: Value,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// Panics unless this is a problem as RFC 9457 wants it, whose `type` ends with `slug`.
    pub fn expect_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        assert_eq!(self.body["type"], format!("/problems/{slug}"), "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        for member in ["title", "detail"] {
            assert!(
                self.body[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "no {member}: {self:?}"
            );
        }
        assert_eq!(status == 503, self.retry_after.is_some(), "{self:?}");
    }
}

/// A client without retries, proxies or redirects.
pub fn client() -> Client {
    builder().build().expect("a client")
}

/// Like [`client`], with this token unless a request brings its own.
pub fn client_with(token: &str) -> Client {
    let header = HeaderValue::try_from(format!("Bearer {token}")).expect("a token");
    builder()
        .default_headers(HeaderMap::from_iter([(AUTHORIZATION, header)]))
        .build()
        .expect("a client")
}

fn builder() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // Before the server closes it: a request on its way at that moment is lost.
        .pool_idle_timeout(Duration::from_secs(5))
}

/// Sends, and reads the whole answer.
pub async fn send(request: RequestBuilder) -> Answer {
    try_send(request).await.expect("an answer")
}

/// Like [`send`], where the other side may be away.
pub async fn try_send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.timeout(PATIENCE).send().await?;
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let (content_type, retry_after, location, etag) = (
        header("content-type").unwrap_or_default(),
        header("retry-after"),
        header("location"),
        header("etag"),
    );
    let status = response.status().as_u16();
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or_default();
    Ok(Answer {
        status,
        content_type,
        retry_after,
        location,
        etag,
        body,
        text,
    })
}

/// What the answer is in the end: after a 503, as on a machine that is busy, the same is asked again. For requests that mean the same
/// however often they are sent.
pub async fn answered(request: RequestBuilder) -> Answer {
    eventually("an answer other than 503", || async {
        let answer = send(request.try_clone().expect("a body that can be sent again")).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// `GET`, [`answered`].
pub async fn get(client: &Client, url: String) -> Answer {
    answered(client.request(Method::GET, url)).await
}
