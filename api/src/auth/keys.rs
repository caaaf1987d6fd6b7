//! The keys that tokens are signed with: one that signs, and the one before it, which is only believed.

use jsonwebtoken::{DecodingKey, EncodingKey};
use sha2::{Digest as _, Sha256};

use crate::hexadecimal::hexadecimal;

/// A key has at least this many bytes: as many as the hash (RFC 7518, section 3.2).
pub const KEY_BYTES_MIN: usize = 32;
/// So much of a key's hash is its name.
const ID_BYTES: usize = 8;

/// The key that signs, and perhaps the one that did before.
pub struct Keys {
    current: Key,
    previous: Option<Key>,
}

/// One key.
pub struct Key {
    /// What tokens call it: the beginning of its SHA-256 in hexadecimal.
    pub id: String,
    /// Signs.
    pub signing: EncodingKey,
    /// Checks.
    pub checking: DecodingKey,
}

impl Key {
    fn new(secret: &[u8]) -> Self {
        let id = hexadecimal(&Sha256::digest(secret)[..ID_BYTES]);
        Self {
            id,
            signing: EncodingKey::from_secret(secret),
            checking: DecodingKey::from_secret(secret),
        }
    }
}

impl Keys {
    /// The keys from these secrets, which have at least [`KEY_BYTES_MIN`] bytes.
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Self {
        Self {
            current: Key::new(current),
            previous: previous.map(Key::new),
        }
    }

    /// The key that signs.
    pub const fn current(&self) -> &Key {
        &self.current
    }

    /// The keys that a token may have been signed with: the one that it names, or any when it names none.
    pub fn candidates<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        let all = [Some(&self.current), self.previous.as_ref()];
        all.into_iter()
            .flatten()
            .filter(move |key| id.is_none_or(|id| key.id == id))
    }
}
