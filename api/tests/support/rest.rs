//! When nothing is under way any more: purchases are settled, the shop is quiet, and every invariant holds.

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::http::{answered, send};
use super::shop::Shop;
use super::{PATIENCE, counted, eventually};

impl Shop {
    /// The purchase, once it is settled.
    pub async fn settled(&self, token: &str, id: &str) -> Value {
        eventually("the purchase to be settled", || async {
            let answer = self.ask(token, &format!("{id}?wait=10s")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let state = answer.body["state"].as_str().expect("a state");
            ["COMPLETED", "COMPENSATED", "PARKED", "ABANDONED"]
                .contains(&state)
                .then_some(answer.body)
        })
        .await
    }

    /// How many workflows of this state there are, up to a page.
    pub async fn workflows(&self, state: &str) -> Vec<Value> {
        let path = format!("workflows?state={state}&limit=500");
        let listed = self.look(&path).await;
        listed["workflows"].as_array().expect("a list").clone()
    }

    /// Waits until no workflow is under way, not even one of which nothing is durable.
    pub async fn quiet(&self) {
        let last = Mutex::new(Vec::new());
        let ended = eventually("no workflow to be under way", || async {
            let counters = self.look("counters").await;
            let mut open = Vec::new();
            for state in ["RUNNING", "COMPENSATING", "WAITING"] {
                // The opening of a sale that has not closed waits for that.
                let listed = self.workflows(state).await;
                open.extend(
                    listed
                        .into_iter()
                        .filter(|one| one["definition"] != "opening"),
                );
            }
            let quiet = open.is_empty() && counters["in_flight"] == 0;
            *last.lock().expect("nobody panics with it") = open;
            quiet.then_some(())
        });
        if timeout(PATIENCE.mul_f32(0.9), ended).await.is_ok() {
            return;
        }
        let open = last.into_inner().expect("nobody panics with it");
        for one in open.iter().take(3) {
            let id = one["id"].as_str().unwrap_or_default();
            println!("{:#}", self.look(&format!("workflows/{id}")).await);
        }
        panic!(
            "{} workflows are still under way, or one that is not durable",
            open.len()
        );
    }

    /// Waits until the gate agrees with the database, once what was held for starts that never became durable is found.
    pub async fn reconciled(&self) {
        let url = format!("{}/v1/reconcile", self.operators);
        eventually("a round that finds nothing", || async {
            let request = self.operators().post(&url).json(&json!({ "repair": true }));
            let answer = send(request).await;
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            let report = answer.body;
            (report["clean"] == json!(true) && report["found"] == 0).then_some(())
        })
        .await;
    }

    /// Panics unless every invariant holds now, and looked at something.
    pub async fn verify(&self) {
        let broken = self.broken().await;
        assert!(broken.is_empty(), "{}", told(&broken));
    }

    /// Panics unless every invariant holds in the end. What was begun while a server was away may still be held for a
    /// moment after the server is back.
    pub async fn verify_in_the_end(&self) {
        self.verify_in_the_end_but("").await;
    }

    /// The same, but for this invariant.
    pub async fn verify_in_the_end_but(&self, other: &str) {
        let last = Mutex::new(Vec::new());
        let healed = eventually("every invariant to hold", || async {
            let mut broken = self.broken().await;
            broken.retain(|one| one["id"] != other);
            let holds = broken.is_empty();
            *last.lock().expect("nobody panics with it") = broken;
            holds.then_some(())
        });
        let healed = timeout(PATIENCE.mul_f32(0.9), healed).await.is_ok();
        if !healed {
            let last = last.into_inner().expect("nobody panics with it");
            let partitions = self.look("nodes").await;
            panic!("{}\nthe partitions: {partitions}", told(&last));
        }
    }

    /// The invariants that do not hold, or looked at nothing. A check in which all hold is counted.
    async fn broken(&self) -> Vec<Value> {
        let invariants = self.invariants().await;
        let holds = |one: &&Value| match one["verdict"].as_str() {
            Some("holds") => one["checked"].as_u64() > Some(0),
            // Without a broker there is no topic.
            Some("not-checked") => one["id"] == "I5",
            _ => false,
        };
        let (held, broken): (Vec<&Value>, Vec<&Value>) = invariants.iter().partition(holds);
        if broken.is_empty() {
            for one in held {
                let id = one["id"].as_str().expect("an id");
                let checked = one["checked"].as_u64().unwrap_or_default();
                counted(&format!("checks of {id}"), checked);
            }
        }
        broken.into_iter().cloned().collect()
    }

    /// All ten invariants as they are now that nothing may be under way any more.
    pub async fn invariants(&self) -> Vec<Value> {
        let url = format!("{}/v1/verify", self.operators);
        let request = self.operators().post(url);
        let mut answer = answered(request.json(&json!({ "at_rest": true }))).await;
        if answer.status == 202 {
            let number = answer.body["number"].as_u64();
            answer.body = eventually("a check that takes long to end", || async {
                let mut shown = self.look("verify").await;
                let failed = shown["failed"]["number"].as_u64();
                assert!(failed < number, "it could not be checked: {shown}");
                let is_it = shown["last"]["number"].as_u64() >= number;
                is_it.then(|| shown["last"].take())
            })
            .await;
            answer.status = 200;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let invariants = answer.body["invariants"].as_array().expect("a list");
        assert_eq!(invariants.len(), 10, "{answer:?}");
        invariants.clone()
    }
}

/// Which invariants do not hold, and what is wrong, the first of it on the first line: the ends of long reports are cut.
fn told(broken: &[Value]) -> String {
    let told = broken.iter().map(|one| {
        let word = |name: &str| one[name].as_str().unwrap_or_default();
        let (count, checked) = (&one["violation_count"], &one["checked"]);
        let all = one["violations"].as_array().into_iter().flatten();
        let first: Vec<String> = all.take(10).map(Value::to_string).collect();
        let (id, verdict, first) = (word("id"), word("verdict"), first.join(", "));
        format!("{id} {verdict}, {count} of {checked}: {first}")
    });
    told.collect::<Vec<_>>().join("\n")
}
