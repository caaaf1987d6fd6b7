//! A definition as a checked graph, and the builder that makes the checks.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use petgraph::Direction as Toward;
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::Dfs;
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

/// A step as it is given to the builder.
pub struct StepSpec {
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: Phase,
    /// What undoes it.
    pub compensation: Compensation,
    /// Its bounds.
    pub policy: Policy,
    /// Where its inputs come from, in order; each step named here is done before this one starts.
    pub inputs: Vec<Source>,
    /// What it does.
    pub step: Arc<dyn AnyStep>,
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
}

/// Why a definition is not one. Each message says what to change. [`Saga::finish`](super::Saga::finish) and
/// [`DefinitionBuilder::build`] return it.
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

/// Collects steps and edges without their types, and checks them when built: for definitions that are assembled at run time. Those
/// that are written in code are better off with [`Saga`](super::Saga).
pub struct DefinitionBuilder {
    name: String,
    version: u32,
    deadline: Option<Duration>,
    steps: Vec<StepSpec>,
    edges: Vec<(StepIndex, StepIndex)>,
}

impl DefinitionBuilder {
    /// An empty definition of this name, `[a-z0-9-]` and at most 60 bytes, and version.
    #[must_use]
    pub fn new(name: &str, version: u32) -> Self {
        Self {
            name: name.to_owned(),
            version,
            deadline: None,
            steps: Vec::new(),
            edges: Vec::new(),
        }
    }

    /// A workflow that is not past its pivot after this long turns back.
    pub fn deadline(&mut self, deadline: Duration) {
        self.deadline = Some(deadline);
    }

    /// Adds a step. Its place is what inputs and edges name it by.
    pub fn step(&mut self, spec: StepSpec) -> StepIndex {
        self.steps.push(spec);
        StepIndex(self.steps.len() - 1)
    }

    /// The name of the step that a value comes from, or `input`.
    pub(super) fn name_of(&self, source: Source) -> String {
        let step = match source {
            Source::Input => None,
            Source::Step(index) => self.steps.get(index.0),
        };
        step.map_or_else(|| "input".to_owned(), |step| step.name.clone())
    }

    /// `later` starts only when `earlier` is done.
    pub fn edge(&mut self, earlier: StepIndex, later: StepIndex) {
        self.edges.push((earlier, later));
    }

    /// Checks everything and returns the definition.
    pub fn build(self, output: Source) -> Result<Definition, DefinitionError> {
        self.check_names()?;
        self.check_compensations()?;
        let pivot = self.check_pivot()?;
        let graph = self.graph(output)?;
        if toposort(&graph, None).is_err() {
            return Err(self.cycle(&graph));
        }
        let graph = self.with_phase_edges(graph, pivot)?;
        Ok(self.assemble(&graph, output))
    }

    fn check_names(&self) -> Result<(), DefinitionError> {
        if self.steps.is_empty() {
            return Err(DefinitionError::Empty {
                saga: self.name.clone(),
            });
        }
        let mut seen = HashSet::new();
        for name in std::iter::once(&self.name).chain(self.steps.iter().map(|step| &step.name)) {
            if !is_name(name) {
                return Err(DefinitionError::BadName { name: name.clone() });
            }
        }
        for step in &self.steps {
            if !seen.insert(&step.name) {
                return Err(DefinitionError::DuplicateName {
                    name: step.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_compensations(&self) -> Result<(), DefinitionError> {
        let unsaid = |step: &&StepSpec| {
            step.phase == Phase::Compensable && step.compensation == Compensation::Unsaid
        };
        match self.steps.iter().find(unsaid) {
            Some(step) => Err(DefinitionError::CompensationUnsaid {
                step: step.name.clone(),
            }),
            None => Ok(()),
        }
    }

    fn check_pivot(&self) -> Result<Option<StepIndex>, DefinitionError> {
        let mut pivots = self
            .indexes()
            .filter(|index| self.steps[index.0].phase == Phase::Pivot);
        let pivot = pivots.next();
        if let (Some(first), Some(second)) = (pivot, pivots.next()) {
            return Err(DefinitionError::TwoPivots {
                first: self.steps[first.0].name.clone(),
                second: self.steps[second.0].name.clone(),
            });
        }
        let retriable = self
            .steps
            .iter()
            .find(|step| step.phase == Phase::Retriable);
        match (pivot, retriable) {
            (None, Some(step)) => Err(DefinitionError::RetriableWithoutPivot {
                step: step.name.clone(),
            }),
            (pivot, _) => Ok(pivot),
        }
    }

    fn graph(&self, output: Source) -> Result<DiGraph<StepIndex, ()>, DefinitionError> {
        let mut graph = DiGraph::new();
        for index in self.indexes() {
            graph.add_node(index);
        }
        let inputs = self.indexes().flat_map(|later| {
            self.steps[later.0]
                .inputs
                .iter()
                .filter_map(move |source| match source {
                    Source::Step(earlier) => Some((*earlier, later)),
                    Source::Input => None,
                })
        });
        for (earlier, later) in inputs.chain(self.edges.iter().copied()) {
            for index in [earlier, later] {
                self.check_exists(index)?;
            }
            graph.update_edge(NodeIndex::new(earlier.0), NodeIndex::new(later.0), ());
        }
        if let Source::Step(index) = output {
            self.check_exists(index)?;
        }
        Ok(graph)
    }

    fn check_exists(&self, index: StepIndex) -> Result<(), DefinitionError> {
        if index.0 < self.steps.len() {
            return Ok(());
        }
        Err(DefinitionError::UnknownStep {
            saga: self.name.clone(),
            index: index.0,
        })
    }

    fn cycle(&self, graph: &DiGraph<StepIndex, ()>) -> DefinitionError {
        let in_cycle = |component: &Vec<NodeIndex>| {
            component.len() > 1 || graph.contains_edge(component[0], component[0])
        };
        let mut steps: Vec<String> = tarjan_scc(graph)
            .into_iter()
            .find(in_cycle)
            .unwrap_or_default()
            .into_iter()
            .map(|node| self.steps[node.index()].name.clone())
            .collect();
        steps.sort();
        DefinitionError::Cycle { steps }
    }

    /// The pivot waits for every compensable step, and every retriable step waits for the pivot.
    fn with_phase_edges(
        &self,
        mut graph: DiGraph<StepIndex, ()>,
        pivot: Option<StepIndex>,
    ) -> Result<DiGraph<StepIndex, ()>, DefinitionError> {
        let Some(pivot) = pivot else { return Ok(graph) };
        for index in self.indexes() {
            let (step, pivot) = (NodeIndex::new(index.0), NodeIndex::new(pivot.0));
            match self.steps[index.0].phase {
                Phase::Compensable => {
                    for earlier in graph.neighbors_directed(step, Toward::Incoming) {
                        if self.steps[earlier.index()].phase != Phase::Compensable {
                            return Err(DefinitionError::CompensableAfterPivot {
                                step: self.steps[index.0].name.clone(),
                                pivot: self.steps[earlier.index()].name.clone(),
                            });
                        }
                    }
                    graph.update_edge(step, pivot, ());
                }
                Phase::Pivot => {}
                Phase::Retriable => {
                    graph.update_edge(pivot, step, ());
                }
            }
        }
        if toposort(&graph, None).is_err() {
            return Err(self.cycle(&graph));
        }
        Ok(graph)
    }

    fn assemble(self, graph: &DiGraph<StepIndex, ()>, output: Source) -> Definition {
        let needs = |index: usize| {
            let earlier = graph.neighbors_directed(NodeIndex::new(index), Toward::Incoming);
            let mut needs: Vec<StepIndex> = earlier.map(|node| StepIndex(node.index())).collect();
            needs.sort();
            needs
        };
        let followers = |index: usize| {
            let mut search = Dfs::new(graph, NodeIndex::new(index));
            let found =
                std::iter::from_fn(|| search.next(graph)).map(|node| StepIndex(node.index()));
            let mut followers: Vec<StepIndex> = found.filter(|found| found.0 != index).collect();
            followers.sort();
            followers
        };
        let nodes: Vec<StepNode> = self
            .steps
            .into_iter()
            .enumerate()
            .map(|(index, spec)| StepNode {
                name: spec.name.into(),
                kind: spec.step.kind(),
                phase: spec.phase,
                undoable: spec.compensation == Compensation::Runs,
                policy: spec.policy,
                inputs: spec.inputs,
                step: spec.step,
                needs: needs(index),
                followers: followers(index),
            })
            .collect();
        let by_name = nodes
            .iter()
            .enumerate()
            .map(|(i, node)| (Arc::clone(&node.name), StepIndex(i)))
            .collect();
        let pinned = DefinitionRef {
            hash: hash_of(&self.name, self.version, &nodes, output),
            name: self.name,
            version: self.version,
        };
        Definition {
            pinned,
            deadline: self.deadline,
            nodes,
            by_name,
            output,
        }
    }

    fn indexes(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..self.steps.len()).map(StepIndex)
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=60).contains(&name.len()) && name.bytes().all(allowed)
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
            ..
        } = node;
        write!(
            text,
            "\n{name} {kind:?} {phase:?} {undoable} {inputs:?} {needs:?}"
        )
        .expect("a String takes all");
    }
    let digest = Sha256::digest(text.as_bytes());
    // 63 bits, so that every database stores it as a signed number.
    u64::from_be_bytes(digest[..8].try_into().expect("8 of 32 bytes")) >> 1
}

/// A checked definition: a graph without cycles, with at most one pivot, in which every compensable step says how it is undone. It
/// is shared by all workflows that run it and never changes.
pub struct Definition {
    pinned: DefinitionRef,
    deadline: Option<Duration>,
    nodes: Vec<StepNode>,
    by_name: HashMap<Arc<str>, StepIndex>,
    output: Source,
}

impl Definition {
    /// Name, version and hash: what a workflow is pinned to for life.
    #[must_use]
    pub const fn pinned(&self) -> &DefinitionRef {
        &self.pinned
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
