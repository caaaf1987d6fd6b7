//! One case on the stage: a fresh world, a node that may die, a client that repeats its start, and an operator who lets a parked
//! workflow go on once nothing goes wrong any more.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::cases::{Case, LONGEST, Signals};
use super::clock::JumpingClock;
use super::fault::{Course, Scene};
use super::intercepted::intercepted;
use super::life::Life;
use super::operator::{tell, view};
use super::script::Script;
use super::{Ending, Rows, World};
use crate::command::Verb;
use crate::definition::{Definition, Outcome};
use crate::engine::{Engine, Start, StartError, View};
use crate::ids::WorkflowId;
use crate::runtime::Clock as _;
use crate::store::{Head, Status, Store as _};
use crate::testing::MemoryStore;
use crate::workflow::{Phase, Record};

/// How often a client repeats a start that was not accepted.
const STARTS_MAX: u32 = 4;
/// The pause before it does.
const START_AGAIN: Duration = Duration::from_secs(1);
/// How long the kit looks away at a time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often it looks.
const LOOKS_MAX: u32 = 20_000;

/// Why a case could not be played to its end, in words.
pub(super) type Stuck = String;

/// How a workflow stands when nothing more happens by itself.
pub(super) enum Stand {
    /// It is durable.
    Durable(Box<View>),
    /// It was never durable.
    Discarded(StartError),
}

/// What happened.
#[derive(Default)]
pub(super) struct History {
    /// It was parked, with this reason.
    pub(super) parked: Option<String>,
    /// Some start was discarded, and repeated.
    pub(super) repeated: bool,
    /// The node died.
    pub(super) crashes: u32,
    /// Nothing more could be done about it but to turn it back.
    pub(super) turned_back: bool,
}

/// The stage.
pub(super) struct Stage<'a, W> {
    pub(super) world: &'a W,
    pub(super) definition: &'a Definition,
    pub(super) case: &'a Case,
    pub(super) script: Arc<Script>,
    pub(super) clock: &'a JumpingClock,
    pub(super) store: MemoryStore,
    pub(super) history: History,
}

impl<'a, W: World> Stage<'a, W> {
    pub(super) fn new(
        world: &'a W,
        definition: &'a Definition,
        case: &'a Case,
        clock: &'a JumpingClock,
        store: MemoryStore,
    ) -> Self {
        store.refuse_changes(super::fault::REFUSED.name);
        Self {
            world,
            definition,
            case,
            script: Arc::new(Script::new(case.rules.clone())),
            clock,
            store,
            history: History::default(),
        }
    }

    /// Plays until nothing more happens by itself, over as many lives as it takes.
    pub(super) async fn play(&mut self) -> Result<Stand, Stuck> {
        loop {
            let life = Life::begin(
                intercepted(self.definition, &self.script, self.clock),
                &self.store,
                self.clock,
            )
            .await?;
            let engine = life.engine.clone();
            let script = Arc::clone(&self.script);
            let crashes = self.history.crashes;
            let stand = tokio::select! {
                biased;
                () = script.crashed_more_than(crashes) => None,
                stand = self.drive(&engine) => Some(stand),
            };
            drop(engine);
            life.end().await?;
            match stand {
                Some(stand) => return stand,
                None => self.history.crashes += 1,
            }
        }
    }

    /// The requests that were on their way arrive.
    pub(super) async fn let_requests_arrive(&self) -> bool {
        let requests = self.script.on_their_way();
        let any = !requests.is_empty();
        for request in requests {
            let work = request.step.act(&request.attempt, &request.inputs);
            // Nobody hears the answer, whatever it is.
            let guarded = std::panic::AssertUnwindSafe(self.clock.at_work(work)).catch_unwind();
            let _answer: Result<Outcome<_>, _> = guarded.await;
        }
        any
    }

    /// Cuts the journal, and the clock with it.
    pub(super) fn cut(&mut self, batches: usize) {
        self.store = self.store.cut(batches);
        let last = self.store.events().last().map(|event| event.at);
        self.clock.set(last.unwrap_or_else(|| self.clock.now()));
    }

    /// Whether there can be a world in which everything that the whole workflow did is done, though the journal ends here. There is
    /// none when an alternative has not begun by then: it waits for the journal, and may be at odds with what is attempted before
    /// it, as a refund is with its payment.
    pub(super) fn world_may_be_ahead(&self) -> bool {
        let diverted = Course::Diverted;
        if !matches!(self.case.scene, Scene::Recovery { course, .. } if course == diverted) {
            return true;
        }
        let records = self.records();
        let begun = |name: &str| {
            let mut intents = records.iter().flat_map(|record| &record.starts);
            intents.any(|intent| intent.step == name)
        };
        let mut nodes = self.definition.steps().iter();
        nodes.all(|node| node.instead_of.is_none() || begun(&node.name))
    }

    /// The workflow's records.
    pub(super) fn records(&self) -> Vec<Record> {
        let events = self.store.events();
        let records = events
            .iter()
            .filter_map(|event| serde_json::from_str(&event.payload).ok());
        records.collect()
    }

    /// What it has left.
    pub(super) fn ending(&self, view: &View) -> Ending {
        let output = match view.state.as_ref().map(|state| &state.phase) {
            Some(Phase::Completed { output }) => Some(output.clone()),
            _ => None,
        };
        Ending {
            workflow: view.id,
            output,
            rows: self.rows(),
        }
    }

    pub(super) fn rows(&self) -> Rows {
        Rows::of(&self.store.written())
    }

    /// One life: starts the workflow, and waits for it.
    async fn drive(&mut self, engine: &Engine) -> Result<Stand, Stuck> {
        let id = match self.start(engine).await? {
            Ok(id) => id,
            Err(discarded) => return Ok(Stand::Discarded(discarded)),
        };
        if self.case.signals == Signals::AtOnce {
            self.send_all_signals(engine, id).await?;
        }
        let mut view = self.settled(engine, id).await?;
        if view.head.status == Status::Parked {
            self.history.parked = Some(view.head.reason.clone().unwrap_or_default());
            self.let_requests_arrive().await;
            self.script.is_over();
            tell(engine, id, Verb::Retry, "retry").await?;
            view = self.settled(engine, id).await?;
        }
        Ok(Stand::Durable(Box::new(view)))
    }

    /// Starts the workflow as a client does, who repeats what was not accepted.
    async fn start(&mut self, engine: &Engine) -> Result<Result<WorkflowId, StartError>, Stuck> {
        let mut tries = 1;
        loop {
            let start = Start {
                definition: self.definition.pinned().name.clone(),
                input: self.world.input(),
                key: Some(("kit".into(), "key".into())),
                request_hash: [1; 32],
                label: None,
            };
            match engine.start(start).await {
                Ok(started) => return Ok(Ok(started.view().id)),
                Err(StartError::Refused(refusal)) if self.store.workflows() > 0 => {
                    return Err(format!(
                        "a repeated start was refused ({refusal}) although its workflow is durable: a step that may run before \
                         anything is durable, and that knows its key from before, is to refuse with `Earlier::Possible`"
                    ));
                }
                Err(error @ StartError::Refused(_)) => return Ok(Err(error)),
                Err(error @ StartError::Unavailable(_)) if tries == STARTS_MAX => {
                    return Ok(Err(error));
                }
                Err(
                    StartError::Unavailable(_)
                    | StartError::Undecided(_)
                    | StartError::NotServing(_)
                    | StartError::Busy,
                ) if tries < STARTS_MAX => {
                    tries += 1;
                    self.history.repeated = true;
                    engine.runtime().sleep(START_AGAIN).await;
                }
                Err(error) => return Err(format!("the workflow could not be started: {error}")),
            }
        }
    }

    /// The workflow when nothing more happens by itself. What it waits for comes: instants at once, signals as the case has it.
    async fn settled(&mut self, engine: &Engine, id: WorkflowId) -> Result<View, Stuck> {
        let latest = self.clock.now().after(LONGEST);
        for _ in 0..LOOKS_MAX {
            let head = self.head(id).await?;
            if head.status.is_terminal() || head.status == Status::Parked {
                let view = view(engine, id).await?;
                // What is durable is known a moment later.
                if view.is_settled() {
                    return Ok(view);
                }
            }
            if self.clock.now() > latest {
                return Err(format!("a year has passed, and it is {}", head.status));
            }
            self.help(engine, &head).await?;
            engine.runtime().sleep(LOOK_AGAIN).await;
        }
        let head = self.head(id).await?;
        Err(format!("it does not end: it is {}", head.status))
    }

    async fn head(&self, id: WorkflowId) -> Result<Head, Stuck> {
        match self.store.find(&id.ident()).await {
            Ok(Some(head)) => Ok(head),
            Ok(None) => Err("it is not in the store any more".to_owned()),
            Err(error) => Err(format!("it can't be read: {error}")),
        }
    }
}
