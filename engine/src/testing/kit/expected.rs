//! What may come of a case.

use std::fmt;
use std::time::Duration;

use super::fault::{Fault, Times};
use crate::definition::{Phase, StepNode};

/// How a workflow may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Completed,
    /// Compensated, or refused before anything was durable.
    Undone,
    /// As it pleases.
    Either,
}

/// What may come of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) ends: Ends,
    /// It is parked before, until an operator lets it go on.
    pub(super) parks: Parks,
}

/// Whether a workflow is parked on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parks {
    Must,
    May,
    Never,
}

impl Expected {
    pub(super) const COMPLETED: Self = Self {
        ends: Ends::Completed,
        parks: Parks::Never,
    };
    pub(super) const UNDONE: Self = Self {
        ends: Ends::Undone,
        parks: Parks::Never,
    };
    pub(super) const EITHER: Self = Self {
        ends: Ends::Either,
        parks: Parks::Never,
    };
    const PARKED_FIRST: Self = Self {
        ends: Ends::Completed,
        parks: Parks::Must,
    };

    /// What follows from a fault in a step's action, in a saga with this deadline.
    pub(super) fn after_action(
        node: &StepNode,
        fault: Fault,
        times: Times,
        deadline: Option<Duration>,
    ) -> Self {
        let given_up = match node.phase {
            Phase::Compensable => Self::UNDONE,
            Phase::Pivot if !fault.is_unknown() => Self::UNDONE,
            Phase::Pivot | Phase::Retriable => Self::PARKED_FIRST,
        };
        let is_final = matches!(fault, Fault::Refused | Fault::RowsRefused);
        match times {
            _ if !fault.is_failure() => Self::COMPLETED,
            _ if is_final && node.alternative.is_some() => Self::COMPLETED,
            Times::Always => given_up,
            Times::Once if is_final => given_up,
            Times::Once if tries_again(node) && !may_run_out(node, deadline) => Self::COMPLETED,
            // It may have no second attempt, or no time for it.
            Times::Once => Self {
                ends: if given_up.ends == Ends::Completed {
                    Ends::Completed
                } else {
                    Ends::Either
                },
                parks: if given_up.parks == Parks::Never {
                    Parks::Never
                } else {
                    Parks::May
                },
            },
        }
    }

    /// What follows from a fault in a step's compensation.
    pub(super) fn after_compensation(node: &StepNode, fault: Fault, times: Times) -> Self {
        let parks = match times {
            _ if !fault.is_failure() => Parks::Never,
            Times::Always => Parks::Must,
            Times::Once if tries_again(node) => Parks::Never,
            Times::Once => Parks::May,
        };
        let ends = Ends::Undone;
        Self { ends, parks }
    }
}

/// The step is certain to have a second attempt.
fn tries_again(node: &StepNode) -> bool {
    node.policy.retry.attempts_max > 1 && node.policy.retry.elapsed_max.is_none()
}

/// The saga's deadline may pass before the step's second attempt ends.
fn may_run_out(node: &StepNode, deadline: Option<Duration>) -> bool {
    let two_attempts = node.policy.attempt_timeout * 2 + node.policy.retry.delay_max;
    node.phase == Phase::Compensable && deadline.is_some_and(|deadline| deadline <= two_attempts)
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.parks {
            Parks::Must => "it is parked, and after an operator's retry ",
            Parks::May => "it may be parked, and after an operator's retry ",
            Parks::Never => "",
        })?;
        f.write_str(match self.ends {
            Ends::Completed => "it is completed, and everything is there once",
            Ends::Undone => "it is compensated or was never durable, and nothing is left over",
            Ends::Either => {
                "it is completed with everything there once, or undone with nothing left over"
            }
        })
    }
}
