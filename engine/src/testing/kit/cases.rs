//! Which cases a definition has.

use std::time::Duration;

use super::expected::Expected;
use super::fault::{Course, Fault, Scene, Times};
use super::script::Rule;
use crate::definition::{Definition, Phase, StepIndex, StepKind, StepNode};
use crate::workflow::Direction;

/// What goes wrong with an action, and how often.
const ACTION_FAULTS: [(Fault, Times); 17] = [
    (Fault::Refused, Times::Once),
    (Fault::NoEffect, Times::Once),
    (Fault::NoEffect, Times::Always),
    (Fault::RequestLost, Times::Once),
    (Fault::RequestLost, Times::Always),
    (Fault::AnswerLost, Times::Once),
    (Fault::AnswerLost, Times::Always),
    (Fault::PanicsBefore, Times::Once),
    (Fault::PanicsAfter, Times::Once),
    (Fault::CrashBefore, Times::Once),
    (Fault::CrashAfter, Times::Once),
    (Fault::ArrivesLate, Times::Always),
    (Fault::AnswersLate, Times::Once),
    (Fault::Twice, Times::Once),
    (Fault::AtOnce, Times::Once),
    (Fault::CopyArrivesLate, Times::Once),
    (Fault::RowsRefused, Times::Once),
];

/// What goes wrong with a compensation, and how often.
const COMPENSATION_FAULTS: [(Fault, Times); 9] = [
    (Fault::NoEffect, Times::Once),
    (Fault::NoEffect, Times::Always),
    (Fault::RequestLost, Times::Once),
    (Fault::AnswerLost, Times::Once),
    (Fault::PanicsAfter, Times::Once),
    (Fault::CrashBefore, Times::Once),
    (Fault::CrashAfter, Times::Once),
    (Fault::Twice, Times::Once),
    (Fault::AtOnce, Times::Once),
];

/// When the world sends its signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signals {
    WhenAwaited,
    AtOnce,
    Twice,
    /// All but the one that this step awaits.
    AllBut(StepIndex),
}

/// A case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) scene: Scene,
    /// The first is what the scene is about, if it is about an attempt.
    pub(super) rules: Vec<Rule>,
    pub(super) expected: Expected,
    pub(super) signals: Signals,
    /// The node dies while this step waits.
    pub(super) crash_while_waiting: Option<StepIndex>,
    /// The journal is cut there once the workflow has ended, and it recovers.
    pub(super) cut: Option<usize>,
}

impl Case {
    fn new(scene: Scene, rules: Vec<Rule>, expected: Expected) -> Self {
        Self {
            scene,
            rules,
            expected,
            signals: Signals::WhenAwaited,
            crash_while_waiting: None,
            cut: None,
        }
    }

    pub(super) fn all_goes_well() -> Self {
        Self::new(Scene::AllGoesWell, Vec::new(), Expected::COMPLETED)
    }

    /// The workflow goes forward as far as it can and is compensated then; `None` when there is no way to make it.
    pub(super) fn all_is_undone(definition: &Definition) -> Option<Self> {
        let last = indexes(definition)
            .filter(|index| may_turn_back(definition.step(*index)))
            .max_by_key(|index| definition.step(*index).phase == Phase::Pivot)?;
        let scene = Scene::Action {
            step: name(definition, last),
            fault: Fault::Refused,
            times: Times::Always,
        };
        let rules = vec![turning_back_at(last, None)];
        Some(Self::new(scene, rules, Expected::UNDONE))
    }

    /// Every step that has an alternative is refused; `None` when there is none.
    pub(super) fn all_is_diverted(definition: &Definition) -> Option<Self> {
        let diverted = indexes(definition)
            .filter(|index| definition.step(*index).alternative.is_some())
            .map(refused_for_good);
        let rules: Vec<Rule> = diverted.collect();
        let scene = Scene::Action {
            step: name(definition, rules.first()?.step),
            fault: Fault::Refused,
            times: Times::Always,
        };
        Some(Self::new(scene, rules, Expected::COMPLETED))
    }

    /// This case, whose journal is then cut after so many batches.
    pub(super) fn cut_after(&self, batches: usize) -> Self {
        let course = match (self.expected == Expected::UNDONE, self.rules.is_empty()) {
            (true, _) => Course::Compensated,
            (false, true) => Course::Completed,
            (false, false) => Course::Diverted,
        };
        Self {
            scene: Scene::Recovery { batches, course },
            cut: Some(batches),
            ..self.clone()
        }
    }
}

/// Every case of a definition but the recoveries. `signals`: the world sends some.
pub(super) fn of(definition: &Definition, signals: bool) -> Vec<Case> {
    let mut cases = vec![Case::all_goes_well()];
    for index in indexes(definition) {
        let node = definition.step(index);
        match node.kind {
            StepKind::Action => {
                cases.extend(of_action(definition, index));
                if node.undoable {
                    cases.extend(of_compensation(definition, index));
                }
            }
            StepKind::Timer | StepKind::Signal => cases.extend(of_wait(definition, index)),
        }
    }
    if signals {
        for (scene, signals) in [
            (Scene::SignalEarly, Signals::AtOnce),
            (Scene::SignalsTwice, Signals::Twice),
        ] {
            let case = Case::new(scene, Vec::new(), Expected::COMPLETED);
            cases.push(Case { signals, ..case });
        }
    }
    cases
}

fn of_action(definition: &Definition, index: StepIndex) -> impl Iterator<Item = Case> {
    let node = definition.step(index);
    ACTION_FAULTS.into_iter().map(move |(fault, times)| {
        let step = node.name.to_string();
        let rule = rule(index, Direction::Forward, fault, times);
        let expected = Expected::after_action(node, fault, times, definition.deadline());
        // An alternative has its turn only when the step in whose place it is done is refused.
        let refused = node.instead_of.map(refused_for_good);
        let rules = std::iter::once(rule).chain(refused).collect();
        Case::new(Scene::Action { step, fault, times }, rules, expected)
    })
}

fn of_compensation(definition: &Definition, index: StepIndex) -> Vec<Case> {
    let node = definition.step(index);
    let turning_back = turning_back_after(definition, index);
    let mut cases: Vec<Case> = COMPENSATION_FAULTS
        .into_iter()
        .map(|(fault, times)| {
            let step = node.name.to_string();
            let broken = rule(index, Direction::Backward, fault, times);
            let expected = Expected::after_compensation(node, fault, times);
            let rules = vec![broken, turning_back.clone()];
            Case::new(Scene::Compensation { step, fault, times }, rules, expected)
        })
        .collect();
    if turning_back.step != index {
        let step = node.name.to_string();
        let fault = Fault::CopyArrivesLate;
        let copy = rule(index, Direction::Forward, fault, Times::Once);
        let rules = vec![copy, turning_back];
        cases.push(Case::new(
            Scene::CopyAfterUndo { step },
            rules,
            Expected::UNDONE,
        ));
    }
    cases
}

fn of_wait(definition: &Definition, index: StepIndex) -> Vec<Case> {
    let node = definition.step(index);
    let step = || node.name.to_string();
    let crash = Case {
        crash_while_waiting: Some(index),
        ..Case::new(
            Scene::CrashWhileWaiting { step: step() },
            Vec::new(),
            Expected::COMPLETED,
        )
    };
    let mut cases = vec![crash];
    if node.kind == StepKind::Signal {
        let scene = Scene::NoSignal { step: step() };
        cases.push(Case {
            signals: Signals::AllBut(index),
            ..Case::new(scene, Vec::new(), Expected::EITHER)
        });
    }
    cases
}

/// What makes the workflow turn back when this step is done: a refusal of one that does not come before it. Where there is none,
/// nobody ever learns what became of the step itself.
fn turning_back_after(definition: &Definition, index: StepIndex) -> Rule {
    let other = indexes(definition)
        .filter(|other| {
            let node = definition.step(*other);
            *other != index && may_turn_back(node) && !node.followers.contains(&index)
        })
        .max_by_key(|other| definition.step(*other).phase == Phase::Pivot);
    match other {
        Some(other) => turning_back_at(other, Some(index)),
        None => rule(index, Direction::Forward, Fault::AnswerLost, Times::Always),
    }
}

fn turning_back_at(index: StepIndex, after: Option<StepIndex>) -> Rule {
    Rule {
        after,
        ..refused_for_good(index)
    }
}

fn refused_for_good(index: StepIndex) -> Rule {
    rule(index, Direction::Forward, Fault::Refused, Times::Always)
}

fn rule(step: StepIndex, direction: Direction, fault: Fault, times: Times) -> Rule {
    Rule {
        step,
        direction,
        fault,
        times,
        after: None,
    }
}

fn may_turn_back(node: &StepNode) -> bool {
    node.kind == StepKind::Action && node.phase != Phase::Retriable
}

fn name(definition: &Definition, index: StepIndex) -> String {
    definition.step(index).name.to_string()
}

fn indexes(definition: &Definition) -> impl Iterator<Item = StepIndex> + use<> {
    (0..definition.steps().len()).map(StepIndex)
}

/// How long a workflow may take by the kit's clock.
pub(super) const LONGEST: Duration = Duration::from_hours(24 * 365);
