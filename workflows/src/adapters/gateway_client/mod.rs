//! The payment gateway over HTTP: a reqwest client behind [`PaymentGateway`].
//!
//! A real gateway's adapter is a file like this one: build the request, hand the response to `answer`, check what came.

mod answer;
mod transport;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Url, redirect, retry};
use serde::de::DeserializeOwned;

use crate::domain::money::Money;
use crate::ports::payment_gateway::{
    Approval, ApproveRequest, CancelRequest, Cancellation, Decline, GatewayError, PaymentGateway,
    PaymentRecord, PaymentStatus, PrepareRequest, Prepared,
};

pub use answer::ANSWER_BYTES_MAX;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// The client's bounds.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// For one TCP connect.
    pub connect_timeout: Duration,
    /// For one request, from the connect to the last byte of the answer.
    pub request_timeout: Duration,
    /// An unused connection is closed after this.
    pub pool_idle_timeout: Duration,
    /// Unused connections kept open.
    pub pool_idle_max: usize,
    /// Where the gateway sends the buyer back to, with `order_id` and `authorization` in the query: an absolute http or https URL.
    pub return_url: Option<String>,
    /// Where the gateway sends its webhooks for what is prepared here, when not where it is configured to: as above.
    pub webhook_url: Option<String>,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            pool_idle_timeout: Duration::from_secs(30),
            pool_idle_max: 256,
            return_url: None,
            webhook_url: None,
        }
    }
}

/// The configuration can't make a client.
#[derive(Debug, thiserror::Error)]
pub enum GatewayConfigError {
    /// Not an absolute URL.
    #[error(
        "the payment gateway's URL can't be read ({reason}): give one such as http://127.0.0.1:9090"
    )]
    BadUrl {
        /// What is wrong with it; the URL itself may hold a secret and is not repeated.
        reason: String,
    },
    /// The build has no TLS.
    #[error(
        "the payment gateway's URL is https, and this build has no TLS: \
         give an http URL of a TLS-terminating sidecar, or build with a TLS feature of reqwest"
    )]
    NoTls,
    /// Neither http nor https.
    #[error("the payment gateway's URL has the scheme {0:?}: it must be http")]
    BadScheme(String),
    /// Something that does not belong into a base URL.
    #[error("the payment gateway's URL must have no {0}")]
    Surplus(&'static str),
    /// A bound of zero would fail every request.
    #[error("the payment gateway's {0} must be more than zero")]
    Zero(&'static str),
    /// A URL that a browser or the gateway could not follow.
    #[error(
        "the payment gateway's {0} must be an absolute http or https URL of at most 2,048 bytes"
    )]
    BadTarget(&'static str),
    /// reqwest could not be set up.
    #[error("the HTTP client could not be set up")]
    Client(#[source] reqwest::Error),
}

/// A gateway that speaks the API of `docs/PAYMENTS.md`.
#[derive(Clone, Debug)]
pub struct HttpPaymentGateway {
    client: Client,
    base: Url,
    return_url: Option<String>,
    webhook_url: Option<String>,
}

impl HttpPaymentGateway {
    /// A client for the gateway at `base_url` (`http://host:port`, with or without a path in front of `/v1`).
    ///
    /// Nothing is sent yet: a gateway that is down shows as [`GatewayError::NotSent`] later.
    pub fn new(base_url: &str, settings: &GatewaySettings) -> Result<Self, GatewayConfigError> {
        let base = checked_base(base_url)?;
        for (name, value) in [
            ("connect time-out", settings.connect_timeout),
            ("request time-out", settings.request_timeout),
        ] {
            if value.is_zero() {
                return Err(GatewayConfigError::Zero(name));
            }
        }
        for (name, target) in [
            ("return URL", &settings.return_url),
            ("webhook URL", &settings.webhook_url),
        ] {
            if target
                .as_deref()
                .is_some_and(|url| !wire::is_web_address(url))
            {
                return Err(GatewayConfigError::BadTarget(name));
            }
        }
        let client = Client::builder()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.request_timeout)
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(settings.pool_idle_max)
            .tcp_nodelay(true)
            .no_proxy() // a proxy's refusal must not look like the gateway's
            .redirect(redirect::Policy::none()) // a charge goes where it was sent, or nowhere
            .retry(retry::never()) // retries are the saga's, under its policy
            .build()
            .map_err(GatewayConfigError::Client)?;
        Ok(Self {
            client,
            base,
            return_url: settings.return_url.clone(),
            webhook_url: settings.webhook_url.clone(),
        })
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        url
    }

    fn post(&self, url: Url, key: &str) -> Result<RequestBuilder, GatewayError> {
        Ok(self
            .client
            .post(url)
            .header(&IDEMPOTENCY_KEY, key_header(key)?))
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, GatewayError> {
        answer::read(request.send().await?).await
    }
}

#[async_trait]
impl PaymentGateway for HttpPaymentGateway {
    async fn prepare(&self, request: &PrepareRequest) -> Result<Prepared, GatewayError> {
        let expires_at = request.expires_at.0;
        let body = wire::ReserveBody {
            order_id: &request.order_id,
            amount: request.amount.amount,
            currency: request.amount.currency,
            expires_at: jiff::Timestamp::from_microsecond(expires_at)
                .map_err(|_| unsendable("bad-expires-at", "expires_at is out of range"))?,
            return_url: self.return_url.as_deref(),
            webhook_url: self.webhook_url.as_deref(),
        };
        let post = self.post(self.url(&["payments", "reserve"]), &request.idempotency_key)?;
        let reserved: wire::ReserveAnswer = self.call(post.json(&body)).await?;
        reserved.page_of(&request.order_id, request.amount)
    }

    async fn approve(&self, request: &ApproveRequest) -> Result<Approval, GatewayError> {
        let body = wire::ApproveBody {
            order_id: &request.order_id,
            amount: request.amount.amount,
            currency: request.amount.currency,
            payment_token: request.payment_token.expose(),
        };
        let post = self.post(self.url(&["payments", "approve"]), &request.idempotency_key)?;
        let payment: wire::PaymentAnswer = self.call(post.json(&body)).await?;
        approval(payment.try_into()?, &request.order_id, request.amount)
    }

    async fn inquire(&self, order_id: &str) -> Result<Option<PaymentRecord>, GatewayError> {
        let get = self
            .client
            .get(self.url(&["payments"]))
            .query(&[("order_id", order_id)]);
        let found: wire::InquiryAnswer = self.call(get).await?;
        let records: Result<Vec<PaymentRecord>, _> =
            found.payments.into_iter().map(TryInto::try_into).collect();
        the_payment_of(order_id, records?)
    }

    async fn cancel(&self, request: &CancelRequest) -> Result<Cancellation, GatewayError> {
        let body = wire::CancelBody {
            amount: request.amount.amount,
            expected_rest_amount: request.expected_rest,
        };
        let url = self.url(&["payments", request.payment_id.as_str(), "cancel"]);
        let post = self.post(url, &request.idempotency_key)?;
        let cancelled: wire::CancelAnswer = self.call(post.json(&body)).await?;
        cancellation(cancelled.try_into()?, request)
    }
}

/// An approval counts only if it is about our order and our amount; so does a refusal.
fn approval(
    payment: PaymentRecord,
    order_id: &str,
    amount: Money,
) -> Result<Approval, GatewayError> {
    payment.verify(order_id, amount)?;
    match (payment.status, payment.decline.clone()) {
        (PaymentStatus::Approved, None) if payment.refunded == 0 => Ok(Approval::Approved(payment)),
        (PaymentStatus::Declined, Some(Decline { code, message })) => {
            Ok(Approval::Declined { code, message })
        }
        _ => {
            let expected =
                format!("an approval or a refusal of order {order_id}, {amount}, nothing refunded");
            Err(GatewayError::Mismatch {
                expected,
                got: Box::new(payment),
            })
        }
    }
}

/// The order's one capture, else its last refusal. Two captures of one order are money that somebody must give back.
fn the_payment_of(
    order_id: &str,
    records: Vec<PaymentRecord>,
) -> Result<Option<PaymentRecord>, GatewayError> {
    let mismatch = |expected: String, got: PaymentRecord| GatewayError::Mismatch {
        expected,
        got: Box::new(got),
    };
    let (mut captured, mut declined) = (None, None);
    for record in records {
        if record.order_id != order_id {
            return Err(mismatch(
                format!("payments of order {order_id} only"),
                record,
            ));
        }
        match record.status {
            PaymentStatus::Declined => declined = Some(record),
            PaymentStatus::Approved | PaymentStatus::Cancelled if captured.is_some() => {
                return Err(mismatch(
                    format!("at most one capture of order {order_id}"),
                    record,
                ));
            }
            PaymentStatus::Approved | PaymentStatus::Cancelled => captured = Some(record),
        }
    }
    Ok(captured.or(declined))
}

/// A cancellation counts only if payment, amount, currency and rest are ours.
fn cancellation(done: Cancellation, request: &CancelRequest) -> Result<Cancellation, GatewayError> {
    let ours = done.payment.payment_id == request.payment_id
        && done.amount == request.amount
        && done.rest == request.expected_rest
        && done.payment.rest() == request.expected_rest;
    if ours {
        return Ok(done);
    }
    let CancelRequest {
        payment_id,
        amount,
        expected_rest,
        ..
    } = request;
    let expected =
        format!("{amount} given back of payment {payment_id}, {expected_rest} remaining");
    Err(GatewayError::Mismatch {
        expected,
        got: Box::new(done.payment),
    })
}

fn checked_base(base_url: &str) -> Result<Url, GatewayConfigError> {
    let base = Url::parse(base_url).map_err(|error| GatewayConfigError::BadUrl {
        reason: error.to_string(),
    })?;
    match base.scheme() {
        "http" => {}
        "https" => return Err(GatewayConfigError::NoTls),
        other => return Err(GatewayConfigError::BadScheme(other.to_owned())),
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(GatewayConfigError::Surplus("user name or password"));
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err(GatewayConfigError::Surplus("query or fragment"));
    }
    Ok(base)
}

/// A key that can't be a header is a bug of the caller, found before anything is sent.
fn key_header(key: &str) -> Result<HeaderValue, GatewayError> {
    let sound = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic());
    HeaderValue::from_str(key)
        .ok()
        .filter(|_| sound)
        .ok_or_else(|| {
            let reason =
                format!("a key is 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters");
            unsendable("bad-idempotency-key", &reason)
        })
}

/// A bug of the caller, found before anything was sent.
fn unsendable(code: &str, reason: &str) -> GatewayError {
    GatewayError::Rejected {
        status: 0,
        code: code.to_owned(),
        message: format!("{reason}; nothing was sent"),
    }
}
