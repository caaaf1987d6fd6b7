//! What a workflow's journal folds to, and the questions that can be asked of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::{Direction, Refusal, Signal, StepError};
use crate::definition::{Definition, Phase as StepPhase, Source, StepIndex, StepKind};
use crate::payload::Payload;
use crate::planted;
use crate::runtime::Timestamp;
use crate::store::Status;

/// Where a workflow is going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Forward.
    Running,
    /// Back: what may have taken effect is undone.
    Compensating {
        /// Why it turned back.
        reason: Refusal,
    },
    /// Nowhere, until an operator says so.
    Parked {
        /// Which step, if it is about one.
        step: Option<StepIndex>,
        /// What is the matter.
        error: StepError,
        /// The reason for which it was going back, if it was.
        turning_back: Option<Refusal>,
        /// An operator paused it: only an operator's `resume` lets it go on.
        paused: bool,
    },
    /// Every step is done (terminal).
    Completed {
        /// The saga's output.
        output: Payload,
    },
    /// Everything is undone (terminal).
    Compensated {
        /// Why it turned back.
        reason: Refusal,
    },
    /// An operator gave it up as it was (terminal).
    Abandoned {
        /// Why.
        reason: Refusal,
        /// The steps that have, or may have, an effect that nobody will undo or complete.
        left: Vec<String>,
    },
}

/// Where a step's action stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    /// No attempt has begun.
    Untouched,
    /// An attempt may have begun, or will at `not_before`.
    Attempting {
        /// Its number.
        attempt: u32,
        /// It does not begin before this instant.
        not_before: Timestamp,
        /// An earlier attempt may have had its effect.
        effect_may_exist: bool,
    },
    /// It waits for its instant, or for its signal until then.
    Waiting {
        /// When it fires, or when the signal is no longer awaited; absent when a signal is awaited for as long as it takes.
        until: Option<Timestamp>,
    },
    /// It took effect.
    Done {
        /// After so many attempts; 0 when it was skipped before the first one.
        attempt: u32,
        /// What it gave.
        output: Payload,
    },
    /// It will not take effect any more.
    Failed {
        /// After so many attempts.
        attempt: u32,
        /// It may have taken effect: it is to be compensated.
        effect_may_exist: bool,
    },
}

/// Where a step's compensation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Not begun.
    No,
    /// An attempt may have begun, or will at `not_before`.
    Attempting {
        /// Its number.
        attempt: u32,
        /// It does not begin before this instant.
        not_before: Timestamp,
    },
    /// It took effect.
    Done {
        /// After so many attempts.
        attempt: u32,
    },
}

/// A step of a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its action.
    pub action: StepState,
    /// Its compensation.
    pub undo: Undo,
    /// Its compensation took effect once, and an effect was found after that: the rows that went with it are taken back already.
    pub undone_before: bool,
    /// An operator gave its output: no rows were written with it.
    pub given_by_operator: bool,
    /// The last error, for those who look.
    pub last_error: Option<StepError>,
    /// Since when its action, or its compensation, is being attempted: the time that its retries have used up.
    pub attempting_since: Option<Timestamp>,
    /// When something last happened to it.
    pub since: Timestamp,
}

impl Progress {
    /// The number of the attempt in this direction that may have begun, or will; `None` when none is made.
    #[must_use]
    pub const fn attempting(&self, direction: Direction) -> Option<u32> {
        match (direction, &self.action, &self.undo) {
            (Direction::Forward, StepState::Attempting { attempt, .. }, _)
            | (Direction::Backward, _, Undo::Attempting { attempt, .. }) => Some(*attempt),
            _ => None,
        }
    }
}

/// The fold of a workflow's records.
#[derive(Clone, Debug)]
pub struct WorkflowState {
    pub(super) definition: Arc<Definition>,
    /// What it was started with.
    pub input: Payload,
    /// Where it is going.
    pub phase: Phase,
    /// Its steps, by [`StepIndex`].
    pub steps: Vec<Progress>,
    /// The number of the last record.
    pub seq: u32,
    /// When the last record was made.
    pub at: Timestamp,
    /// When it turns back if it is not past its pivot by then.
    pub deadline: Option<Timestamp>,
    /// Signals that came before the step that awaits them.
    pub(super) kept: Vec<Signal>,
    /// The ids of all signals that came.
    pub(super) signal_ids: BTreeSet<String>,
}

impl WorkflowState {
    /// The definition that this workflow runs.
    #[must_use]
    pub const fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// The status that follows from the journal. What lists show may be [`Status::Waiting`] instead, while nothing is to be done.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self.phase {
            Phase::Running => Status::Running,
            Phase::Compensating { .. } => Status::Compensating,
            Phase::Parked { .. } => Status::Parked,
            Phase::Completed { .. } => Status::Completed,
            Phase::Compensated { .. } => Status::Compensated,
            Phase::Abandoned { .. } => Status::Abandoned,
        }
    }

    /// Why it turned back or was parked: the refusal's code or the error's class.
    #[must_use]
    pub fn reason_code(&self) -> Option<&str> {
        match &self.phase {
            Phase::Compensating { reason }
            | Phase::Compensated { reason }
            | Phase::Abandoned { reason, .. } => Some(&reason.code),
            Phase::Parked { error, .. } => Some(&error.class),
            Phase::Running | Phase::Completed { .. } => None,
        }
    }

    /// The pivot is done or may be: there is no way back.
    #[must_use]
    pub fn past_pivot(&self) -> bool {
        self.definition
            .steps()
            .iter()
            .zip(&self.steps)
            .any(|(node, progress)| {
                node.phase == StepPhase::Pivot
                    && match progress.action {
                        StepState::Untouched
                        | StepState::Waiting { .. }
                        | StepState::Failed {
                            effect_may_exist: false,
                            ..
                        } => false,
                        StepState::Attempting { .. }
                        | StepState::Done { .. }
                        | StepState::Failed { .. } => true,
                    }
            })
    }

    /// What this very step gave; `None` when it is not done, though its alternative may be.
    #[must_use]
    pub fn output_of(&self, step: &str) -> Option<&Payload> {
        self.own_output(self.definition.index_of(step)?)
    }

    /// The value of a source, which is what the step or its alternative gave; `None` when neither is done.
    #[must_use]
    pub fn value_of(&self, source: Source) -> Option<&Payload> {
        match source {
            Source::Input => Some(&self.input),
            Source::Step(index) => self.own_output(index).or_else(|| {
                let alternative = self.definition.step(index).alternative?;
                self.own_output(alternative)
            }),
        }
    }

    fn own_output(&self, index: StepIndex) -> Option<&Payload> {
        match &self.steps[index.0].action {
            StepState::Done { output, .. } => Some(output),
            _ => None,
        }
    }

    /// The step was refused and has an alternative, which is done in its place. It is over: it is not tried again, and an
    /// operator can neither resolve nor skip it.
    #[must_use]
    pub fn is_diverted(&self, index: StepIndex) -> bool {
        self.definition.step(index).alternative.is_some()
            && matches!(self.steps[index.0].action, StepState::Failed { .. })
    }

    /// Nothing is left to be done for this step: it is done, or its alternative is, or the step in whose place it would be.
    #[must_use]
    pub fn is_done(&self, index: StepIndex) -> bool {
        let stands_for = self.definition.step(index).instead_of.unwrap_or(index);
        self.value_of(Source::Step(stands_for)).is_some()
    }

    /// The step has, or may have, an effect that is not undone yet.
    #[must_use]
    pub fn needs_undo(&self, index: StepIndex) -> bool {
        self.effect_may_stand(index) && self.definition.step(index).undoable
    }

    /// The step has, or may have, an effect that is not undone, whether or not it can be.
    fn effect_may_stand(&self, index: StepIndex) -> bool {
        let progress = &self.steps[index.0];
        let has_effect = match progress.action {
            StepState::Untouched => planted::is_on("undone-though-never-attempted"),
            StepState::Waiting { .. } => false,
            StepState::Attempting { .. } => true,
            StepState::Done { attempt, .. } => {
                attempt > 0 && self.definition.step(index).kind == StepKind::Action
            }
            StepState::Failed {
                effect_may_exist, ..
            } => effect_may_exist,
        };
        has_effect && !matches!(progress.undo, Undo::Done { .. })
    }

    /// The steps that have, or may have, an effect: what is left in the world if nothing more is done.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        let indexes = (0..self.steps.len()).map(StepIndex);
        indexes
            .filter(|index| self.effect_may_stand(*index))
            .map(|index| self.definition.step(index).name.to_string())
            .collect()
    }

    /// A signal with this id came already.
    #[must_use]
    pub fn has_signal(&self, id: &str) -> bool {
        self.signal_ids.contains(id)
    }

    /// A step awaits a signal, with or without an end, in a workflow that goes forward: one that goes back awaits none.
    #[must_use]
    pub fn awaits_signal(&self) -> bool {
        self.phase == Phase::Running
            && self.steps.iter().enumerate().any(|(index, progress)| {
                matches!(progress.action, StepState::Waiting { .. })
                    && self.definition.step(StepIndex(index)).kind == StepKind::Signal
            })
    }

    /// It goes back, or will when it is no longer parked.
    #[must_use]
    pub const fn is_going_back(&self) -> bool {
        matches!(
            self.phase,
            Phase::Compensating { .. }
                | Phase::Parked {
                    turning_back: Some(_),
                    ..
                }
        )
    }

    /// Nothing follows.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.status().is_terminal()
    }

    /// Nothing more happens by itself: it has ended, or an operator has it.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.is_terminal() || matches!(self.phase, Phase::Parked { .. })
    }

    /// An untouched step whose needs are met, in a workflow that goes forward.
    #[must_use]
    pub fn may_start(&self, index: StepIndex) -> bool {
        self.phase == Phase::Running
            && self.steps[index.0].action == StepState::Untouched
            && self.needs_are_met(index)
    }

    /// Every step that must be done before this one is done; and if it is an alternative, its turn has come.
    pub(super) fn needs_are_met(&self, index: StepIndex) -> bool {
        let node = self.definition.step(index);
        let is_its_turn = node.instead_of.is_none_or(|first| self.is_diverted(first));
        is_its_turn && node.needs.iter().all(|need| self.is_done(*need))
    }

    /// A step to be undone, in a workflow that goes back, with nothing left to undo after it. Its action may have been left
    /// in the middle of an attempt (a crash, a retry that was waiting): then nobody knows whether it took effect, and its
    /// compensation must make sure that it has none, now or later.
    #[must_use]
    pub fn may_undo(&self, index: StepIndex) -> bool {
        matches!(self.phase, Phase::Compensating { .. })
            && self.steps[index.0].undo == Undo::No
            && self.needs_undo(index)
            && self.all_after(index, &|later| !self.needs_undo(later))
    }

    /// `holds` for every step that comes after this one, however far.
    pub(crate) fn all_after(&self, index: StepIndex, holds: &impl Fn(StepIndex) -> bool) -> bool {
        let followers = &self.definition.step(index).followers;
        followers.iter().all(|later| holds(*later)) || planted::is_on("undone-in-any-order")
    }
}
