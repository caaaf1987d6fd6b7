//! Random definitions: graphs of steps at the services, timers and signals, with a pivot or without one, with alternatives, and
//! with steps that run ahead of the journal or wait for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::definition::{
    AnyStep, Attempt, Compensation, Definition, DefinitionBuilder, Durability, Outcome, Phase,
    Policy, RetryPolicy, Source, StepIndex, StepKind, StepSpec,
};
use engine::payload::PayloadError;
use engine::{Payload, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::services::ServiceStep;
use super::world::{Party, World};

/// A definition, as the run knows it.
#[derive(Clone)]
pub struct Shape {
    pub name: String,
    pub steps: Vec<Step>,
    deadline: Option<Duration>,
    /// Each with the step in whose place it is done first.
    alternatives: Vec<(usize, usize)>,
}

/// A step.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent coin of the generator"
)]
pub struct Step {
    pub name: String,
    pub kind: StepKind,
    pub phase: Phase,
    pub undoable: bool,
    pub with_rows: bool,
    service: Party,
    /// For a wait: how long at most; `None`: for as long as it takes.
    lasts: Option<Duration>,
    ahead: bool,
    port: bool,
    attempts_max: u32,
    inputs: Vec<usize>,
    /// The steps that must be done before it, however far back.
    pub before: Vec<usize>,
}

impl Shape {
    /// One or two definitions.
    pub fn of_seed(seed: u64) -> Vec<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let count = random.random_range(1..=2);
        (0..count)
            .map(|number| Self::random(&mut random, number))
            .collect()
    }

    fn random(random: &mut StdRng, number: usize) -> Self {
        let count = random.random_range(1..=6);
        let pivot = random
            .random_bool(0.7)
            .then(|| random.random_range(0..count));
        let density = random.random_range(0.1..0.7);
        let ahead = random.random_range(0..4);
        let mut steps: Vec<Step> = Vec::new();
        for place in 0..count {
            let phase = match pivot {
                Some(pivot) if place == pivot => Phase::Pivot,
                Some(pivot) if place > pivot => Phase::Retriable,
                _ => Phase::Compensable,
            };
            let inputs = (0..place).filter(|_| random.random_bool(density)).collect();
            steps.push(Step::random(random, place, phase, inputs, ahead));
        }
        let mut alternatives = Vec::new();
        for first in 0..count {
            let is_retriable =
                steps[first].phase == Phase::Retriable && steps[first].kind == StepKind::Action;
            if is_retriable && random.random_bool(0.4) {
                let inputs = (0..first).filter(|_| random.random_bool(density));
                let inputs: Vec<usize> = inputs.collect();
                let place = steps.len();
                let mut step = Step::random(random, place, Phase::Retriable, inputs, ahead);
                step.kind = StepKind::Action;
                step.lasts = None;
                step.with_rows = false;
                alternatives.push((first, place));
                steps.push(step);
            }
        }
        close_over(&mut steps);
        let deadline = random
            .random_bool(0.3)
            .then(|| Duration::from_millis(random.random_range(500..20_000)));
        Self {
            name: format!("saga-{number}"),
            steps,
            deadline,
            alternatives,
        }
    }

    /// Two reservations, one after the other, that run ahead of the journal to the saga's end.
    pub fn ahead_to_its_end() -> Self {
        let step = |place: usize| Step {
            name: format!("s{place}"),
            kind: StepKind::Action,
            phase: Phase::Compensable,
            undoable: true,
            with_rows: false,
            service: Party::Reservations,
            lasts: None,
            ahead: true,
            port: false,
            attempts_max: 3,
            inputs: (0..place).collect(),
            before: (0..place).collect(),
        };
        Self {
            name: "saga-0".to_owned(),
            steps: vec![step(0), step(1)],
            deadline: None,
            alternatives: Vec::new(),
        }
    }

    /// The definition, as one life of a process holds it.
    pub fn definition(&self, world: &Arc<World>, process: usize, life: u32) -> Arc<Definition> {
        let mut builder = DefinitionBuilder::new(&self.name, 1);
        if let Some(deadline) = self.deadline {
            builder.deadline(deadline);
        }
        for step in &self.steps {
            builder.step(step.spec(world, process, life));
        }
        for (first, alternative) in &self.alternatives {
            builder.or_else(StepIndex(*first), StepIndex(*alternative));
        }
        let built = builder.build(Source::Input);
        Arc::new(built.unwrap_or_else(|error| panic!("the shape keeps to the rules: {error}")))
    }

    /// The signals that a workflow of it may await.
    pub fn signals(&self) -> impl Iterator<Item = &Step> {
        let steps = self.steps.iter();
        steps.filter(|step| step.kind == StepKind::Signal)
    }

    pub fn step(&self, name: &str) -> Option<(usize, &Step)> {
        let mut steps = self.steps.iter().enumerate();
        steps.find(|(_, step)| step.name == name)
    }

    pub fn describe(&self) -> String {
        let steps = self.steps.iter().map(|step| {
            let Step {
                name,
                kind,
                phase,
                before,
                ahead,
                ..
            } = step;
            let ahead = if *ahead { ", ahead" } else { "" };
            format!(
                "{name}: {phase:?} {kind:?} at {:?} after {before:?}{ahead}",
                step.service
            )
        });
        let steps: Vec<String> = steps.collect();
        let (name, deadline) = (&self.name, self.deadline);
        format!(
            "{name} (deadline {deadline:?}, alternatives {:?}): {}",
            self.alternatives,
            steps.join("; ")
        )
    }
}

impl Step {
    fn random(
        random: &mut StdRng,
        place: usize,
        phase: Phase,
        inputs: Vec<usize>,
        ahead: u32,
    ) -> Self {
        let may_wait = phase != Phase::Pivot;
        let kind = match random.random_range(0..100) {
            0..10 if may_wait => StepKind::Timer,
            10..20 if may_wait => StepKind::Signal,
            _ => StepKind::Action,
        };
        let forever = kind == StepKind::Signal && random.random_bool(0.5);
        let lasts_ms = random.random_range(0..4_000);
        let is_action = kind == StepKind::Action;
        let is_first = inputs.is_empty();
        let undoable = is_action && phase == Phase::Compensable && random.random_bool(0.9);
        // What runs ahead of the journal must be one that can be undone if the workflow never becomes durable.
        let may_run_ahead = undoable || phase == Phase::Retriable;
        Self {
            name: format!("s{place}"),
            kind,
            phase,
            undoable,
            with_rows: is_action && random.random_bool(0.3),
            service: if phase == Phase::Compensable && random.random_bool(0.7) {
                Party::Reservations
            } else {
                Party::Gateway
            },
            lasts: (!is_action && !forever).then(|| Duration::from_millis(lasts_ms)),
            ahead: may_run_ahead
                && match ahead {
                    0 => false,
                    1 => is_first,
                    _ => true,
                },
            port: random.random_bool(0.2),
            attempts_max: random.random_range(1..=5),
            inputs,
            before: Vec::new(),
        }
    }

    fn spec(&self, world: &Arc<World>, process: usize, life: u32) -> StepSpec {
        let step: Arc<dyn AnyStep> = match self.kind {
            StepKind::Action => Arc::new(ServiceStep {
                world: Arc::clone(world),
                process,
                life,
                service: self.service,
                phase: self.phase,
                with_rows: self.with_rows,
            }),
            kind => Arc::new(Wait {
                kind,
                lasts: self.lasts,
            }),
        };
        let port = match self.service {
            Party::Gateway => "gateway",
            _ => "reservations",
        };
        StepSpec {
            name: self.name.clone(),
            phase: self.phase,
            compensation: if self.undoable {
                Compensation::Runs
            } else {
                Compensation::None {
                    because: "it is part of a simulation",
                }
            },
            policy: Policy {
                attempt_timeout: Duration::from_secs(1),
                retry: RetryPolicy {
                    first_delay: Duration::from_millis(20),
                    delay_max: Duration::from_millis(400),
                    attempts_max: self.attempts_max,
                    elapsed_max: None,
                },
                port: self.port.then_some(port),
                durability: if self.ahead {
                    Durability::Replayable
                } else {
                    Durability::Barrier
                },
            },
            inputs: self
                .inputs
                .iter()
                .map(|index| Source::Step(StepIndex(*index)))
                .collect(),
            step,
        }
    }
}

/// Fills in who is before whom: by inputs, and because the pivot divides the saga.
fn close_over(steps: &mut [Step]) {
    let rank = |step: &Step| match step.phase {
        Phase::Compensable => 0,
        Phase::Pivot => 1,
        Phase::Retriable => 2,
    };
    for index in 0..steps.len() {
        let mut before: Vec<usize> = steps[index].inputs.clone();
        let own_rank = rank(&steps[index]);
        before.extend((0..steps.len()).filter(|other| rank(&steps[*other]) < own_rank));
        let further = before.iter().flat_map(|other| steps[*other].before.clone());
        let further: Vec<usize> = further.collect();
        before.extend(further);
        before.sort_unstable();
        before.dedup();
        steps[index].before = before;
    }
}

/// A timer or a signal.
struct Wait {
    kind: StepKind,
    lasts: Option<Duration>,
}

#[async_trait]
impl AnyStep for Wait {
    fn kind(&self) -> StepKind {
        self.kind
    }

    fn wait_until(&self, _: &[Payload], now: Timestamp) -> Result<Option<Timestamp>, PayloadError> {
        Ok(self.lasts.map(|lasts| now.after(lasts)))
    }

    async fn act(&self, _: &Attempt, _: &[Payload]) -> Outcome<Payload> {
        unreachable!("a wait is not attempted")
    }

    async fn compensate(&self, _: &Attempt, _: &[Payload], _: Option<&Payload>) -> Outcome<()> {
        unreachable!("a wait has no effect")
    }
}
