//! Random sagas, with the order of their steps as the model sees it: written down here, not asked of the code under test.

use std::sync::Arc;
use std::time::Duration;

use engine::definition::{
    Compensation, Definition, DefinitionBuilder, Phase, Source, StepIndex, StepKind, StepSpec,
};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::untyped::{spec, waiting};

const STEPS_MAX: usize = 8;
/// The longest wait, in microseconds.
const WAIT_MAX_US: i64 = 30;

/// A saga and what the model knows about it.
#[derive(Clone)]
pub struct Shape {
    pub definition: Arc<Definition>,
    pub steps: Vec<Step>,
}

/// A step as the model sees it, at the same place as in the definition.
#[derive(Clone)]
pub struct Step {
    pub name: String,
    pub kind: StepKind,
    /// For a wait: how long it lasts at most, in microseconds.
    pub lasts_us: Option<i64>,
    pub phase: Phase,
    pub undoable: bool,
    /// What is done in its place when it is refused.
    pub or_else: Option<usize>,
    /// The step that must be refused before this one starts.
    pub instead_of: Option<usize>,
    /// The steps that must be done before this one starts, however far back, they or what is done in their place.
    pub before: Vec<usize>,
    /// The steps that start only when this one is done, however far on.
    pub after: Vec<usize>,
}

impl Shape {
    pub fn place_of(&self, name: &str) -> usize {
        let found = self.steps.iter().position(|step| step.name == name);
        found.expect("a step of the saga")
    }
}

/// A saga of 1 to [`STEPS_MAX`] steps, of which one may be a pivot and some may be waits, with edges wherever the phases allow
/// some, and alternatives to some of those past the pivot.
pub fn random(random: &mut StdRng) -> Shape {
    let count = random.random_range(1..=STEPS_MAX);
    let pivot = random
        .random_bool(0.7)
        .then(|| random.random_range(0..count));
    let density = random.random_range(0.0..0.7);
    // `order[place]` is the index under which the step at this place of a topological order is built.
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(random);
    let phase_at = |place: usize| match pivot {
        Some(pivot) if place == pivot => Phase::Pivot,
        Some(pivot) if place > pivot => Phase::Retriable,
        _ => Phase::Compensable,
    };
    let edges: Vec<(usize, usize)> = (0..count)
        .flat_map(|later| (0..later).map(move |earlier| (earlier, later)))
        .filter(|_| random.random_bool(density))
        .collect();
    let mut specs: Vec<Option<(StepSpec, Step)>> = (0..count).map(|_| None).collect();
    for (place, index) in order.iter().enumerate() {
        specs[*index] = Some(random_step(random, *index, phase_at(place)));
    }
    let mut builder = DefinitionBuilder::new("random", 1);
    let mut steps = Vec::new();
    for (index, step) in specs.into_iter().enumerate() {
        let (mut spec, step) = step.expect("every place has a step");
        let place = order.iter().position(|at| *at == index);
        let place = place.expect("every index has a place");
        let inputs = edges
            .iter()
            .filter(|(_, later)| *later == place && random.random_bool(0.5));
        spec.inputs = inputs
            .map(|(earlier, _)| Source::Step(StepIndex(order[*earlier])))
            .collect();
        steps.push(step);
        builder.step(spec);
    }
    let mut edges: Vec<(usize, usize)> =
        edges.iter().map(|(a, b)| (order[*a], order[*b])).collect();
    for (earlier, later) in &edges {
        builder.edge(StepIndex(*earlier), StepIndex(*later));
    }
    for (place, first) in order.iter().enumerate() {
        let step = &steps[*first];
        let may_be_refused = step.phase == Phase::Retriable && step.kind == StepKind::Action;
        if may_be_refused && random.random_bool(0.5) {
            let alternative = steps.len();
            let earlier = &order[..place];
            let takes: Vec<usize> = earlier
                .iter()
                .filter(|_| random.random_bool(density))
                .copied()
                .collect();
            let (mut spec, step) = action(alternative, Phase::Retriable);
            let inputs = takes.iter().filter(|_| random.random_bool(0.5));
            spec.inputs = inputs
                .map(|earlier| Source::Step(StepIndex(*earlier)))
                .collect();
            builder.step(spec);
            for earlier in takes {
                builder.edge(StepIndex(earlier), StepIndex(alternative));
                edges.push((earlier, alternative));
            }
            builder.or_else(StepIndex(*first), StepIndex(alternative));
            steps[*first].or_else = Some(alternative);
            steps.push(Step {
                instead_of: Some(*first),
                ..step
            });
        }
    }
    close_over(&mut steps, &edges);
    let definition = builder.build(Source::Input).expect("it keeps to the rules");
    Shape {
        definition: Arc::new(definition),
        steps,
    }
}

fn random_step(random: &mut StdRng, index: usize, phase: Phase) -> (StepSpec, Step) {
    let name = format!("s{index}");
    let lasts_us = random.random_range(0..=WAIT_MAX_US);
    let as_wait = |kind, lasts_us: Option<i64>| {
        let lasts = lasts_us.map(|lasts| Duration::from_micros(lasts.unsigned_abs()));
        let spec = waiting(spec(&name, phase, &[]), kind, lasts);
        (spec, kind, lasts_us)
    };
    // A pivot is hardly ever a wait; the untyped builder allows it all the same.
    let may_wait = phase != Phase::Pivot || random.random_bool(0.2);
    let (spec, kind, lasts_us) = match random.random_range(0..100) {
        0..12 if may_wait => as_wait(StepKind::Timer, Some(lasts_us)),
        12..20 if may_wait => as_wait(StepKind::Signal, Some(lasts_us)),
        20..28 if may_wait => as_wait(StepKind::Signal, None),
        28..38 if phase == Phase::Compensable => {
            let because = "it only reads";
            let spec = StepSpec {
                compensation: Compensation::None { because },
                ..spec(&name, phase, &[])
            };
            (spec, StepKind::Action, None)
        }
        _ => (spec(&name, phase, &[]), StepKind::Action, None),
    };
    let step = Step {
        undoable: spec.compensation == Compensation::Runs,
        name,
        kind,
        lasts_us,
        phase,
        or_else: None,
        instead_of: None,
        before: vec![],
        after: vec![],
    };
    (spec, step)
}

/// A plain step.
fn action(index: usize, phase: Phase) -> (StepSpec, Step) {
    let name = format!("s{index}");
    let spec = spec(&name, phase, &[]);
    let step = Step {
        undoable: spec.compensation == Compensation::Runs,
        name,
        kind: StepKind::Action,
        lasts_us: None,
        phase,
        or_else: None,
        instead_of: None,
        before: vec![],
        after: vec![],
    };
    (spec, step)
}

/// Fills in who is before and after whom: by the edges, and because the pivot divides the saga.
fn close_over(steps: &mut [Step], edges: &[(usize, usize)]) {
    let count = steps.len();
    let divided = |earlier: &Step, later: &Step| {
        matches!(
            (earlier.phase, later.phase),
            (Phase::Compensable, Phase::Pivot | Phase::Retriable)
                | (Phase::Pivot, Phase::Retriable)
        )
    };
    let pivot = steps.iter().any(|step| step.phase == Phase::Pivot);
    let mut before = vec![vec![false; count]; count];
    for (later, row) in before.iter_mut().enumerate() {
        for (earlier, is_before) in row.iter_mut().enumerate() {
            *is_before = edges.contains(&(earlier, later))
                || (pivot && divided(&steps[earlier], &steps[later]));
        }
    }
    for middle in 0..count {
        for later in 0..count {
            for earlier in 0..count {
                before[later][earlier] |= before[later][middle] && before[middle][earlier];
            }
        }
    }
    for index in 0..count {
        steps[index].before = (0..count).filter(|other| before[index][*other]).collect();
        steps[index].after = (0..count).filter(|other| before[*other][index]).collect();
    }
}
