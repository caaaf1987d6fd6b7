//! Tests that serve every saga: a kit that plays a saga in fresh worlds, each time with something else going wrong, and checks
//! that nothing is left over or that everything is there once.
//!
//! The author of a saga gives a [`World`]: the definition, an input, and two checks. The kit finds the cases in the definition
//! and needs no help from the steps: it stands on the line between the engine and them, and so can lose a request, lose an
//! answer, send a request twice, hold it back until it has been given up, or kill the node before or after an effect. It plays
//! on a clock that jumps, over a [`MemoryStore`](super::MemoryStore), and always in the same order.
//!
//! For each step's action: refused, failed, lost, answer lost, panicked, crashed, late, twice, and its rows refused by the store;
//! for each compensation the same where it makes sense, and a copy of the action that arrives after it. For each wait: a crash
//! while it lasts, and a signal that is early, doubled or missing. An alternative has the same cases as any other step: in them
//! the step in whose place it is done is refused. And for a workflow that completes, one that completes by its alternatives and
//! one that is compensated: recovery from every prefix of its journal.
//!
//! ```
//! use engine::definition::{Action, Attempt, Compensable, Definition, Outcome, Saga};
//! use engine::testing::kit::{Ending, Kit, World};
//! use engine::Payload;
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex};
//!
//! /// Seats by key: `true` while one is taken, `false` once it was given back.
//! #[derive(Clone, Default)]
//! struct Seats(Arc<Mutex<BTreeMap<String, bool>>>);
//!
//! struct TakeSeat(Seats);
//!
//! impl Action for TakeSeat {
//!     type Input = String;
//!     type Output = String;
//!     fn name(&self) -> &'static str {
//!         "take-seat"
//!     }
//!     async fn act(&self, attempt: &Attempt, _show: String) -> Outcome<String> {
//!         let mut seats = self.0.0.lock().unwrap();
//!         match *seats.entry(attempt.key()).or_insert(true) {
//!             true => Outcome::done("seat 1".to_owned()),
//!             false => Outcome::refused("given-up", "this seat was given back before"),
//!         }
//!     }
//! }
//!
//! impl Compensable for TakeSeat {
//!     async fn compensate(&self, attempt: &Attempt, _: String, _: Option<String>) -> Outcome<()> {
//!         // Also when there is none: a request that is still on its way finds the mark.
//!         self.0.0.lock().unwrap().insert(attempt.key(), false);
//!         Outcome::done(())
//!     }
//! }
//!
//! impl World for Seats {
//!     fn definition(&self) -> Definition {
//!         let mut saga = Saga::<String>::new("visit", 1);
//!         let show = saga.input();
//!         let seat = saga.compensable(TakeSeat(self.clone()), &show);
//!         saga.finish(&seat).unwrap()
//!     }
//!     fn input(&self) -> Payload {
//!         Payload::of("hamlet").unwrap()
//!     }
//!     async fn clean(&self) -> Result<(), String> {
//!         match self.0.lock().unwrap().values().filter(|taken| **taken).count() {
//!             0 => Ok(()),
//!             taken => Err(format!("{taken} seats are taken")),
//!         }
//!     }
//!     async fn complete(&self, _: &Ending) -> Result<(), String> {
//!         match self.0.lock().unwrap().values().filter(|taken| **taken).count() {
//!             1 => Ok(()),
//!             taken => Err(format!("{taken} seats are taken")),
//!         }
//!     }
//! }
//!
//! Kit::new(|_| async { Seats::default() }).check();
//! ```

mod fault;

mod expected;

mod cases;

mod stage;

mod help;
mod operator;

mod judge;

mod script;

mod intercepted;

mod clock;
mod life;
mod rows;

mod report;

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt as _;

pub use self::fault::{Course, Fault, Scene, Times};
pub use self::report::{Check, Failure, Report, line};
pub use self::rows::Rows;

use self::cases::Case;
use self::clock::JumpingClock;
use self::judge::{Verdict, judge};
use self::life::WorldTime;
use crate::definition::Definition;
use crate::ids::WorkflowId;
use crate::payload::Payload;
use crate::runtime::Runtime;

/// A case that takes longer than this by a real clock does not end.
const CASE_WITHIN: Duration = Duration::from_mins(1);
/// Prefixes of one journal at most.
const PREFIXES_MAX: usize = 200;

/// The world of a saga under test: where its steps have their effects, and what must be true there in the end. Each case has a
/// fresh one, with one workflow.
pub trait World: Send + Sync + 'static {
    /// The saga over this world.
    fn definition(&self) -> Definition;

    /// What the workflow is started with.
    fn input(&self) -> Payload;

    /// Nothing of the workflow is left: what every world must be like after a compensation. If something is, what. The rows
    /// that steps write with their outcomes are the kit's business.
    fn clean(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Everything that a completed workflow is to bring about is there, once. If not, what is wrong. In a saga with alternatives
    /// the output tells which way it went. Where the rows of a refused step were refused its effect is there, too, unless its
    /// alternative takes it back.
    fn complete(&self, ending: &Ending) -> impl Future<Output = Result<(), String>> + Send;

    /// What is signalled to the workflow, each by the name of the step that awaits it.
    fn signals(&self) -> Vec<(&'static str, Payload)> {
        Vec::new()
    }

    /// Tables in which a workflow may leave rows although it was compensated.
    fn keeps(&self) -> &'static [&'static str] {
        &[]
    }
}

/// What a workflow that has ended leaves.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Which one.
    pub workflow: WorkflowId,
    /// What it gave, if it is completed.
    pub output: Option<Payload>,
    /// What the rows come to that its steps wrote.
    pub rows: Rows,
}

/// The kit: plays a saga in one case after the other. See the [module](self).
pub struct Kit<F> {
    make: F,
}

impl<F, Fut, W> Kit<F>
where
    F: Fn(Runtime) -> Fut + Send + Sync,
    Fut: Future<Output = W>,
    W: World,
{
    /// A kit for the saga of the worlds that `make` makes. The [`Runtime`] has the kit's clock: what steps or the world need to
    /// know of time or to sleep is to come from it, or else it takes as long as it takes.
    #[must_use]
    pub const fn new(make: F) -> Self {
        Self { make }
    }

    /// Plays every case, and panics with what is wrong. May be called in any test, asynchronous or not.
    #[track_caller]
    pub fn check(&self) {
        self.run().assert_passed();
    }

    /// Plays every case.
    pub fn run(&self) -> Report {
        // A thread of its own: whoever calls may be in a runtime.
        let played = std::thread::scope(|scope| scope.spawn(|| self.play_all()).join());
        played.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn play_all(&self) -> Report {
        let mut report = Report {
            saga: String::new(),
            played: Vec::new(),
            failures: Vec::new(),
        };
        let Some((definition, signals)) = self.look(&mut report) else {
            return report;
        };
        for case in cases::of(&definition, signals) {
            self.play(&case, &mut report);
        }
        let whole = [
            Some(Case::all_goes_well()),
            Case::all_is_diverted(&definition),
            Case::all_is_undone(&definition),
        ];
        for case in whole.into_iter().flatten() {
            let batches = self.play(&case, &mut Report { ..report.clone() });
            for batches in 1..=batches.unwrap_or_default().min(PREFIXES_MAX) {
                self.play(&case.cut_after(batches), &mut report);
            }
        }
        report
    }

    /// The definition, and whether the world sends signals.
    fn look(&self, report: &mut Report) -> Option<(Definition, bool)> {
        let looked = on_a_stage(async |_, time| {
            let world = (self.make)(time.runtime.clone()).await;
            (world.definition(), !world.signals().is_empty())
        });
        match looked {
            Ok((definition, signals)) => {
                report.saga = definition.pinned().to_string();
                Some((definition, signals))
            }
            Err(found) => {
                report
                    .failures
                    .push(failure(report, &Case::all_goes_well(), found));
                None
            }
        }
    }

    /// Plays a case. Returns how many batches its journal had, if it went as it should.
    fn play(&self, case: &Case, report: &mut Report) -> Option<usize> {
        let verdict = on_a_stage(async |clock, time| {
            let world = (self.make)(time.runtime.clone()).await;
            let definition = world.definition();
            judge(&definition, &world, case, clock, &time).await
        });
        match verdict {
            Ok(Verdict::DoesNotApply) => None,
            Ok(Verdict::Passed { batches }) => {
                report.played.push(case.scene.clone());
                Some(batches)
            }
            Ok(Verdict::Failed(failure)) => {
                report.played.push(case.scene.clone());
                report.failures.push(*failure);
                None
            }
            Err(found) => {
                report.played.push(case.scene.clone());
                report.failures.push(failure(report, case, found));
                None
            }
        }
    }
}

fn failure(report: &Report, case: &Case, found: String) -> Failure {
    Failure {
        saga: report.saga.clone(),
        scene: case.scene.clone(),
        check: Check::Run,
        expected: case.expected.to_string(),
        found,
        journal: Vec::new(),
    }
}

/// Runs a case on a clock and a runtime of its own. An error says in words why it did not end.
fn on_a_stage<T>(case: impl AsyncFnOnce(&JumpingClock, WorldTime) -> T) -> Result<T, String> {
    let clock = JumpingClock::new();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| format!("there is no runtime: {error}"))?;
    let time = WorldTime::new(&clock);
    let case = AssertUnwindSafe(case(&clock, time)).catch_unwind();
    let played = runtime.block_on(async {
        tokio::select! {
            biased;
            played = tokio::time::timeout(CASE_WITHIN, case) => played,
            () = clock.jump_for_ever() => unreachable!("it jumps for ever"),
        }
    });
    match played {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("the world panicked: {}", text.unwrap_or_default()))
        }
        Err(_) => Err(format!(
            "the case did not end within {} s of real time",
            CASE_WITHIN.as_secs()
        )),
    }
}
