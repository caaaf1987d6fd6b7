//! A newtype for each id: a sale, a product and a campaign are named by slugs, a buyer by its token's subject.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest slug, in bytes.
pub const SLUG_BYTES_MAX: usize = 40;

/// The text is not a slug.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error(
    "must be 1 to {SLUG_BYTES_MAX} lower-case letters, digits, `-` or `_`, and start with a letter or digit"
)]
pub struct BadSlug;

fn is_slug(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=SLUG_BYTES_MAX).contains(&text.len())
        && plain(text.as_bytes()[0])
        && text
            .bytes()
            .all(|byte| plain(byte) || byte == b'-' || byte == b'_')
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text: 1 to 40 bytes of `[a-z0-9_-]`, starting with a letter or digit.
            pub fn parse(text: impl Into<String>) -> Result<Self, BadSlug> {
                let text = text.into();
                if is_slug(&text) { Ok(Self(text)) } else { Err(BadSlug) }
            }

            /// The slug as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadSlug;
            fn try_from(text: String) -> Result<Self, BadSlug> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

slug!(
    /// A sale: one limited drop.
    SaleId
);
slug!(
    /// A product of a sale.
    ProductId
);
slug!(
    /// A coupon campaign of a sale.
    CampaignId
);
slug!(
    /// A buyer: the subject of its token.
    BuyerId
);
