//! Who a buyer is: short-lived tokens that this service signs and checks itself.
//!
//! JSON Web Tokens (RFC 7519) with HS256 and nothing else: the algorithm is pinned, every claim is required. Times are
//! judged by the engine's clock.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use engine::{Runtime, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use workflows::domain::ids::BuyerId;

use crate::problem::{Kind, Problem};

/// How long a token is good for.
pub const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// A key has at least this many bytes: as many as the hash (RFC 7518, section 3.2).
pub const KEY_BYTES_MIN: usize = 32;

const ISSUER: &str = "holdfast";
const AUDIENCE: &str = "holdfast-buyers";
/// Clocks of several nodes may differ by this much.
const LEEWAY_SECONDS: i64 = 5;
const TOKEN_BYTES_MAX: usize = 2_048;

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: BuyerId,
    nbf: i64,
    exp: i64,
}

/// Issues tokens and checks them.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
    runtime: Runtime,
}

/// A token for a new buyer.
pub struct Issued {
    /// The token.
    pub token: String,
    /// Whose it is.
    pub buyer: BuyerId,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Tokens {
    /// Tokens under this key, which must have [`KEY_BYTES_MIN`] bytes.
    pub fn new(key: &[u8], runtime: Runtime) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        // Checked below, by the engine's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let (signing, checking) = (EncodingKey::from_secret(key), DecodingKey::from_secret(key));
        Self(Arc::new(Inner {
            signing,
            checking,
            validation,
            runtime,
        }))
    }

    /// A token for a buyer that nobody has seen before.
    pub fn issue_anonymous(&self) -> Result<Issued, Problem> {
        let Inner {
            signing, runtime, ..
        } = &*self.0;
        let name = format!(
            "anon-{:016x}{:016x}",
            runtime.next_u64(),
            runtime.next_u64()
        );
        let buyer =
            BuyerId::parse(name).map_err(|error| Problem::internal("naming a buyer", &error))?;
        let now = runtime.now();
        let expires_at = now.after(TOKEN_LIFETIME);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: buyer.clone(),
            nbf: seconds(now),
            exp: seconds(expires_at),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, signing)
            .map_err(|error| Problem::internal("signing a token", &error))?;
        Ok(Issued {
            token,
            buyer,
            expires_at,
        })
    }

    /// Whose token it is, if it is good now.
    pub fn check(&self, token: &str) -> Result<BuyerId, Problem> {
        let Inner {
            checking,
            validation,
            runtime,
            ..
        } = &*self.0;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(unauthenticated("the token is too long to be one of ours"));
        }
        // Which of the checks it failed is nobody's business.
        let claims: Claims = jsonwebtoken::decode(token, checking, validation)
            .map_err(|_| unauthenticated("the token is not one of ours"))?
            .claims;
        let now = seconds(runtime.now());
        if now > claims.exp {
            return Err(unauthenticated("the token has expired: get a new one"));
        }
        if now < claims.nbf.saturating_sub(LEEWAY_SECONDS) {
            return Err(unauthenticated("the token is not valid yet"));
        }
        Ok(claims.sub)
    }
}

fn seconds(instant: Timestamp) -> i64 {
    instant.0.div_euclid(1_000_000)
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(Kind::UNAUTHENTICATED, detail).with_field("Authorization")
}

/// The buyer whose token came with the request.
pub struct Buyer(pub BuyerId);

impl<S> FromRequestParts<S> for Buyer
where
    S: Send + Sync,
    Tokens: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let missing = || {
            unauthenticated(
                "send `Authorization: Bearer <token>`; POST /v1/auth/anonymous gives a token",
            )
        };
        let mut values = parts.headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(missing());
        };
        let (scheme, token) = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(missing());
        }
        Tokens::from_ref(state).check(token.trim()).map(Buyer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn tokens() -> Tokens {
        Tokens::new(KEY, Runtime::system())
    }

    fn claims() -> serde_json::Value {
        serde_json::json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "anon-1", "nbf": 0, "exp": i64::from(u32::MAX),
        })
    }

    fn signed(algorithm: Algorithm, key: &[u8], claims: &serde_json::Value) -> String {
        jsonwebtoken::encode(
            &Header::new(algorithm),
            claims,
            &EncodingKey::from_secret(key),
        )
        .unwrap()
    }

    #[test]
    fn a_token_names_its_buyer() {
        let issued = tokens().issue_anonymous().unwrap();
        assert_eq!(tokens().check(&issued.token).unwrap(), issued.buyer);
        let control = signed(Algorithm::HS256, KEY, &claims());
        assert_eq!(tokens().check(&control).unwrap().as_str(), "anon-1");
    }

    #[test]
    fn two_buyers_are_never_the_same() {
        let tokens = tokens();
        assert_ne!(
            tokens.issue_anonymous().unwrap().buyer,
            tokens.issue_anonymous().unwrap().buyer
        );
    }

    #[test]
    fn a_token_with_a_claim_missing_or_wrong_is_refused() {
        for name in ["iss", "aud", "sub", "nbf", "exp"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            assert!(
                tokens()
                    .check(&signed(Algorithm::HS256, KEY, &claims))
                    .is_err(),
                "without {name}"
            );
        }
        for (name, value) in [
            ("iss", serde_json::json!("another")),
            ("aud", serde_json::json!("another")),
            ("sub", serde_json::json!("Not A Slug")),
            ("exp", serde_json::json!(1)),
            ("nbf", serde_json::json!(i64::from(u32::MAX))),
        ] {
            let mut claims = claims();
            claims[name] = value;
            assert!(
                tokens()
                    .check(&signed(Algorithm::HS256, KEY, &claims))
                    .is_err(),
                "with another {name}"
            );
        }
    }

    #[test]
    fn another_key_algorithm_or_no_signature_is_refused() {
        let other_key = b"another-key-of-at-least-32-bytes";
        assert!(
            tokens()
                .check(&signed(Algorithm::HS256, other_key, &claims()))
                .is_err()
        );
        assert!(
            tokens()
                .check(&signed(Algorithm::HS512, KEY, &claims()))
                .is_err()
        );
        let good = signed(Algorithm::HS256, KEY, &claims());
        let (_, payload) = good.split_once('.').unwrap();
        let (payload, _) = payload.split_once('.').unwrap();
        // {"alg":"none","typ":"JWT"}
        assert!(
            tokens()
                .check(&format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}."))
                .is_err()
        );
        assert!(tokens().check(&good[..good.len() - 1]).is_err());
    }
}
