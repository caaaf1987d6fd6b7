//! The kinds of problems: all that a client may tell apart.

use std::borrow::Cow;

use axum::http::StatusCode;

/// What kind of problem it is: the last part of its `type`, which stays the same for ever, its status and its title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    pub(super) slug: Cow<'static, str>,
    pub(super) status: StatusCode,
    pub(super) title: Cow<'static, str>,
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
    pub const ROLE_REQUIRED: Self = kind(
        "role-required",
        StatusCode::FORBIDDEN,
        "The token's role is not enough",
    );
    pub const BAD_SIGNATURE: Self = kind(
        "bad-signature",
        StatusCode::UNAUTHORIZED,
        "The signature is missing, wrong or too old",
    );
    pub const PAYMENT_OVER: Self = kind(
        "payment-over",
        StatusCode::CONFLICT,
        "The payment is not awaited any more",
    );
    pub const TOO_LATE_TO_CANCEL: Self = kind(
        "too-late-to-cancel",
        StatusCode::CONFLICT,
        "It is too late to cancel",
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

    /// A business "no": 409, with the refusal's code.
    pub(super) fn refused(code: &str) -> Self {
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
