//! What is to go wrong in a case, and what has: shared by all lives of the node, as the world is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::fault::{Fault, Times};
use crate::definition::{AnyStep, Attempt, StepIndex};
use crate::payload::Payload;
use crate::workflow::Direction;

/// What is to go wrong with one step's action, or with its compensation.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) step: StepIndex,
    pub(super) direction: Direction,
    pub(super) fault: Fault,
    pub(super) times: Times,
    /// Only once this step has acted.
    pub(super) after: Option<StepIndex>,
}

/// A request that is still on its way to the other side.
pub(super) struct OnItsWay {
    pub(super) step: Arc<dyn AnyStep>,
    pub(super) attempt: Attempt,
    pub(super) inputs: Vec<Payload>,
}

#[derive(Default)]
struct Inner {
    rules: Vec<(Rule, u32)>,
    acted: BTreeSet<StepIndex>,
    on_their_way: Vec<OnItsWay>,
    over: bool,
}

/// The script of a case.
pub(super) struct Script {
    inner: Mutex<Inner>,
    crashes: watch::Sender<u32>,
}

impl Script {
    pub(super) fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let inner = Inner {
            rules: rules.into_iter().map(|rule| (rule, 0)).collect(),
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
            crashes: watch::Sender::new(0),
        }
    }

    /// What goes wrong with the attempt that begins now, if anything does.
    pub(super) fn next(&self, step: StepIndex, direction: Direction) -> Option<Rule> {
        let mut inner = self.lock();
        if inner.over {
            return None;
        }
        let (rule, hits) = inner.rules.iter_mut().find(|(rule, hits)| {
            rule.step == step
                && rule.direction == direction
                && (rule.times == Times::Always || *hits == 0)
        })?;
        *hits += 1;
        Some(rule.clone())
    }

    /// What goes wrong with every attempt at this step's action, if anything does.
    pub(super) fn always(&self, step: StepIndex) -> Option<Fault> {
        let inner = self.lock();
        if inner.over {
            return None;
        }
        let rule = inner.rules.iter().map(|(rule, _)| rule).find(|rule| {
            rule.step == step && rule.direction == Direction::Forward && rule.times == Times::Always
        })?;
        Some(rule.fault)
    }

    /// How often a rule was followed, by its place.
    pub(super) fn hits(&self, rule: usize) -> u32 {
        self.lock().rules.get(rule).map_or(0, |(_, hits)| *hits)
    }

    /// The rule for this step was not followed after all.
    pub(super) fn missed(&self, step: StepIndex, direction: Direction) {
        let mut inner = self.lock();
        let rule = inner
            .rules
            .iter_mut()
            .find(|(rule, _)| rule.step == step && rule.direction == direction);
        if let Some((_, hits)) = rule {
            *hits -= 1;
        }
    }

    /// From now on nothing goes wrong any more.
    pub(super) fn is_over(&self) {
        self.lock().over = true;
    }

    /// The step's action has taken effect.
    pub(super) fn acted(&self, step: StepIndex) {
        self.lock().acted.insert(step);
    }

    pub(super) fn has_acted(&self, step: StepIndex) -> bool {
        self.lock().acted.contains(&step)
    }

    /// A request that arrives when it is asked for.
    pub(super) fn send_later(&self, request: OnItsWay) {
        self.lock().on_their_way.push(request);
    }

    /// The other side was told that nothing of this is on its way any more, which the engine knew.
    pub(super) fn nothing_comes(&self, forgotten: &Attempt) {
        let mut inner = self.lock();
        inner
            .on_their_way
            .retain(|request| request.attempt.key() != forgotten.key());
    }

    /// The requests that have not arrived yet.
    pub(super) fn on_their_way(&self) -> Vec<OnItsWay> {
        std::mem::take(&mut self.lock().on_their_way)
    }

    /// The node dies. Whoever says so waits for it for ever.
    pub(super) async fn crash<T>(&self) -> T {
        self.crashes.send_modify(|crashes| *crashes += 1);
        std::future::pending().await
    }

    /// Completes when the node has died more often than this.
    pub(super) async fn crashed_more_than(&self, times: u32) {
        let mut crashes = self.crashes.subscribe();
        let _sender_lives = crashes.wait_for(|crashes| *crashes > times).await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
