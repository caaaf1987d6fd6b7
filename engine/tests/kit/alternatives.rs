//! Sagas with an alternative past the pivot: a sound one passes, and each way to write a wrong one is caught.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use engine::definition::{Action, Attempt, Definition, Outcome, Saga};
use engine::store::change::ChangeKind;
use engine::store::{Change, Table};
use engine::testing::kit::{Check, Course, Ending, Fault, Kit, Report, Scene, Times, World};
use engine::workflow::Refusal;
use engine::{Payload, Runtime};

use crate::{action, checks, failed};

static GOODS: Table = Table {
    name: "goods",
    key: &["workflow"],
    columns: &["who"],
};

/// What is wrong with the saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    Nothing,
    /// The refund does not take back goods that went out although their row was refused.
    GoodsStayOut,
    /// The refund pays once more each time that it is asked.
    PaysAgain,
    /// The refund says no when it has paid before.
    RefusesWhatItDid,
}

/// What happened, by step; a refund counts how often it was paid.
#[derive(Clone)]
struct Shop {
    defect: Defect,
    books: Arc<Mutex<BTreeMap<&'static str, u32>>>,
}

struct Step(&'static str, Shop);

impl Action for Step {
    type Input = String;
    type Output = String;

    fn name(&self) -> &str {
        self.0
    }

    async fn act(&self, attempt: &Attempt, _: String) -> Outcome<String> {
        let Self(name, shop) = self;
        let mut books = shop.books.lock().unwrap();
        if *name == "issue" {
            // A request that comes after the goods were called back changes nothing.
            books.entry("issue").or_insert(1);
            let row = Change {
                table: &GOODS,
                key: vec![attempt.workflow.to_string().into()],
                kind: ChangeKind::Insert(vec!["ann".into()]),
                refusal: Refusal::new("recalled", "there are none"),
            };
            return Outcome::done_with((*name).to_owned(), vec![row]);
        }
        let paid_before = books.contains_key(name);
        if *name == "refund" {
            if shop.defect == Defect::RefusesWhatItDid && paid_before {
                return Outcome::refused("paid", "it is paid back");
            }
            if shop.defect != Defect::GoodsStayOut {
                books.insert("issue", 0);
            }
        }
        let again = *name == "refund" && shop.defect == Defect::PaysAgain;
        let times = books.entry(name).or_insert(0);
        if again || !paid_before {
            *times += 1;
        }
        Outcome::done((*name).to_owned())
    }
}

impl World for Shop {
    fn definition(&self) -> Definition {
        let step = |name| Step(name, self.clone());
        let saga = Saga::<String>::new("purchase", 1);
        let buyer = saga.input();
        let (mut saga, paid) = saga.pivot(step("pay"), &buyer);
        let goods = saga.retriable(step("issue"), &paid);
        let either = saga.or_else(&goods, step("refund"), &paid);
        saga.finish(&either).unwrap()
    }

    fn input(&self) -> Payload {
        Payload::of("ann").unwrap()
    }

    async fn clean(&self) -> Result<(), String> {
        let books = self.books.lock().unwrap();
        if books.is_empty() {
            return Ok(());
        }
        Err(format!("{books:?}"))
    }

    async fn complete(&self, ending: &Ending) -> Result<(), String> {
        let books = self.books.lock().unwrap();
        let times = |step| books.get(step).copied().unwrap_or_default();
        let refunded = ending.output == Some(Payload::of("refund").unwrap());
        let expected = if refunded { (1, 0, 1) } else { (1, 1, 0) };
        let rows = usize::from(!refunded);
        let found = (times("pay"), times("issue"), times("refund"));
        if (found, ending.rows.inserted("goods")) == (expected, rows) {
            return Ok(());
        }
        Err(format!("{books:?}, {:?}", ending.rows))
    }
}

fn report(defect: Defect) -> Report {
    let report = Kit::new(move |_: Runtime| {
        std::future::ready(Shop {
            defect,
            books: Arc::default(),
        })
    })
    .run();
    println!("{report}");
    report
}

#[test]
fn a_sound_alternative_passes_and_has_had_every_case_of_its_own() {
    let report = report(Defect::Nothing);
    report.assert_passed();
    for step in ["issue", "refund"] {
        for fault in [
            Fault::Refused,
            Fault::AnswerLost,
            Fault::CrashAfter,
            Fault::ArrivesLate,
        ] {
            let times = match fault {
                Fault::ArrivesLate => Times::Always,
                _ => Times::Once,
            };
            let scene = action(step, fault, times);
            assert!(report.played.contains(&scene), "{scene}");
        }
    }
    let diverted = |scene: &&Scene| matches!(scene, Scene::Recovery { course, .. } if *course == Course::Diverted);
    let recoveries = report.played.iter().filter(diverted).count();
    assert!(
        recoveries > 1,
        "from before the alternative's effect and from after it"
    );
}

#[test]
fn an_alternative_that_leaves_what_it_stands_in_for_is_caught_when_the_rows_were_refused() {
    let report = report(Defect::GoodsStayOut);
    assert_eq!(checks(&report), [Check::Complete].into());
    let rows_refused = action("issue", Fault::RowsRefused, Times::Once);
    assert!(failed(&report, &rows_refused));
    assert_eq!(report.failures.len(), 1);
}

#[test]
fn an_alternative_with_an_effect_each_time_is_caught_when_it_is_repeated() {
    let report = report(Defect::PaysAgain);
    assert_eq!(checks(&report), [Check::Complete].into());
    for fault in [Fault::AnswerLost, Fault::CrashAfter, Fault::Twice] {
        assert!(
            failed(&report, &action("refund", fault, Times::Once)),
            "{fault}"
        );
    }
}

#[test]
fn an_alternative_that_refuses_what_it_has_done_is_caught_by_the_end() {
    let report = report(Defect::RefusesWhatItDid);
    assert_eq!(checks(&report), [Check::End].into());
    assert!(failed(
        &report,
        &action("refund", Fault::AnswerLost, Times::Once)
    ));
}
