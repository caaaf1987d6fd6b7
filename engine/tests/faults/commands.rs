//! Operators' commands, and what they race with.

use std::time::Duration;

use engine::command::Verb;
use engine::store::{CommandState, Status};
use engine::{CommandError, Engine};

use crate::support::effects::Ahead;
use crate::support::flaky::Next;
use crate::support::operator::{Operator as _, command};
use crate::{parked, quiet, settled, started, until};

#[test]
fn a_parked_workflow_goes_on_as_soon_as_it_is_retried() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "d").await;
        life.engine
            .retry(id, "ann", "it works again")
            .await
            .unwrap();
        assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        life
    });
}

#[test]
fn a_command_that_makes_no_sense_does_not_keep_a_settled_workflow_in_memory() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "d").await;
        let refused = life.engine.compensate(id, "ann", "a mistake").await;
        assert!(matches!(refused, Err(CommandError::Conflict(why)) if why.contains("pivot")));
        until("it left memory", || life.engine.counters().in_flight == 0).await;
        life
    });
}

#[test]
fn a_parked_workflow_that_two_operators_retry_at_once_is_retried_once() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "d").await;
        // The second one reads the workflow as it was, and its answer comes when the first one's work is done.
        site.store.next(
            "reading records",
            [
                Next::Slow(Duration::ZERO),
                Next::Slow(Duration::from_secs(2)),
            ],
        );
        let (ann, ben) = tokio::join!(
            life.engine.retry(id, "ann", "it works"),
            life.engine.retry(id, "ben", "it works")
        );
        assert!(ann.is_ok() || ben.is_ok(), "{ann:?} {ben:?}");
        assert!(
            [&ann, &ben]
                .iter()
                .any(|one| matches!(one, Err(CommandError::Conflict(_)))),
            "one came too late and was told so: {ann:?} {ben:?}"
        );
        assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        let retries = site
            .store
            .memory
            .events()
            .iter()
            .filter(|event| event.kind == "retry-requested")
            .count();
        assert_eq!(retries, 1);
        life
    });
}

#[test]
fn a_command_is_not_confirmed_when_the_store_refuses_it() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "d").await;
        site.store.poison(id, "retry-requested");
        let refused = life.engine.retry(id, "ann", "it works again").await;
        assert!(refused.is_err(), "nobody retried it: {refused:?}");
        assert_eq!(settled(site, &life, id).await, Some(Status::Parked));
        life
    });
}

#[test]
fn a_pivot_whose_rows_the_store_refuses_is_parked_and_nothing_is_undone() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        let id = parked(site, &life, "k", "pivot").await;
        let refused = life.engine.compensate(id, "ann", "a mistake").await;
        assert!(matches!(refused, Err(CommandError::Conflict(why)) if why.contains("pivot")));
        assert!(
            !site
                .store
                .memory
                .events()
                .iter()
                .any(|event| event.kind.starts_with("compensation"))
        );
        life
    });
}

#[test]
fn a_workflow_that_the_store_refuses_is_parked_with_the_error_and_goes_on_when_it_is_retried() {
    quiet(Ahead::Nothing, async |site| {
        let life = site.open("test").await;
        site.store.poison_kind("completed");
        let id = started(site, &life, "k").await;
        let view = life
            .engine
            .wait(id, site.after(Duration::from_mins(1)))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (view.head.status, view.head.reason.as_deref()),
            (Status::Parked, Some("journal-refused"))
        );
        site.store.unpoison();
        life.engine
            .retry(id, "ann", "the store is repaired")
            .await
            .unwrap();
        assert_eq!(settled(site, &life, id).await, Some(Status::Completed));
        life
    });
}

#[test]
fn an_attempt_that_ends_after_its_workflow_turned_back_is_undone_with_what_it_gave() {
    quiet(Ahead::Nothing, async |site| {
        let life = site.open("test").await;
        site.effects.slow("b", Duration::from_millis(600));
        let id = started(site, &life, "k").await;
        until("b is attempted", || site.effects.attempts_at("b") > 0).await;
        let view = life
            .engine
            .compensate(id, "ann", "a mistake")
            .await
            .unwrap();
        assert_eq!(view.head.status, Status::Compensating);
        assert_eq!(settled(site, &life, id).await, Some(Status::Compensated));
        let kinds: Vec<String> = site
            .store
            .memory
            .events()
            .into_iter()
            .map(|event| event.kind)
            .collect();
        let of_b = kinds.iter().rposition(|kind| kind == "step-done").unwrap();
        let turned = kinds
            .iter()
            .position(|kind| kind == "compensation-requested")
            .unwrap();
        assert!(turned < of_b, "the attempt ended later: {kinds:?}");
        life
    });
}

#[test]
fn commands_that_race_with_the_end_of_their_workflow_are_answered() {
    quiet(Ahead::First, async |site| {
        let life = site.open("test").await;
        for key in 0..300_u64 {
            let id = started(site, &life, &format!("k{key}")).await;
            tokio::time::sleep(Duration::from_micros(site.dice.roll("race", 40_000))).await;
            let answers = tokio::join!(
                life.engine.compensate(id, "ann", "a mistake"),
                life.engine.retry(id, "ben", "again"),
                life.engine.compensate(id, "cid", "a mistake"),
            );
            for answer in [answers.0, answers.1, answers.2] {
                assert!(
                    matches!(answer, Ok(_) | Err(CommandError::Conflict(_))),
                    "{answer:?}"
                );
            }
        }
        until("all have left memory", || {
            life.engine.counters().in_flight == 0
        })
        .await;
        life
    });
}

#[test]
fn a_command_whose_owner_is_dead_is_accepted_and_carried_out_by_the_next_one() {
    quiet(Ahead::First, async |site| {
        let one = site.open("one").await;
        let id = parked(site, &one, "k", "d").await;
        let two = site.open("two").await;
        site.kill(&one);
        let retry = command(id, Verb::Retry, "ann", "it works again");
        let soon = site.after(Duration::from_secs(1));
        let accepted = Engine::command(&two.engine, retry.clone(), soon)
            .await
            .unwrap();
        assert_eq!(accepted.state, CommandState::Pending, "nobody owns it");
        let later = site.after(Duration::from_mins(1));
        let answered = Engine::command(&two.engine, retry, later).await.unwrap();
        assert_eq!(answered.id, accepted.id);
        assert!(
            matches!(answered.state, CommandState::Done { .. }),
            "{answered:?}"
        );
        assert_eq!(settled(site, &two, id).await, Some(Status::Completed));
        two
    });
}
