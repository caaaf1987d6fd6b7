//! What goes wrong in the kit's cases, in words.

use std::fmt;

use crate::store::Table;

/// What happens to an attempt at a step, be it at its action or at its compensation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// It is refused, and has no effect.
    Refused,
    /// It fails, and is known to have had no effect.
    NoEffect,
    /// The request is lost: it has no effect, and nobody knows.
    RequestLost,
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// It panics before its effect.
    PanicsBefore,
    /// It takes effect, and panics.
    PanicsAfter,
    /// The node dies before its effect. The next one goes on.
    CrashBefore,
    /// It takes effect, and the node dies before it hears of it. The next one goes on.
    CrashAfter,
    /// The request hangs, and takes effect only when the workflow has ended or waits for an operator.
    ArrivesLate,
    /// It takes effect and answers, but only after its time-out.
    AnswersLate,
    /// The request arrives twice, one after the other, and the second answer is heard.
    Twice,
    /// The request arrives twice at the same time, and one of the answers is heard.
    AtOnce,
    /// It takes effect and is heard; a copy of the request arrives when the workflow has ended.
    CopyArrivesLate,
    /// It takes effect, and the store refuses the rows that go with it.
    RowsRefused,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Times {
    /// The first time.
    Once,
    /// Every time, until retries end.
    Always,
}

/// What a case is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scene {
    /// Nothing goes wrong.
    AllGoesWell,
    /// Something goes wrong with a step's action.
    Action {
        /// The step.
        step: String,
        /// What.
        fault: Fault,
        /// How often.
        times: Times,
    },
    /// The workflow turns back, and something goes wrong with a step's compensation.
    Compensation {
        /// The step.
        step: String,
        /// What.
        fault: Fault,
        /// How often.
        times: Times,
    },
    /// The workflow turns back, and a copy of a request to a step's action arrives when it is undone.
    CopyAfterUndo {
        /// The step.
        step: String,
    },
    /// A signal comes before anybody awaits it.
    SignalEarly,
    /// Every signal comes twice.
    SignalsTwice,
    /// The signal that this step awaits never comes.
    NoSignal {
        /// The step.
        step: String,
    },
    /// The node dies while this step waits. The next one goes on.
    CrashWhileWaiting {
        /// The step.
        step: String,
    },
    /// The node dies right after the journal's batch of this number, of a workflow that completes, with or without alternatives,
    /// or is compensated, in a world that is ahead of that: everything that the whole workflow did is done.
    Recovery {
        /// How many batches the journal still has.
        batches: usize,
        /// How the whole workflow went.
        course: Course,
    },
}

/// How a workflow goes that is recovered from every prefix of its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Course {
    /// It is completed, and nothing goes wrong.
    Completed,
    /// It is completed with the alternative of every step that has one.
    Diverted,
    /// It is compensated.
    Compensated,
}

impl Scene {
    /// The step that it is about, if it is about one.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::Action { step, .. }
            | Self::Compensation { step, .. }
            | Self::CopyAfterUndo { step }
            | Self::NoSignal { step }
            | Self::CrashWhileWaiting { step } => Some(step),
            Self::AllGoesWell | Self::SignalEarly | Self::SignalsTwice | Self::Recovery { .. } => {
                None
            }
        }
    }

    /// What goes wrong with an attempt, if it is about that.
    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        match self {
            Self::Action { fault, .. } | Self::Compensation { fault, .. } => Some(*fault),
            Self::CopyAfterUndo { .. } => Some(Fault::CopyArrivesLate),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "is refused",
            Self::NoEffect => "fails without an effect",
            Self::RequestLost => "is lost on its way",
            Self::AnswerLost => "takes effect, and its answer is lost",
            Self::PanicsBefore => "panics before its effect",
            Self::PanicsAfter => "panics after its effect",
            Self::CrashBefore => "is about to begin when the node dies",
            Self::CrashAfter => "has taken effect when the node dies",
            Self::ArrivesLate => "hangs, and takes effect only when it has been given up",
            Self::AnswersLate => "takes effect and answers after its time-out",
            Self::Twice => "arrives twice",
            Self::AtOnce => "arrives twice at the same time",
            Self::CopyArrivesLate => "arrives again when the workflow has ended",
            Self::RowsRefused => "takes effect, and the store refuses its rows",
        })
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let always = |times: &Times| match times {
            Times::Once => "",
            Times::Always => ", every time",
        };
        match self {
            Self::AllGoesWell => f.write_str("all goes well"),
            Self::Action { step, fault, times } => {
                write!(f, "`{step}` {fault}{}", always(times))
            }
            Self::Compensation { step, fault, times } => {
                write!(f, "the compensation of `{step}` {fault}{}", always(times))
            }
            Self::CopyAfterUndo { step } => {
                write!(f, "`{step}` arrives again after it was undone")
            }
            Self::SignalEarly => f.write_str("signals come before anybody awaits them"),
            Self::SignalsTwice => f.write_str("every signal comes twice"),
            Self::NoSignal { step } => write!(f, "the signal `{step}` never comes"),
            Self::CrashWhileWaiting { step } => write!(f, "the node dies while `{step}` waits"),
            Self::Recovery { batches, course } => {
                let end = match course {
                    Course::Completed => "completed",
                    Course::Diverted => "completed by its alternatives",
                    Course::Compensated => "compensated",
                };
                write!(
                    f,
                    "a workflow that would be {end} recovers from batch {batches} of its journal"
                )
            }
        }
    }
}

impl Fault {
    /// The code or the class by which the journal tells that the kit did it; `None` where the journal tells nothing.
    pub(super) const fn code(self) -> Option<&'static str> {
        match self {
            Self::Refused => Some("kit-refused"),
            Self::NoEffect => Some("kit-no-effect"),
            Self::RequestLost => Some("kit-request-lost"),
            Self::AnswerLost => Some("kit-answer-lost"),
            Self::PanicsBefore | Self::PanicsAfter => Some("panic"),
            Self::ArrivesLate | Self::AnswersLate => Some("attempt-timeout"),
            Self::RowsRefused => Some("kit-rows-refused"),
            Self::CrashBefore
            | Self::CrashAfter
            | Self::Twice
            | Self::AtOnce
            | Self::CopyArrivesLate => None,
        }
    }

    /// The attempt fails, as the engine sees it.
    pub(super) const fn is_failure(self) -> bool {
        self.code().is_some()
    }

    /// The attempt may have had its effect, as the engine sees it.
    pub(super) const fn is_unknown(self) -> bool {
        self.is_failure() && !matches!(self, Self::Refused | Self::NoEffect)
    }
}

/// The table whose rows the kit's store refuses.
pub(super) static REFUSED: Table = Table {
    name: "kit-refused",
    key: &["id"],
    columns: &[],
};
