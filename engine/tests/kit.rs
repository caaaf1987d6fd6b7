//! The kit for testing sagas, tested: a sound saga passes, and each way to write a wrong one is caught, by the check that it
//! violates and in the cases that are about it.

#[path = "kit/alternatives.rs"]
mod alternatives;
#[path = "kit/asked.rs"]
mod asked;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::definition::{
    Action, Attempt, Compensable, Definition, Durability, Outcome, Policy, RetryPolicy, Saga,
};
use engine::store::change::ChangeKind;
use engine::store::{Change, Table};
use engine::testing::kit::{Check, Ending, Fault, Kit, Report, Scene, Times, World};
use engine::workflow::{Earlier, Refusal};
use engine::{Payload, Runtime};

/// What is wrong with a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    Nothing,
    /// The compensation says that it is done, and does nothing.
    CompensationForgets,
    /// The compensation does nothing when it does not know what the action gave.
    CompensationNeedsOutput,
    /// The compensation takes back what is there and leaves no mark against what comes later.
    CompensationStopsNothing,
    /// The compensation gives back once more each time that it runs.
    CompensationRepeats,
    /// The compensation takes back the effect and not the rows.
    RowsForgotten,
    /// The action has an effect each time that it runs.
    ActionRepeats,
    /// The action refuses what it has done before.
    RepeatRefused,
    /// The action does not tell who repeats a start that the refusal may be about the first.
    NoLookUp,
    /// The action waits for itself to be over before it does anything.
    NotAtOnce,
}

/// The saga's shape.
#[derive(Clone, Copy, Debug)]
struct Shape {
    defect: Defect,
    /// The steps that begin only when everything before them is durable.
    barriers: &'static [&'static str],
    retry: RetryPolicy,
    /// Without one, every step can be undone.
    pivot: bool,
    waits: bool,
    /// The step that nothing comes before.
    first: &'static str,
}

const SHAPE: Shape = Shape {
    defect: Defect::Nothing,
    barriers: &["hold", "book", "pay", "send"],
    retry: RetryPolicy {
        first_delay: Duration::from_millis(10),
        delay_max: Duration::from_secs(2),
        attempts_max: 4,
        elapsed_max: None,
    },
    pivot: true,
    waits: false,
    first: "hold",
};

/// What the other side has: effects in the order in which they came about, and what was given up.
#[derive(Default)]
struct Book {
    effects: Vec<String>,
    given_up: BTreeSet<String>,
    acting: BTreeSet<String>,
    given_back: i64,
}

#[derive(Clone)]
struct Site {
    shape: Shape,
    book: Arc<Mutex<Book>>,
    runtime: Runtime,
}

impl Site {
    fn kit(shape: Shape) -> Kit<impl Fn(Runtime) -> std::future::Ready<Self> + Send + Sync> {
        Kit::new(move |runtime| {
            std::future::ready(Self {
                shape,
                book: Arc::default(),
                runtime,
            })
        })
    }

    fn report(shape: Shape) -> Report {
        let report = Self::kit(shape).run();
        println!("{report}");
        report
    }

    fn with(defect: Defect) -> Report {
        Self::report(Shape { defect, ..SHAPE })
    }

    fn has(&self, expected: &[&str]) -> Result<(), String> {
        let book = self.book.lock().unwrap();
        let mut effects: Vec<&str> = book.effects.iter().map(String::as_str).collect();
        effects.sort_unstable();
        if effects != expected {
            return Err(format!("there are {effects:?}"));
        }
        match book.given_back {
            0 => Ok(()),
            times => Err(format!("it was given back {times} times too often")),
        }
    }
}

/// A step of the saga: `hold` and `book` can be undone, `pay` is the pivot, `send` comes after it.
struct Step {
    name: &'static str,
    site: Site,
}

static UNITS: Table = Table {
    name: "units",
    key: &["shop"],
    columns: &["held"],
};

impl Step {
    fn rows(&self, sum: i64) -> Vec<Change> {
        if self.name != "book" {
            return Vec::new();
        }
        vec![Change {
            table: &UNITS,
            key: vec!["one".into()],
            kind: ChangeKind::Add(vec![("held", sum)]),
            refusal: Refusal::new("sold-out", "nothing is left"),
        }]
    }

    /// The defects are those of `book`.
    fn has(&self, defect: Defect) -> bool {
        self.name == "book" && self.site.shape.defect == defect
    }
}

impl Action for Step {
    type Input = String;
    type Output = String;

    fn name(&self) -> &str {
        self.name
    }

    fn policy(&self) -> Policy {
        Policy {
            attempt_timeout: Duration::from_secs(1),
            retry: self.site.shape.retry,
            durability: if self.site.shape.barriers.contains(&self.name) {
                Durability::Barrier
            } else {
                Durability::Replayable
            },
            ..Policy::default()
        }
    }

    async fn act(&self, attempt: &Attempt, _: String) -> Outcome<String> {
        if self.has(Defect::NotAtOnce) {
            if !self.site.book.lock().unwrap().acting.insert(attempt.key()) {
                return Outcome::refused("busy", "it is at it");
            }
            let soon = self.site.runtime.now().after(Duration::from_millis(5));
            self.site.runtime.sleep_until(soon).await;
        }
        let mut book = self.site.book.lock().unwrap();
        book.acting.remove(&attempt.key());
        if book.given_up.contains(&attempt.key()) {
            return Outcome::Refused(Refusal {
                earlier: if self.has(Defect::NoLookUp) {
                    Earlier::Unsaid
                } else {
                    Earlier::Possible
                },
                ..Refusal::new("given-up", "it was given up before")
            });
        }
        let done = book.effects.iter().any(|effect| effect == self.name);
        if done && self.has(Defect::RepeatRefused) {
            return Outcome::refused("there-already", "it is there already");
        }
        if !done || self.has(Defect::ActionRepeats) {
            book.effects.push(self.name.to_owned());
        }
        Outcome::done_with(self.name.to_owned(), self.rows(1))
    }
}

impl Compensable for Step {
    async fn compensate(
        &self,
        attempt: &Attempt,
        _: String,
        output: Option<String>,
    ) -> Outcome<()> {
        if self.has(Defect::CompensationForgets)
            || (self.has(Defect::CompensationNeedsOutput) && output.is_none())
        {
            return Outcome::done(());
        }
        let mut book = self.site.book.lock().unwrap();
        let place = book.effects.iter().position(|effect| effect == self.name);
        match place {
            Some(place) => drop(book.effects.remove(place)),
            None if self.has(Defect::CompensationRepeats) => book.given_back += 1,
            None => {}
        }
        if !attempt.forget && !self.has(Defect::CompensationStopsNothing) {
            book.given_up.insert(attempt.key());
        }
        if output.is_none() || self.has(Defect::RowsForgotten) {
            return Outcome::done(());
        }
        Outcome::done_with((), self.rows(-1))
    }
}

impl World for Site {
    fn definition(&self) -> Definition {
        let step = |name| Step {
            name,
            site: self.clone(),
        };
        let mut saga = Saga::<String>::new("order", 1);
        let input = saga.input();
        let hold = saga.compensable(step("hold"), &input);
        let book = saga.compensable(step("book"), &input);
        if self.shape.first == "hold" {
            saga.order(&hold, &book);
        } else {
            saga.order(&book, &hold);
        }
        if self.shape.waits {
            let night =
                saga.sleep_until("night", &hold, |_, now| now.after(Duration::from_hours(9)));
            let word = saga.await_signal::<u32, _>("word", &hold, |_, _| None);
            saga.order(&night, &word);
        }
        if !self.shape.pivot {
            return saga.finish(&book).expect("a sound saga");
        }
        let (mut saga, paid) = saga.pivot(step("pay"), &book);
        let sent = saga.retriable(step("send"), &paid);
        saga.finish(&sent).expect("a sound saga")
    }

    fn input(&self) -> Payload {
        Payload::of("one").expect("it is JSON")
    }

    fn signals(&self) -> Vec<(&'static str, Payload)> {
        if self.shape.waits {
            vec![("word", Payload::of(&7).expect("it is JSON"))]
        } else {
            Vec::new()
        }
    }

    fn clean(&self) -> impl Future<Output = Result<(), String>> + Send {
        std::future::ready(self.has(&[]))
    }

    async fn complete(&self, ending: &Ending) -> Result<(), String> {
        if ending.rows.added("units", "held") != 1 {
            return Err("the rows are not right".to_owned());
        }
        if self.shape.pivot {
            return self.has(&["book", "hold", "pay", "send"]);
        }
        self.has(&["book", "hold"])
    }
}

/// The checks that failed.
fn checks(report: &Report) -> BTreeSet<Check> {
    let checks = report.failures.iter().map(|failure| failure.check);
    checks.collect()
}

fn failed(report: &Report, scene: &Scene) -> bool {
    assert!(report.played.contains(scene), "not played: {scene}");
    report
        .failures
        .iter()
        .any(|failure| failure.scene == *scene)
}

fn action(step: &str, fault: Fault, times: Times) -> Scene {
    let step = step.to_owned();
    Scene::Action { step, fault, times }
}

fn compensation(step: &str, fault: Fault, times: Times) -> Scene {
    let step = step.to_owned();
    Scene::Compensation { step, fault, times }
}

/// `book` is undone because something else is refused.
fn refused_later() -> Scene {
    action("pay", Fault::Refused, Times::Once)
}

#[test]
fn a_sound_saga_passes_whatever_its_shape() {
    let once = RetryPolicy::NONE;
    let hasty = RetryPolicy {
        elapsed_max: Some(Duration::from_millis(5)),
        ..SHAPE.retry
    };
    for shape in [
        SHAPE,
        Shape {
            barriers: &["pay"],
            ..SHAPE
        },
        Shape {
            barriers: &[],
            ..SHAPE
        },
        Shape {
            retry: once,
            ..SHAPE
        },
        Shape {
            retry: hasty,
            ..SHAPE
        },
        Shape {
            pivot: false,
            ..SHAPE
        },
        Shape {
            pivot: false,
            barriers: &[],
            ..SHAPE
        },
        Shape {
            waits: true,
            ..SHAPE
        },
        Shape {
            waits: true,
            barriers: &[],
            ..SHAPE
        },
    ] {
        let report = Site::report(shape);
        assert!(report.passed(), "{shape:?}: {report}");
        assert!(report.played.len() > 40, "{}", report.played.len());
    }
}

#[test]
fn the_kit_plays_the_same_cases_in_the_same_way_each_time() {
    let one = Site::with(Defect::CompensationForgets);
    let other = Site::with(Defect::CompensationForgets);
    assert_eq!(one.played, other.played);
    assert_eq!(one.to_string(), other.to_string());
}

#[test]
fn a_compensation_that_forgets_is_caught_by_what_is_left_over() {
    let report = Site::with(Defect::CompensationForgets);
    assert_eq!(checks(&report), [Check::Clean].into());
    assert!(failed(&report, &refused_later()));
    assert!(!failed(&report, &Scene::AllGoesWell));
}

#[test]
fn a_compensation_that_needs_the_output_is_caught_when_the_answer_was_lost() {
    let report = Site::with(Defect::CompensationNeedsOutput);
    assert_eq!(checks(&report), [Check::Clean].into());
    assert!(failed(
        &report,
        &action("book", Fault::AnswerLost, Times::Always)
    ));
    assert!(!failed(&report, &refused_later()));
}

#[test]
fn a_compensation_that_does_not_stop_what_comes_later_is_caught_by_what_comes_later() {
    let report = Site::with(Defect::CompensationStopsNothing);
    let late = action("book", Fault::ArrivesLate, Times::Always);
    let step = "book".to_owned();
    let copy = Scene::CopyAfterUndo { step };
    assert!(failed(&report, &late) && failed(&report, &copy));
    // A world that is ahead of the journal is one in which requests came late.
    let about =
        |scene: &Scene| [&late, &copy].contains(&scene) || matches!(scene, Scene::Recovery { .. });
    assert!(report.failures.iter().all(|failure| about(&failure.scene)));
    let of_late = report
        .failures
        .iter()
        .find(|failure| failure.scene == late)
        .unwrap();
    assert_eq!(of_late.check, Check::Clean);
    let text = of_late.to_string();
    for words in [
        "`book` hangs",
        "once a late request has arrived",
        "compensation-done book",
    ] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_compensation_with_an_effect_each_time_is_caught_when_it_is_repeated() {
    let report = Site::with(Defect::CompensationRepeats);
    assert_eq!(checks(&report), [Check::Clean].into());
    assert!(failed(
        &report,
        &compensation("book", Fault::Twice, Times::Once)
    ));
    assert!(failed(
        &report,
        &compensation("book", Fault::AnswerLost, Times::Once)
    ));
    assert!(!failed(&report, &refused_later()));
}

#[test]
fn rows_that_are_not_taken_back_are_caught_without_a_word_from_the_world() {
    let report = Site::with(Defect::RowsForgotten);
    assert_eq!(checks(&report), [Check::Rows].into());
    assert!(failed(&report, &refused_later()));
    assert!(
        report
            .to_string()
            .contains("row one of `units` has +1 in `held`")
    );
}

#[test]
fn an_action_with_an_effect_each_time_is_caught_when_it_is_repeated() {
    let report = Site::with(Defect::ActionRepeats);
    assert!(checks(&report).is_superset(&[Check::Complete].into()));
    for fault in [
        Fault::Twice,
        Fault::AtOnce,
        Fault::CrashAfter,
        Fault::AnswerLost,
        Fault::CopyArrivesLate,
    ] {
        assert!(
            failed(&report, &action("book", fault, Times::Once)),
            "{fault}"
        );
    }
    assert!(!failed(&report, &Scene::AllGoesWell));
    assert!(!failed(&report, &action("hold", Fault::Twice, Times::Once)));
}

#[test]
fn an_action_that_refuses_what_it_has_done_is_caught_by_the_end() {
    let report = Site::with(Defect::RepeatRefused);
    assert!(failed(&report, &action("book", Fault::Twice, Times::Once)));
    assert!(failed(
        &report,
        &action("book", Fault::CrashAfter, Times::Once)
    ));
    assert!(checks(&report).contains(&Check::End));
    assert!(!failed(&report, &refused_later()));
}

#[test]
fn a_refusal_that_hides_a_durable_workflow_from_a_repeated_start_is_caught() {
    let replayable = |defect| Shape {
        defect,
        barriers: &["pay"],
        first: "book",
        ..SHAPE
    };
    let report = Site::report(replayable(Defect::NoLookUp));
    assert_eq!(checks(&report), [Check::End].into());
    assert!(
        report.to_string().contains("`Earlier::Possible`"),
        "{report}"
    );
    Site::report(replayable(Defect::Nothing)).assert_passed();
}

#[test]
fn an_action_that_can_t_be_asked_twice_at_once_is_caught_only_then() {
    let report = Site::with(Defect::NotAtOnce);
    let at_once = action("book", Fault::AtOnce, Times::Once);
    assert!(failed(&report, &at_once));
    assert!(!failed(&report, &action("book", Fault::Twice, Times::Once)));
}

/// A saga that awaits a signal of which the world knows nothing.
struct Silent(Site);

impl World for Silent {
    fn definition(&self) -> Definition {
        self.0.definition()
    }

    fn input(&self) -> Payload {
        self.0.input()
    }

    async fn clean(&self) -> Result<(), String> {
        self.0.clean().await
    }

    async fn complete(&self, ending: &Ending) -> Result<(), String> {
        self.0.complete(ending).await
    }
}

#[test]
fn a_signal_that_the_world_does_not_send_is_named() {
    let shape = Shape {
        waits: true,
        ..SHAPE
    };
    let kit = Kit::new(move |runtime| async move {
        let book = Arc::default();
        Silent(Site {
            shape,
            book,
            runtime,
        })
    });
    let report = kit.run();
    let well = &report.failures[0];
    assert_eq!((&well.scene, well.check), (&Scene::AllGoesWell, Check::End));
    assert!(
        well.found.contains("it waits for the signal `word`"),
        "{well}"
    );
}

#[test]
fn a_world_that_can_t_be_set_up_is_a_failure_and_not_a_crash() {
    let kit = Kit::new(|runtime| async move {
        assert!(runtime.next_u64() == 0, "the world is not to be had");
        Site {
            shape: SHAPE,
            book: Arc::default(),
            runtime,
        }
    });
    let report = kit.run();
    assert_eq!(checks(&report), [Check::Run].into());
    assert!(report.to_string().contains("the world is not to be had"));
}

#[tokio::test]
async fn the_kit_runs_in_an_asynchronous_test_too() {
    Site::kit(SHAPE).check();
}
