//! Reading what was sent: a body or a query that is wrong becomes a problem that names what is wrong with it.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::problem::{Kind, Problem};

/// A body must have come after this.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a body that is too large so much is read and thrown away: whoever is still sending does not read the answer.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A JSON body of at most `BYTES_MAX` bytes.
pub struct Json<T, const BYTES_MAX: usize>(pub T);

impl<S: Send + Sync, T: DeserializeOwned, const BYTES_MAX: usize> FromRequest<S>
    for Json<T, BYTES_MAX>
{
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let bytes = read(request.into_body(), BYTES_MAX).await?;
        json(&bytes).map(Self)
    }
}

/// The bytes of a body of at most `BYTES_MAX`, as they came.
pub struct Raw<const BYTES_MAX: usize>(pub Vec<u8>);

impl<S: Send + Sync, const BYTES_MAX: usize> FromRequest<S> for Raw<BYTES_MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request.into_body(), BYTES_MAX).await.map(Self)
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        Kind::UNSUPPORTED_MEDIA_TYPE,
        "send the body as Content-Type: application/json",
    )
    .with_field("Content-Type"))
}

async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    match timeout(BODY_TIMEOUT, collect(body, bytes_max)).await {
        Ok(collected) => collected,
        Err(_) => Err(Problem::new(
            Kind::REQUEST_TIMEOUT,
            "the body did not come in time",
        )),
    }
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let (mut bytes, mut length) = (room_for(&body, bytes_max), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(Kind::MALFORMED_BODY, format!("the body broke off: {error}"))
        })?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length <= bytes_max {
            bytes.extend_from_slice(data);
        } else if length > DISCARDED_BYTES_MAX {
            break;
        }
    }
    if length <= bytes_max {
        return Ok(bytes);
    }
    let detail = format!("a body has at most {bytes_max} bytes");
    Err(Problem::new(Kind::BODY_TOO_LARGE, detail))
}

/// Room for all that may come, at once: a buffer that grows while many bodies come leaves holes three times their size in memory.
/// Room that is never written to costs none.
fn room_for(body: &Body, bytes_max: usize) -> Vec<u8> {
    let announced = body.size_hint().exact();
    let bytes = announced.map_or(bytes_max, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    });
    Vec::with_capacity(bytes.min(bytes_max))
}

/// The value that this JSON object stands for. A value that does not fit is named by its path, such as
/// `lines[0].quantity`.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let malformed = |detail: String| Problem::new(Kind::MALFORMED_BODY, detail).with_field("body");
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(malformed(format!(
            "the body is not UTF-8 after byte {}",
            error.valid_up_to()
        )));
    }
    if bytes.trim_ascii_start().starts_with(b"[") {
        // serde would take the elements for the fields.
        return Err(Problem::invalid("body", "must be an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| does_not_fit(&error))?;
    reader
        .end()
        .map_err(|error| malformed(format!("the body goes on after the JSON: {error}")))?;
    Ok(value)
}

fn does_not_fit(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let (path, cause) = (error.path().to_string(), error.inner());
    let mut field = if path == "." { String::new() } else { path };
    let words = cause.to_string();
    // The position in the text is of no use beside the path.
    let words = words.split(" at line ").next().unwrap_or_default();
    if ["missing field", "duplicate field"]
        .iter()
        .any(|start| words.starts_with(start))
    {
        let name = words.split('`').nth(1).unwrap_or_default();
        field = if field.is_empty() {
            name.to_owned()
        } else {
            format!("{field}.{name}")
        };
    }
    if field.is_empty() {
        "body".clone_into(&mut field);
    }
    if cause.is_data() {
        return Problem::invalid(field, words);
    }
    Problem::new(
        Kind::MALFORMED_BODY,
        format!("the body is not JSON: {cause}"),
    )
    .with_field(field)
}

/// The one parameter of a path.
pub struct Path(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<String>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(text)) => Ok(Self(text)),
            Err(_) => Err(Problem::parameter("path", "must be percent-encoded UTF-8")),
        }
    }
}

/// The parameters of a URL; what is unknown or wrong is named.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(query) => Ok(Self(query.0)),
            Err(rejection) => {
                let words = crate::exit::with_causes(&rejection);
                let words = words.rsplit(": ").next().unwrap_or_default();
                let problem = Problem::new(Kind::INVALID_PARAMETER, words);
                Err(match words.split('`').nth(1) {
                    Some(name) => problem.with_field(name),
                    None => problem,
                })
            }
        }
    }
}
