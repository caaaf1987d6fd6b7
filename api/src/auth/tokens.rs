//! JSON Web Tokens (RFC 7519), signed and checked by the rules of RFC 8725: HS256 and nothing else, every claim required, and
//! an audience and a type of its own for each use, so that a token is good for one thing only. Times are judged by the
//! engine's clock.

use std::sync::Arc;
use std::time::Duration;

use engine::{Runtime, Timestamp, planted};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use workflows::domain::ids::BuyerId;

use super::keys::Keys;
use super::role::{Operator, Role};

/// How long a buyer's access token is good for.
const ACCESS_LIFETIME: Duration = Duration::from_hours(1);
/// How long a refresh token is good for.
const REFRESH_LIFETIME: Duration = Duration::from_hours(30 * 24);

const ISSUER: &str = "holdfast";
/// Clocks may differ by this much.
const LEEWAY_SECONDS: i64 = 5;
const TOKEN_BYTES_MAX: usize = 2_048;
/// A family's name as text: 128 bits in hexadecimal.
const FAMILY_DIGITS: usize = 32;

/// Why a token is not good. Which of the checks a forged one failed is nobody's business.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is longer than any of ours.
    #[error("the token is too long to be one of ours")]
    TooLong,
    /// Forged, spoiled, or meant for something else.
    #[error("the token is not one that is good here")]
    NotGood,
    /// Its time is over.
    #[error("the token has expired: get a new one")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// One of ours could not be signed: a defect.
    #[error("signing a token")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

/// What tokens are for.
#[derive(Clone, Copy)]
enum Use {
    Access,
    Refresh,
    Operate,
}

impl Use {
    const fn audience(self) -> &'static str {
        match self {
            Self::Access => "holdfast-buyers",
            Self::Refresh => "holdfast-refresh",
            Self::Operate => "holdfast-operators",
        }
    }

    /// The `typ` of the header (RFC 8725, section 3.11); access tokens have the one of RFC 9068.
    const fn header_type(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "refresh+jwt",
            Self::Operate => "operator+jwt",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    nbf: i64,
    exp: i64,
    /// Of an operator's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// Of a refresh token: its family, and its number in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<i64>,
}

/// Signs tokens and checks them. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    keys: Keys,
    runtime: Runtime,
    access: Validation,
    refresh: Validation,
    operate: Validation,
}

/// What a buyer gets at a sign-in and at each refresh.
pub struct Grant {
    /// Whose it is.
    pub buyer: BuyerId,
    /// Shown with each request.
    pub access_token: String,
    /// When the access token ends.
    pub expires_at: Timestamp,
    /// Good once, for the next grant.
    pub refresh_token: String,
    /// When the refresh token ends.
    pub refresh_expires_at: Timestamp,
}

/// A token for an operator.
pub struct OperatorToken {
    /// The token.
    pub token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What a refresh token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// The sign-in that it comes from.
    pub family: u128,
    /// Its number in the family, from 1.
    pub generation: i64,
    /// Whose it is.
    pub buyer: BuyerId,
}

impl Tokens {
    /// Tokens under these keys.
    pub fn new(keys: Keys, runtime: Runtime) -> Self {
        Self(Arc::new(Inner {
            keys,
            runtime,
            access: validation(Use::Access),
            refresh: validation(Use::Refresh),
            operate: validation(Use::Operate),
        }))
    }

    /// A grant for a buyer that nobody has seen before.
    pub fn sign_in_anonymously(&self) -> Result<Grant, TokenError> {
        let buyer = format!("anon-{:032x}", self.random());
        let buyer = BuyerId::parse(buyer).map_err(|_| TokenError::NotGood)?;
        self.sign_in(buyer)
    }

    /// A grant for a buyer whom somebody has identified, with a family of its own. Nothing is stored before its refresh token
    /// is used: signing in costs no database.
    pub fn sign_in(&self, buyer: BuyerId) -> Result<Grant, TokenError> {
        self.grant(&Refresh {
            family: self.random(),
            generation: 1,
            buyer,
        })
    }

    /// The grant whose refresh token says this.
    pub fn grant(&self, refresh: &Refresh) -> Result<Grant, TokenError> {
        let subject = refresh.buyer.as_str();
        let (access, expires_at) = self.claims(Use::Access, subject, ACCESS_LIFETIME);
        let access_token = self.sign(Use::Access, &access)?;
        let (mut claims, refresh_expires_at) = self.claims(Use::Refresh, subject, REFRESH_LIFETIME);
        claims.family = Some(format!("{:032x}", refresh.family));
        claims.generation = Some(refresh.generation);
        Ok(Grant {
            buyer: refresh.buyer.clone(),
            access_token,
            expires_at,
            refresh_token: self.sign(Use::Refresh, &claims)?,
            refresh_expires_at,
        })
    }

    /// A token for an operator.
    pub fn sign_operator(
        &self,
        operator: &Operator,
        lifetime: Duration,
    ) -> Result<OperatorToken, TokenError> {
        let (mut claims, expires_at) = self.claims(Use::Operate, &operator.name, lifetime);
        claims.role = Some(operator.role);
        let token = self.sign(Use::Operate, &claims)?;
        Ok(OperatorToken { token, expires_at })
    }

    /// Whose access token it is, if it is good now.
    pub fn buyer(&self, token: &str) -> Result<BuyerId, TokenError> {
        let claims = self.check(Use::Access, token)?;
        BuyerId::parse(claims.sub).map_err(|_| TokenError::NotGood)
    }

    /// Which operator's token it is, if it is good now.
    pub fn operator(&self, token: &str) -> Result<Operator, TokenError> {
        let claims = self.check(Use::Operate, token)?;
        let role = claims.role.ok_or(TokenError::NotGood)?;
        if !Operator::is_name(&claims.sub) {
            return Err(TokenError::NotGood);
        }
        let name = claims.sub;
        Ok(Operator { name, role })
    }

    /// What a refresh token says, if it was good at all: whether it is still the good one of its family is for
    /// [`super::Families`] to say.
    pub(super) fn refresh(&self, token: &str) -> Result<Refresh, TokenError> {
        let claims = self.check(Use::Refresh, token)?;
        let family = claims.family.as_deref().and_then(family);
        let generation = claims.generation.filter(|number| *number >= 1);
        let (Some(family), Some(generation)) = (family, generation) else {
            return Err(TokenError::NotGood);
        };
        let buyer = BuyerId::parse(claims.sub).map_err(|_| TokenError::NotGood)?;
        Ok(Refresh {
            family,
            generation,
            buyer,
        })
    }

    /// Time, randomness, and where tasks run.
    pub(super) fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    fn claims(&self, purpose: Use, subject: &str, lifetime: Duration) -> (Claims, Timestamp) {
        let now = self.0.runtime.now();
        let expires_at = now.after(lifetime);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: purpose.audience().to_owned(),
            sub: subject.to_owned(),
            nbf: seconds(now),
            exp: seconds(expires_at),
            role: None,
            family: None,
            generation: None,
        };
        (claims, expires_at)
    }

    fn sign(&self, purpose: Use, claims: &Claims) -> Result<String, TokenError> {
        let key = self.0.keys.current();
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(purpose.header_type().to_owned());
        header.kid = Some(key.id.clone());
        encode(&header, claims, &key.signing).map_err(TokenError::Signing)
    }

    fn check(&self, purpose: Use, token: &str) -> Result<Claims, TokenError> {
        let inner = &*self.0;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|_| TokenError::NotGood)?;
        let is_ours = header.alg == Algorithm::HS256
            && header.crit.is_none()
            && header.typ.is_some_and(|name| {
                name.eq_ignore_ascii_case(purpose.header_type())
                    || planted::is_on("token-good-for-anything")
            });
        if !is_ours {
            return Err(TokenError::NotGood);
        }
        let validation = match purpose {
            Use::Access => &inner.access,
            Use::Refresh => &inner.refresh,
            Use::Operate => &inner.operate,
        };
        let claims = inner
            .keys
            .candidates(header.kid.as_deref())
            .find_map(|key| decode::<Claims>(token, &key.checking, validation).ok())
            .ok_or(TokenError::NotGood)?
            .claims;
        let now = seconds(inner.runtime.now());
        let is_over = now > claims.exp.saturating_add(LEEWAY_SECONDS);
        if is_over && !planted::is_on("expired-token-believed") {
            return Err(TokenError::Expired);
        }
        if now < claims.nbf.saturating_sub(LEEWAY_SECONDS) {
            return Err(TokenError::NotYet);
        }
        Ok(claims)
    }

    fn random(&self) -> u128 {
        let runtime = &self.0.runtime;
        (u128::from(runtime.next_u64()) << 64) | u128::from(runtime.next_u64())
    }
}

fn validation(purpose: Use) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[purpose.audience()]);
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    validation.validate_aud = !planted::is_on("token-good-for-anything");
    // Checked by the engine's clock instead.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

fn family(text: &str) -> Option<u128> {
    let plain = text.len() == FAMILY_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

fn seconds(instant: Timestamp) -> i64 {
    instant.0.div_euclid(1_000_000)
}
