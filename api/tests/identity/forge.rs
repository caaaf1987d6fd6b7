//! Tokens as somebody else would make them: the shop's own sign-in, which has the key, and forgers, who have not.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The key that the tests' servers have.
pub const KEY: &str = "a key for tests, of more than 32 bytes";

/// What a token is for: its `typ`, its `aud`, and claims that only it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Buyers,
    Refreshes,
    Operators,
}

impl For {
    pub const ALL: [Self; 3] = [Self::Buyers, Self::Refreshes, Self::Operators];

    /// The header's `typ`.
    pub const fn header_type(self) -> &'static str {
        match self {
            Self::Buyers => "at+jwt",
            Self::Refreshes => "refresh+jwt",
            Self::Operators => "operator+jwt",
        }
    }

    /// Claims that are good.
    pub fn claims(self) -> Value {
        let now = now();
        let mut claims =
            json!({ "iss": "holdfast", "sub": "alice", "nbf": now - 1, "exp": now + 600 });
        let others = match self {
            Self::Buyers => json!({ "aud": "holdfast-buyers" }),
            Self::Refreshes => json!({
                "aud": "holdfast-refresh",
                "family": format!("{:032x}", engine::Runtime::system().next_u64()),
                "generation": 1,
            }),
            Self::Operators => json!({ "aud": "holdfast-operators", "role": "admin" }),
        };
        let others = others.as_object().expect("an object").clone();
        claims.as_object_mut().expect("an object").extend(others);
        claims
    }

    /// The header of a good token that names no key.
    pub fn header(self, algorithm: Algorithm) -> Header {
        Header {
            typ: Some(self.header_type().to_owned()),
            ..Header::new(algorithm)
        }
    }

    /// A token with these claims under the tests' key.
    pub fn signed(self, claims: &Value) -> String {
        self.signed_by(KEY, claims)
    }

    /// A token with these claims under this key.
    pub fn signed_by(self, key: &str, claims: &Value) -> String {
        signed(&self.header(Algorithm::HS256), claims, key)
    }
}

/// A token with exactly this header.
pub fn signed(header: &Header, claims: &Value, key: &str) -> String {
    encode(header, claims, &EncodingKey::from_secret(key.as_bytes())).expect("a token")
}

/// A token whose header says what this one says, whatever it is signed with.
pub fn with_header(header: &Value, token: &str) -> String {
    let header = base64url(header.to_string().as_bytes());
    let claims = token.split('.').nth(1).expect("claims");
    let message = format!("{header}.{claims}");
    let key = EncodingKey::from_secret(KEY.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.expect("a signature"))
}

/// The time in seconds.
pub fn now() -> i64 {
    engine::Runtime::system().now().0 / 1_000_000
}

/// RFC 4648, section 5, without padding.
pub fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0_usize, |group, (index, byte)| {
                group | usize::from(*byte) << (16 - 8 * index)
            });
        for index in 0..=chunk.len() {
            text.push(char::from(LETTERS[group >> (18 - 6 * index) & 63]));
        }
    }
    text
}
