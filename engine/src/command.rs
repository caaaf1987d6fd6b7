//! What operators, and the outside by signals, may ask of a workflow.

use serde::{Deserialize, Serialize};

use crate::definition::Definition;
use crate::ids::WorkflowId;
use crate::payload::Payload;
use crate::runtime::Timestamp;
use crate::workflow::with_causes;
use crate::workflow::{By, Event, Record, Resolution, Signal, WorkflowState};

/// What to do with a workflow. Whether it makes sense in the state that the workflow is in is decided twice: when the command is
/// accepted, and when the workflow's owner carries it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", content = "with", rename_all = "kebab-case")]
pub enum Verb {
    /// Let a parked workflow go on, or make now the attempt that waits for its time.
    Retry,
    /// Turn it back, if it is not past its pivot.
    Compensate,
    /// Say what became of an attempt of which nobody knows.
    Resolve {
        /// The step.
        step: String,
        /// What became of it.
        resolution: Resolution,
    },
    /// Go on without a step, as if it had given this.
    Skip {
        /// The step.
        step: String,
        /// What later steps take for its output.
        output: Payload,
    },
    /// Stop it for a while: attempts that are under way end, and nothing new begins.
    Pause,
    /// Let a paused workflow go on.
    Resume,
    /// Give it up as it is, for good.
    Abandon,
    /// Tell it something.
    Signal(Signal),
}

impl Verb {
    /// Its name, such as `retry`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Compensate => "compensate",
            Self::Resolve { .. } => "resolve",
            Self::Skip { .. } => "skip",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abandon => "abandon",
            Self::Signal(_) => "signal",
        }
    }

    /// The step that it is about, if it is about one.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::Resolve { step, .. } | Self::Skip { step, .. } => Some(step),
            Self::Signal(signal) => Some(&signal.name),
            Self::Retry | Self::Compensate | Self::Pause | Self::Resume | Self::Abandon => None,
        }
    }

    /// Carries it out on a copy: the record, with nothing that follows from it, and the state after that. Whoever accepts a command
    /// and whoever carries it out decide by this, each for the state that they know.
    pub(crate) fn rehearse(
        &self,
        by: &By,
        expected_seq: Option<u32>,
        state: &WorkflowState,
        now: Timestamp,
    ) -> Result<(Record, WorkflowState), Unfit> {
        let seq = state.seq;
        if let Self::Signal(Signal { id, .. }) = self
            && state.has_signal(id)
        {
            let id = id.clone();
            return Err(Unfit::HasSignal { id, seq });
        }
        if let Some(expected) = expected_seq
            && expected != seq
        {
            return Err(Unfit::MovedOn { expected, now: seq });
        }
        self.check(state.definition()).map_err(Unfit::Invalid)?;
        let event = self.event(by, state);
        let record = Record::new(seq + 1, now.max(state.at), event);
        let after = state.clone().apply(&record);
        let after = after.map_err(|illegal| Unfit::Illegal(illegal.why))?;
        Ok((record, after))
    }

    /// The event that carries it out in this state.
    fn event(&self, by: &By, state: &WorkflowState) -> Event {
        let by = by.clone();
        match self {
            Self::Retry => Event::RetryRequested { by },
            Self::Compensate => Event::CompensationRequested { by },
            Self::Resolve { step, resolution } => Event::Resolved {
                step: step.clone(),
                resolution: resolution.clone(),
                by,
            },
            Self::Skip { step, output } => Event::Skipped {
                step: step.clone(),
                output: output.clone(),
                by,
            },
            Self::Pause => Event::Paused { by },
            Self::Resume => Event::Unpaused { by },
            Self::Abandon => Event::Abandoned {
                by,
                left: state.left(),
            },
            Self::Signal(signal) => Event::SignalReceived(signal.clone()),
        }
    }

    /// Whether what it carries is of the types that the definition expects; the sentence says what is wrong.
    pub fn check(&self, definition: &Definition) -> Result<(), String> {
        let Some(name) = self.step() else {
            return Ok(());
        };
        let Some(index) = definition.index_of(name) else {
            let names: Vec<&str> = definition.steps().iter().map(|node| &*node.name).collect();
            let names = names.join(", ");
            return Err(format!("there is no step `{name}`; there are {names}"));
        };
        let step = &definition.step(index).step;
        let checked = match self {
            Self::Skip { output, .. }
            | Self::Resolve {
                resolution: Resolution::Done(output),
                ..
            } => step.check_output(output),
            Self::Signal(signal) => step.check_signal(&signal.payload),
            _ => Ok(()),
        };
        checked.map_err(|error| {
            let error = with_causes(&error);
            format!("what is given for `{name}` does not fit: {error}")
        })
    }
}

/// Why a command is not carried out in the state that its workflow is in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// It is a signal that has come already: there is nothing to do.
    #[error("signal `{id}` was received already")]
    HasSignal {
        /// The signal's.
        id: String,
        /// The workflow's version.
        seq: u32,
    },
    /// The workflow is no longer as the command expects it.
    #[error("it has moved on: its version is {now}")]
    MovedOn {
        /// The version that the command names.
        expected: u32,
        /// The workflow's.
        now: u32,
    },
    /// What it carries is not what the definition expects.
    #[error("{0}")]
    Invalid(String),
    /// It makes no sense now.
    #[error("{0}")]
    Illegal(String),
}

/// A command to a workflow, for [`Engine::command`](crate::Engine::command) and [`Engine::preview`](crate::Engine::preview).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which workflow.
    pub workflow: WorkflowId,
    /// What to do.
    pub verb: Verb,
    /// Who and why.
    pub by: By,
    /// The number of the workflow's last record, if the command is to count only for the workflow as it then was.
    pub expected_seq: Option<u32>,
    /// Its sender's name for it: sent again under this key, it is the same command. At most 200 bytes.
    pub key: String,
}
