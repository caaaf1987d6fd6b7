//! The comparisons: of the core's state and plan with the model's facts, at every record and at every prefix of the journal.

use engine::definition::StepIndex;
use engine::store::Status;
use engine::workflow::{Direction, End, Plan, StepState, Undo, WorkflowState, plan};

use crate::graph::Shape;
use crate::life::Life;
use crate::reference::{Attempt, Facts, Going, Reference, Waiting};

/// The plan, once it is known to be what the model expects.
pub fn check_plan(
    shape: &Shape,
    state: &WorkflowState,
    reference: &Reference,
    acting: &dyn Fn(usize) -> bool,
) -> Plan {
    let planned = plan(state, &|step| acting(step.0));
    let firsts = planned.starts.iter().map(|start| {
        assert!(start.number == 1 && start.not_before == state.at);
        (start.step.0, start.direction, 1, 0)
    });
    let others = planned.resumes.iter().map(|attempt| {
        let not_before = attempt.not_before.0;
        (
            attempt.step.0,
            attempt.direction,
            attempt.number,
            not_before,
        )
    });
    let mut got: Vec<Attempt> = firsts.chain(others).collect();
    let mut expected = reference.due(shape, acting);
    got.sort_by_key(|attempt| attempt.0);
    expected.sort_by_key(|attempt| attempt.0);
    assert_eq!(got, expected, "attempts: the plan against the model");
    for attempt in &planned.resumes {
        let asks =
            attempt.direction == Direction::Backward || reference.facts[attempt.step.0].unanswered;
        assert_eq!(attempt.effect_may_exist, asks, "ask before acting");
    }
    let waits = planned.waits.iter().map(|(step, until)| (step.0, until.0));
    assert_eq!(waits.collect::<Vec<_>>(), reference.waits(), "waits");
    let deadline = planned.deadline.map(|deadline| deadline.0);
    assert_eq!(deadline, reference.deadline(shape), "the deadline");
    assert_eq!(planned.end, reference.end(shape, acting), "the end");
    planned
}

/// The core's state says what the model knows.
pub fn agree(shape: &Shape, state: &WorkflowState, reference: &Reference) {
    let status = match reference.going {
        Going::Forward => Status::Running,
        Going::Back => Status::Compensating,
        Going::Parked(_) => Status::Parked,
        Going::Completed => Status::Completed,
        Going::Compensated => Status::Compensated,
        Going::Abandoned => Status::Abandoned,
    };
    assert_eq!(state.status(), status);
    if matches!(reference.going, Going::Back | Going::Compensated) {
        assert_eq!(
            state.reason_code(),
            reference.why.as_deref(),
            "why it turned back"
        );
    }
    assert_eq!(state.is_going_back(), reference.is_back(), "which way");
    assert_eq!(
        state.past_pivot(),
        reference.past_pivot(shape),
        "past the pivot"
    );
    assert_eq!(state.left(), reference.left(shape), "what is left");
    assert_eq!(
        state.awaits_signal(),
        reference.awaits_signal(shape),
        "a signal"
    );
    for id in &reference.signal_ids {
        assert!(state.has_signal(id));
    }
    for (index, facts) in reference.facts.iter().enumerate() {
        let progress = &state.steps[index];
        assert!(
            action_agrees(&progress.action, facts),
            "step {index}: {:?} is not {facts:?}",
            progress.action
        );
        assert!(
            undo_agrees(&progress.undo, facts),
            "step {index}: {:?} is not {facts:?}",
            progress.undo
        );
        assert_eq!(progress.undone_before, facts.found_after_undone > 0);
        let is_clean = reference.is_clean(shape, index);
        assert_eq!(
            state.needs_undo(StepIndex(index)),
            !is_clean,
            "step {index}"
        );
    }
}

fn action_agrees(action: &StepState, facts: &Facts) -> bool {
    match action {
        StepState::Untouched => !facts.attempted && facts.waiting.is_none() && facts.done.is_none(),
        StepState::Attempting {
            attempt,
            not_before,
            effect_may_exist,
        } => facts.open == Some((*attempt, not_before.0)) && facts.unanswered == *effect_may_exist,
        StepState::Waiting { until } => {
            let until = until.map(|until| until.0);
            facts.waiting == Some(Waiting { until })
        }
        StepState::Done { output, .. } => facts.done.as_deref() == Some(output.as_str()),
        StepState::Failed {
            attempt,
            effect_may_exist,
        } => {
            let over = facts.attempted && facts.open.is_none() && facts.done.is_none();
            over && facts.attempts == *attempt && facts.unanswered == *effect_may_exist
        }
    }
}

fn undo_agrees(undo: &Undo, facts: &Facts) -> bool {
    match undo {
        Undo::No => facts.undo_open.is_none() && !facts.undone,
        Undo::Attempting {
            attempt,
            not_before,
        } => facts.undo_open == Some((*attempt, not_before.0)) && !facts.undone,
        Undo::Done { attempt } => facts.undone && facts.undo_attempts == *attempt,
    }
}

impl Life {
    /// From every prefix of the journal a node that knows nothing else comes to the same state, and to a plan that the model
    /// expects; and there is always somebody or something on which the workflow waits.
    pub fn check_every_prefix(&self) {
        let nobody = |_| false;
        let mut reference = Reference::new(&self.shape, self.reference.deadline);
        let mut folded: Option<WorkflowState> = None;
        for (record, running) in self.records.iter().zip(&self.states) {
            let next = match folded.take() {
                None => WorkflowState::start(&self.shape.definition, record),
                Some(state) => state.apply(record),
            };
            let next = next.expect("the journal folds");
            assert_eq!((&next.phase, &next.steps), (&running.phase, &running.steps));
            assert_eq!((next.seq, next.at), (running.seq, running.at));
            assert_eq!(
                (&next.input, next.deadline),
                (&running.input, running.deadline)
            );
            assert!(!reference.is_over(), "nothing follows the end");
            reference.learn(&self.shape, record, &nobody);
            agree(&self.shape, &next, &reference);
            let planned = check_plan(&self.shape, &next, &reference, &nobody);
            let stands = reference.is_over() || reference.is_parked();
            let goes_on = !planned.starts.is_empty()
                || planned.next_due().is_some()
                || planned.end.is_some()
                || next.awaits_signal();
            assert!(
                stands || goes_on,
                "nobody would ever look at it again: {next:?}"
            );
            folded = Some(next);
        }
    }

    pub fn check_end(&mut self) {
        let ends = |record: &&engine::workflow::Record| {
            record.ends.is_some() || record.event.kind() == "abandoned"
        };
        let ends = self.records.iter().filter(ends).count();
        assert_eq!(
            ends,
            usize::from(self.state.is_terminal()),
            "one end, or none for a parked workflow"
        );
        for index in 0..self.shape.steps.len() {
            self.check_end_of(index);
        }
        if self.state.is_terminal() {
            for _ in 0..20 {
                self.mischief();
            }
        }
    }

    fn check_end_of(&self, index: usize) {
        let step = &self.shape.steps[index];
        let (effect, facts) = (self.world.effects[index], &self.reference.facts[index]);
        let times = |kind: &str| {
            let about = |record: &&engine::workflow::Record| {
                record.event.step() == Some(&step.name) && record.event.kind() == kind
            };
            self.records.iter().filter(about).count()
        };
        assert!(
            times("step-done") <= 1 && times("timer-fired") <= 1,
            "once each"
        );
        assert!(
            facts.undone_times <= 1 + facts.found_after_undone,
            "undone once, and once more where an effect was found after that"
        );
        assert!(
            usize::try_from(effect.made).unwrap() <= 1 + times("effect-found-late"),
            "an effect is made once, and once more if it was late"
        );
        match self.reference.going {
            Going::Completed if facts.over => {
                assert!(self.reference.is_given(&self.shape, index));
                assert!(facts.done.is_none() && facts.undone_times == 0);
                assert!(
                    !effect.exists || facts.unanswered,
                    "what is done in another way has no effect of its own"
                );
            }
            Going::Completed if facts.done.is_none() => {
                let first = step.instead_of.expect("everything else is done");
                assert!(self.reference.facts[first].done.is_some());
                assert!(
                    !facts.attempted && !effect.exists,
                    "nothing is done in the place of what is done"
                );
            }
            Going::Completed => {
                assert_eq!(facts.undone_times, 0);
                let is_by_action = times("skipped") == 0 && facts.attempted;
                assert!(effect.exists || !is_by_action, "everything is done");
            }
            Going::Compensated => {
                let has_been = step.undoable && facts.may_have_effect();
                assert_eq!(
                    facts.undone_times,
                    u32::from(has_been) + facts.found_after_undone,
                    "exactly what may exist is undone"
                );
                let may_stay =
                    step.phase == engine::definition::Phase::Compensable && !step.undoable;
                assert!(!effect.exists || may_stay, "nothing is left");
            }
            _ => {}
        }
        let by_end = self.records.last().and_then(|record| record.ends);
        let completed = self.reference.going == Going::Completed;
        assert_eq!(by_end == Some(End::Completed), completed);
    }
}
