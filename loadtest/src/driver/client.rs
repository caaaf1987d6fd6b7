//! A buyer's requests, and every answer that they may get.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode, redirect};
use serde::{Deserialize, Serialize};

/// What a buyer wants: the body of `POST /v1/purchases`.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    /// Which sale.
    pub sale: String,
    /// Which products, and how many of each.
    pub lines: Vec<OrderLine>,
    /// The campaign whose coupon is to be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// How it is paid.
    pub payment: Payment,
}

/// Some units of one product.
#[derive(Clone, Debug, Serialize)]
pub struct OrderLine {
    /// Which product.
    pub product: String,
    /// Units.
    pub quantity: u32,
}

/// How it is paid.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Payment {
    /// By a token that the buyer authorised before.
    Stored {
        /// The token.
        token: String,
    },
    /// At the gateway, where the buyer is sent.
    Redirect,
}

impl Payment {
    /// A stored token.
    #[must_use]
    pub fn stored(token: impl Into<String>) -> Self {
        Self::Stored {
            token: token.into(),
        }
    }
}

/// A purchase as its buyer sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Purchase {
    /// Its id.
    pub id: String,
    /// Where it stands, such as `COMPLETED`.
    pub state: String,
    /// Why it was turned back or parked.
    pub reason: Option<Reason>,
    /// Where in its life it is, such as `awaiting-payment` or `refunded`.
    #[serde(default)]
    pub stage: String,
    /// Where the buyer authorises the payment; present while that is awaited.
    #[serde(default)]
    pub redirect_url: Option<String>,
    /// What was issued, one entry a unit.
    #[serde(default)]
    pub goods: Vec<serde_json::Value>,
}

impl Purchase {
    /// Nothing more will happen to it by itself.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(
            self.state.as_str(),
            "COMPLETED" | "COMPENSATED" | "PARKED" | "ABANDONED"
        )
    }
}

/// Why a purchase did not go through.
#[derive(Clone, Debug, Deserialize)]
pub struct Reason {
    /// Stable, for machines.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The purchase.
    Purchase(Purchase),
    /// A "no" with a reason: there is no purchase.
    Refused {
        /// The last part of the problem's type, such as `sold-out`.
        code: String,
        /// A sentence.
        detail: String,
    },
}

/// What a buyer does on the gateway's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It authorises the payment.
    Authorise,
    /// It does not.
    Decline,
}

/// There was no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection failed or broke, or nothing came in time. The request may have been carried out.
    #[error("no answer")]
    Transport(#[source] reqwest::Error),
    /// 503: come back later.
    #[error("unavailable: {detail}")]
    Unavailable {
        /// When to come back.
        retry_after: Duration,
        /// A sentence.
        detail: String,
    },
    /// An answer that no buyer should ever see.
    #[error("unexpected answer {status}: {body}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
}

impl CallError {
    /// The same request may be sent again, under the same key.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Transport(_) | Self::Unavailable { .. })
    }

    /// How long to wait before that.
    pub(super) const fn pause(&self) -> Duration {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            Self::Transport(_) | Self::Unexpected { .. } => Duration::from_millis(100),
        }
    }
}

#[derive(Deserialize)]
struct IssuedToken {
    token: String,
}

#[derive(Deserialize)]
struct Decided {
    #[serde(default)]
    authorization: Option<String>,
}

#[derive(Deserialize)]
struct GatewayProblem {
    code: String,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    detail: String,
}

/// Connections to one server, shared by all buyers.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
}

/// Longer than any `wait` that we ask for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
const WAIT_SECONDS: u32 = 20;
/// The gateway's code for a page on which nothing can be decided any more.
const TIME_IS_OVER: &str = "reservation-expired";
const BODY_SHOWN_CHARS_MAX: usize = 300;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

impl Client {
    /// A client with at most so many idle connections.
    pub fn new(base_url: &str, idle_max: usize) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(idle_max)
            .pool_idle_timeout(Duration::from_secs(5)) // before the server closes it
            .connect_timeout(Duration::from_secs(5))
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()?;
        Ok(Self {
            http,
            base_url: base_url.trim_end_matches('/').to_owned(),
        })
    }

    /// A new buyer's token.
    pub async fn anonymous(&self) -> Result<String, CallError> {
        let response = send(
            self.http
                .post(format!("{}/v1/auth/anonymous", self.base_url)),
        )
        .await?;
        match response.status() {
            StatusCode::CREATED => response
                .json()
                .await
                .map(|issued: IssuedToken| issued.token)
                .map_err(unread),
            _ => Err(unusable(response).await),
        }
    }

    /// Starts a purchase.
    pub async fn purchase(
        &self,
        token: &str,
        key: &str,
        order: &Order,
    ) -> Result<Answer, CallError> {
        let request = self
            .http
            .post(format!("{}/v1/purchases", self.base_url))
            .bearer_auth(token)
            .header("idempotency-key", key)
            .json(order);
        let response = send(request).await?;
        match response.status() {
            StatusCode::ACCEPTED => response.json().await.map(Answer::Purchase).map_err(unread),
            StatusCode::CONFLICT => refusal(response)
                .await
                .map(|(code, detail)| Answer::Refused { code, detail }),
            _ => Err(unusable(response).await),
        }
    }

    /// Claims a coupon ahead: `Ok(None)` when the buyer has it now, else the code of the refusal.
    pub async fn claim(
        &self,
        token: &str,
        key: &str,
        campaign: &str,
    ) -> Result<Option<String>, CallError> {
        let url = format!("{}/v1/campaigns/{campaign}/claims", self.base_url);
        let request = self.http.post(url).bearer_auth(token);
        let response = send(request.header("idempotency-key", key)).await?;
        match response.status() {
            StatusCode::CREATED => Ok(None),
            StatusCode::CONFLICT => refusal(response).await.map(|(code, _)| Some(code)),
            _ => Err(unusable(response).await),
        }
    }

    /// The purchase, once the buyer can pay for it, or it is settled, or some seconds have passed.
    pub async fn payable(&self, token: &str, id: &str) -> Result<Purchase, CallError> {
        let url = format!(
            "{}/v1/purchases/{id}?wait={WAIT_SECONDS}s&for=payment",
            self.base_url
        );
        let response = send(self.http.get(url).bearer_auth(token)).await?;
        match response.status() {
            StatusCode::OK => response.json().await.map_err(unread),
            _ => Err(unusable(response).await),
        }
    }

    /// What the buyer does on the gateway's page; the authorisation, if it gives one and the time to pay is not over.
    pub async fn decide(
        &self,
        page: &str,
        decision: Decision,
    ) -> Result<Option<String>, CallError> {
        #[derive(Serialize)]
        struct Body {
            decision: Decision,
        }
        let response = send(self.http.post(page).json(&Body { decision })).await?;
        match response.status() {
            StatusCode::OK => response
                .json()
                .await
                .map(|decided: Decided| decided.authorization)
                .map_err(unread),
            StatusCode::CONFLICT => too_late(response).await.map(|()| None),
            _ => Err(unusable(response).await),
        }
    }

    /// Comes back from the gateway. `false`: the purchase does not wait for that any more.
    pub async fn confirm(
        &self,
        token: &str,
        id: &str,
        authorization: &str,
    ) -> Result<bool, CallError> {
        let url = format!("{}/v1/purchases/{id}/confirm", self.base_url);
        let body = serde_json::json!({ "authorization": authorization });
        self.told(self.http.post(url).bearer_auth(token).json(&body))
            .await
    }

    /// Cancels it. `false`: it is too late for that.
    pub async fn cancel(&self, token: &str, id: &str) -> Result<bool, CallError> {
        let url = format!("{}/v1/purchases/{id}/cancel", self.base_url);
        self.told(self.http.post(url).bearer_auth(token)).await
    }

    async fn told(&self, request: RequestBuilder) -> Result<bool, CallError> {
        let response = send(request).await?;
        match response.status() {
            StatusCode::ACCEPTED => Ok(true),
            StatusCode::CONFLICT => Ok(false),
            _ => Err(unusable(response).await),
        }
    }

    /// The purchase, once it is settled or some seconds have passed; `None` when there is none.
    pub async fn outcome(&self, token: &str, id: &str) -> Result<Option<Purchase>, CallError> {
        let url = format!("{}/v1/purchases/{id}?wait={WAIT_SECONDS}s", self.base_url);
        let response = send(self.http.get(url).bearer_auth(token)).await?;
        match response.status() {
            StatusCode::OK => response.json().await.map(Some).map_err(unread),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(unusable(response).await),
        }
    }
}

async fn send(request: RequestBuilder) -> Result<Response, CallError> {
    request.send().await.map_err(CallError::Transport)
}

/// A body that broke off may come whole the next time; one that makes no sense will not.
fn unread(error: reqwest::Error) -> CallError {
    if error.is_decode() {
        unexpected(200, &error.to_string())
    } else {
        CallError::Transport(error)
    }
}

/// The problem's code and sentence.
async fn refusal(response: Response) -> Result<(String, String), CallError> {
    let status = response.status().as_u16();
    let body = response.text().await.map_err(CallError::Transport)?;
    match serde_json::from_str::<Problem>(&body) {
        Ok(problem) => {
            let code = problem
                .kind
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            Ok((code, problem.detail))
        }
        Err(_) => Err(unexpected(status, &body)),
    }
}

/// The gateway's word that the time to pay is over: who was slow, or on a slow machine, sees it.
async fn too_late(response: Response) -> Result<(), CallError> {
    let status = response.status().as_u16();
    let body = response.text().await.map_err(CallError::Transport)?;
    match serde_json::from_str::<GatewayProblem>(&body) {
        Ok(problem) if problem.code == TIME_IS_OVER => Ok(()),
        _ => Err(unexpected(status, &body)),
    }
}

async fn unusable(response: Response) -> CallError {
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let body = match response.text().await {
        Ok(body) => body,
        Err(error) => return CallError::Transport(error),
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let detail = serde_json::from_str::<Problem>(&body).map_or(body, |problem| problem.detail);
        return CallError::Unavailable {
            retry_after,
            detail,
        };
    }
    unexpected(status.as_u16(), &body)
}

fn unexpected(status: u16, body: &str) -> CallError {
    CallError::Unexpected {
        status,
        body: body.chars().take(BODY_SHOWN_CHARS_MAX).collect(),
    }
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1)).min(RETRY_AFTER_MAX)
}
