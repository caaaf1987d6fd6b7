//! The builder of definitions, and the checks that types can't make.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use petgraph::Direction as Toward;
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::Dfs;

use super::error::DefinitionError;
use super::graph::{Compensation, Definition, Phase, Source, StepIndex, StepNode};
use super::policy::Policy;
use super::step::{AnyStep, StepKind};

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

/// Collects steps and edges without their types, and checks them when built: for definitions that are assembled at run time. Those
/// that are written in code are better off with [`Saga`](super::Saga).
pub struct DefinitionBuilder {
    name: String,
    version: u32,
    key_space: Option<String>,
    deadline: Option<Duration>,
    steps: Vec<StepSpec>,
    edges: Vec<(StepIndex, StepIndex)>,
    /// Each with the step in whose place it is done first.
    alternatives: Vec<(StepIndex, StepIndex)>,
}

impl DefinitionBuilder {
    /// An empty definition of this name, `[a-z0-9-]` and at most 60 bytes, and version.
    #[must_use]
    pub fn new(name: &str, version: u32) -> Self {
        Self {
            name: name.to_owned(),
            version,
            key_space: None,
            deadline: None,
            steps: Vec::new(),
            edges: Vec::new(),
            alternatives: Vec::new(),
        }
    }

    /// Its start keys are those of every definition with this key space.
    pub fn key_space(&mut self, name: &str) {
        self.key_space = Some(name.to_owned());
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

    /// When `first` is refused, `alternative` is done in its place, and otherwise never. What waits for `first` then waits for
    /// whichever of the two is done.
    pub fn or_else(&mut self, first: StepIndex, alternative: StepIndex) {
        self.alternatives.push((first, alternative));
    }

    /// Checks everything and returns the definition.
    pub fn build(self, output: Source) -> Result<Definition, DefinitionError> {
        self.check_names()?;
        self.check_compensations()?;
        let pivot = self.check_pivot()?;
        let graph = self.graph(output)?;
        self.check_alternatives(output)?;
        if toposort(&graph, None).is_err() {
            return Err(self.cycle(&graph));
        }
        let graph = self.with_phase_edges(graph, pivot)?;
        let graph = self.with_alternatives(graph)?;
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

    fn check_alternatives(&self, output: Source) -> Result<(), DefinitionError> {
        let name = |index: StepIndex| self.steps[index.0].name.clone();
        let mut paired = HashSet::new();
        for &(first, alternative) in &self.alternatives {
            for index in [first, alternative] {
                self.check_exists(index)?;
            }
            for index in [first, alternative] {
                let spec = &self.steps[index.0];
                if spec.phase != Phase::Retriable || spec.step.kind() != StepKind::Action {
                    return Err(DefinitionError::AlternativeNotRetriable {
                        first: name(first),
                        alternative: name(alternative),
                        step: name(index),
                    });
                }
                if !paired.insert(index) {
                    return Err(DefinitionError::AlternativeTwice {
                        first: name(first),
                        alternative: name(alternative),
                        step: name(index),
                    });
                }
            }
            self.check_takers(first, alternative, output)?;
        }
        Ok(())
    }

    /// Nobody waits for the alternative by itself, and it does not wait for the step in whose place it is done.
    fn check_takers(
        &self,
        first: StepIndex,
        alternative: StepIndex,
        output: Source,
    ) -> Result<(), DefinitionError> {
        let name = |index: StepIndex| self.steps[index.0].name.clone();
        let waits_for = |later: StepIndex, earlier: StepIndex| {
            let takes = self.steps[later.0].inputs.contains(&Source::Step(earlier));
            takes || self.edges.contains(&(earlier, later))
        };
        if waits_for(alternative, first) {
            return Err(DefinitionError::AlternativeWaitsForFirst {
                first: name(first),
                alternative: name(alternative),
            });
        }
        let taker = self.indexes().find(|index| waits_for(*index, alternative));
        let output = (output == Source::Step(alternative)).then(|| "output".to_owned());
        match taker.map(name).or(output) {
            Some(step) => Err(DefinitionError::AlternativeAlone {
                step,
                first: name(first),
                alternative: name(alternative),
            }),
            None => Ok(()),
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

    /// An alternative comes after the step in whose place it is done, and before all that waits for that one.
    fn with_alternatives(
        &self,
        mut graph: DiGraph<StepIndex, ()>,
    ) -> Result<DiGraph<StepIndex, ()>, DefinitionError> {
        for (first, alternative) in &self.alternatives {
            let (first, alternative) = (NodeIndex::new(first.0), NodeIndex::new(alternative.0));
            let later: Vec<NodeIndex> = graph.neighbors_directed(first, Toward::Outgoing).collect();
            for later in later {
                graph.update_edge(alternative, later, ());
            }
            graph.update_edge(first, alternative, ());
        }
        if toposort(&graph, None).is_err() {
            return Err(self.cycle(&graph));
        }
        Ok(graph)
    }

    fn assemble(self, graph: &DiGraph<StepIndex, ()>, output: Source) -> Definition {
        let alternatives = &self.alternatives;
        let alternative = |index: usize| {
            let mut pairs = alternatives.iter();
            pairs.find_map(|(first, other)| (first.0 == index).then_some(*other))
        };
        let instead_of = |index: usize| {
            let mut pairs = alternatives.iter();
            pairs.find_map(|(first, other)| (other.0 == index).then_some(*first))
        };
        let needs = |index: usize| {
            let earlier = graph.neighbors_directed(NodeIndex::new(index), Toward::Incoming);
            let mut needs: Vec<StepIndex> = earlier.map(|node| StepIndex(node.index())).collect();
            // To wait for a step is to wait for it or its alternative.
            needs.retain(|need| instead_of(need.0).is_none() && instead_of(index) != Some(*need));
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
        let nodes = self
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
                alternative: alternative(index),
                instead_of: instead_of(index),
            })
            .collect();
        Definition::of(
            self.name,
            self.version,
            self.key_space,
            self.deadline,
            nodes,
            output,
        )
    }

    fn indexes(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..self.steps.len()).map(StepIndex)
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=60).contains(&name.len()) && name.bytes().all(allowed)
}
