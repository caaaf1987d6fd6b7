//! What can happen to a workflow, in the form in which it is stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Epoch;
use crate::payload::Payload;
use crate::runtime::Timestamp;

/// The definition that a workflow is pinned to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DefinitionRef {
    /// The saga's name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The hash of its graph: a changed graph under an unchanged version is noticed.
    pub hash: u64,
}

impl fmt::Display for DefinitionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// Forward is a step's action, backward its compensation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The action.
    Forward,
    /// The compensation.
    Backward,
}

/// The most characters of a refusal's or an error's message: what others say goes into it, and it goes into the journal.
pub const MESSAGE_CHARS_MAX: usize = 2_000;

fn cut(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
        message.truncate(end);
    }
    message
}

/// A "no" that is known to have had no effect: a code for machines and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable and machine-readable, such as `sold-out`.
    pub code: String,
    /// A sentence that the one who asked can read.
    pub message: String,
    /// What whoever refuses knows of an earlier execution of this very workflow.
    #[serde(default, skip_serializing_if = "Earlier::is_unsaid")]
    pub earlier: Earlier,
}

/// What whoever refuses a start that is not durable yet knows of an earlier execution of the same workflow, here or under the same
/// key in another partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Earlier {
    /// Nothing. What the start has done is undone once the store has said that it has no such workflow.
    #[default]
    Unsaid,
    /// There may be one: the workflow is looked up before the start is told no.
    Possible,
    /// There is none: no step of it has or had anything over there that could be durable. What the start has done is undone, and
    /// the store is not asked.
    RuledOut,
    /// There is one right now, under the same key in another partition, that has something and may be becoming durable: this one
    /// gets nothing beside it, and that is no "no". A start is looked up, and undecided as long as the store has none; a workflow
    /// that is durable itself attempts the step again, until what the other one left behind is given back.
    UnderWay,
}

impl Earlier {
    /// Whether nothing is said.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
    fn is_unsaid(&self) -> bool {
        *self == Self::Unsaid
    }
}

impl Refusal {
    /// A refusal with this code and sentence, of which [`MESSAGE_CHARS_MAX`] characters are kept.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: cut(message.into()),
            earlier: Earlier::Unsaid,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What went wrong in an attempt: a class to group by and the details of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// Stable, such as `gateway-timeout`.
    pub class: String,
    /// The error and its causes, in words.
    pub message: String,
}

impl StepError {
    /// An error of this class with this message, of which [`MESSAGE_CHARS_MAX`] characters are kept.
    #[must_use]
    pub fn new(class: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class: class.into(),
            message: cut(message.into()),
        }
    }

    /// An error of this class whose message is the error and its causes, joined by `: `.
    #[must_use]
    pub fn caused_by(class: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::new(class, with_causes(error))
    }
}

/// The error and its causes, joined by `: `. A cause that an error's own text already ends with is not repeated.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)
    }
}

/// An attempt that may begin once the record that carries this intent is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The step's name.
    pub step: String,
    /// Action or compensation.
    pub direction: Direction,
    /// The attempt's number, from 1, counted for each direction.
    pub attempt: u32,
    /// For a timer: when it fires. For a signal: when it is no longer awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Who asked for something, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl By {
    /// The actor of what the engine does of its own accord, such as undoing a start that was lost. No operator is called so: a command
    /// in this name is refused.
    pub const ENGINE: &str = "engine";

    pub(crate) fn engine(reason: String) -> Self {
        Self {
            actor: Self::ENGINE.to_owned(),
            reason,
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.actor, self.reason)
    }
}

/// What an operator found out about an attempt whose outcome nobody knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// The action took effect and gave this.
    Done(Payload),
    /// The action had no effect and will have none.
    Refused(Refusal),
    /// The compensation took effect.
    Undone,
}

/// A signal: something that the outside tells a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The step that awaits it.
    pub name: String,
    /// Its sender's name for it: a signal with the id of an earlier one is dropped.
    pub id: String,
    /// What it says.
    pub payload: Payload,
}

/// How an attempt failed that was neither done nor refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// It may have had its effect.
    Unknown,
    /// It is known to have had no effect.
    NoEffect,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterFailure {
    /// The next attempt begins at this instant: a durable intent.
    RetryAt(Timestamp),
    /// Retries have ended: the workflow turns back (a compensable step).
    TurnBack,
    /// Retries have ended: the workflow waits for an operator.
    Park,
}

/// What happened. Its stored form is what recovery reads and what the event bus carries: variants and fields are added, never
/// renamed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
pub enum Event {
    /// The workflow was started.
    Started {
        /// What it runs.
        definition: DefinitionRef,
        /// What it was given.
        input: Payload,
        /// When it turns back if it is not past its pivot by then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
    },
    /// A step's action took effect.
    StepDone {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// What it gave.
        output: Payload,
    },
    /// A step said no, with no effect.
    StepRefused {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// Why.
        refusal: Refusal,
        /// The step's effect outside the store may exist although the store refused its rows: compensate it as well.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        effect_may_exist: bool,
    },
    /// An attempt at a step's action failed.
    AttemptFailed {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// Whether it may have had its effect.
        failure: Failure,
        /// What went wrong.
        error: StepError,
        /// What follows.
        then: AfterFailure,
    },
    /// A step's compensation took effect.
    CompensationDone {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
    },
    /// An attempt at a compensation failed. A compensation is never given up: it is retried or parked.
    CompensationFailed {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// What went wrong.
        error: StepError,
        /// What follows: never [`AfterFailure::TurnBack`].
        then: AfterFailure,
    },
    /// An attempt at an action that had been given up took effect after all, though the workflow goes back: its step is undone,
    /// again if it was undone before.
    EffectFoundLate {
        /// The step.
        step: String,
    },
    /// The instant came that a step waited for: a timer's, or the end of awaiting a signal.
    TimerFired {
        /// The step.
        step: String,
    },
    /// The outside told the workflow something. It is kept until the step that awaits it starts.
    SignalReceived(Signal),
    /// The workflow's deadline came before its pivot: it turns back.
    DeadlinePassed,
    /// The store refused this workflow's rows again and again, or its data don't fit its definition: it waits for an operator.
    Poisoned {
        /// What was wrong.
        error: StepError,
    },
    /// The workflow goes on though nothing happened to it, under another owner perhaps: the record says what begins, or that it ends.
    Continued {
        /// The epoch under which it goes on.
        epoch: Epoch,
    },
    /// An operator turned the workflow back.
    CompensationRequested {
        /// Who and why.
        by: By,
    },
    /// An operator let a parked workflow go on, or did not want to wait for the next attempt.
    RetryRequested {
        /// Who and why.
        by: By,
    },
    /// An operator found out what became of an attempt.
    Resolved {
        /// The step.
        step: String,
        /// What became of it.
        resolution: Resolution,
        /// Who and why.
        by: By,
    },
    /// An operator let the workflow go on without this step, as if it had given this.
    Skipped {
        /// The step.
        step: String,
        /// What later steps take for its output.
        output: Payload,
        /// Who and why.
        by: By,
    },
    /// An operator stopped the workflow for a while.
    Paused {
        /// Who and why.
        by: By,
    },
    /// An operator let a paused workflow go on.
    Unpaused {
        /// Who and why.
        by: By,
    },
    /// An operator gave the workflow up as it is (terminal).
    Abandoned {
        /// Who and why.
        by: By,
        /// The steps that have, or may have, an effect that nobody will undo or complete.
        left: Vec<String>,
    },
}

impl Event {
    /// The event's type as it is stored, such as `step-done`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::StepDone { .. } => "step-done",
            Self::StepRefused { .. } => "step-refused",
            Self::AttemptFailed { .. } => "attempt-failed",
            Self::CompensationDone { .. } => "compensation-done",
            Self::CompensationFailed { .. } => "compensation-failed",
            Self::EffectFoundLate { .. } => "effect-found-late",
            Self::TimerFired { .. } => "timer-fired",
            Self::SignalReceived(_) => "signal-received",
            Self::DeadlinePassed => "deadline-passed",
            Self::Poisoned { .. } => "poisoned",
            Self::Continued { .. } => "continued",
            Self::CompensationRequested { .. } => "compensation-requested",
            Self::RetryRequested { .. } => "retry-requested",
            Self::Resolved { .. } => "resolved",
            Self::Skipped { .. } => "skipped",
            Self::Paused { .. } => "paused",
            Self::Unpaused { .. } => "unpaused",
            Self::Abandoned { .. } => "abandoned",
        }
    }

    /// The step that the event is about, if it is about one.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::StepDone { step, .. }
            | Self::StepRefused { step, .. }
            | Self::AttemptFailed { step, .. }
            | Self::CompensationDone { step, .. }
            | Self::CompensationFailed { step, .. }
            | Self::EffectFoundLate { step }
            | Self::TimerFired { step }
            | Self::Resolved { step, .. }
            | Self::Skipped { step, .. } => Some(step),
            Self::SignalReceived(signal) => Some(&signal.name),
            Self::Started { .. }
            | Self::DeadlinePassed
            | Self::Poisoned { .. }
            | Self::Continued { .. }
            | Self::CompensationRequested { .. }
            | Self::RetryRequested { .. }
            | Self::Paused { .. }
            | Self::Unpaused { .. }
            | Self::Abandoned { .. } => None,
        }
    }
}

/// How a workflow ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Every step is done: the saga's output is that of its last step.
    Completed,
    /// Everything that may have taken effect is undone.
    Compensated,
}

/// One row of the journal: what happened, when, the attempts that it lets begin, and whether it was the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The record's number in its workflow, from 1, without a gap.
    pub seq: u32,
    /// When it happened, by the clock of the node that wrote it.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// The attempts that may begin once this record is durable (or at once, for replayable steps).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<Intent>,
    /// With this record the workflow has ended: a row of its own would say nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<End>,
}

impl Record {
    /// A record that lets nothing begin and ends nothing.
    #[must_use]
    pub const fn new(seq: u32, at: Timestamp, event: Event) -> Self {
        Self {
            seq,
            at,
            event,
            starts: Vec::new(),
            ends: None,
        }
    }

    /// The record's type as it is published: its end if it ends the workflow, and its event's type otherwise.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.ends {
            Some(End::Completed) => "completed",
            Some(End::Compensated) => "compensated",
            None => self.event.kind(),
        }
    }
}
