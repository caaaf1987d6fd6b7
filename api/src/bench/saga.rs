//! A saga of four steps in a chain that do nothing but wait for the journal: what is left is the engine.

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

struct Nothing(&'static str);

impl Action for Nothing {
    type Input = Token;
    type Output = Token;

    fn name(&self) -> &str {
        self.0
    }

    fn policy(&self) -> Policy {
        Policy {
            durability: Durability::Barrier,
            ..Policy::default()
        }
    }

    async fn act(&self, _: &Attempt, input: Token) -> Outcome<Token> {
        Outcome::done(input)
    }
}

impl Compensable for Nothing {
    async fn compensate(&self, _: &Attempt, _: Token, _: Option<Token>) -> Outcome<()> {
        Outcome::done(())
    }
}

/// Two steps before the pivot, and one after.
pub fn definition() -> Result<Definition, DefinitionError> {
    let mut saga = Saga::<Token>::new(NAME, 1);
    let input = saga.input();
    let first = saga.compensable(Nothing("first"), &input);
    let second = saga.compensable(Nothing("second"), &first);
    let (mut saga, third) = saga.pivot(Nothing("third"), &second);
    let fourth = saga.retriable(Nothing("fourth"), &third);
    saga.finish(&fourth)
}
