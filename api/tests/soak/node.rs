//! One node: killed and started again at once, as any supervisor does it, or stopped until it has lost all it had.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::link::Link;
use super::pace::Dice;
use super::tally::{Counted, Tally};
use super::wire::Answer;
use crate::support::http::{client_with, try_send};
use crate::support::process::{Running, ServeSettings};
use crate::support::{PATIENCE, eventually};

/// The lease of every node.
pub const LEASE: Duration = Duration::from_secs(1);
/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long a supervisor waits before it starts a program again that could not start.
const START_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// One in so many that are killed is killed once more while it starts.
const KILLED_TWICE_ONE_IN: usize = 4;
/// A batch that is to be kept back comes within this time, or the node is stopped without.
const BATCH_WITHIN: Duration = Duration::from_millis(500);
/// So many lives are told of when something went wrong.
const LIVES_REMEMBERED: usize = 5;

/// A node.
pub struct Node {
    settings: ServeSettings,
    process: Option<Running>,
    /// What the last ones said who lived here.
    said: VecDeque<String>,
    operators: String,
    operator_token: String,
}

impl Node {
    /// Starts it, and waits until it serves.
    pub async fn start(settings: ServeSettings, operators_port: u16) -> Self {
        let mut node = Self {
            operator_token: settings.operator_token("admin", "alice").await,
            operators: format!("http://127.0.0.1:{operators_port}"),
            settings,
            process: None,
            said: VecDeque::new(),
        };
        node.rise(&Tally::default()).await;
        node
    }

    /// Where operators are served.
    pub fn operators(&self) -> &str {
        &self.operators
    }

    /// An admin's token.
    pub fn operator_token(&self) -> &str {
        &self.operator_token
    }

    /// `kill -9`, and the next life; sometimes that one is killed before it serves.
    pub async fn dies(&mut self, dice: &Dice, tally: &Tally) {
        self.lives();
        let process = self.process.take().expect("it lives");
        self.remember(process.said());
        process.kill().await;
        tally.one(Counted::Kills);
        if dice.below(KILLED_TWICE_ONE_IN) == 0 {
            let starting = self.settings.spawn();
            sleep(dice.between_ms(0, 400)).await;
            let has_served = starting.serves();
            starting.kill().await;
            tally.one(if has_served {
                Counted::Kills
            } else {
                Counted::KillsWhileStarting
            });
        }
        self.rise(tally).await;
    }

    /// Starts it, again and again while what it needs is away, until it serves.
    async fn rise(&mut self, tally: &Tally) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut process = self.settings.spawn();
            while process.has_ended().is_none() {
                if process.serves() {
                    self.process = Some(process);
                    return;
                }
                let in_time = Instant::now() < deadline;
                assert!(in_time, "it does not start\n{}", process.said());
                sleep(POLL).await;
            }
            process.last_words().await;
            self.remember(process.said());
            let in_time = Instant::now() < deadline;
            assert!(in_time, "it can't start\n{}", process.said());
            tally.one(Counted::StartsThatFailed);
            sleep(START_AGAIN_AFTER).await;
        }
    }

    fn remember(&mut self, said: String) {
        self.said.push_back(said);
        if self.said.len() > LIVES_REMEMBERED {
            self.said.pop_front();
        }
    }

    /// What was said here lately, life after life.
    pub fn said(&self) -> String {
        let now = self.process.as_ref().map(Running::said);
        let lives: Vec<String> = self.said.iter().cloned().chain(now).collect();
        lives.join("\n--- next life\n")
    }

    /// Panics if it has ended by itself.
    pub fn lives(&mut self) {
        let process = self.process.as_mut().expect("it lives");
        if let Some(status) = process.has_ended() {
            panic!("a node ended by itself: {status}\n{}", process.said());
        }
    }

    /// Stands still for more than two leases with a batch on its way, if there is one, which arrives before it wakes. Whatever it then
    /// still wants to write is stale.
    pub async fn sleeps(&mut self, link: &Link, dice: &Dice, tally: &Tally) {
        self.lives();
        let Some(refused_before) = self.counter("fenced").await else {
            println!("a node that does not answer is not stopped");
            return;
        };
        let has_batch = link.keep_back(BATCH_WITHIN).await;
        let process = self.process.as_ref().expect("it lives");
        process.signal("STOP").await;
        eventually("the node to be stopped", || async {
            process.is_stopped().then_some(())
        })
        .await;
        let stopped = Instant::now();
        sleep(2 * LEASE + dice.between_ms(100, 1_200)).await;
        if has_batch {
            let answer = link.let_go().await;
            assert_ne!(
                answer,
                Some(Answer::Committed),
                "a batch was written {:?} after its node had stopped",
                stopped.elapsed()
            );
            tally.more(
                Counted::StaleBatchesRefused,
                u64::from(answer == Some(Answer::Fenced)),
            );
        }
        let slept = stopped.elapsed();
        process.signal("CONT").await;
        tally.one_if(Counted::Wakes, slept > 2 * LEASE);
        let refused = eventually("a woken node to answer", || self.counter("fenced")).await;
        tally.more(Counted::FencedByTheNodes, refused - refused_before);
    }

    /// What the node counts under this name; `None` when it does not answer.
    pub async fn counter(&self, name: &str) -> Option<u64> {
        let url = format!("{}/v1/counters", self.operators);
        let request = client_with(&self.operator_token).get(url);
        let answer = timeout(PATIENCE, try_send(request)).await.ok()?.ok()?;
        let counters: Value = answer.body;
        counters[name].as_u64()
    }
}
