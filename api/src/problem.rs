//! The one place that decides how an error looks to those who call: RFC 9457 problem details.

mod causes;
mod kind;

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use engine::Timestamp;
use serde::Serialize;

use crate::clock::rfc3339;
pub use kind::Kind;

/// An error as an answer.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    field: Option<String>,
    more: Option<Box<More>>,
    retry_after_seconds: Option<u32>,
}

/// What only some problems have. In a box: a [`Problem`] is moved with every result.
#[derive(Clone, Debug, Default)]
struct More {
    retry: Option<Retry>,
    stage: Option<&'static str>,
}

/// Whether one who was refused should try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// It may turn out otherwise.
    pub can_help: bool,
    /// Not before this instant.
    pub at: Option<Timestamp>,
    /// A sentence.
    pub why: Cow<'static, str>,
}

impl Retry {
    /// It may help, at once or later.
    pub fn helps(why: &'static str) -> Self {
        Self {
            can_help: true,
            at: None,
            why: Cow::Borrowed(why),
        }
    }

    /// It helps from this instant on.
    pub fn helps_at(at: Timestamp, why: &'static str) -> Self {
        Self {
            at: Some(at),
            ..Self::helps(why)
        }
    }

    /// The answer will be the same.
    pub fn is_in_vain(why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            can_help: false,
            at: None,
            why: why.into(),
        }
    }
}

/// A client that is told to come back is told so in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

impl Problem {
    /// A problem of this kind; the detail is a sentence for whoever reads it.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after_seconds =
            (kind.status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS);
        Self {
            kind,
            detail: detail.into(),
            field: None,
            more: None,
            retry_after_seconds,
        }
    }

    /// Says whether trying again can help.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.more.get_or_insert_default().retry = Some(retry);
        self
    }

    /// Says where the purchase that it is about stands.
    #[must_use]
    pub fn with_stage(mut self, stage: &'static str) -> Self {
        self.more.get_or_insert_default().stage = Some(stage);
        self
    }

    /// Names the field, header or parameter that it is about.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// A field of the body with a value that it can't have.
    pub fn invalid(field: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self::new(Kind::INVALID_FIELD, format!("`{field}`: {reason}")).with_field(field)
    }

    /// A parameter of the URL with a value that it can't have.
    pub fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::new(Kind::INVALID_PARAMETER, format!("`{name}`: {reason}")).with_field(name)
    }

    /// Something that was asked for by name and is not there.
    pub fn not_found(what: &str, name: &str) -> Self {
        Self::new(Kind::NOT_FOUND, format!("there is no {what} `{name}`"))
    }

    /// A defect of ours: the details go to the log, not to the caller.
    pub fn internal(doing: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %crate::exit::with_causes(error), "{doing} failed");
        Self::new(
            Kind::INTERNAL,
            format!("{doing} failed; the operator's log says why"),
        )
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<RetryBody<'a>>,
}

#[derive(Serialize)]
struct RetryBody<'a> {
    can_help: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    why: &'a str,
}

impl<'a> RetryBody<'a> {
    fn of(retry: &'a Retry) -> Self {
        Self {
            can_help: retry.can_help,
            at: retry.at.map(rfc3339),
            why: &retry.why,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let more = self.more.as_deref();
        let body = Body {
            r#type: format!("/problems/{}", self.kind.slug),
            title: &self.kind.title,
            status: self.kind.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
            stage: more.and_then(|more| more.stage),
            retry: more.and_then(|more| more.retry.as_ref()).map(RetryBody::of),
        };
        // Strings and a number always serialise.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.kind.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.kind.status == StatusCode::UNAUTHORIZED {
            let scheme = if self.kind == Kind::BAD_SIGNATURE {
                "Webhook-Signature"
            } else {
                "Bearer"
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }
}
