//! The token that came with a request.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use workflows::domain::ids::BuyerId;

use super::role::Operator;
use super::tokens::Tokens;
use crate::problem::{Kind, Problem};

/// The buyer whose token came with the request.
pub struct Buyer(pub BuyerId);

impl<S> FromRequestParts<S> for Buyer
where
    S: Send + Sync,
    Tokens: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            unauthenticated(
                "send `Authorization: Bearer <token>`; POST /v1/auth/anonymous gives a token",
            )
        })?;
        Ok(Self(Tokens::from_ref(state).buyer(token)?))
    }
}

/// The operator whom the routing table let pass.
impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let operator = parts.extensions.get::<Self>().cloned();
        operator.ok_or_else(|| unauthenticated("this takes an operator's token"))
    }
}

/// The one token of the request's `Authorization` header (RFC 6750, section 2.1).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// 401, about the header with the token.
pub fn unauthenticated(detail: &str) -> Problem {
    Problem::new(Kind::UNAUTHENTICATED, detail).with_field("Authorization")
}
