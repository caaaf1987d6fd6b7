//! What must hold in every state, what every run must come to, and what the model must have seen so that the rest means something.

use stateright::Property;

use super::Protocol;
use super::state::{Batch, Broken, Driver, Effect, Kind, Late, Outside, Row, Stage, State, Writer};

/// The properties, named as in `holdfast verify` where it has them (I5 to I9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    NoStaleRow,
    OneWriter,
    NoGapNorFork,
    TopicIsJournal,
    WatermarkBehind,
    NoStartLost,
    EffectOnce,
    EndIsTrue,
    AnswersHold,
    AllSettles,
    NoEndlessRun,
}

impl Name {
    pub const ALL: [Self; 11] = [
        Self::NoStaleRow,
        Self::OneWriter,
        Self::NoGapNorFork,
        Self::TopicIsJournal,
        Self::WatermarkBehind,
        Self::NoStartLost,
        Self::EffectOnce,
        Self::EndIsTrue,
        Self::AnswersHold,
        Self::AllSettles,
        Self::NoEndlessRun,
    ];

    pub const fn words(self) -> &'static str {
        match self {
            Self::NoStaleRow => "I7 no row is written under a stale epoch",
            Self::OneWriter => "I7 one node at most writes under an epoch",
            Self::NoGapNorFork => "I6 a workflow's events are 1..n without a gap or a fork",
            Self::TopicIsJournal => {
                "I5 the topic has the journal's events in order, and nothing else"
            }
            Self::WatermarkBehind => "I5 the watermark passes no event that is not published",
            Self::NoStartLost => "I8 an acknowledged start is in the journal",
            Self::EffectOnce => "a step takes effect once at most",
            Self::EndIsTrue => "I9 what has ended is outside as its journal says",
            Self::AnswersHold => "what a writer is told about a batch is true",
            Self::AllSettles => {
                "I4 I5 when nothing goes on, all is settled, published and acknowledged"
            }
            Self::NoEndlessRun => "every step goes on: no run is endless",
        }
    }

    fn holds(self, protocol: &Protocol, state: &State) -> bool {
        match self {
            Self::NoStaleRow => state.broken != Some(Broken::StaleRow),
            Self::OneWriter => state.broken != Some(Broken::SecondWriter),
            Self::NoGapNorFork => (0..state.outside.len()).all(|it| is_a_life(state, it)),
            Self::TopicIsJournal => state.events.starts_with(&state.topic),
            Self::WatermarkBehind => usize::from(state.journal.published) <= state.topic.len(),
            Self::NoStartLost => {
                let kept =
                    |it: usize| !state.outside[it].acknowledged || state.last_kind(it).is_some();
                (0..state.outside.len()).all(kept)
            }
            Self::EffectOnce => state.outside.iter().all(|outside| outside.times <= 1),
            Self::EndIsTrue => (0..state.outside.len()).all(|it| end_is_true(state, it)),
            Self::AnswersHold => state.broken != Some(Broken::FalseAnswer),
            Self::AllSettles => all_is_settled(state) || protocol.goes_on(state),
            Self::NoEndlessRun => !state.went_back,
        }
    }
}

/// The workflow's events in the order of the journal are those of one life.
fn is_a_life(state: &State, workflow: usize) -> bool {
    let rows = state.events.iter();
    let of_it = rows.filter(|row| usize::from(row.workflow) == workflow);
    let kinds: Vec<Kind> = of_it.map(|row| row.kind).collect();
    matches!(
        kinds.as_slice(),
        [] | [Kind::Started]
            | [
                Kind::Started,
                Kind::StepDone | Kind::StepRefused | Kind::TurnedBack
            ]
            | [Kind::Started, Kind::TurnedBack, Kind::CompensationDone]
    )
}

fn end_is_true(state: &State, workflow: usize) -> bool {
    let effect = state.outside[workflow].effect;
    match state.last_kind(workflow) {
        Some(Kind::StepDone) => effect == Effect::Done,
        Some(Kind::StepRefused | Kind::CompensationDone) => effect != Effect::Done,
        None | Some(Kind::Started | Kind::TurnedBack) => true,
    }
}

fn all_is_settled(state: &State) -> bool {
    let settled =
        |it: usize| state.outside[it].acknowledged && state.last_kind(it).is_some_and(Kind::ends);
    let all = state.events.len();
    (0..state.outside.len()).all(settled)
        && state.topic.len() == all
        && usize::from(state.journal.published) == all
}

macro_rules! always {
    ($name:expr) => {
        Property::always($name.words(), |protocol, state| {
            $name.holds(protocol, state)
        })
    };
}

/// All of them, and the places that a check that means something must have come by.
pub fn properties() -> Vec<Property<Protocol>> {
    let mut properties = vec![
        always!(Name::NoStaleRow),
        always!(Name::OneWriter),
        always!(Name::NoGapNorFork),
        always!(Name::TopicIsJournal),
        always!(Name::WatermarkBehind),
        always!(Name::NoStartLost),
        always!(Name::EffectOnce),
        always!(Name::EndIsTrue),
        always!(Name::AnswersHold),
        always!(Name::AllSettles),
        always!(Name::NoEndlessRun),
    ];
    properties.extend(
        PLACES
            .iter()
            .map(|(words, been)| Property::sometimes(words, *been)),
    );
    properties
}

type Been = fn(&Protocol, &State) -> bool;

/// Where the model must have been.
pub const PLACES: [(&str, Been); 9] = [
    ("two nodes think that they own the partition", |_, state| {
        state.sessions().count() >= 2
    }),
    ("a batch of a past epoch is on its way", |_, state| {
        let is_past =
            |late: &Late| matches!(late, Late::Batch(it) if it.epoch < state.partition.epoch);
        state.late.iter().any(is_past)
    }),
    (
        "a batch is on its way whose journal was opened again",
        |_, state| {
            let opened = state.journal.opened;
            let epoch = state.partition.epoch;
            let is_closed = |late: &Late| matches!(late, Late::Batch(it) if it.opened < opened && it.epoch == epoch);
            state.late.iter().any(is_closed)
        },
    ),
    (
        "a batch is durable and its writer does not know it",
        |_, state| {
            let unknown = |batch: &Batch| {
                batch.epoch == state.journal.written_under && batch.number == state.journal.batch
            };
            state.sessions().any(
                |session| matches!(&session.writer, Writer::MayBeWritten(batch) if unknown(batch)),
            )
        },
    ),
    (
        "an owner drives a step that took effect under another one",
        |_, state| {
            state.sessions().any(|session| {
                let drives = |(driver, outside): (&Driver, &Outside)| {
                    matches!(
                        driver,
                        Driver::Driven {
                            at: Kind::Started,
                            next: None,
                            ..
                        }
                    ) && outside.effect == Effect::Done
                        && outside.by_epoch < session.epoch
                };
                session.drivers.iter().zip(&state.outside).any(drives)
            })
        },
    ),
    (
        "a late request meets what its compensation left behind",
        |_, state| {
            let meets = |late: &Late| matches!(late, Late::Act { workflow, .. } if state.outside[usize::from(*workflow)].effect == Effect::Undone);
            state.late.iter().any(meets)
        },
    ),
    ("an owner begins behind what is published", |_, state| {
        let behind = |published: u8| usize::from(published) < state.topic.len();
        state.sessions().any(|session| {
            session.stage >= Stage::Open && session.epoch > 1 && behind(session.published)
        })
    }),
    (
        "a workflow is durable and its client does not know it",
        |_, state| {
            let knows = |row: &Row| state.outside[usize::from(row.workflow)].acknowledged;
            !state.events.iter().all(knows)
        },
    ),
    (
        "all is settled after as many faults as there may be",
        |protocol, state| state.faults == protocol.faults && all_is_settled(state),
    ),
];
