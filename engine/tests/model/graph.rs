//! Random sagas, with the order of their steps as the model sees it: written down here, not asked of the code under test.

use std::sync::Arc;

use engine::definition::{
    Compensation, Definition, DefinitionBuilder, Phase, Source, StepIndex, StepSpec,
};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::support::untyped::spec;

const STEPS_MAX: usize = 8;

/// A saga and what the model knows about it.
pub struct Shape {
    pub definition: Arc<Definition>,
    pub steps: Vec<Step>,
}

/// A step as the model sees it, at the same place as in the definition.
pub struct Step {
    pub name: String,
    pub phase: Phase,
    pub undoable: bool,
    /// The steps that must be done before this one starts, however far back.
    pub before: Vec<usize>,
    /// The steps that start only when this one is done, however far on.
    pub after: Vec<usize>,
}

/// A saga of 1 to [`STEPS_MAX`] steps, of which one may be a pivot, with edges wherever the phases allow some.
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
    let mut specs: Vec<Option<StepSpec>> = (0..count).map(|_| None).collect();
    for (place, index) in order.iter().enumerate() {
        specs[*index] = Some(random_spec(random, *index, phase_at(place)));
    }
    let mut builder = DefinitionBuilder::new("random", 1);
    let mut steps = Vec::new();
    for (index, spec) in specs.into_iter().enumerate() {
        let mut spec = spec.expect("every place has a step");
        let place = order
            .iter()
            .position(|at| *at == index)
            .expect("every index has a place");
        let inputs = edges
            .iter()
            .filter(|(_, later)| *later == place && random.random_bool(0.5));
        spec.inputs = inputs
            .map(|(earlier, _)| Source::Step(StepIndex(order[*earlier])))
            .collect();
        let undoable = spec.compensation == Compensation::Runs;
        steps.push(Step {
            name: spec.name.clone(),
            phase: spec.phase,
            undoable,
            before: vec![],
            after: vec![],
        });
        builder.step(spec);
    }
    for (earlier, later) in &edges {
        builder.edge(StepIndex(order[*earlier]), StepIndex(order[*later]));
    }
    close_over(
        &mut steps,
        &edges
            .iter()
            .map(|(a, b)| (order[*a], order[*b]))
            .collect::<Vec<_>>(),
    );
    let definition = builder.build(Source::Input).expect("it keeps to the rules");
    Shape {
        definition: Arc::new(definition),
        steps,
    }
}

fn random_spec(random: &mut StdRng, index: usize, phase: Phase) -> StepSpec {
    let spec = spec(&format!("s{index}"), phase, &[]);
    if phase == Phase::Compensable && random.random_bool(0.15) {
        return StepSpec {
            compensation: Compensation::None {
                because: "it only reads",
            },
            ..spec
        };
    }
    spec
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
    let mut before = vec![vec![false; count]; count];
    for (later, row) in before.iter_mut().enumerate() {
        for (earlier, is_before) in row.iter_mut().enumerate() {
            let pivot = steps.iter().any(|step| step.phase == Phase::Pivot);
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
