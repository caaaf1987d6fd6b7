//! What is wrong with a definition, each in a sentence that says what to change.

/// Why a definition is not one. Each message says what to change. [`Saga::finish`](super::Saga::finish) and
/// [`DefinitionBuilder::build`](super::DefinitionBuilder::build) return it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// No step.
    #[error("saga `{saga}` has no step: add at least one")]
    Empty {
        /// Which saga.
        saga: String,
    },
    /// The saga's or a step's name is empty or has other characters than `[a-z0-9-]`, or is longer than 60 bytes.
    #[error("`{name}` is not a name: use 1 to 60 of a-z, 0-9 and `-`")]
    BadName {
        /// The name.
        name: String,
    },
    /// Two steps share a name.
    #[error("two steps are named `{name}`: keys and the journal need one name a step")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A step that can be reached from itself.
    #[error("the steps {} wait for each other", .steps.join(", "))]
    Cycle {
        /// The steps of one cycle, by name.
        steps: Vec<String>,
    },
    /// Neither a compensation nor a reason for having none.
    #[error("step `{step}` says neither how it is undone nor why it need not be")]
    CompensationUnsaid {
        /// The step.
        step: String,
    },
    /// More than one point of no return.
    #[error("`{first}` and `{second}` are both pivots: a saga has at most one point of no return")]
    TwoPivots {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// A compensable step that waits for the pivot or for a step past it.
    #[error(
        "`{step}` is compensable but waits for `{pivot}`: past the pivot nothing is undone, make it retriable"
    )]
    CompensableAfterPivot {
        /// The step.
        step: String,
        /// The pivot, or a step past it.
        pivot: String,
    },
    /// A retriable step in a saga without a pivot.
    #[error(
        "`{step}` is retriable but the saga has no pivot: only past a pivot does a saga never turn back"
    )]
    RetriableWithoutPivot {
        /// The step.
        step: String,
    },
    /// An alternative, or what it stands in for, is not an action past the pivot.
    #[error(
        "`{alternative}` is to be done when `{first}` is refused, but `{step}` is not a retriable action: what can say no before the \
         pivot turns the saga back, and a wait is never refused"
    )]
    AlternativeNotRetriable {
        /// The step that has the alternative, or `input`.
        first: String,
        /// The alternative.
        alternative: String,
        /// The one of them that is no retriable action.
        step: String,
    },
    /// A second alternative, or an alternative of an alternative.
    #[error(
        "`{alternative}` is to be done when `{first}` is refused, but `{step}` has its alternative or is one: a step has at most one, \
         and when that is refused as well an operator decides"
    )]
    AlternativeTwice {
        /// The step that is to have the alternative.
        first: String,
        /// The alternative.
        alternative: String,
        /// The one of them that is part of a pair already.
        step: String,
    },
    /// An alternative that waits for the step in whose place it is done.
    #[error(
        "`{alternative}` waits for `{first}`, but is done only when `{first}` is refused, and so has given nothing"
    )]
    AlternativeWaitsForFirst {
        /// The step that has the alternative.
        first: String,
        /// The alternative.
        alternative: String,
    },
    /// A step, or the output, that takes an alternative alone, which most workflows never come to.
    #[error(
        "`{step}` waits for `{alternative}`, which is done only when `{first}` is refused: let it wait for `{first}`, which stands for \
         whichever of the two is done"
    )]
    AlternativeAlone {
        /// Who takes it, or `output`.
        step: String,
        /// The step that has the alternative.
        first: String,
        /// The alternative.
        alternative: String,
    },
    /// A handle of another saga.
    #[error("step `{step}` takes a handle that belongs to saga `{saga}`")]
    ForeignHandle {
        /// The step.
        step: String,
        /// Whose handle it is.
        saga: String,
    },
    /// An input, an edge or the output names a step that does not exist.
    #[error("saga `{saga}` names a step number {index} that does not exist")]
    UnknownStep {
        /// Which saga.
        saga: String,
        /// The number.
        index: usize,
    },
}
