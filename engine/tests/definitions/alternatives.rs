//! What is done in the place of a refused step: how it is written, what is refused when it is written wrongly, and how it is drawn.

use engine::definition::Phase::{Compensable, Pivot, Retriable};
use engine::definition::{
    Definition, DefinitionBuilder, DefinitionError, Saga, Source, StepIndex, StepKind, StepSpec,
};

use crate::untyped::{spec, waiting};
use crate::{Echo, names};

/// `hold`, `pay`, then `issue` or else `refund`, then `settle` with whichever there is.
fn purchase() -> Definition {
    let mut saga = Saga::<u32>::new("purchase", 1);
    let hold = saga.compensable(Echo("hold"), &saga.input());
    let (mut saga, paid) = saga.pivot(Echo("pay"), &hold);
    let goods = saga.retriable(Echo("issue"), &paid);
    let either = saga.or_else(&goods, Echo("refund"), &hold);
    let settled = saga.retriable(Echo("settle"), &either);
    saga.finish(&settled).unwrap()
}

#[test]
fn an_alternative_comes_after_what_it_stands_in_for_and_before_what_waits_for_that() {
    let definition = purchase();
    let shown = definition.steps().iter().map(|node| {
        let needs = names(&definition, &node.needs);
        let followers = names(&definition, &node.followers);
        format!("{} after [{needs}] before [{followers}]", node.name)
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"), @"
    hold after [] before [pay issue refund settle]
    pay after [hold] before [issue refund settle]
    issue after [pay] before [refund settle]
    refund after [hold pay] before [settle]
    settle after [pay issue] before []
    ");
    let [issue, refund] = ["issue", "refund"].map(|name| definition.index_of(name).unwrap());
    assert_eq!(definition.step(issue).alternative, Some(refund));
    assert_eq!(definition.step(refund).instead_of, Some(issue));
    assert_eq!(definition.step(refund).alternative, None);
}

#[test]
fn either_handle_stands_for_whichever_of_the_two_is_done() {
    let build = |with_either: bool| {
        let saga = Saga::<u32>::new("purchase", 1);
        let input = saga.input();
        let (mut saga, paid) = saga.pivot(Echo("pay"), &input);
        let goods = saga.retriable(Echo("issue"), &paid);
        let either = saga.or_else(&goods, Echo("refund"), &paid);
        saga.finish(if with_either { &either } else { &goods })
    };
    let [with_either, with_first] = [true, false].map(|either| build(either).unwrap());
    assert_eq!(with_either.output(), with_first.output());
    assert_eq!(with_either.pinned(), with_first.pinned());
}

#[test]
fn an_alternative_is_dashed_and_both_lead_on() {
    insta::assert_snapshot!(purchase().to_mermaid(), @r#"
    flowchart LR
        s0["hold"]
        s1{"pay"}
        s2("issue")
        s3("refund")
        s4("settle")
        s0 --> s1
        s1 --> s2
        s2 --> s4
        s3 --> s4
        s2 -. refused .-> s3
    "#);
    insta::assert_snapshot!(purchase().to_dot(), @r#"
    digraph "purchase v1" {
        rankdir=LR;
        s0 [label="hold", shape=box];
        s1 [label="pay", shape=diamond];
        s2 [label="issue", shape=ellipse];
        s3 [label="refund", shape=ellipse];
        s4 [label="settle", shape=ellipse];
        s0 -> s1;
        s1 -> s2;
        s2 -> s4;
        s3 -> s4;
        s2 -> s3 [style=dashed, label="refused"];
    }
    "#);
}

#[test]
fn the_hash_changes_with_an_alternative_and_with_whose_it_is() {
    let hash = |pairs: &[(usize, usize)]| {
        let pairs = pairs.iter().copied();
        built(plain(), pairs, Source::Input).unwrap().pinned().hash
    };
    let mut seen = [hash(&[]), hash(&[(1, 3)]), hash(&[(2, 3)]), hash(&[(3, 1)])];
    seen.sort_unstable();
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
}

/// `pay`, then `a`, `b` and `c` at once.
fn plain() -> Vec<StepSpec> {
    vec![
        spec("pay", Pivot, &[]),
        spec("a", Retriable, &[]),
        spec("b", Retriable, &[]),
        spec("c", Retriable, &[]),
    ]
}

fn built(
    specs: Vec<StepSpec>,
    pairs: impl IntoIterator<Item = (usize, usize)>,
    output: Source,
) -> Result<Definition, DefinitionError> {
    let mut builder = DefinitionBuilder::new("saga", 1);
    for spec in specs {
        builder.step(spec);
    }
    for (first, alternative) in pairs {
        builder.or_else(StepIndex(first), StepIndex(alternative));
    }
    builder.build(output)
}

fn refused(specs: Vec<StepSpec>, pairs: &[(usize, usize)]) -> DefinitionError {
    let pairs = pairs.iter().copied();
    built(specs, pairs, Source::Input).expect_err("it should not build")
}

/// The specs with one more.
fn and(mut specs: Vec<StepSpec>, spec: StepSpec) -> Vec<StepSpec> {
    specs.push(spec);
    specs
}

#[test]
fn what_makes_no_sense_as_an_alternative_is_refused_and_says_why() {
    let wait = || waiting(spec("nap", Retriable, &[]), StepKind::Timer, None);
    let hold = || spec("hold", Compensable, &[]);
    let errors = [
        refused(plain(), &[(0, 1)]),
        refused(and(plain(), hold()), &[(1, 4)]),
        refused(and(plain(), wait()), &[(4, 1)]),
        refused(and(plain(), wait()), &[(1, 4)]),
        refused(plain(), &[(1, 1)]),
        refused(plain(), &[(1, 2), (1, 3)]),
        refused(plain(), &[(1, 2), (2, 3)]),
        refused(plain(), &[(1, 3), (2, 3)]),
        refused(and(plain(), spec("late", Retriable, &[1])), &[(1, 4)]),
        refused(and(plain(), spec("late", Retriable, &[2])), &[(1, 2)]),
        built(plain(), [(1, 2)], Source::Step(StepIndex(2))).expect_err("the alternative alone"),
        // `settle` waits for whichever is done, and the alternative for `settle`.
        refused(
            and(
                and(plain(), spec("settle", Retriable, &[1])),
                spec("late", Retriable, &[4]),
            ),
            &[(1, 5)],
        ),
        refused(plain(), &[(1, 7)]),
    ];
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(sentences.join("\n"), @"
    `a` is to be done when `pay` is refused, but `pay` is not a retriable action: what can say no before the pivot turns the saga back, and a wait is never refused
    `hold` is to be done when `a` is refused, but `hold` is not a retriable action: what can say no before the pivot turns the saga back, and a wait is never refused
    `a` is to be done when `nap` is refused, but `nap` is not a retriable action: what can say no before the pivot turns the saga back, and a wait is never refused
    `nap` is to be done when `a` is refused, but `nap` is not a retriable action: what can say no before the pivot turns the saga back, and a wait is never refused
    `a` is to be done when `a` is refused, but `a` has its alternative or is one: a step has at most one, and when that is refused as well an operator decides
    `c` is to be done when `a` is refused, but `a` has its alternative or is one: a step has at most one, and when that is refused as well an operator decides
    `c` is to be done when `b` is refused, but `b` has its alternative or is one: a step has at most one, and when that is refused as well an operator decides
    `c` is to be done when `b` is refused, but `c` has its alternative or is one: a step has at most one, and when that is refused as well an operator decides
    `late` waits for `a`, but is done only when `a` is refused, and so has given nothing
    `late` waits for `b`, which is done only when `a` is refused: let it wait for `a`, which stands for whichever of the two is done
    `output` waits for `b`, which is done only when `a` is refused: let it wait for `a`, which stands for whichever of the two is done
    the steps late, settle wait for each other
    saga `saga` names a step number 7 that does not exist
    ");
}

#[test]
fn the_typed_builder_refuses_an_alternative_to_what_is_not_a_retriable_step_of_this_saga() {
    let mut other = Saga::<u32>::new("other", 2);
    let theirs = other.compensable(Echo("theirs"), &other.input());
    let saga = Saga::<u32>::new("saga", 1);
    let input = saga.input();
    let (mut saga, paid) = saga.pivot(Echo("pay"), &input);
    let goods = saga.or_else(&theirs, Echo("refund"), &paid);
    let foreign = DefinitionError::ForeignHandle {
        step: "refund".into(),
        saga: "other v2".into(),
    };
    assert_eq!(saga.finish(&goods).expect_err("a foreign handle"), foreign);

    for step in ["hold", "pay", "input"] {
        let mut saga = Saga::<u32>::new("saga", 1);
        let input = saga.input();
        let hold = saga.compensable(Echo("hold"), &input);
        let (mut saga, paid) = saga.pivot(Echo("pay"), &input);
        let first = match step {
            "hold" => &hold,
            "pay" => &paid,
            _ => &input,
        };
        let either = saga.or_else(first, Echo("refund"), &paid);
        let refused = saga.finish(&either).expect_err("it is no retriable step");
        let expected = DefinitionError::AlternativeNotRetriable {
            first: step.into(),
            alternative: "refund".into(),
            step: step.into(),
        };
        assert_eq!(refused, expected);
    }
}
