//! What an error says about a port: an answer about one workflow keeps nobody else from it, and no answer makes everybody wait.

mod support;

use std::sync::Arc;
use std::time::Duration;

use engine::definition::{
    Action, Attempt, Compensable, Definition, DefinitionError, Durability, Outcome, Policy,
    RetryPolicy, Saga,
};
use engine::store::Status;
use engine::workflow::StepError;
use engine::{Engine, Payload, Start, View};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use support::Harness;

/// An error of this class is the port's answer about one workflow.
const ABOUT_THIS_ONE: &str = "about-this-one";
/// About an error of this class the step panics when it is asked what it says.
const CONFUSING: &str = "confusing";
/// The first pause of a port that does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// What the port says to a workflow, which is its input.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Says {
    Yes,
    /// An error of this class, and nobody knows whether it took effect.
    Unknown(Class),
    /// An error of this class, and it did not take effect.
    NotNow(Class),
    /// Nothing.
    Nothing,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Class {
    Answer,
    Transport,
    Confusing,
}

const ANSWERS: [Says; 2] = [Says::Unknown(Class::Answer), Says::NotNow(Class::Answer)];

const NO_ANSWERS: [Says; 5] = [
    Says::Unknown(Class::Transport),
    Says::NotNow(Class::Transport),
    Says::Nothing,
    Says::Unknown(Class::Confusing),
    Says::NotNow(Class::Confusing),
];

impl Says {
    async fn outcome<T>(self, yes: T) -> Outcome<T> {
        match self {
            Self::Yes => Outcome::done(yes),
            Self::Unknown(class) => Outcome::Unknown(class.error()),
            Self::NotNow(class) => Outcome::retry(class.error()),
            Self::Nothing => std::future::pending().await,
        }
    }
}

impl Class {
    fn error(self) -> StepError {
        let class = match self {
            Self::Answer => ABOUT_THIS_ONE,
            Self::Transport => "connection-reset",
            Self::Confusing => CONFUSING,
        };
        StepError::new(class, "set by the test")
    }
}

/// Asks the gateway, once. `on_undo`: the gateway says yes to the action, and what it has to say to the compensation alone.
struct Ask {
    name: &'static str,
    on_undo: bool,
}

impl Action for Ask {
    type Input = Says;
    type Output = ();

    fn name(&self) -> &str {
        self.name
    }

    fn policy(&self) -> Policy {
        Policy {
            attempt_timeout: Duration::from_millis(100),
            retry: RetryPolicy::NONE,
            port: Some("gateway"),
            durability: Durability::Barrier,
        }
    }

    async fn act(&self, _: &Attempt, says: Says) -> Outcome<()> {
        let says = if self.on_undo { Says::Yes } else { says };
        says.outcome(()).await
    }

    fn is_answer(&self, error: &StepError) -> bool {
        assert_ne!(error.class, CONFUSING, "the step does not know it");
        error.class == ABOUT_THIS_ONE
    }
}

impl Compensable for Ask {
    async fn compensate(&self, _: &Attempt, says: Says, _: Option<()>) -> Outcome<()> {
        says.outcome(()).await
    }
}

/// Says no to everybody who is not told yes.
struct Check;

impl Action for Check {
    type Input = Says;
    type Output = ();

    fn name(&self) -> &'static str {
        "check"
    }

    async fn act(&self, _: &Attempt, says: Says) -> Outcome<()> {
        match says {
            Says::Yes => Outcome::done(()),
            _ => Outcome::refused("no", "set by the test"),
        }
    }
}

const ASK: Ask = Ask {
    name: "ask",
    on_undo: false,
};

/// Sagas that ask, each in a step of another kind.
fn sagas() -> [Arc<Definition>; 4] {
    let mut saga = Saga::<Says>::new("undoable", 1);
    let asked = saga.compensable(ASK, &saga.input());
    let undoable = saga.finish(&asked);
    [undoable, not_undone(), pivot(), undone()].map(|saga| Arc::new(saga.unwrap()))
}

fn not_undone() -> Result<Definition, DefinitionError> {
    let mut saga = Saga::<Says>::new("not-undone", 1);
    let asked = saga.without_compensation(ASK, &saga.input(), "it is a test");
    saga.finish(&asked)
}

fn pivot() -> Result<Definition, DefinitionError> {
    let saga = Saga::<Says>::new("pivot", 1);
    let input = saga.input();
    let (saga, asked) = saga.pivot(ASK, &input);
    saga.finish(&asked)
}

/// Its compensation is what goes wrong.
fn undone() -> Result<Definition, DefinitionError> {
    let on_undo = Ask {
        on_undo: true,
        ..ASK
    };
    let mut saga = Saga::<Says>::new("undone", 1);
    let input = saga.input();
    let asked = saga.compensable(on_undo, &input);
    let checked = saga.without_compensation(Check, &input, "it only looks");
    saga.order(&asked, &checked);
    saga.finish(&asked)
}

/// An engine for this saga, and its clients.
struct Shop {
    harness: Harness,
    engine: Engine,
}

impl Shop {
    async fn of(saga: Arc<Definition>) -> Self {
        let mut harness = Harness::new(Durability::Barrier);
        harness.definition = saga;
        let engine = harness.open().await;
        Self { harness, engine }
    }

    async fn run(&self, key: &str, says: Says) -> View {
        let start = Start {
            input: Payload::of(&says).unwrap(),
            ..self.harness.start(key)
        };
        let id = self.engine.start(start).await.unwrap().view().id;
        let deadline = self.harness.runtime.now().after(Duration::from_mins(10));
        let view = self.engine.wait(id, deadline).await.unwrap().unwrap();
        assert!(view.is_settled(), "{says:?}: {:?}", view.head);
        view
    }

    /// So many workflows at once to which the port says this.
    async fn run_many(&self, count: u32, says: Says) {
        let keys: Vec<String> = (0..count).map(|key| format!("{says:?} {key}")).collect();
        let views = join_all(keys.iter().map(|key| self.run(key, says))).await;
        for view in views {
            assert_ne!(view.head.status, Status::Completed);
        }
    }

    /// How long a workflow takes to which the port says yes.
    async fn time_of_a_good_one(&self) -> Duration {
        let before = self.harness.runtime.now();
        let view = self.run("good", Says::Yes).await;
        assert_eq!(view.head.status, Status::Completed);
        self.harness.runtime.now().since(before)
    }
}

#[tokio::test(start_paused = true)]
async fn errors_about_one_workflow_keep_nobody_else_from_the_port() {
    for saga in sagas() {
        for says in ANSWERS {
            let shop = Shop::of(saga.clone()).await;
            shop.run_many(20, says).await;
            let took = shop.time_of_a_good_one().await;
            assert!(took < PAUSE / 10, "{}, {says:?}: {took:?}", saga.pinned());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_about_one_workflow_makes_everybody_wait_also_a_panic() {
    for saga in sagas() {
        for says in NO_ANSWERS {
            let shop = Shop::of(saga.clone()).await;
            shop.run_many(10, says).await;
            let took = shop.time_of_a_good_one().await;
            assert!(took > PAUSE / 2, "{}, {says:?}: {took:?}", saga.pinned());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_one_workflow_ends_the_wait_of_all() {
    let shop = Shop::of(Arc::new(not_undone().unwrap())).await;
    shop.run_many(10, Says::NotNow(Class::Transport)).await;
    // It waits like everybody else, and is the trial.
    let before = shop.harness.runtime.now();
    shop.run("trial", Says::NotNow(Class::Answer)).await;
    let waited = shop.harness.runtime.now().since(before);
    assert!(waited > PAUSE / 2, "{waited:?}");
    let took = shop.time_of_a_good_one().await;
    assert!(took < PAUSE / 10, "{took:?}");
}
