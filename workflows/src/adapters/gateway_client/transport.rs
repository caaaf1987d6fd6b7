//! The one translation of transport errors, as `From`, so that `?` is the easy way and the right one.

use std::error::Error;

use crate::ports::payment_gateway::{GatewayError, LostAnswer, NoConnection};

impl From<reqwest::Error> for GatewayError {
    /// Only a failed connect is known to have sent nothing; whatever else went wrong, the request may have arrived.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect() {
            Self::NotSent(NoConnection::connect_failed(causes(&error)))
        } else if error.is_timeout() {
            Self::MaybeSent(LostAnswer::TimedOut)
        } else {
            Self::MaybeSent(LostAnswer::Broken(causes(&error)))
        }
    }
}

/// The error and its causes in one line: reqwest keeps the useful part at the end of the chain.
fn causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
