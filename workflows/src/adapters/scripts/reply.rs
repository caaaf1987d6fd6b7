//! What a script or the server said, before it is understood.

/// An answer in Redis' own terms (protocol version 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing is there.
    Nil,
    /// A whole number.
    Integer(i64),
    /// A short status, such as `OK`.
    Status(String),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// Several answers.
    Array(Vec<Self>),
    /// A refusal to answer.
    Error {
        /// Its first word, such as `NOSCRIPT`.
        code: String,
        /// The rest.
        text: String,
    },
}

impl Reply {
    /// The error that this line reads as: the first word is the code.
    #[must_use]
    pub fn error(line: &str) -> Self {
        let (code, text) = line.split_once(' ').unwrap_or((line, ""));
        Self::Error {
            code: code.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The text of a string reply.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Status(text) => Some(text),
            Self::Nil | Self::Integer(_) | Self::Array(_) | Self::Error { .. } => None,
        }
    }
}
