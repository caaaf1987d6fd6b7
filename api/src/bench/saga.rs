//! A saga of four steps in a chain that do nothing but wait for the journal: what is left is the engine.

use std::time::Duration;

use engine::definition::{
    Action, Attempt, Compensable, Definition, DefinitionError, Durability, Outcome, Policy, Saga,
};
use serde::{Deserialize, Serialize};

/// The saga's name.
pub const NAME: &str = "bench-four-steps";

/// What a step gives: about as much as a small real one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    number: u64,
    note: String,
}

impl Token {
    /// The workflow's input.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            note: "nothing happened here".to_owned(),
        }
    }
}

/// What a step does that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Nothing,
    SaysNo,
    NeverEnds,
}

struct Step(&'static str, Does);

impl Action for Step {
    type Input = Token;
    type Output = Token;

    fn name(&self) -> &str {
        self.0
    }

    fn policy(&self) -> Policy {
        Policy {
            durability: Durability::Barrier,
            attempt_timeout: Duration::from_hours(1),
            ..Policy::default()
        }
    }

    async fn act(&self, _: &Attempt, input: Token) -> Outcome<Token> {
        match self.1 {
            Does::Nothing => Outcome::done(input),
            Does::SaysNo => Outcome::refused("bench", "the benchmark wants it so"),
            Does::NeverEnds => std::future::pending().await,
        }
    }
}

impl Compensable for Step {
    async fn compensate(&self, _: &Attempt, _: Token, _: Option<Token>) -> Outcome<()> {
        Outcome::done(())
    }
}

/// All steps are done.
pub fn completing() -> Result<Definition, DefinitionError> {
    definition([Does::Nothing; 4])
}

/// The third step says no, and the two before it are undone.
pub fn refusing() -> Result<Definition, DefinitionError> {
    let mut does = [Does::Nothing; 4];
    does[2] = Does::SaysNo;
    definition(does)
}

/// The second step never ends: the workflow stays in the middle of it.
pub fn hanging() -> Result<Definition, DefinitionError> {
    let mut does = [Does::Nothing; 4];
    does[1] = Does::NeverEnds;
    definition(does)
}

/// Two steps before the pivot, and one after.
fn definition(does: [Does; 4]) -> Result<Definition, DefinitionError> {
    let mut saga = Saga::<Token>::new(NAME, 1);
    let input = saga.input();
    let first = saga.compensable(Step("first", does[0]), &input);
    let second = saga.compensable(Step("second", does[1]), &first);
    let (mut saga, third) = saga.pivot(Step("third", does[2]), &second);
    let fourth = saga.retriable(Step("fourth", does[3]), &third);
    saga.finish(&fourth)
}
