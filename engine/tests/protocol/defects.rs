//! Protections that can be taken away, each with the property that must fail then.

use super::properties::Name;

/// A defect of the protocol, or of what it relies on outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A batch is written whatever epoch it carries, and whether or not the lease has run out.
    FenceNotChecked,
    /// A take-over leaves the epoch as it was.
    EpochKept,
    /// A batch is written although its journal was opened again since it was sent.
    OpeningNotChecked,
    /// Nothing asks whether a batch continues its journal, or whether its rows are there already.
    NumbersNotChecked,
    /// The statement that opens a journal opens it once more when it arrives late: it does not say from which number it goes on.
    OpeningNotGuarded,
    /// A journal's position answers for a batch although another node has written since.
    PositionOfAnother,
    /// A start is acknowledged before it is durable.
    AcknowledgedEarly,
    /// Events are published when they are sent to the database.
    PublishedEarly,
    /// The watermark moves before the bus has the event.
    WatermarkAhead,
    /// A node drives what it loads after its epoch has passed: nothing but its clock would have told it, and that stood still.
    ClockStoodStill,
    /// A take-over begins to publish where the journal ends.
    PublishedFromTheEnd,
    /// A take-over loads nothing: what was open stays as it is.
    NothingLoaded,
    /// The next owner takes a step whose outcome is not stored as not done.
    OutcomeAssumed,
    /// "It could not be attempted" is believed although an earlier attempt may have been made, by this owner or another one.
    NoEffectBelieved,
    /// Each owner has a key of its own for the same step.
    KeyOfOwner,
    /// A compensation begins before the record that turns the workflow back is durable.
    UndoneEarly,
    /// A compensation that finds no effect leaves nothing behind.
    NoTombstone,
    /// A refusal does not hold for requests that are still on their way.
    RefusalForgotten,
    /// Renewing asks neither for the epoch nor whether the lease has run out.
    RenewedBlindly,
}

impl Defect {
    pub const ALL: [Self; 19] = [
        Self::FenceNotChecked,
        Self::EpochKept,
        Self::OpeningNotChecked,
        Self::NumbersNotChecked,
        Self::OpeningNotGuarded,
        Self::PositionOfAnother,
        Self::AcknowledgedEarly,
        Self::PublishedEarly,
        Self::WatermarkAhead,
        Self::PublishedFromTheEnd,
        Self::NothingLoaded,
        Self::ClockStoodStill,
        Self::OutcomeAssumed,
        Self::NoEffectBelieved,
        Self::KeyOfOwner,
        Self::UndoneEarly,
        Self::NoTombstone,
        Self::RefusalForgotten,
        Self::RenewedBlindly,
    ];

    /// How many workflows it takes.
    pub const fn workflows(self) -> usize {
        match self {
            Self::PositionOfAnother => 2,
            _ => 1,
        }
    }

    /// The property that fails.
    pub const fn breaks(self) -> Name {
        match self {
            Self::FenceNotChecked => Name::NoStaleRow,
            Self::EpochKept => Name::OneWriter,
            Self::OpeningNotChecked | Self::OpeningNotGuarded => Name::AnswersHold,
            Self::PositionOfAnother | Self::AcknowledgedEarly => Name::NoStartLost,
            Self::PublishedEarly => Name::TopicIsJournal,
            Self::WatermarkAhead | Self::PublishedFromTheEnd => Name::WatermarkBehind,
            Self::NumbersNotChecked => Name::NoGapNorFork,
            Self::NothingLoaded => Name::AllSettles,
            Self::ClockStoodStill
            | Self::OutcomeAssumed
            | Self::NoEffectBelieved
            | Self::UndoneEarly
            | Self::NoTombstone
            | Self::RefusalForgotten => Name::EndIsTrue,
            Self::KeyOfOwner => Name::EffectOnce,
            Self::RenewedBlindly => Name::NoEndlessRun,
        }
    }
}
