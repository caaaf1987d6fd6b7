//! How the process ends when a command fails: one sentence for people, one code for scripts.

use std::error::Error;
use std::process::ExitCode;

pub use engine::workflow::with_causes;

/// What kind of failure it was, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The command did its work, and what it checked does not hold.
    CheckFailed = 1,
    /// A setting is missing, wrong or contradicts another. (Wrong usage of the command line is 2 as well, by clap.)
    Configuration = 2,
    /// A server can't be reached or refuses us.
    Server = 3,
    /// The database's schema is of another version than this program.
    Schema = 4,
    /// An address or the data directory is in use.
    InUse = 5,
    /// The other side understood the command and refused it.
    Refused = 6,
    /// The other side accepted the command, and it has not come to its end in time.
    Pending = 7,
    /// A defect of this program or of its surroundings.
    Internal = 70,
}

/// The codes, as `--help` shows them.
pub const HELP: &str = "\
Exit codes:
  0   done
  1   done, and something that was checked does not hold
  2   wrong usage, or a setting that is missing or wrong
  3   a server can't be reached or refuses us
  4   the database's schema is of another version
  5   an address or the data directory is in use
  6   the command was understood and refused
  7   the command was accepted, and had not come to its end in time
  70  a defect";

/// A command failed.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Failure {
    /// For scripts.
    pub code: Code,
    /// For people: what is wrong and what to do.
    pub sentence: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(code: Code, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
        }
    }

    /// A failure whose sentence is what was being done, then the error and its causes.
    pub fn caused_by(code: Code, doing: &str, error: &dyn Error) -> Self {
        Self::new(code, format!("{doing}: {}", with_causes(error)))
    }

    /// A defect.
    pub fn internal(doing: &str, error: &dyn Error) -> Self {
        Self::caused_by(Code::Internal, doing, error)
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }
}
