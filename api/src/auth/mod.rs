//! Who is asking: tokens that this service, or a shop's own sign-in with the same key, has signed.
//!
//! A buyer shows an access token, which is short-lived, and gets the next one for a refresh token, which is good once. An
//! operator shows a token with a role. `docs/IDENTITY.md` has the whole picture.

mod keys;
mod role;
mod tokens;

mod families;
mod sweep;

mod request;

pub use keys::{KEY_BYTES_MIN, Keys};
pub use role::{Operator, Role};
pub use tokens::{Grant, TokenError, Tokens};

pub use families::{Families, RefreshError};

pub use request::{Buyer, bearer, unauthenticated};

#[cfg(test)]
mod tests;
