//! What an operator may do.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The roles, each of which may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at everything.
    Viewer,
    /// Tells workflows what to do, changes schedules, and has the stores reconciled.
    Operator,
    /// Says what is sold and what is no longer issued.
    Admin,
}

impl Role {
    /// Such as `viewer`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// The longest name of an operator, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Who an operator's token speaks for; the one who is named in the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The token's subject.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
}

impl Operator {
    /// The text can be the name of an operator: 1 to 100 bytes of one line, with nothing invisible around it.
    pub fn is_name(text: &str) -> bool {
        (1..=NAME_BYTES_MAX).contains(&text.len())
            && text.trim() == text
            && !text.chars().any(char::is_control)
    }
}
