//! The stored form of a step's input or output: JSON text, shared and never copied.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The most bytes that a step's output or a workflow's input may have.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// JSON text. Serialises as itself, not as a string.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Arc<str>);

/// A value could not become a payload, or a payload a value.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The value does not serialise to JSON.
    #[error("a value could not be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The JSON is not of the expected type.
    #[error("stored JSON is not of the expected type")]
    Decode(#[source] serde_json::Error),
    /// The JSON is longer than [`PAYLOAD_BYTES_MAX`].
    #[error("a payload of {0} bytes is over the limit of {PAYLOAD_BYTES_MAX}")]
    TooLong(usize),
}

impl Payload {
    /// The value as JSON. Fails when it does not serialise, or to more than [`PAYLOAD_BYTES_MAX`].
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        let text = serde_json::to_string(value).map_err(PayloadError::Encode)?;
        if text.len() > PAYLOAD_BYTES_MAX {
            return Err(PayloadError::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// This text, which is JSON because this crate made it.
    pub(crate) fn from_json(text: String) -> Self {
        Self(text.into())
    }

    /// JSON `null`.
    #[must_use]
    pub fn null() -> Self {
        Self("null".into())
    }

    /// The value that this JSON stands for.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_json::from_str(&self.0).map_err(PayloadError::Decode)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Parsing checks the text and borrows it: nothing is copied.
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get().into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a step returned and what is read of it after a crash are the same: the workflow goes on with the latter.
    #[track_caller]
    fn comes_back(number: f64) {
        let payload = Payload::of(&number).unwrap();
        let read: f64 = payload.to().unwrap();
        assert_eq!(read.to_bits(), number.to_bits(), "{payload:?}");
    }

    #[test]
    fn a_fraction_comes_back_to_its_last_digit() {
        comes_back(0.918_446_744_073_709_5);
        proptest!(|(number in any::<f64>())| comes_back(number));
        proptest!(|(number in 0.0..1.0_f64)| comes_back(number));
    }
}
