//! The engine asks a step under the kit what it would ask it in production: the kit stands between them and hides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::Payload;
use engine::definition::{
    Action, Attempt, Compensable, Definition, Durability, Outcome, Policy, Saga,
};
use engine::testing::kit::{Ending, Kit, World};
use engine::workflow::StepError;

/// How often steps were asked, in all worlds.
#[derive(Clone, Default)]
struct Asked {
    about_errors: Arc<AtomicUsize>,
    about_effects: Arc<AtomicUsize>,
}

/// A step that has no effect, and an answer for everything.
struct Quote {
    name: &'static str,
    asked: Asked,
}

impl Action for Quote {
    type Input = u32;
    type Output = u32;

    fn name(&self) -> &str {
        self.name
    }

    fn policy(&self) -> Policy {
        Policy {
            port: Some("exchange"),
            durability: Durability::Replayable,
            ..Policy::default()
        }
    }

    async fn act(&self, _: &Attempt, input: u32) -> Outcome<u32> {
        Outcome::done(input)
    }

    fn is_answer(&self, _: &StepError) -> bool {
        self.asked.about_errors.fetch_add(1, Ordering::Relaxed);
        true
    }
}

impl Compensable for Quote {
    async fn compensate(&self, _: &Attempt, _: u32, _: Option<u32>) -> Outcome<()> {
        Outcome::done(())
    }

    fn has_effect(&self, _: &u32) -> bool {
        self.asked.about_effects.fetch_add(1, Ordering::Relaxed);
        false
    }
}

impl World for Asked {
    fn definition(&self) -> Definition {
        let quote = |name| Quote {
            name,
            asked: self.clone(),
        };
        let mut saga = Saga::<u32>::new("quotes", 1);
        let first = saga.compensable(quote("first"), &saga.input());
        let second = saga.compensable(quote("second"), &first);
        saga.finish(&second).expect("a sound saga")
    }

    fn input(&self) -> Payload {
        Payload::of(&7).expect("it is JSON")
    }

    async fn clean(&self) -> Result<(), String> {
        Ok(())
    }

    async fn complete(&self, _: &Ending) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn steps_are_asked_about_their_errors_and_their_effect_under_the_kit_too() {
    let asked = Asked::default();
    let world = asked.clone();
    Kit::new(move |_| std::future::ready(world.clone())).check();
    assert!(asked.about_errors.load(Ordering::Relaxed) > 0);
    assert!(asked.about_effects.load(Ordering::Relaxed) > 0);
}
