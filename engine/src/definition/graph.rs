//! A definition as a checked graph.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::policy::Policy;
use super::step::{AnyStep, StepKind};
use crate::workflow::DefinitionRef;

/// A step's place in its definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepIndex(pub usize);

/// Where a step's input, or the saga's output, comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// What the workflow was started with.
    Input,
    /// A step's output.
    Step(StepIndex),
}

/// Where a step stands to the point of no return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before it.
    Compensable,
    /// It.
    Pivot,
    /// Past it: only forward.
    Retriable,
}

/// What undoes a step. A compensable step says one or the other; past the pivot nothing is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compensation {
    /// Nobody said: an error when the definition is built.
    Unsaid,
    /// [`AnyStep::compensate`].
    Runs,
    /// Nothing, on purpose.
    None {
        /// Why none is needed.
        because: &'static str,
    },
}

/// A step of a checked definition, with what follows from the graph: what it waits for, and what is undone before it is.
#[derive(Clone)]
pub struct StepNode {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is done or waited for.
    pub kind: StepKind,
    /// Its phase.
    pub phase: Phase,
    /// Whether it has a compensation.
    pub undoable: bool,
    /// Its bounds.
    pub policy: Policy,
    /// Where its inputs come from.
    pub inputs: Vec<Source>,
    /// What it does.
    pub step: Arc<dyn AnyStep>,
    /// The steps that must be done before it starts.
    pub needs: Vec<StepIndex>,
    /// The steps that start only when it is done, however far, and so are undone before it is.
    pub followers: Vec<StepIndex>,
    /// What is done in its place when it is refused. Whoever takes its output then takes that one's.
    pub alternative: Option<StepIndex>,
    /// The step in whose place this one is done, and only when that one is refused.
    pub instead_of: Option<StepIndex>,
}

/// A checked definition: a graph without cycles, with at most one pivot, in which every compensable step says how it is undone. It
/// is shared by all workflows that run it and never changes.
pub struct Definition {
    pinned: DefinitionRef,
    key_space: String,
    deadline: Option<Duration>,
    nodes: Vec<StepNode>,
    by_name: HashMap<Arc<str>, StepIndex>,
    output: Source,
}

impl Definition {
    /// The definition of these steps, which were checked.
    pub(super) fn of(
        name: String,
        version: u32,
        key_space: Option<String>,
        deadline: Option<Duration>,
        nodes: Vec<StepNode>,
        output: Source,
    ) -> Self {
        let by_name = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (Arc::clone(&node.name), StepIndex(index)))
            .collect();
        let pinned = DefinitionRef {
            hash: hash_of(&name, version, &nodes, output),
            name,
            version,
        };
        Self {
            key_space: key_space.unwrap_or_else(|| pinned.name.clone()),
            pinned,
            deadline,
            nodes,
            by_name,
            output,
        }
    }

    /// Name, version and hash: what a workflow is pinned to for life.
    #[must_use]
    pub const fn pinned(&self) -> &DefinitionRef {
        &self.pinned
    }

    /// Where its start keys belong: definitions of one key space share them.
    #[must_use]
    pub fn key_space(&self) -> &str {
        &self.key_space
    }

    /// After how long a workflow that is not past its pivot turns back, from its start.
    #[must_use]
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The steps, by [`StepIndex`].
    #[must_use]
    pub fn steps(&self) -> &[StepNode] {
        &self.nodes
    }

    /// The step at this place.
    #[must_use]
    pub fn step(&self, index: StepIndex) -> &StepNode {
        &self.nodes[index.0]
    }

    /// The place of the step of this name; `None` when there is none.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<StepIndex> {
        self.by_name.get(name).copied()
    }

    /// Where a completed workflow's output comes from.
    #[must_use]
    pub const fn output(&self) -> Source {
        self.output
    }

    /// The same definition, under the same name, version and hash, with each step in the wrapping that `wrap` gives it: a
    /// measurement, a log, a fault that a test injects. A wrapping passes on everything but what it is about.
    #[must_use]
    pub fn wrapped(&self, wrap: impl Fn(StepIndex, &StepNode) -> Arc<dyn AnyStep>) -> Self {
        let wrapped = |(index, node): (usize, &StepNode)| {
            let step = wrap(StepIndex(index), node);
            debug_assert_eq!(step.kind(), node.kind, "a wrapped step is what it was");
            StepNode {
                step,
                ..node.clone()
            }
        };
        Self {
            pinned: self.pinned.clone(),
            key_space: self.key_space.clone(),
            deadline: self.deadline,
            nodes: self.nodes.iter().enumerate().map(wrapped).collect(),
            by_name: self.by_name.clone(),
            output: self.output,
        }
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.nodes.iter().map(|node| &*node.name).collect();
        f.debug_struct("Definition")
            .field("pinned", &self.pinned)
            .field("steps", &names)
            .finish_non_exhaustive()
    }
}

/// A hash of what a workflow in flight depends on: names, kinds, phases, inputs and order; not of durability, delays or time-outs, which
/// may change under a running workflow.
fn hash_of(name: &str, version: u32, nodes: &[StepNode], output: Source) -> u64 {
    use std::fmt::Write as _;
    let mut text = format!("{name} {version} {output:?}");
    for node in nodes {
        let StepNode {
            name,
            kind,
            phase,
            undoable,
            inputs,
            needs,
            alternative,
            ..
        } = node;
        write!(
            text,
            "\n{name} {kind:?} {phase:?} {undoable} {inputs:?} {needs:?}"
        )
        .expect("a String takes all");
        if let Some(alternative) = alternative {
            write!(text, " or {alternative:?}").expect("a String takes all");
        }
    }
    let digest = Sha256::digest(text.as_bytes());
    // 63 bits, so that every database stores it as a signed number.
    u64::from_be_bytes(digest[..8].try_into().expect("8 of 32 bytes")) >> 1
}
