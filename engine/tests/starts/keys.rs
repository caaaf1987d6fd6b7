//! Definitions that share a key space: one key is one workflow, whichever of them it is started with.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use engine::definition::{Definition, Durability, Saga};
use engine::store::Status;
use engine::{Engine, NodeName, Parts, Settings, Start, StartError, Started, WorkflowId};
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use crate::support::dice::Dice;
use crate::support::flaky::{FlakyStore, Trouble};
use crate::support::lives::on_paused_time;
use crate::support::{Harness, Script, Scripted, World};

/// The same first steps in all of them, then a pivot of its own name.
fn saga(
    world: &World,
    name: &str,
    key_space: Option<&str>,
    durability: Durability,
) -> Arc<Definition> {
    let step = |name| Scripted {
        name,
        world: world.clone(),
        durability,
    };
    let mut saga = Saga::<u32>::new(name, 1);
    if let Some(key_space) = key_space {
        saga.key_space(key_space);
    }
    let held = saga.compensable(step("hold"), &saga.input());
    let claimed = saga.compensable(step("claim"), &held);
    let pay = Scripted {
        durability: Durability::Barrier,
        ..step(match name {
            "card" => "charge",
            _ => "capture",
        })
    };
    let (saga, paid) = saga.pivot(pay, &claimed);
    Arc::new(saga.finish(&paid).unwrap())
}

/// A program with some of the sagas: `card`, `redirect` with its keys, and `other` with keys of its own.
struct Place {
    harness: Harness,
    store: FlakyStore,
    durability: Durability,
}

const CARD: &str = "card";
const REDIRECT: &str = "redirect";
const OTHER: &str = "other";
const ALL: [&str; 3] = [CARD, REDIRECT, OTHER];

impl Place {
    fn new(seed: u64, durability: Durability) -> Self {
        let harness = Harness::new(durability);
        let store = FlakyStore::new(harness.store.clone(), &Dice::new(seed), Trouble::default());
        Self {
            harness,
            store,
            durability,
        }
    }

    async fn open(&self, node: &str, names: &[&str]) -> Engine {
        let definition = |name: &&str| {
            let key_space = (*name == REDIRECT).then_some(CARD);
            saga(&self.harness.world, name, key_space, self.durability)
        };
        Engine::open(Parts {
            runtime: self.harness.runtime.clone(),
            store: Arc::new(self.store.clone()),
            bus: self.harness.bus.clone(),
            definitions: names.iter().map(definition).collect(),
            settings: Settings {
                node: NodeName(node.into()),
                ..Settings::default()
            },
        })
        .await
        .unwrap()
    }

    fn request(&self, definition: &str, request: u8) -> Start {
        Start {
            definition: definition.into(),
            request_hash: [request; 32],
            ..self.harness.start("k")
        }
    }

    async fn settled(&self, engine: &Engine, started: &Started) -> WorkflowId {
        let view = self.harness.settled(engine, started).await;
        assert_eq!(view.head.status, Status::Completed);
        view.id
    }

    fn attempts_at(&self, step: &str) -> usize {
        let log = self.harness.world.log();
        log.iter().filter(|entry| *entry == step).count()
    }

    /// The key is known under both definitions, for its workflow and no other request.
    async fn assert_is_one_key(&self, engine: &Engine, id: WorkflowId, names: &[&str]) {
        for name in names {
            let again = engine.start(self.request(name, 1)).await;
            assert!(
                matches!(&again, Ok(Started::Existing(view)) if view.id == id),
                "{name}: {again:?}"
            );
            let reused = engine.start(self.request(name, 2)).await;
            assert!(
                matches!(reused, Err(StartError::KeyReused(known)) if known == id),
                "{name}: {reused:?}"
            );
        }
        assert_eq!(self.harness.store.workflows(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_key_space_is_one_key_whatever_the_definition() {
    for first in [CARD, REDIRECT] {
        let place = Place::new(1, Durability::Replayable);
        let engine = place.open("test", &ALL).await;
        let started = engine.start(place.request(first, 1)).await.unwrap();
        assert!(matches!(started, Started::New(_)), "{started:?}");
        let id = place.settled(&engine, &started).await;
        place
            .assert_is_one_key(&engine, id, &[CARD, REDIRECT])
            .await;
        assert_eq!(place.attempts_at("hold"), 1, "no other one began");
        // Another key space is another key.
        let other = engine.start(place.request(OTHER, 2)).await.unwrap();
        assert!(
            matches!(&other, Started::New(view) if view.id != id),
            "{other:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_space_is_one_also_after_a_restart() {
    for durability in [Durability::Replayable, Durability::Barrier] {
        for first in [CARD, REDIRECT] {
            let place = Place::new(1, durability);
            let engine = place.open("test", &ALL).await;
            let started = engine.start(place.request(first, 1)).await.unwrap();
            let id = place.settled(&engine, &started).await;
            // The next life has no memory of the key, and finds out when it writes; another one when it is told no.
            let next = place.open("test", &ALL).await;
            place.assert_is_one_key(&next, id, &[CARD, REDIRECT]).await;
            let next = place.open("test", &ALL).await;
            place
                .harness
                .world
                .script("claim", vec![Script::Refuse("no"); 9]);
            place.assert_is_one_key(&next, id, &[CARD, REDIRECT]).await;
            let pivots = place.attempts_at("charge") + place.attempts_at("capture");
            assert_eq!(pivots, 1, "it was paid once");
            assert_eq!(place.attempts_at("undo hold"), 0, "it is the first one's");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_definition_that_is_not_in_the_program_any_more_is_used_all_the_same() {
    for is_open in [false, true] {
        let place = Place::new(1, Durability::Replayable);
        if is_open {
            place.harness.world.script("charge", [Script::Hang]);
        }
        let engine = place.open("test", &ALL).await;
        let started = engine.start(place.request(CARD, 1)).await.unwrap();
        let id = started.view().id;
        if is_open {
            while place.attempts_at("charge") == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        } else {
            place.settled(&engine, &started).await;
        }
        let next = place.open("test", &[REDIRECT]).await;
        assert_eq!(next.counters().quarantined, u64::from(is_open));
        place.assert_is_one_key(&next, id, &[REDIRECT]).await;
        let found = next.start(place.request(REDIRECT, 1)).await.unwrap();
        assert!(found.view().state.is_none(), "nobody here can read it");
        let unknown = next.start(place.request(CARD, 1)).await;
        assert!(
            matches!(unknown, Err(StartError::UnknownDefinition(_))),
            "{unknown:?}"
        );
        assert_eq!(
            place.attempts_at("capture") + place.attempts_at("undo hold"),
            0
        );
    }
}

async fn where_the_first_hold_is_refused() -> (Place, Engine) {
    let place = Place::new(1, Durability::Replayable);
    let engine = place.open("test", &ALL).await;
    place
        .harness
        .world
        .script("hold", [Script::Refuse("sold-out")]);
    (place, engine)
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_start_was_refused_under_one_definition_is_free_under_the_other() {
    let (place, engine) = where_the_first_hold_is_refused().await;
    let refused = engine.start(place.request(CARD, 1)).await;
    assert!(
        matches!(refused, Err(StartError::Refused(_))),
        "{refused:?}"
    );
    let started = engine.start(place.request(REDIRECT, 2)).await.unwrap();
    assert!(matches!(started, Started::New(_)), "{started:?}");
    place.settled(&engine, &started).await;
}

/// Sends the key's next request in the very moment in which the first one's client is woken to be told.
struct SentAtOnce {
    engine: Engine,
    next: Mutex<Option<Start>>,
    answered_at_once: Mutex<Vec<Result<Started, StartError>>>,
}

impl Wake for SentAtOnce {
    fn wake(self: Arc<Self>) {
        let Some(next) = self.next.lock().unwrap().take() else {
            return;
        };
        let sent = self.engine.start(next).now_or_never();
        self.answered_at_once.lock().unwrap().extend(sent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_free_by_the_time_that_a_client_is_told_no() {
    let (place, engine) = where_the_first_hold_is_refused().await;
    let sent_at_once = Arc::new(SentAtOnce {
        engine: engine.clone(),
        next: Mutex::new(Some(place.request(CARD, 2))),
        answered_at_once: Mutex::default(),
    });
    let waker = Waker::from(Arc::clone(&sent_at_once));
    let mut first = pin!(engine.start(place.request(CARD, 1)));
    let refused = loop {
        if let Poll::Ready(told) = first.as_mut().poll(&mut Context::from_waker(&waker)) {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(
        matches!(refused, Err(StartError::Refused(_))),
        "{refused:?}"
    );
    assert!(
        sent_at_once.next.lock().unwrap().is_none(),
        "the next one was sent"
    );
    let answered = std::mem::take(&mut *sent_at_once.answered_at_once.lock().unwrap());
    assert!(answered.is_empty(), "not begun: {answered:?}");
    // It goes on though nobody waits for it, and is this one.
    let again = engine.start(place.request(CARD, 2)).await.unwrap();
    place.settled(&engine, &again).await;
}

/// Starts under both definitions at once, at these engines in turn, and the workflow that there is in the end.
async fn race(place: &Place, engines: &[Engine], requests: [u8; 2]) {
    let starts = (0..40).map(|number| {
        let which = number % 2;
        let request = place.request([CARD, REDIRECT][which], requests[which]);
        let engine = &engines[number / 2 % engines.len()];
        async move { (request.request_hash[0], engine.start(request).await) }
    });
    let ended = join_all(starts).await;
    let new: Vec<&(u8, Result<Started, StartError>)> = ended
        .iter()
        .filter(|(_, started)| matches!(started, Ok(Started::New(_))))
        .collect();
    let [(whose, Ok(new))] = new[..] else {
        panic!("{} starts made a workflow of {requests:?}", new.len());
    };
    let id = new.view().id;
    for (request, started) in &ended {
        let fits = match started {
            Ok(started) => request == whose && started.view().id == id,
            Err(StartError::KeyReused(_)) => request != whose,
            Err(_) => false,
        };
        let started = started.as_ref().map(|started| started.view().id);
        assert!(fits, "request {request} of {requests:?}: {started:?}");
    }
    place.settled(&engines[0], new).await;
    let ids: BTreeSet<String> = place
        .harness
        .store
        .events()
        .into_iter()
        .map(|event| event.workflow.to_string())
        .collect();
    assert_eq!(ids, BTreeSet::from([id.to_string()]));
}

#[test]
fn starts_that_race_under_definitions_of_one_key_space_make_one_workflow() {
    let mut both_began = 0;
    for seed in 0..30 {
        println!("seed {seed}");
        for (requests, nodes) in [([1, 1], 1), ([1, 2], 1), ([1, 1], 2), ([1, 2], 2)] {
            on_paused_time(async {
                let place = Place::new(seed, Durability::Replayable);
                let mut engines = Vec::new();
                for node in 0..nodes {
                    engines.push(place.open(&format!("node-{node}"), &ALL).await);
                }
                race(&place, &engines, requests).await;
                // A second node's holds are under its own workflow's id, and are undone.
                for _ in 0..6_000 {
                    if place.attempts_at("hold") == place.attempts_at("undo hold") + 1 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                assert_eq!(
                    place.attempts_at("hold"),
                    place.attempts_at("undo hold") + 1,
                    "seed {seed}: one is left"
                );
                both_began += place.attempts_at("undo hold");
            });
        }
    }
    assert!(both_began > 0, "no two nodes ever began at once");
}
