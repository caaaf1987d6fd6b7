//! The one place that decides how an error looks to those who call: RFC 9457 problem details.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use engine::batch::BatchError;
use engine::store::StoreError;
use engine::workflow::Refusal;
use engine::{CommandError, StartError};
use serde::Serialize;
use workflows::ports::catalogue::SeedError;
use workflows::purchase::QuoteError;

/// What kind of problem it is: the last part of its `type`, which stays the same for ever, its status and its title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    slug: Cow<'static, str>,
    status: StatusCode,
    title: Cow<'static, str>,
}

const fn kind(slug: &'static str, status: StatusCode, title: &'static str) -> Kind {
    Kind {
        slug: Cow::Borrowed(slug),
        status,
        title: Cow::Borrowed(title),
    }
}

/// The error table. What a step refuses is not in it: that becomes 409 `/problems/<the refusal's code>`.
impl Kind {
    pub const MALFORMED_BODY: Self = kind(
        "malformed-body",
        StatusCode::BAD_REQUEST,
        "The body can't be read",
    );
    pub const INVALID_FIELD: Self = kind(
        "invalid-field",
        StatusCode::UNPROCESSABLE_ENTITY,
        "A field has a value that it can't have",
    );
    pub const INVALID_PARAMETER: Self = kind(
        "invalid-parameter",
        StatusCode::BAD_REQUEST,
        "A parameter of the URL is wrong",
    );
    pub const INVALID_HEADER: Self = kind(
        "invalid-header",
        StatusCode::BAD_REQUEST,
        "A header of the request is wrong",
    );
    pub const MOVED_ON: Self = kind(
        "moved-on",
        StatusCode::PRECONDITION_FAILED,
        "It is no longer as the request expects it",
    );
    pub const IDEMPOTENCY_KEY_REQUIRED: Self = kind(
        "idempotency-key-required",
        StatusCode::BAD_REQUEST,
        "An Idempotency-Key is required",
    );
    pub const IDEMPOTENCY_KEY_REUSED: Self = kind(
        "idempotency-key-reused",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The Idempotency-Key was used before",
    );
    pub const UNAUTHENTICATED: Self = kind(
        "unauthenticated",
        StatusCode::UNAUTHORIZED,
        "A valid token is required",
    );
    pub const NOT_FOUND: Self = kind("not-found", StatusCode::NOT_FOUND, "There is no such thing");
    pub const UNKNOWN_PATH: Self = kind(
        "unknown-path",
        StatusCode::NOT_FOUND,
        "There is nothing at this path",
    );
    pub const METHOD_NOT_ALLOWED: Self = kind(
        "method-not-allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        "This path has no such method",
    );
    pub const REQUEST_TIMEOUT: Self = kind(
        "request-timeout",
        StatusCode::REQUEST_TIMEOUT,
        "The request came too slowly",
    );
    pub const CONFLICT: Self = kind(
        "conflict",
        StatusCode::CONFLICT,
        "It is not in a state that allows this",
    );
    pub const BODY_TOO_LARGE: Self = kind(
        "body-too-large",
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body is too large",
    );
    pub const UNSUPPORTED_MEDIA_TYPE: Self = kind(
        "unsupported-media-type",
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "The body must be application/json",
    );
    pub const UNAVAILABLE: Self = kind(
        "unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "This can't be done at the moment",
    );
    pub const BUSY: Self = kind(
        "busy",
        StatusCode::SERVICE_UNAVAILABLE,
        "Too much is going on at the moment",
    );
    pub const NOT_READY: Self = kind(
        "not-ready",
        StatusCode::SERVICE_UNAVAILABLE,
        "Something is missing",
    );
    pub const UNDECIDED: Self = kind(
        "undecided",
        StatusCode::SERVICE_UNAVAILABLE,
        "It is not known yet whether it was done",
    );
    pub const INTERNAL: Self = kind(
        "internal",
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something is broken on this side",
    );

    /// A business "no".
    fn refused(code: &str) -> Self {
        let mut title = code.replace('-', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self {
            slug: Cow::Owned(code.to_owned()),
            status: StatusCode::CONFLICT,
            title: Cow::Owned(title),
        }
    }
}

/// An error as an answer.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    field: Option<String>,
    retry_after_seconds: Option<u32>,
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
            retry_after_seconds,
        }
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

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { .. } | StoreError::Lost { .. } => {
                tracing::warn!(%error, "a request could not be served");
                Self::new(
                    Kind::UNAVAILABLE,
                    "the database can't be reached at the moment; try again",
                )
            }
            StoreError::Corrupt { .. } => Self::internal("reading or writing the database", &error),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(Kind::refused(&refusal.code), refusal.message)
    }
}

impl From<QuoteError> for Problem {
    fn from(error: QuoteError) -> Self {
        let kind = Kind {
            slug: Cow::Borrowed(error.code()),
            ..Kind::INVALID_FIELD
        };
        let field = error.field();
        Self::new(kind, format!("`{field}`: {error}")).with_field(field)
    }
}

impl From<SeedError> for Problem {
    fn from(error: SeedError) -> Self {
        match error {
            SeedError::Invalid(invalid) => Self::invalid(invalid.field, invalid.problem),
            SeedError::Conflict(why) => Self::new(Kind::CONFLICT, why),
            error @ SeedError::Contended => Self::new(Kind::UNAVAILABLE, error.to_string()),
            SeedError::Store(error) => error.into(),
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Refused(refusal) => refusal.into(),
            StartError::KeyReused(id) => Self::new(
                Kind::IDEMPOTENCY_KEY_REUSED,
                format!("the Idempotency-Key was used for another request, which started {id}: take a new key"),
            )
            .with_field("Idempotency-Key"),
            StartError::Unavailable(error) => {
                tracing::warn!(error.class = %error.class, error.message = %error.message, "a start could not be tried");
                Self::new(Kind::UNAVAILABLE, "something that is needed can't be reached; nothing was done, try again")
            }
            StartError::Busy => {
                Self::new(Kind::BUSY, "as many are in flight as this node takes on; nothing was done, try again")
            }
            StartError::NotServing(why) => {
                Self::new(Kind::UNAVAILABLE, format!("this node takes no starts at the moment ({why}); try again"))
            }
            StartError::Undecided(id) => Self::new(
                Kind::UNDECIDED,
                format!("{id} is not known to be durable yet: try again with the same Idempotency-Key to find out"),
            ),
            StartError::Store(error) => error.into(),
            error @ (StartError::UnknownDefinition(_) | StartError::Input(_)) => {
                Self::internal("starting a workflow", &error)
            }
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NotFound(id) => Self::not_found("workflow", &id.to_string()),
            CommandError::Conflict(why) => Self::new(Kind::CONFLICT, why),
            error @ CommandError::MovedOn { .. } => {
                Self::new(Kind::MOVED_ON, error.to_string()).with_field("If-Match")
            }
            CommandError::Invalid(why) => Self::new(Kind::INVALID_FIELD, why),
            CommandError::KeyReused(id) => key_reused("command", id.0),
            CommandError::Undecided => Self::new(
                Kind::UNDECIDED,
                "it is not known yet whether the command is durable: send it again under the same key to find out",
            ),
            CommandError::Store(error) => error.into(),
        }
    }
}

impl From<BatchError> for Problem {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::EmptyFilter => Self::invalid(
                "filter",
                "must name its workflows: by state, definition, reason, label or step",
            ),
            BatchError::Invalid(why) => Self::new(Kind::INVALID_FIELD, why),
            BatchError::KeyReused(id) => key_reused("batch", id),
            BatchError::Store(error) => error.into(),
        }
    }
}

fn key_reused(what: &str, number: u64) -> Problem {
    let why = format!("the key was used for another {what}, number {number}: take a new one");
    Problem::new(Kind::IDEMPOTENCY_KEY_REUSED, why).with_field("Idempotency-Key")
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: format!("/problems/{}", self.kind.slug),
            title: &self.kind.title,
            status: self.kind.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
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
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
